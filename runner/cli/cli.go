// Package cli is the command line of ablate: flags, printing, the view of a computation, shell
// completion and exit codes. Each command has a file cmd_X.go with three parts: newX
// declares the command, xOptions holds its flags, and runX calls other packages and
// prints their results.
//
// Commands write results to stdout and everything else to stderr. Only Run prints errors
// and turns them into exit codes.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"ablate/experiments/language"
	"ablate/reports/text"
	"ablate/runner/program"
	"ablate/runner/run"
)

// Exit codes of every command.
const (
	exitOK           = 0
	exitError        = 1
	exitUsage        = 2
	exitDifference   = 3
	exitInconclusive = 4
	exitInterrupted  = 130
)

const exitHelp = `
Exit codes: 0 ok, 1 error (including a failed or missing trial), 2 wrong command line,
3 a difference: a regression, or a saved plan or baseline that no longer fits,
4 inconclusive (too few seeds to decide), 130 interrupted.`

// errInterrupted is the context's cause when a signal ends a command.
var errInterrupted = errors.New("interrupted")

// usageError is a mistake in the command line.
type usageError struct{ err error }

// flagError is the usage error of a flag or command that does not exist, for which the
// list of flags helps.
type flagError struct{ error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// differenceError is a result that differs from what was expected.
type differenceError struct{ err error }

func (e differenceError) Error() string { return e.err.Error() }
func (e differenceError) Unwrap() error { return e.err }

// inconclusiveError is a comparison that has too few seeds to decide.
type inconclusiveError struct{ err error }

func (e inconclusiveError) Error() string { return e.err.Error() }
func (e inconclusiveError) Unwrap() error { return e.err }

// printedError is an error that the command has printed already.
type printedError struct{ err error }

func (e printedError) Error() string { return e.err.Error() }
func (e printedError) Unwrap() error { return e.err }

// globals are the flags that every command has, and its output streams.
type globals struct {
	dir     string // -C
	store   string // --store
	verbose bool
	stdout  *output
	stderr  *output
	screen  *screen // the block below the log of a terminal; nil if there is none
}

// output is a standard stream for text. It writes control characters as escapes, because
// a terminal would execute them. raw is the stream itself, for binary data.
type output struct {
	raw   io.Writer
	plain io.Writer
	also  io.Writer // gets everything too; may be nil
	err   error     // the first error of writing
}

func newOutput(w io.Writer) *output { return &output{raw: w, plain: text.Plain(w)} }

func (o *output) Write(b []byte) (int, error) {
	if o.also != nil {
		_, _ = o.also.Write(b)
	}
	n, err := o.plain.Write(b)
	if err != nil && o.err == nil {
		o.err = err
	}
	return n, err
}

// Main runs the command line and returns its exit code.
func Main() int {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	// In "ablate run S | head" the reader closes the pipe early. With the signal ignored,
	// writing returns an error; otherwise the signal would end the computation.
	signal.Ignore(syscall.SIGPIPE)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGUSR2)
	go func() {
		cause := errInterrupted
		if s := <-signals; s == syscall.SIGUSR2 || s == syscall.SIGTERM && os.Getenv("SLURM_JOB_ID") != "" {
			cause = fmt.Errorf("%w: %w", errInterrupted, run.ErrPreempted)
		}
		cancel(cause)
		for s := range signals {
			// A second Ctrl-C ends the program at once. Schedulers of clusters repeat the other
			// signals, to every process of a job, while trainings save their states.
			if s == os.Interrupt {
				os.Exit(exitInterrupted)
			}
		}
	}()
	return Run(ctx, os.Args[1:], os.Stdout, os.Stderr)
}

// Run runs one command with the given arguments and returns its exit code.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	g := &globals{stdout: newOutput(stdout), stderr: newOutput(stderr)}
	root := newRoot(g)
	root.SetArgs(args)
	root.SetOut(g.stdout)
	root.SetErr(g.stderr)
	err := root.ExecuteContext(ctx)
	switch {
	case errors.Is(g.stdout.err, syscall.EPIPE):
		if errors.Is(err, syscall.EPIPE) {
			err = nil // the reader closed the pipe on purpose
		}
	case g.stdout.err != nil && !errors.Is(err, g.stdout.err):
		err = errors.Join(err, fmt.Errorf("standard output: %w", g.stdout.err))
	}
	code := exitCode(ctx, err)
	if err == nil || errors.As(err, new(printedError)) {
		return code
	}
	var mistakes *language.Errors
	switch {
	case code == exitInterrupted:
		fmt.Fprintln(g.stderr, "ablate: interrupted; finished results and the states of trainings are kept, and the next run continues from them")
	case errors.As(err, &mistakes) && err.Error() == mistakes.Error() && mistakes.List[0].Line > 0:
		fmt.Fprintln(g.stderr, mistakes) // FILE:LINE:COLUMN first, as editors want it
	default:
		fmt.Fprintf(g.stderr, "ablate: %s\n", strings.TrimSpace(err.Error()))
	}
	if errors.As(err, new(flagError)) {
		fmt.Fprintln(g.stderr, "'ablate help' lists the commands, 'ablate help COMMAND' lists the flags of one.")
	}
	return code
}

func exitCode(ctx context.Context, err error) int {
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errInterrupted), errors.Is(context.Cause(ctx), errInterrupted):
		return exitInterrupted
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, new(differenceError)):
		return exitDifference
	case errors.As(err, new(inconclusiveError)):
		return exitInconclusive
	}
	return exitError
}

// Help lists the commands of a group in the order in which people need them, not sorted
// by name.
func init() { cobra.EnableCommandSorting = false }

