package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ablate/runner/phrase"
	"ablate/runner/program"
	"ablate/runner/project"
	"ablate/runner/status"
)

type statusOptions struct {
	studyOptions
	watch, json bool
}

func (o *statusOptions) addFlags(f *pflag.FlagSet) {
	o.studyOptions.addFlags(f)
	f.BoolVarP(&o.watch, "watch", "w", false, "show it until nothing is left or Ctrl-C: a view that is drawn every second or, where the output is no terminal, a line for each change")
	f.BoolVar(&o.json, "json", false, "print JSON; with --watch, one object after the other")
}

const statusFormat = "ablate.status/1"

// statusDocument is what status prints as JSON.
type statusDocument struct {
	head
	Study string `json:"study"`
	status.Status
}

func newStatus(g *globals) *cobra.Command {
	var o statusOptions
	cmd := &cobra.Command{
		Use:   "status STUDY",
		Short: "Print how far a study is, and what computes it",
		Long: `Prints how many stages of a study have their results, which are being computed, by which
processes on which machines, how far these are, and which have failed. It reads the store
alone, so that it also works while the study runs elsewhere on a shared file system.

With --watch on a terminal, it shows the same view as 'ablate run', until nothing is left
or Ctrl-C. The time left is estimated from what the stages took in this study so far, the
number of stages that the processes compute at a time, and the steps of trainings that
run; where rows are stopped early, it is the time until they are compared. "perhaps" marks
an estimate for stages of which none has run yet.
` + exitHelp,
		Example: "  ablate status experiments/quickstart --watch",
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return runStatus(cmd.Context(), g, o, args[0]) },
	}
	o.addFlags(cmd.Flags())
	return cmd
}

// watchEvery is the time between two outputs of --watch.
const watchEvery = 2 * time.Second

func runStatus(ctx context.Context, g *globals, o statusOptions, path string) error {
	go program.Identity() // it reads the whole program, beside what follows
	p, err := g.load(ctx, path, o.studyOptions)
	if err != nil {
		return err
	}
	class, err := p.Class(o.backend)
	if err != nil {
		return err
	}
	if _, tty := canvas(g.stdout); o.watch && !o.json && tty {
		return g.watch(ctx, p, class, func() (project.Project, error) { return g.load(ctx, path, o.studyOptions) })
	}
	last, rounds := "", p.RoundsLook()
	for {
		if now := p.RoundsLook(); now != rounds { // the run has begun another round
			if p, err = g.load(ctx, path, o.studyOptions); err != nil {
				return err
			}
			rounds = now
		}
		s, err := status.New(p, class, program.Identity())
		if err != nil {
			return err
		}
		switch {
		case o.json:
			err = printJSON(g.stdout, statusDocument{head{statusFormat}, p.Study.Name, *s})
		case o.watch: // in a pipe, a line when something has changed
			if line := statusLine(p, s); line != last {
				last = line
				_, err = fmt.Fprintln(g.stdout, line)
			}
		default:
			printStatus(g.stdout, p, s, time.Now())
		}
		if err != nil || !o.watch || ended(p, s) {
			return err
		}
		select {
		case <-ctx.Done():
			return nil // Ctrl-C is the usual end
		case <-time.After(watchEvery):
		}
	}
}

// ended reports whether nothing is left to compute or to decide, and no process may still try.
func ended(p project.Project, s *status.Status) bool {
	_, open := p.Finishing()
	return s.Actions.Left() == 0 && len(s.Processes) == 0 && len(open) == 0
}

// watch shows the view of a study on the terminal until nothing is left or Ctrl-C, and then
// prints its status. When a run begins another round of the study, which has other actions, it loads
// the study again.
func (g *globals) watch(ctx context.Context, p project.Project, class string, load func() (project.Project, error)) error {
	for {
		rounds := p.RoundsLook()
		t := status.NewTracker(p, p.Graph, class, program.Identity()).Glance()
		if err := t.Look(); err != nil {
			return err
		}
		over, err := g.follow(ctx, p, t, func() bool { return p.RoundsLook() != rounds })
		if over || err != nil {
			return err
		}
		if p, err = load(); err != nil {
			return err
		}
	}
}

