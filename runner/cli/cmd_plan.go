package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ablate/analysis/compare"
	"ablate/experiments/language"
	"ablate/reports/format"
	"ablate/runner/device"
	"ablate/runner/layout"
	"ablate/runner/phrase"
	"ablate/runner/plan"
	"ablate/runner/project"
	"ablate/runner/resource"
	"ablate/runner/result"
	"ablate/runner/selection"
)

type planOptions struct {
	studyOptions
	only, seeds []string
	output      string
	list, json  bool
}

func (o *planOptions) addFlags(f *pflag.FlagSet) {
	o.studyOptions.addFlags(f)
	f.StringArrayVar(&o.only, "only", nil, "plan only this `ARM`, or one point of a sweep, written as in the table (repeatable)")
	f.StringArrayVar(&o.seeds, "seed", nil, "plan only this seed `S`: 3, or 1.2 for {pretraining: 1, feedback: 2} (repeatable)")
	f.BoolVar(&o.list, "list", false, "list each row and seed with the stages that run for it")
	f.StringVarP(&o.output, "output", "o", "", "also save the plan in this `FILE`")
	f.BoolVar(&o.json, "json", false, "print the plan as JSON")
}

const planFormat = "ablate.plan/1"

// planDocument is what plan prints as JSON.
type planDocument struct {
	head
	Study     string      `json:"study"`
	Backend   string      `json:"backend"`   // class of backend
	Views     int         `json:"views"`     // pairs of a row and a seed that are planned
	Trials    int         `json:"trials"`    // number of distinct trials among the views
	Collapsed int         `json:"collapsed"` // number of points left out because they equal an earlier point of the same arm
	Excluded  []string    `json:"excluded"`  // points that the field where of an arm leaves out
	Stages    []planStage `json:"stages"`
	Seconds   float64     `json:"seconds"`           // estimated computation on one core
	Unknown   int         `json:"unknown,omitempty"` // actions of engines whose time is not known, which seconds and wall leave out
	Wall      float64     `json:"wall"`              // estimated seconds with that many workers
	Workers   int         `json:"workers"`

	Rounds     *planRounds           `json:"rounds,omitempty"` // only for a study in which results decide which further trials run
	Detect     []compare.Detect      `json:"detect,omitempty"`
	Confounded []language.Confounded `json:"confounded"` // arms that differ from the reference in more than one factor

	Unfit   []string              `json:"unfit,omitempty"`   // what stages to run need and this machine does not have, such as "finetune needs 8 CPUs of 2"
	Engines []project.EngineState `json:"engines,omitempty"` // engines of the study, and what probes found
	Lacks   []project.Lack        `json:"lacks,omitempty"`   // folders of pictures that a run needs and that have none yet
}

// planStage is the summary of the actions of a stage.
type planStage struct {
	Stage   string       `json:"stage"`
	Engine  string       `json:"engine,omitempty"`  // that computes the actions
	GPUs    int          `json:"gpus,omitempty"`    // of an engine for each action
	Cached  int          `json:"cached"`            // actions whose results are in the store
	Run     int          `json:"run"`               // actions that a run computes
	Retry   int          `json:"retry"`             // actions that it computes again because they failed or were interrupted
	Failed  int          `json:"failed"`            // actions that it does not compute because they or their inputs failed for good; 'ablate retry' changes that
	Seconds float64      `json:"seconds"`           // estimated, on one core
	Unknown int          `json:"unknown,omitempty"` // actions to run of an engine that has not done any with so many GPUs in this store: their time is not known, and seconds leaves them out
	Guess   bool         `json:"guess"`             // no action of the stage has run in this store: seconds is a guess
	Bytes   *int64       `json:"bytes"`             // estimated size on disk; null if no action of the stage has run, and its engine does not estimate it
	Flops   float64      `json:"flops,omitempty"`   // floating-point operations of all actions to run, by the engine's estimate
	Memory  int64        `json:"memory,omitempty"`  // main memory of the largest action to run in bytes, by the engine's estimate
	Reasons []planReason `json:"reasons"`
}

// planReason is one reason why actions of a stage run.
type planReason struct {
	Count int    `json:"count"` // number of actions
	Text  string `json:"text"`
}

