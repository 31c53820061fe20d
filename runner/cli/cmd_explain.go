package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ablate/runner/plan"
	"ablate/runner/selection"
)

type explainOptions struct {
	studyOptions
	json, all bool
}

func (o *explainOptions) addFlags(f *pflag.FlagSet) {
	o.studyOptions.addFlags(f)
	f.BoolVar(&o.json, "json", false, "print JSON, with every line of every key")
	f.BoolVar(&o.all, "all", false, "also print every line of every key")
}

const explainFormat = "ablate.explain/1"

// explainDocument is what explain prints as JSON.
type explainDocument struct {
	head
	View  string `json:"view"`  // row and seed of the trial, "ROW@SEED"
	Trial string `json:"trial"` // id of the trial
	cutDocument
	Stages []plan.Explanation `json:"stages"`
}

func newExplain(g *globals) *cobra.Command {
	var o explainOptions
	cmd := &cobra.Command{
		Use:   "explain STUDY TRIAL",
		Short: "Print why each stage of a trial is in the store or has to run",
		Long: `Prints, for each stage of a trial, whether its result is in the store. If it is not, the
command names the most similar earlier run of the same stage and the parameters that
differ. --all also prints the key of each stage: all parameters and inputs that identify
its result. A stored result is used only if its whole key is the same.

TRIAL is the beginning of a trial's id, or a row and a seed such as 'all data@1'.
` + exitHelp,
		Example: "  ablate explain experiments/quickstart 'all data@1'",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runExplain(cmd.Context(), g, o, args[0], args[1])
		},
	}
	o.addFlags(cmd.Flags())
	return cmd
}

func runExplain(ctx context.Context, g *globals, o explainOptions, path, trial string) error {
	p, err := g.plan(ctx, path, o.studyOptions, nil, nil)
	if err != nil {
		return err
	}
	v, err := selection.Trial(p.project.Study, trial)
	if err != nil {
		return err
	}
	id := v.Trial.ID()
	list, err := p.Explain(p.project.Graph.Chains[id], p.project.Store)
	if err != nil {
		return err
	}
	if o.json {
		return printJSON(g.stdout, explainDocument{head{explainFormat}, v.String(), id.String(), cutOf(v), list})
	}
	fmt.Fprintf(g.stdout, "%s\ntrial %s\n%s", v, id, cutText(v))
	for _, e := range list {
		printExplanation(g.stdout, e, o.all)
	}
	return nil
}

// printExplanation prints the state of one action. If all is true, it also prints every
// line of the action's key.
func printExplanation(w io.Writer, e plan.Explanation, all bool) {
	name := e.Stage
	if e.List != "" && e.List != e.Stage {
		name += " of " + e.List
	}
	fmt.Fprintf(w, "\n%s: %s", name, e.State)
	if e.Reason != "" {
		fmt.Fprintf(w, ", %s", e.Reason)
	}
	fmt.Fprintln(w)
	if all {
		for _, l := range e.Key {
			fmt.Fprintf(w, "  %s\n", l)
		}
	}
	if e.Output != "" {
		fmt.Fprintf(w, "  → artifact %s\n", e.Output)
	}
	for _, l := range e.Made {
		fmt.Fprintf(w, "    %s\n", l)
	}
	if e.Nearest == "" || e.Reason == plan.Follows && !all {
		return
	}
	fmt.Fprintf(w, "  the most similar earlier run, %s, differs in:\n", e.Nearest[:12])
	for _, d := range e.Changed {
		fmt.Fprintf(w, "    %s\n", d)
	}
}
