package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ablate/runner/phrase"
	"ablate/runner/store"
)

type gcOptions struct {
	age                      time.Duration
	forget                   []string
	quarantine, delete, json bool
}

func (o *gcOptions) addFlags(f *pflag.FlagSet) {
	f.BoolVar(&o.delete, "delete", false, "remove it; without this flag, the command only prints what it would remove")
	f.DurationVar(&o.age, "age", 24*time.Hour, "remove nothing that is younger than this `TIME`, at least 1h while a process uses the store")
	f.StringArrayVar(&o.forget, "forget", nil, "nothing of this `STUDY` is needed any more: its name, or that of its folder in studies/ (repeatable)")
	f.BoolVar(&o.quarantine, "quarantine", false, "also remove the damaged files in quarantine/")
	f.BoolVar(&o.json, "json", false, "print JSON")
}

const gcFormat = "ablate.gc/1"

// gcDocument is what gc prints as JSON.
type gcDocument struct {
	head
	Store   string `json:"store"`   // path of the store
	Deleted bool   `json:"deleted"` // what is listed was removed
	store.Garbage
}

func newGc(g *globals) *cobra.Command {
	var o gcOptions
	cmd := &cobra.Command{
		Use:   "gc",
		Short: "Remove the results from the store that no study needs",
		Long: `Prints how much of the store each study needs, and what no study needs: results of
parameters that studies had before, states of unfinished trainings, and records of
failures. With --delete, it removes what no study needs. A later run of a study that has
its old parameters again would compute these results again.

A run records in the store what its study needs, so that the studies themselves, which
may be in several modules, need not be there. Studies that were deleted still count, until
they are named with --forget; their tables and reports stay. A study with --set is a study
of its own. If a study has results of several backends, all of them are needed.

Processes may use the store meanwhile. What they use stays, and so does everything that is
younger than a day (--age). The command may be killed at any time: no result is left half
removed.
` + exitHelp,
		Example: "  ablate gc --store /shared/ablate\n  ablate gc --forget experiments/old --delete",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return runGc(cmd.Context(), g, o) },
	}
	o.addFlags(cmd.Flags())
	return cmd
}

func runGc(ctx context.Context, g *globals, o gcOptions) error {
	if o.age < 0 {
		return usagef("gc: --age is %v; must not be negative", o.age)
	}
	s, err := g.openStore()
	if err != nil {
		return err
	}
	if err := isStore(s.Dir(), "name another one with --store or ABLATE_STORE"); err != nil {
		return err
	}
	garbage, err := g.collect(ctx, s, o)
	if errors.As(err, new(*store.AgeError)) || errors.As(err, new(*store.ForgetError)) {
		return usageError{fmt.Errorf("gc: store %s: %w", s.Dir(), err)}
	}
	if err != nil {
		return fmt.Errorf("gc: store %s: %w", s.Dir(), err)
	}
	if o.json {
		return printJSON(g.stdout, gcDocument{head{gcFormat}, s.Dir(), o.delete, *garbage})
	}
	printGarbage(g.stdout, s.Dir(), garbage, o)
	return nil
}

// collect finds what no study needs, and removes it if that is asked for.
func (g *globals) collect(ctx context.Context, s *store.Store, o gcOptions) (*store.Garbage, error) {
	reading := g.newCounting(zerolog.Ctx(ctx), "reading the store")
	garbage, err := s.Garbage(ctx, store.GC{Age: o.age, Forget: o.forget, Quarantine: o.quarantine, Progress: reading.at})
	reading.close()
	if err != nil || !o.delete {
		return garbage, err
	}
	removing := g.newCounting(zerolog.Ctx(ctx), "removing")
	defer removing.close()
	return garbage, garbage.Remove(ctx, removing.at)
}

// printGarbage prints what studies need and what none needs.
func printGarbage(w io.Writer, dir string, x *store.Garbage, o gcOptions) {
	fmt.Fprintf(w, "store %s\n\n", dir)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "study\tneeds\tneeded by no other")
	for _, z := range x.Studies {
		if z.Forgotten {
			fmt.Fprintf(tw, "%s\tforgotten\t\n", z.Study)
			continue
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\n", z.Study, sized(z.Needed, "result"), sized(z.Alone, "result"))
	}
	fmt.Fprintf(tw, "all studies\t%s\t%s shared\n", sized(x.Needed, "result"), sized(x.Shared, "result"))
	_ = tw.Flush() // output keeps the error
	if x.Spared.Count > 0 {
		fmt.Fprintf(w, "\n%s stay, although no study needs them: they are younger than %s or in use.\n", sized(x.Spared, "result"), phrase.Seconds(o.age.Seconds()))
	}
	var parts []string
	for _, p := range []struct {
		n    int
		text string
	}{
		{x.Artifacts.Count, sized(x.Artifacts, "result")},
		{x.Entries, phrase.Count(x.Entries, "line") + " of the index"},
		{x.States.Count, sized(x.States, "state") + " of trainings"},
		{x.Failures, phrase.Count(x.Failures, "record") + " of failures"},
		{x.Dead, phrase.Count(x.Dead, "mark") + " of processes that have ended"},
		{x.Quarantine.Count, sized(x.Quarantine, "damaged file")},
	} {
		if p.n > 0 {
			parts = append(parts, "  "+p.text+"\n")
		}
	}
	switch {
	case len(parts) == 0:
		fmt.Fprintln(w, "\nNothing to remove: studies need everything else.")
	case o.delete:
		fmt.Fprintf(w, "\nRemoved (%s):\n%s", phrase.Bytes(x.Bytes()), strings.Join(parts, ""))
	default:
		fmt.Fprintf(w, "\nNo study needs (%s):\n%s'ablate gc --delete' removes them.\n", phrase.Bytes(x.Bytes()), strings.Join(parts, ""))
	}
}

// sized formats a number of things with their size: "3 results, 1.5 MB".
func sized(z store.Size, noun string) string {
	return fmt.Sprintf("%s, %s", phrase.Count(z.Count, noun), phrase.Bytes(z.Bytes))
}