func newPlan(g *globals) *cobra.Command {
	var o planOptions
	cmd := &cobra.Command{
		Use:   "plan STUDY",
		Short: "List what a run would compute, why, and what it would cost",
		Long: `Lists, for each stage, how many results are in the store (cached), how many a run
computes (run), how many it computes again because the last attempt failed or was
interrupted (retry), and how many it leaves alone because they failed for good (failed;
'ablate retry' lets a run try them again). It also prints why: the parameters in which a stage differs from
the most similar earlier run. Time and disk space are estimated from earlier results of
the same stage in the store. An engine that estimates its tasks also says how many floating-point
operations they are and how much memory they need. Nothing is run.

-o saves the plan. 'ablate run FILE' then runs exactly that plan, or lists what has
changed since.` + selection.Help + `
` + exitHelp,
		Example: "  ablate plan experiments/quickstart\n  ablate plan experiments/quickstart -o plan.json && ablate run plan.json",
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return runPlan(cmd.Context(), g, o, args[0]) },
	}
	o.addFlags(cmd.Flags())
	return cmd
}

func runPlan(ctx context.Context, g *globals, o planOptions, path string) error {
	if o.output != "" && len(o.seeds) > 0 {
		return usagef("plan: a saved plan always has all seeds: leave out --seed or -o")
	}
	p, err := g.plan(ctx, path, o.studyOptions, o.only, o.seeds)
	if err != nil {
		return err
	}
	if o.output != "" {
		if err := p.Save(o.output, path, o.set, o.only); err != nil {
			return err
		}
		zerolog.Ctx(ctx).Info().Str("file", o.output).Msg("plan saved; 'ablate run " + o.output + "' runs exactly this plan")
	}
	switch {
	case o.json:
		return p.printJSON(g.stdout)
	case o.list:
		p.list(g.stdout)
		return nil
	}
	p.print(g.stdout)
	return nil
}

// planned is a plan with its study.
type planned struct {
	*plan.Plan
	project   project.Project // with the actions of views
	views     []language.View // those that --only and --seed select
	detect    []compare.Detect
	needs     []string    // detect in sentences
	resources plan.Needs  // what the stages need
	rounds    *planRounds // nil if the study runs in one round
	workers   int         // number of stages that run at a time on this machine
	gpu       string      // model of this machine's GPUs; empty without one
	unfit     []string    // what stages to run need and this machine does not have
	engines   []project.EngineState
	estimates *project.Estimates
	path      string // of the study, as the user named it
}

// planRounds estimates the size of a study in which results decide which further trials
// run: more seeds after a look, or the points that were chosen. With early stopping, they
// decide which trials run to their end, and trials are these.
type planRounds struct {
	Trials          int     `json:"trials"`  // at most, including those of the plan
	Seconds         float64 `json:"seconds"` // of computation on one core, at most
	ExpectedTrials  float64 `json:"expectedTrials"`
	ExpectedSeconds float64 `json:"expectedSeconds"`
}

// plan makes the plan of a run of the selected rows and seeds.
func (g *globals) plan(ctx context.Context, path string, o studyOptions, only, seeds []string) (*planned, error) {
	p, err := g.open(ctx, path, o)
	if err != nil {
		return nil, err
	}
	if err := runs(p.Study); err != nil {
		return nil, err
	}
	views, err := selected(p.Study, only, seeds)
	if err != nil {
		return nil, err
	}
	p.Draft = true
	if p, err = p.LayOut(ctx, views); err != nil {
		return nil, err
	}
	class, err := p.Class(o.backend)
	if err != nil {
		return nil, err
	}
	needs, err := plan.NewNeeds(p.Study, class)
	if err != nil {
		return nil, err
	}
	gpu := resource.GPUNames(ctx)
	todo, err := plan.New(p.Graph, p.Store, p.Dir, class, needs, gpu)
	if err != nil {
		return nil, err
	}
	missing := todo.ToRun()
	estimates, err := estimated(ctx, p, missing, needs)
	if err != nil {
		return nil, err
	}
	todo.Use(estimates.Of)
	needs = needs.Estimated(missing, estimates.Of)
	out := &planned{Plan: todo, gpu: gpu, project: p, path: path, views: views, resources: needs, workers: device.Workers(ctx, class), estimates: estimates}
	if len(p.Study.Engines) > 0 {
		if out.engines, err = p.EngineStates(ctx, hardware(ctx, 0), hardware(ctx, 1)); err != nil {
			return nil, err
		}
	}
	// Without these, stages need what any machine has.
	if s := p.Study; len(s.Machine) > 0 || len(s.EngineResources) > 0 || len(s.MachineEngines) > 0 || estimates.Any() {
		c, err := resource.Most(ctx, class == device.CUDA)
		if err != nil {
			return nil, err
		}
		out.unfit = plan.Misfits(missing, plan.On(needs.Of, class, c), c)
	}
	whole := len(only) == 0 && len(seeds) == 0
	if len(p.Study.Detect) == 0 && !(whole && p.Rounded()) {
		return out, nil
	}
	// The number of seeds that a difference needs depends on the whole study.
	if len(views) < len(p.Study.Views) {
		if p, err = p.LayOut(ctx, p.Study.Views); err != nil {
			return nil, err
		}
	}
	r, err := gather(ctx, p, class)
	if err != nil {
		return nil, err
	}
	if len(p.Study.Detect) > 0 {
		out.detect, out.needs = r.Ablation.Detect, format.Detect(r.Ablation)
	}
	if whole && p.Rounded() {
		out.rounds, err = out.worst(ctx, r)
	}
	return out, err
}

