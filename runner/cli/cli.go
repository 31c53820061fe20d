// Package cli is the command line: one file a command. Results go to stdout,
// everything else to stderr; errors are printed, and turned into an exit
// code, in one place.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"ablate/runner/store"
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
Exit codes: 0 ok, 1 error (a failed or missing trial included), 2 usage, 3 difference
or regression, 4 inconclusive, 130 interrupted.`

// errInterrupted is the cause with which a signal ends a command.
var errInterrupted = errors.New("interrupted")

// usageError is a mistake in the command line.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// differenceError says that something is not what it was.
type differenceError struct{ err error }

func (e differenceError) Error() string { return e.err.Error() }
func (e differenceError) Unwrap() error { return e.err }

// inconclusiveError says that there are too few seeds to say.
type inconclusiveError struct{ err error }

func (e inconclusiveError) Error() string { return e.err.Error() }
func (e inconclusiveError) Unwrap() error { return e.err }

// globals are the flags of every command.
type globals struct {
	dir     string // -C
	store   string // --store
	verbose bool
	stdout  io.Writer
	stderr  io.Writer
}

// Main runs the command line and returns its exit code.
func Main() int {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		cancel(errInterrupted)
		<-signals // a second one does not wait
		os.Exit(exitInterrupted)
	}()
	return Run(ctx, os.Args[1:], os.Stdout, os.Stderr)
}

// Run runs one command with the given arguments and returns its exit code.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	g := &globals{stdout: stdout, stderr: stderr}
	root := newRoot(g)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	code := exitCode(ctx, err)
	if err != nil {
		if code == exitInterrupted {
			fmt.Fprintln(stderr, "ablate: interrupted; what was finished is kept, and the next run goes on from it")
		} else {
			fmt.Fprintf(stderr, "ablate: %s\n", strings.TrimSpace(err.Error()))
		}
		if code == exitUsage {
			fmt.Fprintln(stderr, "Run 'ablate help' for the commands and their flags.")
		}
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

func newRoot(g *globals) *cobra.Command {
	root := &cobra.Command{
		Use:   "ablate",
		Short: "Declarative alignment–fidelity ablations of text-to-image models",
		Long: `ablate runs studies of human feedback for text-to-image models: a study is
declared in CUE, every fine-tune runs once, the results are Arrow tables and an
HTML report with honest intervals.

Results go to stdout, everything else to stderr. Results of studies are kept in
.ablate/ beside the study's cue.mod; --store or ABLATE_STORE names another folder.
ABLATE_BACKEND=auto|xla:cuda|xla:cpu|go chooses where to compute.
` + exitHelp,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
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
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	f := root.PersistentFlags()
	f.StringVarP(&g.dir, "directory", "C", "", "change to this folder first")
	f.StringVar(&g.store, "store", os.Getenv("ABLATE_STORE"), "folder of results (default: .ablate beside cue.mod)")
	f.BoolVarP(&g.verbose, "verbose", "v", false, "log the key material of every action")
	root.AddCommand(newInit(g), newVet(g), newPlan(g), newRun(g), newExplain(g), newSchema(g), newTable(g), newReport(g), newCheck(g), newBaseline(g), newExport(g), newDoctor(g), newVersion(g), newWorker(g), newProbe(g), newLoad(g))
	for _, c := range root.Commands() {
		args := c.Args
		c.Args = func(cmd *cobra.Command, list []string) error {
			if args == nil {
				return nil
			}
			if err := args(cmd, list); err != nil {
				return usagef("%s: %w (usage: %s)", cmd.Name(), err, cmd.UseLine())
			}
			return nil
		}
	}
	return root
}

// terminal reports whether w is a terminal, and its width.
func terminal(w io.Writer) (width int, ok bool) {
	f, is := w.(*os.File)
	if !is || !term.IsTerminal(int(f.Fd())) {
		return 100, false
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width < 40 {
		width = 100
	}
	return width, true
}

// logger writes to stderr: for people on a terminal, JSON otherwise.
func (g *globals) logger() zerolog.Logger {
	var w io.Writer = g.stderr
	if _, tty := terminal(g.stderr); tty {
		w = zerolog.ConsoleWriter{Out: g.stderr, TimeFormat: time.TimeOnly}
	}
	level := zerolog.InfoLevel
	if g.verbose {
		level = zerolog.DebugLevel
	}
	return zerolog.New(w).Level(level).With().Timestamp().Logger()
}

// openStore opens the store of a study whose module's root is given.
func (g *globals) openStore(root string) (*store.Store, error) {
	dir := g.store
	if dir == "" {
		dir = filepath.Join(root, ".ablate")
	}
	return store.Open(dir)
}
