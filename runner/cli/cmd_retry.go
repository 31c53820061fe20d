package cli

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ablate/runner/failure"
	"ablate/runner/layout"
	"ablate/runner/lookup"
	"ablate/runner/phrase"
	"ablate/runner/project"
	"ablate/runner/selection"
	"ablate/runner/store"
)

type retryOptions struct {
	studyOptions
	classes []string
	json    bool
}

func (o *retryOptions) addFlags(f *pflag.FlagSet) {
	o.studyOptions.addFlags(f)
	f.StringArrayVar(&o.classes, "class", nil, "only failures of this `CLASS`, as 'ablate status' prints it: diverged, 'out of memory', … (repeatable)")
	f.BoolVar(&o.json, "json", false, "print JSON")
}

const retryFormat = "ablate.retry/1"

// retryDocument is what retry prints as JSON.
type retryDocument struct {
	head
	Retried []store.Failure `json:"retried"` // failures that the next run tries again
}

func newRetry(g *globals) *cobra.Command {
	var o retryOptions
	cmd := &cobra.Command{
		Use:   "retry STUDY [TRIAL...]",
		Short: "Let the next run try failed stages again",
		Long: `Some failures are final: a training that diverged, or a stage that ran out of memory,
would do the same again, so that later runs leave it alone. This command forgets the
failures of a study, or of the trials that are named, so that the next 'ablate run' tries
these stages again. Trainings go on from their saved state, if they have one. A stage that
failed because of an error in this program is also tried again by a new build of it.

TRIAL is the beginning of a trial's id, or a row and a seed such as 'all data@1'.
` + exitHelp,
		Example: "  ablate retry experiments/methods --class diverged\n  ablate retry experiments/quickstart 'all data@1'",
		Args:    cobra.MinimumNArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return runRetry(cmd.Context(), g, o, args[0], args[1:]) },
	}
	o.addFlags(cmd.Flags())
	return cmd
}

func runRetry(ctx context.Context, g *globals, o retryOptions, path string, trials []string) error {
	for _, c := range o.classes {
		if _, ok := failure.Rules[failure.Class(c)]; !ok {
			return usagef("retry: --class is %q; must be one of %s", c, failure.Names())
		}
	}
	p, err := g.load(ctx, path, o.studyOptions)
	if err != nil {
		return err
	}
	actions, err := actionsOf(p, trials)
	if err != nil {
		return err
	}
	class, err := p.Class(o.backend)
	if err != nil {
		return err
	}
	found, err := lookup.Collect(p.Graph, p.Store, class)
	if err != nil {
		return err
	}
	doc := retryDocument{head{retryFormat}, []store.Failure{}}
	for _, a := range actions {
		f, ok := found.Failed[a]
		if !ok || len(o.classes) > 0 && !slices.Contains(o.classes, f.Class) {
			continue
		}
		if err := p.Store.Retry(f.Action); err != nil {
			return err
		}
		doc.Retried = append(doc.Retried, f)
	}
	if o.json {
		return printJSON(g.stdout, doc)
	}
	for _, f := range doc.Retried {
		fmt.Fprintf(g.stdout, "%s %s (%s)\n", f.Stage, f.View, f.Class)
	}
	if len(doc.Retried) == 0 {
		fmt.Fprintln(g.stdout, "Nothing to retry: no stage has such a failure.")
		return nil
	}
	fmt.Fprintf(g.stdout, "%s: '%s' tries again.\n", phrase.Count(len(doc.Retried), "failure"), p.Command())
	return nil
}

// actionsOf returns the actions of the trials that are named, or all actions of a study.
func actionsOf(p project.Project, trials []string) ([]*layout.Action, error) {
	if len(trials) == 0 {
		return p.Graph.Actions, nil
	}
	var out []*layout.Action
	for _, name := range trials {
		v, err := selection.Trial(p.Study, name)
		if err != nil {
			return nil, err
		}
		for _, a := range p.Graph.Chains[v.Trial.ID()].Actions() {
			if !slices.Contains(out, a) {
				out = append(out, a)
			}
		}
	}
	return out, nil
}