// estimated asks engines what actions to run will need. One that takes long is announced.
func estimated(ctx context.Context, p project.Project, actions []*layout.Action, needs plan.Needs) (*project.Estimates, error) {
	return p.Estimate(ctx, actions, needs.Of, func(engine string, tasks int) {
		zerolog.Ctx(ctx).Info().Str("engine", engine).Int("tasks", tasks).Msg("asking the engine what its tasks will need, which may take minutes, once")
	})
}

// worst estimates the size of a study that runs in rounds.
func (p *planned) worst(ctx context.Context, r *result.Result) (*planRounds, error) {
	if p.project.Study.Halving != nil {
		return p.halved(ctx)
	}
	whole := p.project.Whole()
	whole, err := whole.LayOut(ctx, whole.Study.Views)
	if err != nil {
		return nil, err
	}
	all, err := plan.New(whole.Graph, whole.Store, whole.Dir, p.Backend, p.resources, p.gpu)
	if err != nil {
		return nil, err
	}
	now, most := plan.Total(p.Stages()).Seconds, plan.Total(all.Stages()).Seconds
	out := &planRounds{Seconds: most, Trials: len(whole.Graph.Chains), ExpectedTrials: float64(len(p.project.Graph.Chains)), ExpectedSeconds: now}
	further := len(whole.Study.Views) - len(p.views)
	if expected := p.project.Expected(r.Ablation); further > 0 {
		share := min(1, max(0, expected-float64(len(p.views)))/float64(further))
		out.ExpectedTrials += share * float64(out.Trials-len(p.project.Graph.Chains))
		out.ExpectedSeconds += share * (most - now)
	}
	return out, nil
}

// halved estimates the size of a study with early stopping: at most, as if no further row
// stopped.
func (p *planned) halved(ctx context.Context) (*planRounds, error) {
	parts, shares := p.project.Parts()
	seconds := make([]float64, len(parts))
	for i, part := range parts {
		part, err := part.LayOut(ctx, part.Study.Views)
		if err != nil {
			return nil, err
		}
		all, err := plan.New(part.Graph, part.Store, part.Dir, p.Backend, p.resources, p.gpu)
		if err != nil {
			return nil, err
		}
		seconds[i] = plan.Total(all.Stages()).Seconds
	}
	ends, open := p.project.Finishing()
	out := &planRounds{Trials: ends + len(open), Seconds: seconds[len(seconds)-1], ExpectedTrials: float64(ends), ExpectedSeconds: seconds[0]}
	decided, last := len(p.project.Study.Halving.At)-len(shares), map[int]int{} // number of trials by their last rung
	for _, rungs := range open {
		last[rungs]++
	}
	for i, share := range shares {
		out.ExpectedSeconds += share * (seconds[i+1] - seconds[i])
		out.ExpectedTrials += share * float64(last[decided+i+1])
	}
	return out, nil
}

// list prints one line per view with the stages that run for it.
func (p *planned) list(w io.Writer) {
	for i, stages := range p.Missing(p.project.Graph, p.views) {
		if stages == nil {
			stages = []string{"nothing to run"}
		}
		v := p.views[i]
		fmt.Fprintf(w, "%s  %s: %s\n", v.Trial.ID().Short(), v, strings.Join(stages, ", "))
	}
}

// listed is the largest number of excluded points, and of reasons of a stage, that are
// printed.
const listed = 8

