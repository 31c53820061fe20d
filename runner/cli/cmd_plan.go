package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"ablate/analysis/compare"
	"ablate/experiments/language"
	"ablate/models/backend"
	"ablate/reports/text"
	"ablate/runner/plan"
	"ablate/runner/study"
)

type planFlags struct {
	studyFlags
	only   []string
	seeds  []string
	output string
	list   bool
	json   bool
}

func newPlan(g *globals) *cobra.Command {
	var f planFlags
	cmd := &cobra.Command{
		Use:   "plan STUDY",
		Short: "Say what a run would do, why, and what it would cost",
		Long: `Lists, for each stage, how many of its actions are cached, to run, or to retry
because the attempt before failed or was interrupted; why, compared with the
earlier action that differs least; and the time and disk to expect, judged by
earlier actions of the same kind in the store. Nothing is run.

-o saves the plan: 'ablate run FILE' does exactly that, or says what has changed.` + onlyHelp + `
` + exitHelp,
		Example: "  ablate plan experiments/quickstart\n  ablate plan experiments/quickstart -o plan.json && ablate run plan.json",
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return runPlan(cmd.Context(), g, f, args[0]) },
	}
	f.add(cmd)
	fl := cmd.Flags()
	fl.StringArrayVar(&f.only, "only", nil, "plan this `ARM`, or point of one as the table writes it, only (repeatable)")
	fl.StringArrayVar(&f.seeds, "seed", nil, "plan this seed `S` only, 3 or 1.2 for {pretraining: 1, feedback: 2} (repeatable)")
	fl.BoolVar(&f.list, "list", false, "list every row and seed with the stages that run for it")
	fl.StringVarP(&f.output, "output", "o", "", "save the plan in this `FILE`")
	fl.BoolVar(&f.json, "json", false, "print the plan as JSON")
	return cmd
}

// planned is a plan with the study it is of.
type planned struct {
	*plan.Plan
	loaded *loaded
	graph  *study.Graph // of the selected views
	views  []language.View
	detect []compare.Detect // what the study wants to find, and the seeds it takes
}

// plan looks up what a run of the selected arms would do.
func (g *globals) plan(ctx context.Context, path string, f studyFlags, arms, seeds []string) (*planned, error) {
	l, err := g.open(ctx, path, f)
	if err != nil {
		return nil, err
	}
	views, err := only(l.Study, arms, seeds)
	if err != nil {
		return nil, err
	}
	graph, err := l.layOut(ctx, views)
	if err != nil {
		return nil, err
	}
	l.Graph = graph
	class, err := l.class(f.backend)
	if err != nil {
		return nil, err
	}
	p, err := plan.New(graph, l.Store, l.Dir, class)
	if err != nil {
		return nil, err
	}
	out := &planned{Plan: p, loaded: l, graph: graph, views: views}
	if len(l.Detect) > 0 {
		if len(views) < len(l.Views) {
			if l.Graph, err = l.layOut(ctx, l.Views); err != nil {
				return nil, err
			}
		}
		r, err := l.results(ctx, class)
		if err != nil {
			return nil, err
		}
		out.detect = r.ablation.Detect
	}
	return out, nil
}

func runPlan(ctx context.Context, g *globals, f planFlags, path string) error {
	if f.output != "" && len(f.seeds) > 0 {
		return usagef("plan: a saved plan is of all seeds: leave out --seed or -o")
	}
	p, err := g.plan(ctx, path, f.studyFlags, f.only, f.seeds)
	if err != nil {
		return err
	}
	if f.output != "" {
		if err := p.Save(f.output, path, f.set, f.only); err != nil {
			return err
		}
		zerolog.Ctx(ctx).Info().Str("file", f.output).Msg("plan saved; 'ablate run " + f.output + "' does exactly this")
	}
	if f.json {
		return p.printJSON(g.stdout)
	}
	if f.list {
		p.list(g.stdout)
		return nil
	}
	p.print(g.stdout)
	return nil
}

// runs counts what the views of a study run: rows, seeds, and what is the same.
func runs(views []language.View) string {
	rows, seeds, trials := map[string]bool{}, map[string]bool{}, map[language.ID]bool{}
	for _, v := range views {
		rows[v.Row()], seeds[v.Trial.Seed.String()], trials[v.Trial.ID()] = true, true, true
	}
	text := fmt.Sprintf("%s (%s, %s)", many(len(views), "run"), many(len(rows), "row"), many(len(seeds), "seed"))
	if len(rows)*len(seeds) == len(views) {
		text = fmt.Sprintf("%s × %s = %s", many(len(rows), "row"), many(len(seeds), "seed"), many(len(views), "run"))
	}
	if same := len(views) - len(trials); same > 0 {
		text += fmt.Sprintf(", %d of them distinct: what is the same runs once", len(trials))
	}
	return text
}