func newRoot(g *globals) *cobra.Command {
	root := &cobra.Command{
		Use:   "ablate",
		Short: "Declarative alignment–fidelity ablations of text-to-image models",
		Long: `ablate runs ablation studies of text-to-image models that are fine-tuned on human
feedback. A study is a CUE file that declares arms, the variants to compare. A trial is
one arm with one seed; its steps, such as pretraining and fine-tuning, are stages.
ablate computes each stage once, keeps the result in a store, and prints a table and an
HTML report that show which differences between arms are larger than chance.

Commands print results to stdout and everything else to stderr. The store is the folder
.ablate/ beside the study's cue.mod; --store or ABLATE_STORE names another folder.
A backend is a library with a device that computes. The first run of a study chooses it
by ABLATE_BACKEND=auto|xla:cuda|xla:cpu|go; later runs keep it, unless --backend names
another.
` + exitHelp,
		SilenceUsage:               true,
		SilenceErrors:              true,
		SuggestionsMinimumDistance: 2,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			hint := ""
			if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
				hint = fmt.Sprintf(": did you mean %s?", strings.Join(near, " or "))
			}
			return usageError{flagError{fmt.Errorf("unknown command %q%s", args[0], hint)}}
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			cmd.SetContext(g.logger().WithContext(cmd.Context()))
			if g.dir == "" {
				return nil
			}
			if err := os.Chdir(g.dir); err != nil {
				return fmt.Errorf("-C: %w", err)
			}
			return nil
		},
	}
	// The version is a function of the template, so that it is computed only when it is
	// printed: without a commit it includes a hash of the program's file, which takes
	// time.
	cobra.AddTemplateFunc("programVersion", program.Version)
	root.Version = "by the template"
	root.SetVersionTemplate("ablate {{programVersion}}\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{flagError{err}} })
	f := root.PersistentFlags()
	f.StringVarP(&g.dir, "directory", "C", "", "first change to this `DIR`")
	f.StringVar(&g.store, "store", os.Getenv("ABLATE_STORE"), "the store, a `DIR` for results (default: .ablate beside cue.mod)")
	f.BoolVarP(&g.verbose, "verbose", "v", false, "also log which results were found in the store, and the key of each stage that runs")
	for _, group := range []struct {
		id, title string
		commands  []*cobra.Command
	}{
		{"study", "Make and run a study:", []*cobra.Command{newInit(g), newVet(g), newPlan(g), newRun(g), newWorker(g), newStatus(g), newRetry(g), newLogs(g), newImport(g), newProbe(g)}},
		{"read", "Read its results:", []*cobra.Command{newTable(g), newReport(g), newDiff(g), newFloor(g), newExplain(g), newSample(g), newLabel(g), newExport(g)}},
		{"ci", "Compare with a baseline:", []*cobra.Command{newBaseline(g), newCheck(g)}},
		{"store", "Look after the store:", []*cobra.Command{newVerify(g), newGc(g), newMerge(g)}},
		{"about", "This machine and program:", []*cobra.Command{newSchema(g), newDoctor(g), newDownload(g), newVersion(g)}},
	} {
		root.AddGroup(&cobra.Group{ID: group.id, Title: group.title})
		for _, c := range group.commands {
			c.GroupID = group.id
			root.AddCommand(c)
		}
	}
	root.SetHelpCommandGroupID("about")
	root.SetCompletionCommandGroupID("about")
	root.AddCommand(newStages(g), newEngine(g), newTryBackend(g), newLoad(g), newWalls(g))
	complete(root)
	for _, c := range commands(root) {
		args := c.Args
		c.Args = func(cmd *cobra.Command, list []string) error {
			if args == nil {
				return nil
			}
			if err := args(cmd, list); err != nil {
				return usageError{flagError{fmt.Errorf("%s: %w (usage: %s)", name(cmd), err, cmd.UseLine())}}
			}
			return nil
		}
	}
	return root
}

// commands returns all commands below a command.
func commands(of *cobra.Command) (list []*cobra.Command) {
	for _, c := range of.Commands() {
		list = append(append(list, c), commands(c)...)
	}
	return list
}

// name is the name of a command as it is typed after the program's.
func name(c *cobra.Command) string {
	_, name, _ := strings.Cut(c.CommandPath(), " ")
	return name
}

// terminal reports whether a stream is a terminal on which a line can be overwritten.
// width is in columns, 100 if it is not known.
func terminal(o *output) (width int, ok bool) {
	f, is := o.raw.(*os.File)
	if !is || !term.IsTerminal(int(f.Fd())) {
		return 100, false
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width < 40 {
		width = 100
	}
	return width, os.Getenv("TERM") != "dumb"
}

// logger returns a logger that writes to stderr: readable lines on a terminal, JSON
// otherwise.
func (g *globals) logger() zerolog.Logger {
	var w io.Writer = g.stderr
	if f, is := g.stderr.raw.(*os.File); is && term.IsTerminal(int(f.Fd())) {
		// The colours of the console writer pass through; other control characters are
		// escaped.
		colour := colours()
		out := io.Writer(g.stderr)
		if colour {
			out = g.stderr.raw
		}
		w = zerolog.ConsoleWriter{Out: &aboveScreen{g: g, w: out}, TimeFormat: time.TimeOnly, NoColor: !colour,
			FormatMessage: func(m any) string { return plainText(fmt.Sprint(m)) }}
	}
	level := zerolog.InfoLevel
	if g.verbose {
		level = zerolog.DebugLevel
	}
	return zerolog.New(w).Level(level).With().Timestamp().Logger()
}

// plainText returns s with its control characters escaped.
func plainText(s string) string {
	var b strings.Builder
	_, _ = io.WriteString(text.Plain(&b), s) // writing to a builder cannot fail
	return b.String()
}