func (p *planned) print(w io.Writer) {
	fmt.Fprintf(w, "%s\n\n%s\n", p.project.Study.Title, selection.Summary(p.views))
	p.printExcluded(w)
	printConfounded(w, p.project.Study)
	stages := p.Stages()
	all := plan.Total(stages)
	fmt.Fprintln(w)
	printStages(w, stages, all)
	p.printEngines(w)
	if len(p.needs) > 0 {
		fmt.Fprintln(w, "\n"+strings.Join(p.needs, "\n"))
	}
	if r := p.rounds; r != nil && p.project.Study.Halving != nil {
		h := p.project.Study.Halving
		fmt.Fprintf(w, "\nRows are compared by their proxy after %s steps of fine-tuning, and %s of them go on: about %.0f of the %s that are not stopped are expected to run to their end. That is about %s of computation, and at most %s if no row stopped: early stopping may save %s.\n",
			steps(h.At), percent(h.Keep), r.ExpectedTrials, phrase.Count(r.Trials, "trial"), phrase.Seconds(r.ExpectedSeconds), phrase.Seconds(r.Seconds), phrase.Seconds(r.Seconds-r.ExpectedSeconds))
	} else if r != nil {
		how := "when a point is chosen"
		if p.project.Study.Looks != nil {
			how = "with --until"
		}
		fmt.Fprintf(w, "\nThe results so far ask for %s. More may run %s: at most %s and %s of computation in total; about %.0f and %s are expected.\n",
			phrase.Count(len(p.project.Graph.Chains), "trial"), how, phrase.Count(r.Trials, "trial"), phrase.Seconds(r.Seconds), r.ExpectedTrials, phrase.Seconds(r.ExpectedSeconds))
	}
	if _, open := p.project.Finishing(); all.ToRun() == 0 && all.Failed == 0 && len(open) > 0 {
		fmt.Fprintln(w, "\nNothing to run before the rows are compared: 'ablate run' compares them and goes on.")
		return
	}
	if all.ToRun() == 0 && all.Failed == 0 {
		fmt.Fprintln(w, "\nNothing to run: every result is there.")
		return
	}
	fmt.Fprintln(w)
	if all.ToRun() == 0 {
		fmt.Fprintln(w, "Nothing to run: what is missing has failed for good.")
		p.printReasons(w, plan.Gather(stages))
		return
	}
	p.printReasons(w, plan.Gather(stages))
	if cannot := p.Refused(stages); cannot != nil {
		fmt.Fprintf(w, "\nThe backend go cannot train, so a run with it fails at %s: name another backend with --backend.\n", strings.Join(cannot, ", "))
		return
	}
	workers := p.workers
	fmt.Fprintf(w, "\n%s %s of computation, %s with %s", about(all), phrase.Seconds(all.Seconds), phrase.Seconds(p.Wall(workers)), phrase.Count(workers, "worker"))
	if all.Rough {
		fmt.Fprint(w, " (~ marks a guess: the stage has not run in this store)")
	}
	fmt.Fprintln(w)
	p.printUnknown(w, stages)
	for _, note := range p.estimates.Notes {
		fmt.Fprintln(w, note)
	}
	for _, l := range p.project.Lacks {
		fmt.Fprintf(w, "Before 'ablate run', put PNG pictures into %s (%s): %s.\n", l.Path, l.Axis, l.Why)
	}
	if len(p.unfit) > 0 {
		fmt.Fprintf(w, "This machine is too small: %s. Lower that in the study's resources or machine.cue, or run on a larger machine.\n", strings.Join(p.unfit, "; "))
	}
}

// steps returns "100", or "100 and 200".
func steps(at []int) string {
	var out []string
	for _, n := range at {
		out = append(out, strconv.Itoa(n))
	}
	if n := len(out); n > 1 {
		return strings.Join(out[:n-1], ", ") + " and " + out[n-1]
	}
	return out[0]
}

func percent(share float64) string { return strconv.FormatFloat(100*share, 'g', 3, 64) + "%" }

// printExcluded prints the points of sweeps that the study leaves out.
// printEngines prints what is known of the study's engines.
func (p *planned) printEngines(w io.Writer) {
	if len(p.engines) > 0 {
		fmt.Fprintln(w)
	}
	for _, e := range p.engines {
		probed := map[string]string{project.Here: "probed on this hardware", project.Elsewhere: "probed on other hardware",
			project.Never: fmt.Sprintf("never probed ('ablate probe --study %s %s'), by its own word", phrase.Shell(p.path), e.Name)}[e.Probed]
		fmt.Fprintf(w, "engine %s: %s: %s\n", e.Name, probed, e.Promises)
		for _, r := range e.Refuted {
			fmt.Fprintf(w, "  the probe refuted: %s\n", r)
		}
	}
}