// freshSeeds are the seeds of the views of which something runs because of its
// seed alone.
func (p *planned) freshSeeds() string {
	fresh := map[*study.Action]bool{}
	for _, s := range p.Steps {
		fresh[s.Action] = s.State != plan.Cached && s.Reason == plan.NewSeeds
	}
	var seeds []string
	for _, v := range p.views {
		name := v.Trial.Seed.String()
		if !slices.Contains(seeds, name) && slices.ContainsFunc(p.graph.Chains[v.Trial.ID()].Actions(), func(a *study.Action) bool { return fresh[a] }) {
			seeds = append(seeds, name)
		}
	}
	return strings.Join(seeds, ", ")
}

// list prints what runs for each view, a line each.
func (p *planned) list(w io.Writer) {
	state := map[*study.Action]plan.State{}
	for _, s := range p.Steps {
		state[s.Action] = s.State
	}
	for _, v := range p.views {
		var stages []string
		for _, a := range p.graph.Chains[v.Trial.ID()].Actions() {
			if state[a] != plan.Cached {
				stages = append(stages, string(a.Kind))
			}
		}
		if stages == nil {
			stages = []string{"nothing to run"}
		}
		fmt.Fprintf(w, "%s  %s: %s\n", v.Trial.ID().Short(), v, strings.Join(stages, ", "))
	}
}

// workersOf is how many workers a run on a class of backend has by default.
func workersOf(class string) int { return (&chosen{Class: class}).workers() }

// total sums up the stages.
func total(stages []plan.Stage) plan.Stage {
	t := plan.Stage{Stage: "all"}
	for _, s := range stages {
		t.Cached, t.Run, t.Retry = t.Cached+s.Cached, t.Run+s.Run, t.Retry+s.Retry
		t.Seconds, t.Bytes, t.Rough = t.Seconds+s.Seconds, t.Bytes+s.Bytes, t.Rough || s.Rough
	}
	return t
}

// listed is how many excluded points, and reasons of a stage, are printed.
const listed = 8

func (p *planned) print(w io.Writer) {
	l := p.loaded
	fmt.Fprintf(w, "%s\n\n%s\n", l.Title, runs(p.views))
	if l.Collapsed > 0 {
		fmt.Fprintf(w, "%s left out, equal to an earlier one of the same arm\n", many(l.Collapsed, "point"))
	}
	if n := len(l.Excluded); n > 0 {
		fmt.Fprintf(w, "%s excluded by where:\n", many(n, "point"))
		for i, e := range l.Excluded {
			if i == listed {
				fmt.Fprintf(w, "  and %d more, which --json lists\n", n-listed)
				break
			}
			fmt.Fprintf(w, "  %s\n", e)
		}
	}
	stages := p.Stages()
	all := total(stages)
	fmt.Fprintln(w)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "stage     \tcached\trun\tretry\ttime\tdisk\t")
	for _, s := range append(stages, all) {
		fmt.Fprintf(tw, "%-10s\t%d\t%d\t%d\t%s\t%s\t\n", s.Stage, s.Cached, s.Run, s.Retry, seconds(s), size(s))
	}
	if err := tw.Flush(); err != nil {
		return // the writer is the terminal; nothing is left to tell it
	}
	if said := text.Detect(p.detect); len(said) > 0 {
		fmt.Fprintln(w, "\n"+strings.Join(said, "\n"))
	}
	if all.Run+all.Retry == 0 {
		fmt.Fprintln(w, "\nNothing to run: every result is there.")
		return
	}
	fmt.Fprintln(w)
	var first []string
	for _, s := range stages {
		if len(s.Reasons) == 1 && s.Reasons[0].Text == plan.FirstOfKind {
			first = append(first, s.Stage)
		}
	}
	if len(first) > 0 {
		fmt.Fprintf(w, "%s: %s\n", strings.Join(first, ", "), plan.FirstOfKind)
	}
	follow, fresh := 0, 0
	for _, s := range stages {
		if slices.Contains(first, s.Stage) {
			continue
		}
		shown := 0
		for _, r := range s.Reasons {
			switch {
			case r.Text == plan.Follows:
				follow += r.Count
				continue
			case r.Text == plan.NewSeeds:
				fresh += r.Count
				continue
			case shown == listed:
				fmt.Fprintf(w, "%s: and other reasons, which --json lists\n", s.Stage)
			case shown < listed:
				fmt.Fprintf(w, "%d × %s: %s\n", r.Count, s.Stage, r.Text)
			}
			shown++
		}
	}
	if fresh > 0 {
		fmt.Fprintf(w, "%d × new seeds: %s\n", fresh, p.freshSeeds())
	}
	if follow > 0 {
		fmt.Fprintf(w, "%d × later stages, which read what these compute\n", follow)
	}
	if p.Backend == backend.Go {
		var cannot []string
		for _, s := range stages {
			if s.Run+s.Retry > 0 && backend.GoRefuses(s.Stage) != "" {
				cannot = append(cannot, s.Stage)
			}
		}
		if cannot != nil {
			fmt.Fprintf(w, "\nThe backend go cannot train, so that a run with it fails at %s: name another with --backend.\n", strings.Join(cannot, ", "))
			return
		}
	}
	workers := workersOf(p.Backend)
	fmt.Fprintf(w, "\nabout %s of computation, %s with %s", duration(all.Seconds), duration(p.Wall(workers)), many(workers, "worker"))
	if all.Rough {
		fmt.Fprint(w, " (~ is a guess: nothing of the kind has run in this store)")
	}
	fmt.Fprintln(w)
}

