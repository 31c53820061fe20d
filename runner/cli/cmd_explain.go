package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"ablate/runner/plan"
	"ablate/runner/study"
)

func newExplain(g *globals) *cobra.Command {
	var f studyFlags
	var asJSON, all bool
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
			return runExplain(cmd.Context(), g, f, args[0], args[1], asJSON, all)
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON, with every line of every key")
	cmd.Flags().BoolVar(&all, "all", false, "print every line of every key too")
	return cmd
}

// explained is one stage of a trial.
type explained struct {
	Stage   string            `json:"stage"`
	State   plan.State        `json:"state"`
	Reason  string            `json:"reason,omitempty"`
	Action  string            `json:"action,omitempty"` // its id in the store, where its inputs are there
	Key     []string          `json:"key"`
	Output  string            `json:"output,omitempty"`
	Nearest string            `json:"nearest,omitempty"` // id of the nearest earlier action
	Changed []plan.Difference `json:"changed,omitempty"`
}

func runExplain(ctx context.Context, g *globals, f studyFlags, path, trial string, asJSON, all bool) error {
	p, err := g.plan(ctx, path, f, nil, nil)
	if err != nil {
		return err
	}
	v, err := p.loaded.findTrial(trial)
	if err != nil {
		return err
	}
	id := v.Trial.ID()
	chain := p.graph.Chains[id]
	in := map[*study.Action]bool{}
	for _, a := range chain.Actions() {
		in[a] = true
	}
	var list []explained
	for _, step := range p.Steps {
		a := step.Action
		if !in[a] {
			continue
		}
		e := explained{Stage: string(a.Kind), State: step.State, Reason: step.Reason}
		if step.Key != nil {
			e.Action = step.Key.ID().String()
			e.Key = strings.Split(strings.TrimSpace(step.Key.Text()), "\n")
		} else {
			for _, l := range a.Lines {
				e.Key = append(e.Key, "set "+l)
			}
			for _, i := range a.Inputs {
				e.Key = append(e.Key, fmt.Sprintf("input of %s, not there yet: %s", i.Action.Kind, i.Role))
			}
		}
		if step.State == plan.Cached {
			e.Output = step.Entry.Output.String()
		} else {
			near, diffs, ok, err := p.Nearest(a, p.loaded.Store)
			if err != nil {
				return err
			}
			if ok {
				e.Nearest, e.Changed = near.Action.String(), diffs
			}
		}
		list = append(list, e)
	}
	if asJSON {
		return writeJSON(g.stdout, struct {
			View   string      `json:"view"`
			Trial  string      `json:"trial"`
			Stages []explained `json:"stages"`
		}{v.String(), id.String(), list})
	}
	fmt.Fprintf(g.stdout, "%s\ntrial %s\n", v, id)
	for _, e := range list {
		e.print(g.stdout, all)
	}
	return nil
}

func (e explained) print(w io.Writer, all bool) {
	fmt.Fprintf(w, "\n%s: %s", e.Stage, e.State)
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