func (p *planned) printExcluded(w io.Writer) {
	s := p.project.Study
	if s.Collapsed > 0 {
		fmt.Fprintf(w, "%s left out, equal to an earlier one of the same arm\n", phrase.Count(s.Collapsed, "point"))
	}
	n := len(s.Excluded)
	if n == 0 {
		return
	}
	fmt.Fprintf(w, "%s excluded by where:\n", phrase.Count(n, "point"))
	for _, e := range s.Excluded[:min(n, listed)] {
		fmt.Fprintf(w, "  %s\n", e)
	}
	if n > listed {
		fmt.Fprintf(w, "  and %d more, which --json lists\n", n-listed)
	}
}

// printStages prints a line for each stage and for all. Where engines have GPUs, it also has
// their number and hours; where they estimate their tasks, operations and memory.
func printStages(w io.Writer, stages []plan.Stage, all plan.Stage) {
	gpus := slices.ContainsFunc(stages, func(s plan.Stage) bool { return s.Engine != "" && s.GPUs > 0 })
	estimates := slices.ContainsFunc(stages, func(s plan.Stage) bool { return s.Flops > 0 || s.Memory > 0 })
	width := 10
	for _, s := range stages {
		width = max(width, len(s.Name()))
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(name, cached, run, retry, failed, flops, memory, number, hours, time, disk any) {
		fmt.Fprintf(tw, "%-*s\t%v\t%v\t%v\t%v\t", width, name, cached, run, retry, failed)
		if estimates {
			fmt.Fprintf(tw, "%v\t%v\t", flops, memory)
		}
		if gpus {
			fmt.Fprintf(tw, "%v\t%v\t", number, hours)
		}
		fmt.Fprintf(tw, "%v\t%v\t\n", time, disk)
	}
	row("stage", "cached", "run", "retry", "failed", "FLOP", "memory", "GPUs", "GPU hours", "time", "disk")
	for _, s := range stages {
		number := "–"
		if s.GPUs > 0 {
			number = strconv.Itoa(s.GPUs)
		}
		row(s.Name(), s.Cached, s.Run, s.Retry, s.Failed, operations(s), memory(s), number, gpuHours(s), seconds(s), size(s))
	}
	row(all.Stage, all.Cached, all.Run, all.Retry, all.Failed, operations(all), memory(all), "", gpuHours(stages...), seconds(all), size(all))
	_ = tw.Flush() // output keeps the error
}

// gpuHours returns the hours of GPUs that stages take together.
func gpuHours(stages ...plan.Stage) string {
	hours, run, unknown, rough := 0., 0, 0, ""
	for _, s := range stages {
		if s.GPUs == 0 {
			continue
		}
		hours += s.Seconds / 3600 * float64(s.GPUs)
		run, unknown = run+s.ToRun(), unknown+s.Unknown
		if s.Rough {
			rough = "~"
		}
	}
	// Two digits, and no exponent where a task is short.
	two, _ := strconv.ParseFloat(fmt.Sprintf("%.2g", hours), 64)
	text := rough + strconv.FormatFloat(two, 'f', -1, 64)
	if hours >= 10 {
		text = fmt.Sprintf("%s%.0f", rough, hours)
	}
	switch {
	case run == 0:
		return "–"
	case unknown == run:
		return "?"
	case unknown > 0:
		return "≥ " + text
	}
	return text
}

// about returns the word before an estimate.
func about(s plan.Stage) string {
	if s.Unknown > 0 {
		return "at least"
	}
	return "about"
}

// printUnknown prints what is not in an estimate of time.
func (p *planned) printUnknown(w io.Writer, stages []plan.Stage) {
	var names []string
	actions, with := map[string]int{}, map[string]string{} // by engine
	for _, s := range stages {
		if s.Unknown > 0 && s.GPUs > 0 {
			with[s.Engine] = " with as many GPUs"
			if p.gpu != "" {
				with[s.Engine] += " of the model " + p.gpu
			}
		}
		if s.Unknown > 0 && !slices.Contains(names, s.Engine) {
			names = append(names, s.Engine)
		}
		actions[s.Engine] += s.Unknown
	}
	for _, n := range names {
		fmt.Fprintf(w, "Not included, marked by ?: %s of engine %s, which has not done any like them in this store%s.\n", phrase.Count(actions[n], "task"), n, with[n])
	}
}

// printReasons prints why stages run.
func (p *planned) printReasons(w io.Writer, why plan.Reasons) {
	if len(why.First) > 0 {
		fmt.Fprintf(w, "%s: %s\n", strings.Join(why.First, ", "), plan.FirstOfKind)
	}
	shown := map[string]int{} // by stage
	for _, r := range why.Own {
		switch {
		case shown[r.Stage] == listed:
			fmt.Fprintf(w, "%s: and other reasons, which --json lists\n", r.Stage)
		case shown[r.Stage] < listed:
			fmt.Fprintf(w, "%d × %s: %s\n", r.Count, r.Stage, r.Text)
		}
		shown[r.Stage]++
	}
	if why.NewSeeds > 0 {
		fmt.Fprintf(w, "%d × new seeds: %s\n", why.NewSeeds, strings.Join(p.SeedsOf(p.project.Graph, p.views), ", "))
	}
	if why.Follow > 0 {
		fmt.Fprintf(w, "%d × later stages, which read the results of these\n", why.Follow)
	}
}

func seconds(s plan.Stage) string {
	switch {
	case s.ToRun() == 0:
		return "–"
	case s.Unknown == s.ToRun():
		return "?"
	case s.Unknown > 0:
		return "≥ " + phrase.Seconds(s.Seconds)
	case s.Rough:
		return "~" + phrase.Seconds(s.Seconds)
	}
	return phrase.Seconds(s.Seconds)
}

// operations returns estimated floating-point operations with a prefix: "1.2 P" are 1.2e15.
func operations(s plan.Stage) string {
	if s.Flops == 0 {
		return "–"
	}
	x, prefix := s.Flops/1e6, "MGTPEZY"
	i := 0
	for ; x >= 1000 && i < len(prefix)-1; i++ {
		x /= 1000
	}
	return fmt.Sprintf("~%.3g %c", x, prefix[i])
}

func memory(s plan.Stage) string {
	if s.Memory == 0 {
		return "–"
	}
	return "~" + phrase.Bytes(s.Memory)
}

func size(s plan.Stage) string {
	if s.Bytes == 0 {
		if s.ToRun() > 0 {
			return "?"
		}
		return "–"
	}
	return phrase.Bytes(s.Bytes)
}

func (p *planned) printJSON(w io.Writer) error {
	out := planDocument{head: head{planFormat}, Study: p.project.Study.Name, Backend: p.Backend, Views: len(p.views), Trials: len(p.project.Graph.Chains), Collapsed: p.project.Study.Collapsed,
		Excluded: []string{}, Workers: p.workers, Wall: p.Wall(p.workers), Rounds: p.rounds, Detect: p.detect,
		Engines: p.engines, Unfit: p.unfit, Lacks: p.project.Lacks, Confounded: append([]language.Confounded{}, p.project.Study.Confounded...)}
	for _, e := range p.project.Study.Excluded {
		out.Excluded = append(out.Excluded, e.String())
	}
	for _, s := range p.Stages() {
		l := planStage{Stage: s.Stage, Engine: s.Engine, Cached: s.Cached, Run: s.Run, Retry: s.Retry, Failed: s.Failed, Seconds: s.Seconds, Unknown: s.Unknown, Guess: s.Rough, Flops: s.Flops, Memory: s.Memory, Reasons: []planReason{}}
		if s.Engine != "" {
			l.GPUs = s.GPUs
		}
		if s.Bytes > 0 {
			l.Bytes = &s.Bytes
		}
		for _, r := range s.Reasons {
			l.Reasons = append(l.Reasons, planReason(r))
		}
		out.Stages = append(out.Stages, l)
		out.Seconds, out.Unknown = out.Seconds+s.Seconds, out.Unknown+s.Unknown
	}
	return printJSON(w, out)
}

// isPlan reports whether the argument of run is a saved plan. A study is a folder or a
// CUE file.
func isPlan(path string) bool {
	info, err := os.Stat(path)
	if err != nil {
		return strings.HasSuffix(path, ".json") // so that the error is about a missing plan
	}
	return info.Mode().IsRegular() && filepath.Ext(path) != ".cue"
}