func many(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func seconds(s plan.Stage) string {
	switch {
	case s.Run+s.Retry == 0:
		return "–"
	case s.Rough:
		return "~" + duration(s.Seconds)
	}
	return duration(s.Seconds)
}

// duration writes seconds as people say them.
func duration(s float64) string {
	const year = 365 * 24 * 3600
	if s >= year {
		return fmt.Sprintf("%.3g years", s/year)
	}
	d := time.Duration(s * float64(time.Second))
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 10*time.Minute:
		return fmt.Sprintf("%.1f min", d.Minutes())
	case d < time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	}
	return fmt.Sprintf("%.1f h", d.Hours())
}

func size(s plan.Stage) string {
	if s.Bytes == 0 {
		if s.Run+s.Retry > 0 {
			return "?"
		}
		return "–"
	}
	return bytesText(s.Bytes)
}

func bytesText(n int64) string {
	for _, u := range []struct {
		unit string
		of   int64
	}{{"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}} {
		if n >= u.of {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(u.of), u.unit)
		}
	}
	return fmt.Sprintf("%d B", n)
}

func (p *planned) printJSON(w io.Writer) error {
	type reason struct {
		Count int    `json:"count"`
		Text  string `json:"text"`
	}
	type line struct {
		Stage   string   `json:"stage"`
		Cached  int      `json:"cached"`
		Run     int      `json:"run"`
		Retry   int      `json:"retry"`
		Seconds float64  `json:"seconds"`
		Guess   bool     `json:"guess"`
		Bytes   *int64   `json:"bytes"`
		Reasons []reason `json:"reasons"`
	}
	out := struct {
		Study     string   `json:"study"`
		Backend   string   `json:"backend"`
		Views     int      `json:"views"`
		Trials    int      `json:"trials"`
		Collapsed int      `json:"collapsed"`
		Excluded  []string `json:"excluded"`
		Stages    []line   `json:"stages"`
		Seconds   float64  `json:"seconds"`
		Wall      float64  `json:"wall"`
		Workers   int      `json:"workers"`

		Detect []compare.Detect `json:"detect,omitempty"`
	}{Study: p.loaded.Name, Backend: p.Backend, Views: len(p.views), Trials: len(p.graph.Chains), Collapsed: p.loaded.Collapsed,
		Excluded: []string{}, Workers: workersOf(p.Backend), Wall: p.Wall(workersOf(p.Backend)), Detect: p.detect}
	for _, e := range p.loaded.Excluded {
		out.Excluded = append(out.Excluded, e.String())
	}
	for _, s := range p.Stages() {
		l := line{s.Stage, s.Cached, s.Run, s.Retry, s.Seconds, s.Rough, nil, []reason{}}
		if s.Bytes > 0 {
			l.Bytes = &s.Bytes
		}
		for _, r := range s.Reasons {
			l.Reasons = append(l.Reasons, reason(r))
		}
		out.Stages = append(out.Stages, l)
		out.Seconds += s.Seconds
	}
	return writeJSON(w, out)
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// isPlan reports whether run's argument is a saved plan and not a study, which is a
// folder or a file of CUE.
func isPlan(path string) bool {
	info, err := os.Stat(path)
	if err != nil {
		return strings.HasSuffix(path, ".json") // to say that this plan is not there
	}
	return info.Mode().IsRegular() && filepath.Ext(path) != ".cue"
}
