package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ablate/runner/phrase"
	"ablate/runner/store"
)

type mergeOptions struct{ json bool }

func (o *mergeOptions) addFlags(f *pflag.FlagSet) {
	f.BoolVar(&o.json, "json", false, "print JSON")
}

const mergeFormat = "ablate.merge/1"

// mergeDocument is what merge prints as JSON.
type mergeDocument struct {
	head
	Store string `json:"store"` // path of the store that was written
	Other string `json:"other"` // path of the store that was read
	store.Merged
}

func newMerge(g *globals) *cobra.Command {
	var o mergeOptions
	cmd := &cobra.Command{
		Use:   "merge OTHER",
		Short: "Copy the results of another store into this one",
		Long: `Copies all results of the store in the folder OTHER into this store: the one that --store
names, or .ablate beside the nearest cue.mod. All bytes are compared with their digests.
Failures, journals and what studies need (see 'ablate gc') are copied, too; tables and
reports are not, 'ablate run' writes them from the results.

What this store has stays as it is. If both stores have different bytes of one stage, this
is a conflict: the result that is here stays, and the conflict is listed. OTHER is only
read. A merge that is interrupted or killed can be run again, and goes on.
` + exitHelp,
		Example: "  ablate merge /mnt/cluster/.ablate\n  ablate merge other/.ablate --store /shared/ablate",
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return runMerge(cmd.Context(), g, o, args[0]) },
	}
	o.addFlags(cmd.Flags())
	return cmd
}

func runMerge(ctx context.Context, g *globals, o mergeOptions, path string) error {
	s, err := g.openStore()
	if err != nil {
		return err
	}
	other, err := store.Open(path)
	if err != nil {
		return err
	}
	if err := isStore(other.Dir(), "give the folder of another store"); err != nil {
		return usageError{fmt.Errorf("merge: %w", err)}
	}
	if same(s.Dir(), other.Dir()) {
		return usagef("merge: %s is this store itself: give the folder of another one, or name this one with --store", path)
	}
	line := g.newCounting(zerolog.Ctx(ctx), "copying results")
	m, err := s.Merge(ctx, other, line.at)
	line.close()
	if err != nil {
		return fmt.Errorf("merge: %w", err)
	}
	if o.json {
		err = printJSON(g.stdout, mergeDocument{head{mergeFormat}, s.Dir(), other.Dir(), *m})
	} else {
		printMerged(g.stdout, m)
	}
	if err == nil && len(m.Damaged) > 0 {
		err = fmt.Errorf("merge: %s damaged in %s and not copied: run its studies there, which computes them again, and merge again", phrase.Are(len(m.Damaged), "result"), other.Dir())
	}
	return err
}

// same reports whether two paths are one folder.
func same(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return filepath.Clean(a) == filepath.Clean(b)
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// printMerged prints what a merge has copied, and the conflicts.
func printMerged(w io.Writer, m *store.Merged) {
	fmt.Fprintf(w, "%s copied, %d were here already.\n", sized(m.Copied, "result"), m.Present)
	fmt.Fprintf(w, "%s: %s and %s of failures copied.\n", studies(m.Studies), phrase.Count(m.Journals, "journal"), phrase.Count(m.Failures, "record"))
	for _, c := range m.Conflicts {
		why := "in the same environment: this stage is not deterministic"
		if c.Elsewhere {
			why = "in another environment"
		}
		fmt.Fprintf(w, "conflict: %s %s is %s here and stays; there it is %s (%s), computed %s\n", c.Stage, c.Action.Short(), c.Kept.Short(), c.Other.Short(), c.Difference, why)
	}
	for _, d := range m.Damaged {
		stage := d.Stage
		if stage == "" {
			stage = "entry"
		}
		fmt.Fprintf(w, "damaged: %s %s: %s\n", stage, d.Action.Short(), d.Error)
	}
}

// studies formats a number of studies.
func studies(n int) string {
	if n == 1 {
		return "1 study"
	}
	return fmt.Sprintf("%d studies", n)
}