// follow shows the view of a tracker until nothing is left, the context ends or stale returns true.
// In the last case it returns false; otherwise it prints the status.
func (g *globals) follow(ctx context.Context, p project.Project, t *status.Tracker, stale func() bool) (over bool, err error) {
	v := view{name: p.Study.Name, colour: colours()}
	shown := g.newScreen(g.stdout, func(now time.Time, width, height int) []string { return v.lines(t.Status(now), now, width, height) })
	shown.draw()
	following, stop := context.WithCancel(ctx)
	defer stop()
	go t.Watch(following)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for ctx.Err() == nil && t.Err() == nil && !stale() && !ended(p, t.Status(time.Now())) {
		select {
		case <-ctx.Done(): // Ctrl-C is the usual end
		case <-tick.C:
		}
	}
	shown.close()
	switch {
	case t.Err() != nil:
		return true, t.Err()
	case ctx.Err() == nil && stale():
		return false, nil
	}
	printStatus(g.stdout, p, t.Status(time.Now()), time.Now())
	return true, nil
}

// statusLine returns the status of a study in one line.
func statusLine(p project.Project, s *status.Status) string {
	c := s.Actions
	line := fmt.Sprintf("study %s (%s): %d of %s done", p.Study.Name, s.Backend, c.Done, phrase.Count(c.Total, "stage"))
	if c.Running > 0 {
		line += fmt.Sprintf(", %d running", c.Running)
	}
	if c.Failed > 0 {
		line += fmt.Sprintf(", %d failed", c.Failed)
	}
	if left := timeLeft(s); left != "" {
		line += "; " + left
	}
	return line
}

// printStatus prints the status of a study as text.
func printStatus(w io.Writer, p project.Project, s *status.Status, now time.Time) {
	fmt.Fprintln(w, statusLine(p, s))
	switch {
	case len(s.Processes) == 0 && s.Actions.Left() > 0:
		fmt.Fprintf(w, "No process computes it; '%s' does.\n", p.Command())
	case len(s.Processes) > 0:
		fmt.Fprintln(w)
		tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, l := range s.Processes {
			where := fmt.Sprintf("%s, process %d", l.Host, l.PID)
			if l.Job != "" {
				where += ", " + l.Job
			}
			if len(l.Actions) == 0 {
				fmt.Fprintf(tw, "%s\tidle\t\t\n", where)
			}
			for _, a := range l.Actions {
				fmt.Fprintf(tw, "%s\t%s %s\t%s\t%s\n", where, a.Stage, a.View, clock(now.Sub(a.Since)), reached(a))
				where = ""
			}
		}
		_ = tw.Flush() // output keeps the error
	}
	fmt.Fprintln(w)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	head := "trials of\tdone\trunning\tfailed"
	if p.Study.Halving != nil {
		head += "\tstopped"
	}
	fmt.Fprintln(tw, head)
	for _, r := range s.Rows {
		fmt.Fprintf(tw, "%s\t%d of %d\t%d\t%d", r.Row, r.Trials.Done, r.Trials.Total, r.Trials.Running, r.Trials.Failed)
		if p.Study.Halving != nil {
			fmt.Fprintf(tw, "\t%d", r.Trials.Stopped)
		}
		fmt.Fprintln(tw)
	}
	_ = tw.Flush()
	if len(s.Failures) == 0 {
		return
	}
	fmt.Fprintln(w, "\nfailed:")
	final := false
	for _, f := range s.Failures {
		first, _, _ := strings.Cut(f.Error, "\n")
		fmt.Fprintf(w, "  %s %s (%s): %s\n", f.Stage, f.View, f.Class, first)
		final = final || f.Final
	}
	if final {
		fmt.Fprintf(w, "'ablate retry %s' lets the next run try them again; 'ablate logs %s TRIAL' has their logs.\n", phrase.Shell(p.Study.Path), phrase.Shell(p.Study.Path))
	}
}
