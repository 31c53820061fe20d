package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ablate/experiments/language"
	"ablate/reports/text"
	"ablate/runner/cluster"
	"ablate/runner/device"
	"ablate/runner/failure"
	"ablate/runner/layout"
	"ablate/runner/lookup"
	"ablate/runner/phrase"
	"ablate/runner/plan"
	"ablate/runner/program"
	"ablate/runner/project"
	"ablate/runner/report"
	"ablate/runner/result"
	"ablate/runner/run"
	"ablate/runner/selection"
	"ablate/runner/worker"
)

type runOptions struct {
	studyOptions
	only, seeds    []string
	limit          int
	part           bool // the run computes a part of the study, after which nothing is decided
	failFast, json bool
	until          string
	computeOptions
	launchOptions
}

// computeOptions are the flags of commands that compute. None of them changes a result.
type computeOptions struct {
	capacityOptions
	save, timeout, maxTime time.Duration
}

func (o *computeOptions) addFlags(f *pflag.FlagSet) {
	o.capacityOptions.addFlags(f)
	f.DurationVar(&o.save, "save-every", 5*time.Minute, "save the state of a training at this `INTERVAL`, so that one that is killed goes on from there (0: only when it is stopped)")
	f.DurationVar(&o.timeout, "timeout", 0, "stop a stage that takes longer than this `TIME`, which then has failed (default: no limit)")
	f.DurationVar(&o.maxTime, "max-time", 0, "stop after this `TIME`: start no stage that would not finish by then, and save the states of trainings (default: no limit)")
}

// check returns an error if a value is out of range.
func (o *computeOptions) check(command string, f *pflag.FlagSet) error {
	switch {
	case o.save != 0 && o.save < time.Second:
		return usagef("%s: --save-every is %v; must be 0 or at least 1s", command, o.save)
	case o.timeout < 0:
		return usagef("%s: --timeout is %v; must not be negative", command, o.timeout)
	case o.maxTime < 0:
		return usagef("%s: --max-time is %v; must not be negative", command, o.maxTime)
	}
	return o.capacityOptions.check(command, f)
}

func (o *runOptions) addFlags(f *pflag.FlagSet) {
	o.studyOptions.addFlags(f)
	o.computeOptions.addFlags(f)
	o.launchOptions.addFlags(f)
	f.StringArrayVar(&o.only, "only", nil, "run only this `ARM`, or one point of a sweep, written as in the table (repeatable); tables show all arms")
	f.StringArrayVar(&o.seeds, "seed", nil, "run only this seed `S`: 3, or 1.2 for {pretraining: 1, feedback: 2} (repeatable)")
	f.IntVar(&o.limit, "limit", 0, "run at most `N` of the missing stages, then stop")
	f.StringVar(&o.until, "until", "", "add seeds at each of the study's looks until its comparisons are settled: `GOAL` is significant or precise")
	f.BoolVar(&o.failFast, "fail-fast", false, "stop at the first failure")
	f.BoolVar(&o.json, "json", false, "print the table and the paths of results and report as JSON")
}

const runFormat = "ablate.run/1"

// runDocument is what run prints as JSON.
type runDocument struct {
	head
	Table   text.Document `json:"table"`
	Results string        `json:"results"`        // path of the folder with the study's tables
	Report  string        `json:"report"`         // path of the report's page; empty if no report was written
	Left    int           `json:"left,omitempty"` // number of actions that the run left because of --limit, --max-time or --fail-fast
}

