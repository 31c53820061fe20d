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
	f.BoolVar(&o.json, "json", false, "as JSON, with every line of every key")
	f.BoolVar(&o.all, "all", false, "print every line of every key too")
}

const explainFormat = "ablate.explain/1"

// explainDocument is what explain prints as JSON.
type explainDocument struct {
	head
	View   string             `json:"view"`  // row and seed of the trial
	Trial  string             `json:"trial"` // its id
	Stages []plan.Explanation `json:"stages"`
}

func newExplain(g *globals) *cobra.Command {
	var o explainOptions
	cmd := &cobra.Command{
		Use:   "explain STUDY TRIAL",
		Short: "Print the state of each stage of a trial, and what changed since the nearest earlier run",
		Long: `Prints, for each stage of a trial, whether its result is there, or why it has to
run: the earlier run of the same stage that differs least, and in what. --all prints
the lines of every key, too: a result is found again only where all of them are the
same.

TRIAL is the beginning of a trial's id, or a view such as 'all data@1'.
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
		return printJSON(g.stdout, explainDocument{head{explainFormat}, v.String(), id.String(), list})
	}
	fmt.Fprintf(g.stdout, "%s\ntrial %s\n", v, id)
	for _, e := range list {
		printExplanation(g.stdout, e, o.all)
	}
	return nil
}

// printExplanation prints an action, with every line of its key if all is true.
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
	if e.Nearest == "" || e.Reason == plan.Follows && !all {
		return
	}
	fmt.Fprintf(w, "  the nearest that ran before, %s, differs:\n", e.Nearest[:12])
	for _, d := range e.Changed {
		fmt.Fprintf(w, "    %s\n", d)
	}
}