func newRun(g *globals) *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run STUDY|PLAN",
		Short: "Run the missing stages of a study, print its table and write its report",
		Long: `Runs every stage of every trial whose result is not in the store. A trial is one arm
with one seed; trials that need the same stage share one result. If a stage fails, the
stages that do not depend on it still run. Then the command writes the study's Arrow
tables and HTML report, and prints the ablation table and the path of the report.

STUDY is a folder or file of a CUE package. PLAN is a file that 'ablate plan -o' wrote:
the command runs exactly that plan. If the study has changed since the plan was made,
nothing runs, the changes are listed, and the exit code is 3.

A run may be stopped or killed at any time: finished stages are kept, and the next run
continues from them. On Ctrl-C, SIGTERM and SIGUSR2, trainings save their state within a
minute and stop; the next run continues them from there. A training that is killed goes
on from its last state, see --save-every. The results have the same bytes as those of an
undisturbed run.

On a terminal the command shows a view: stages and arms that are done, what each process
computes and how far it is, the loss of trainings, the throughput and the time left.
Otherwise, and where the environment variable CI is set, it logs a line for each change.

--until adds seeds while the study runs. The study must declare looks, the numbers of
seeds at which it is tested (compare: looks: [3, 5, 8, 12]). The command runs the seeds
of the first look and tests the comparisons. It then runs the seeds of the next look for
the rows whose comparison is not settled. With --until significant, a comparison is
settled when it is significant or equivalent, or when the last look is unlikely to find
a difference (power below 10% at the difference seen so far). With --until precise, it
is settled when its interval is as narrow as compare: precise asks for. False alarms
stay below 5% over all looks together.` + selection.Help + `
` + exitHelp,
		Example: "  ablate run experiments/quickstart\n  ablate run experiments/quickstart --set finetune.beta=0.1 --only 'all data'",
		Args:    cobra.ExactArgs(1),
		PreRunE: func(cmd *cobra.Command, _ []string) error { return o.check(cmd.Flags()) },
		RunE:    func(cmd *cobra.Command, args []string) error { return runRun(cmd.Context(), g, o, args[0]) },
	}
	o.addFlags(cmd.Flags())
	return cmd
}

// check returns an error if a value is out of range.
func (o *runOptions) check(f *pflag.FlagSet) error {
	if err := o.computeOptions.check("run", f); err != nil {
		return err
	}
	if err := o.launchOptions.check(f); err != nil {
		return err
	}
	return checkCounts("run", f, "limit")
}

// checkCounts returns an error if a flag that counts something is set to less than 1.
func checkCounts(command string, f *pflag.FlagSet, names ...string) error {
	for _, name := range names {
		if n, _ := f.GetInt(name); f.Changed(name) && n < 1 {
			return usagef("%s: --%s is %d; must be 1 or more", command, name, n)
		}
	}
	return nil
}

func runRun(ctx context.Context, g *globals, o runOptions, path string) error {
	log, start := zerolog.Ctx(ctx), time.Now()
	goal, err := o.goal(path)
	if err != nil {
		return err
	}
	o.part = len(o.only) > 0 || len(o.seeds) > 0 || isPlan(path)
	p, todo, asked, err := g.toRun(ctx, o, path)
	if err != nil {
		return err
	}
	if err := reaches(p.Study, goal); err != nil {
		return err
	}
	name, err := runBackend(ctx, p, asked)
	if err != nil {
		return err
	}
	var d device.Device // chosen when something has to be computed
	class := name
	if name == device.Auto && o.launcher != "" {
		return usagef("run: the machines of the workers decide the backend: name it with --backend xla:cuda or --backend xla:cpu")
	}
	if name == device.Auto {
		if d, err = device.Choose(ctx, name, g.fetchBar()); err != nil {
			return err
		}
		class = d.Class
	}
	if err := p.Decided(class); err != nil {
		return usageError{err}
	}
	for done := 0; ; {
		found, err := result.Find(ctx, p, todo, class)
		if err != nil {
			return err
		}
		complete := found.Len() == len(todo.Actions) && len(found.Damaged) == 0
		claimed, err := p.Claim(class)
		if err != nil && complete && (errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)) {
			log.Warn().Err(err).Msg("study " + p.Study.Name + ": nothing to run; tables and report stay as they are")
			return g.printReadOnly(ctx, p, class, o)
		}
		if err != nil {
			return err
		}
		p = claimed
		if err := p.SaveEngines(ctx); err != nil {
			return err
		}
		out := &run.Outcome{Outputs: found.Outputs}
		if complete {
			log.Info().Int("cached", found.Len()).Msg("study " + p.Study.Name + ": nothing to run")
		} else {
			if d.Class == "" && o.launcher == "" {
				if d, err = device.Choose(ctx, name, g.fetchBar()); err != nil {
					return p.Unavailable(name, err)
				}
			}
			if err := p.AddRoots(class, todo, found); err != nil {
				log.Warn().Err(err).Msg("what the study needs cannot be recorded for 'ablate gc'")
			}
			rest := o.after(done, time.Since(start))
			if o.launcher != "" {
				out, err = g.launch(ctx, p, todo, class, rest)
			} else {
				out, err = g.compute(ctx, p, todo, found, d, rest)
			}
			if err != nil {
				return err
			}
			done += out.Tried()
			log.Info().Int("ran", out.Ran).Int("cached", out.Cached).Int("failed", len(out.Failures)).
				Str("took", took(time.Since(start))).Msg("study " + p.Study.Name)
		}
		if out.Ran == 0 && out.Left == 0 {
			if todo != p.Graph {
				if found, err = result.Find(ctx, p, p.Graph, class); err != nil {
					return err
				}
			}
			if same, err := g.repeat(p, class, found, out, o); same || err != nil {
				return err
			}
		}
		next, more, err := g.next(ctx, p, class, out, o, goal)
		if err != nil {
			return err
		}
		if more {
			p, todo = next, next.Graph
			rest := o.after(done, time.Since(start))
			if more = rest.limit >= 0 && rest.maxTime >= 0; !more {
				if out.Left, err = missing(p, class); err != nil {
					return err
				}
				if rest.maxTime < 0 {
					out.Stopped = "--max-time"
				}
			}
		}
		if !more {
			return g.conclude(ctx, p, class, out, o)
		}
	}
}

// after returns the options of a round that begins when the run has computed a number of actions in a
// time. A limit that is used up is negative.
func (o runOptions) after(done int, took time.Duration) runOptions {
	if o.limit > 0 {
		if o.limit -= done; o.limit <= 0 {
			o.limit = -1
		}
	}
	if o.maxTime > 0 {
		if o.maxTime -= took; o.maxTime <= 0 {
			o.maxTime = -1
		}
	}
	return o
}

// missing returns how many actions of a project have no result.
func missing(p project.Project, class string) (int, error) {
	found, err := p.Find(p.Graph, class)
	if err != nil {
		return 0, err
	}
	return len(p.Graph.Actions) - found.Len(), nil
}

// goal returns the goal that --until names.
func (o runOptions) goal(path string) (project.Goal, error) {
	switch goal := project.Goal(o.until); {
	case goal == project.Nothing:
		return goal, nil
	case goal != project.Significant && goal != project.Precise:
		return "", usagef("run: --until is %q; must be %s or %s", o.until, project.Significant, project.Precise)
	case len(o.only) > 0 || len(o.seeds) > 0 || o.limit > 0 || isPlan(path):
		return "", usagef("run: --until decides which rows and seeds run: leave out --only, --seed and --limit, and give a study, not a plan")
	default:
		return goal, nil
	}
}

// reaches returns an error if a study does not declare what a goal needs.
func reaches(s *language.Study, goal project.Goal) error {
	switch {
	case goal == project.Nothing:
		return nil
	case s.Looks == nil:
		return usagef("run: --until tests a study at its looks, and study %s declares no looks: write compare: looks: [3, 5, 8, 12] in it, the numbers of seeds at which to test", s.Name)
	case goal == project.Precise && len(s.Precise) == 0:
		return usagef("run: --until precise needs the widths of intervals, and study %s declares no widths: write compare: precise: alignment: 0.04 in it, the widest interval that is narrow enough", s.Name)
	}
	return nil
}

// next returns the project with the views that the results of a round ask for, and their
// actions. It returns false if they ask for none, or if the round is incomplete.
func (g *globals) next(ctx context.Context, p project.Project, class string, out *run.Outcome, o runOptions, goal project.Goal) (project.Project, bool, error) {
	if !p.Rounded() || o.part || out.Left > 0 || p.Study.Halving == nil && failed(p, out.Failures) != nil {
		return p, false, nil
	}
	r, err := gather(ctx, p, class)
	if err != nil {
		return p, false, err
	}
	if p.Study.Halving != nil {
		return halve(ctx, r)
	}
	next, rows, more := p.Next(r.Ablation, goal)
	if !more {
		return p, false, nil
	}
	if next, err = next.LayOut(ctx, next.Study.Views); err != nil {
		return p, false, err
	}
	if len(rows) > 0 {
		zerolog.Ctx(ctx).Info().Int("settled", len(r.Ablation.Rows)-1-len(rows)).Int("open", len(rows)).Strs("rows", rows).Msg("study " + p.Study.Name + ": rows that are not settled go on to the next look")
	}
	return next, true, next.SaveRounds()
}

// halve returns the project in which rows were stopped early or go on by their results, and
// its actions. It returns false if nothing more can be decided.
func halve(ctx context.Context, r *result.Result) (project.Project, bool, error) {
	next, on, stopped, more, err := r.Project.Halve(r.Class, r.RungScore(program.Identity()))
	if err != nil || !more {
		return r.Project, false, err
	}
	if next, err = next.LayOut(ctx, next.Study.Views); err != nil {
		return r.Project, false, err
	}
	zerolog.Ctx(ctx).Info().Strs("stopped", stopped).Strs("go on", on).Msg("study " + r.Project.Study.Name + ": rows were compared by their proxy")
	return next, true, next.SaveRounds()
}

// toRun loads a study, or the study of a saved plan. It returns the project with all
// actions of the study, the actions to run, and the class of backend that the flags or
// the plan name, if any.
func (g *globals) toRun(ctx context.Context, o runOptions, path string) (p project.Project, todo *layout.Graph, asked string, err error) {
	if isPlan(path) {
		saved, err := g.unchanged(ctx, path, o)
		if err != nil {
			return p, nil, "", err
		}
		p, err = saved.project.LayOut(ctx, saved.project.Study.Views)
		return p, saved.project.Graph, saved.Backend, err
	}
	if p, err = g.load(ctx, path, o.studyOptions); err != nil {
		return p, nil, "", err
	}
	views, err := selected(p.Study, o.only, o.seeds)
	if err != nil {
		return p, nil, "", err
	}
	if len(views) == len(p.Study.Views) {
		return p, p.Graph, o.backend, nil
	}
	part, err := p.LayOut(ctx, views)
	return p, part.Graph, o.backend, err
}

// unchanged opens a saved plan. It is an error if a run would now do something else than
// the plan.
func (g *globals) unchanged(ctx context.Context, name string, o runOptions) (*planned, error) {
	if len(o.set) > 0 || len(o.only) > 0 || len(o.seeds) > 0 || o.backend != "" {
		return nil, usagef("run: a plan fixes parameters, arms, seeds and backend: leave out --set, --only, --seed and --backend, or run the study")
	}
	saved, err := plan.Open(name)
	if err != nil {
		return nil, err
	}
	now, err := g.plan(ctx, saved.Study, studyOptions{set: saved.Set, backend: saved.Backend}, saved.Only, nil)
	if err != nil {
		return nil, err
	}
	if changes := saved.Changes(now.Plan); len(changes) > 0 {
		return nil, differenceError{fmt.Errorf("plan %s: nothing was run, because this has changed since the plan was made:\n  %s\nmake a new plan, or run %s itself",
			name, strings.Join(changes, "\n  "), saved.Study)}
	}
	return now, nil
}

// runBackend returns the backend that a run uses. It warns if the study's results are of
// another one.
func runBackend(ctx context.Context, p project.Project, asked string) (string, error) {
	named, err := device.Named()
	if err != nil {
		return "", err
	}
	name, err := p.RunBackend(asked, named)
	if errors.As(err, new(*project.ConflictError)) {
		return "", usageError{err}
	}
	if before := p.Record.Backend; err == nil && before != "" && before != name {
		zerolog.Ctx(ctx).Warn().Str("before", before).Str("now", name).Msg("each backend has its own results: stages whose results for this backend are not in the store are computed again")
	}
	return name, err
}

// compute runs the missing actions of a graph and shows the progress.
func (g *globals) compute(ctx context.Context, p project.Project, todo *layout.Graph, found *lookup.Found, d device.Device, o runOptions) (*run.Outcome, error) {
	needs, err := writeRunFile(p, todo, d.Class, o)
	if err != nil {
		return nil, err
	}
	c, err := o.here(ctx, d.Class)
	if err != nil {
		return nil, usagef("run: %v", err)
	}
	missing := slices.DeleteFunc(slices.Clone(todo.Actions), found.Has)
	estimates, err := estimated(ctx, p, missing, needs)
	if err != nil {
		return nil, err
	}
	for _, note := range estimates.Notes {
		zerolog.Ctx(ctx).Warn().Msg(note)
	}
	need := plan.On(needs.Estimated(missing, estimates.Of).Of, d.Class, c)
	if err := unfit("run", missing, need, c); err != nil {
		return nil, err
	}
	return g.work(ctx, p, todo, d, p.Study.Name, o.computeOptions, worker.Options{Capacity: c, Need: need, FailFast: o.failFast, Limit: o.limit})
}

// runFile is the name of the file, in the folder of a study's results, that has what the
// last run computes.
const runFile = "run.json"

// work computes the missing actions of a graph and shows the progress.
func (g *globals) work(ctx context.Context, p project.Project, todo *layout.Graph, d device.Device, name string, o computeOptions, w worker.Options) (*run.Outcome, error) {
	w.Save, w.Timeout, w.MaxTime = o.save, o.timeout, o.maxTime
	log := zerolog.Ctx(ctx)
	log.Info().Str("backend", d.Class).Str("device", d.Name).Int("cpus", w.Capacity.CPUs).Int("gpus", len(w.Capacity.GPUs)).Msg("computing")
	shown := g.computing(ctx, p, todo, d.Class, name, w.Capacity.CPUs)
	defer shown.close()
	defer context.AfterFunc(ctx, func() {
		log.Info().Msg("stopping: trainings save their states first (press Ctrl-C again to stop at once)")
	})()
	w.Events, w.Job = shown.event, cluster.Job()
	return worker.Run(ctx, p, todo, d, w)
}

// conclude writes the tables and the report of a run, prints the table, and prints how
// many actions are left.
func (g *globals) conclude(ctx context.Context, p project.Project, class string, out *run.Outcome, o runOptions) error {
	failures := failed(p, out.Failures)
	r, err := gather(ctx, p, class)
	if err != nil {
		return errors.Join(failures, err)
	}
	if err := r.Lost(out.Outputs); err != nil {
		return err
	}
	if err := r.WriteTables(); err != nil {
		return errors.Join(failures, err)
	}
	if err := p.SetRoots(class, r.Found); err != nil {
		zerolog.Ctx(ctx).Warn().Err(err).Msg("what the study needs cannot be recorded for 'ablate gc'")
	}
	page, err := report.Write(r, report.New(ctx, r))
	if err != nil {
		return errors.Join(failures, err)
	}
	if err := r.Found.WriteSnapshot(p.Dir, class); err != nil {
		zerolog.Ctx(ctx).Warn().Err(err).Msg("what was found cannot be recorded: the next command reads it again")
	}
	var printed bytes.Buffer
	g.stdout.also = &printed
	defer func() { g.stdout.also = nil }()
	switch {
	case o.json:
		err = g.printRun(r, page, out.Left)
	case out.Left > 0:
		why := out.Stopped
		if why == "" {
			why = fmt.Sprintf("--limit %d", o.limit)
		}
		_, err = fmt.Fprintf(g.stdout, "Stopped after %s (%s): %d left. Run again to go on.\nreport: %s\n", phrase.Count(out.Tried(), "action"), why, out.Left, page)
	default:
		if err = g.printTable(r, tableOptions{}); err == nil {
			_, err = fmt.Fprintf(g.stdout, "\nreport: %s\n", page)
		}
	}
	if err == nil && out.Left == 0 && len(r.Found.Damaged) == 0 {
		if err := g.record(p, class, r.Found, o, printed.String()); err != nil {
			zerolog.Ctx(ctx).Warn().Err(err).Msg("the conclusion cannot be recorded: the next run makes tables and report again")
		}
	}
	return errors.Join(failures, err)
}

// failed returns the error of a run, with each failed action and the last lines of its
// worker's log; nil if no action failed.
func failed(p project.Project, failures []run.Failure) error {
	if len(failures) == 0 {
		return nil
	}
	var errs []error
	n := 0
	for _, f := range failures {
		if f.Class() == failure.Diverged {
			continue // a result, which the table shows
		}
		n++
		errs = append(errs, fmt.Errorf("%s: %w", f.Action.Label(), f.Err))
		if tail := f.Tail(); tail != "" {
			errs = append(errs, errors.New("    "+strings.ReplaceAll(tail, "\n", "\n    ")))
		}
	}
	if n == 0 {
		return nil
	}
	return fmt.Errorf("study %s: %s failed:\n%w", p.Study.Name, phrase.Count(n, "action"), errors.Join(errs...))
}

// printReadOnly prints the table of a study whose results this user may not write.
func (g *globals) printReadOnly(ctx context.Context, p project.Project, class string, o runOptions) error {
	r, err := gather(ctx, p, class)
	if err != nil {
		return err
	}
	if o.json {
		return g.printRun(r, "", 0)
	}
	return g.printTable(r, tableOptions{})
}

// printRun prints the runDocument of a run.
func (g *globals) printRun(r *result.Result, report string, left int) error {
	return printJSON(g.stdout, runDocument{head{runFormat}, text.NewDocument(r.Ablation), r.Project.Dir, report, left})
}
