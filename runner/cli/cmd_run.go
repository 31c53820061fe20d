package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"ablate/experiments/spec"
	"ablate/runner/launch"
	"ablate/runner/plan"
	"ablate/runner/study"
)

type runFlags struct {
	studyFlags
	jobs     int
	only     []string
	seeds    []string
	limit    int
	failFast bool
	json     bool
}

func newRun(g *globals) *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run STUDY|PLAN",
		Short: "Run what is missing of a study, then print its table and write its report",
		Long: `Runs every stage of every trial that is not in the store yet, each once, and
whatever does not depend on a failure. Then it writes the study's Arrow tables
and HTML report, and prints the ablation table and the report's path.

STUDY is a folder or file of a CUE package. PLAN is a file that 'ablate plan -o'
wrote: exactly that runs, and where the study has changed since, nothing does
and the changes are said (exit code 3). Interrupting is safe: what was
finished is kept, and the next run goes on from it.
` + exitHelp,
		Example: "  ablate run experiments/quickstart\n  ablate run experiments/quickstart --set finetune.beta=0.1 --only 'all data'",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.jobs < 0 || f.limit < 0 {
				return usagef("run: -j and --limit take 1 or more")
			}
			return runRun(cmd.Context(), g, f, args[0])
		},
	}
	f.add(cmd)
	fl := cmd.Flags()
	fl.IntVarP(&f.jobs, "jobs", "j", 0, "`N` workers, each on a core of its own (default: one a core)")
	fl.StringArrayVar(&f.only, "only", nil, "run this `ARM`, or point of one as the table writes it, only (repeatable); the tables keep every arm")
	fl.StringArrayVar(&f.seeds, "seed", nil, "run this seed `S` only, 3 or 1.2 for {pretraining: 1, feedback: 2} (repeatable)")
	fl.IntVar(&f.limit, "limit", 0, "run at most `N` stages that are missing")
	fl.BoolVar(&f.failFast, "fail-fast", false, "stop at the first failure")
	fl.BoolVar(&f.json, "json", false, "print the ablation table and the paths as JSON")
	return cmd
}

func runRun(ctx context.Context, g *globals, f runFlags, path string) error {
	log := zerolog.Ctx(ctx)
	start := time.Now()
	if isPlan(path) {
		saved, err := g.unchanged(ctx, path, f)
		if err != nil {
			return err
		}
		path, f.set, f.only = saved.Study, saved.Set, saved.Only
	}
	l, err := g.load(ctx, path, f.studyFlags)
	if err != nil {
		return err
	}
	views, err := only(l.Study, f.only, f.seeds)
	if err != nil {
		return err
	}
	todo, err := study.NewGraph(l.Study, views, digestCheckpoint)
	if err != nil {
		return err
	}
	class, err := backendClass()
	if err != nil {
		return err
	}
	found, err := study.Collect(todo, l.Store, class)
	if err != nil {
		return err
	}
	var failures []study.Failure
	limited := 0
	if len(found) < len(todo.Actions) {
		out, err := g.execute(ctx, l, todo, f)
		if err != nil {
			return err
		}
		failures, limited = out.Failures, out.Limited
		log.Info().Int("ran", out.Ran).Int("cached", out.Cached).Int("failed", len(out.Failures)).
			Float64("dur", time.Since(start).Round(10*time.Millisecond).Seconds()).Msg("study " + l.Name)
	} else {
		log.Info().Int("cached", len(found)).Msg("study " + l.Name + ": nothing to run")
	}
	r, err := l.results(class)
	if err != nil {
		return err
	}
	if err := r.write(); err != nil {
		return err
	}
	if err := g.printTable(r, tableFlags{json: f.json}); err != nil {
		return err
	}
	report, err := g.writeReport(l, r)
	if err != nil {
		return err
	}
	if !f.json {
		fmt.Fprintf(g.stdout, "\nreport: %s\n", report)
	}
	if limited > 0 {
		log.Warn().Int("limit", f.limit).Msg("stopped at --limit; run again to go on")
	}
	return failed(l, failures)
}

// unchanged opens a saved plan and compares it with what a run would do now.
func (g *globals) unchanged(ctx context.Context, name string, f runFlags) (*plan.File, error) {
	if len(f.set) > 0 || len(f.only) > 0 || len(f.seeds) > 0 {
		return nil, usagef("run: a plan says what is set and which arms run: leave out --set, --only and --seed, or run the study")
	}
	saved, err := plan.Open(name)
	if err != nil {
		return nil, err
	}
	now, err := g.plan(ctx, saved.Study, studyFlags{set: saved.Set}, saved.Only)
	if err != nil {
		return nil, err
	}
	if changes := saved.Changes(now.Plan); len(changes) > 0 {
		return nil, differenceError{fmt.Errorf("plan %s: nothing was run, for this has changed since it was made:\n  %s\nplan again, or run %s itself",
			name, strings.Join(changes, "\n  "), saved.Study)}
	}
	return saved, nil
}

// execute runs what is missing of a graph in worker processes.
func (g *globals) execute(ctx context.Context, l *loaded, todo *study.Graph, f runFlags) (*study.Outcome, error) {
	b, err := g.chooseBackend(ctx)
	if err != nil {
		return nil, err
	}
	j, err := l.Store.OpenJournal(l.Dir)
	if err != nil {
		return nil, err
	}
	defer j.Close()
	jobs := f.jobs
	if jobs == 0 {
		jobs = b.workers()
	}
	zerolog.Ctx(ctx).Info().Str("backend", b.Class).Str("device", b.Device).Int("workers", jobs).Msg("computing")
	pool, err := launch.NewPool(launch.Options{Workers: jobs, Pin: true, Env: b.environment()})
	if err != nil {
		return nil, err
	}
	defer pool.Close()
	p := newProgress(g.stderr, zerolog.Ctx(ctx))
	defer p.clear()
	out, err := study.Run(ctx, todo, l.Store, j, pool, study.Options{
		Slots: jobs, FailFast: f.failFast, Limit: f.limit, Backend: b.Class, Machine: b.machine(), Events: p.event,
	})
	if err == nil {
		zerolog.Ctx(ctx).Debug().Int64("bytes", pool.PeakRSS()).Msg("peak memory of all workers together, at most")
	}
	return out, err
}

// only selects the views of the named arms, or points of them, and seeds; where
// none is named, all.
func only(s *spec.Study, rows, seeds []string) ([]spec.View, error) {
	var arms, seedNames []string
	for _, a := range s.Arms {
		arms = append(arms, a.Name)
	}
	for _, seed := range s.Seeds {
		seedNames = append(seedNames, seed.String())
	}
	for _, name := range rows {
		arm, _, point := strings.Cut(name, "[")
		if !slices.Contains(arms, arm) {
			return nil, usagef("--only: study %s has no arm %q; it has %s", s.Name, arm, strings.Join(arms, ", "))
		}
		if !point {
			continue
		}
		var points []string
		found := false
		for _, v := range s.Views {
			row := v.Row()
			if found = row == name; found {
				break
			}
			if v.Arm == arm && len(points) < 10 && !slices.Contains(points, row) {
				points = append(points, row)
			}
		}
		if !found {
			return nil, usagef("--only: arm %q has no point %s; among those that it has are %s", arm, strings.TrimPrefix(name, arm), strings.Join(points, ", "))
		}
	}
	for _, name := range seeds {
		if !slices.Contains(seedNames, name) {
			return nil, usagef("--seed: study %s has no seed %q; it has %s", s.Name, name, strings.Join(seedNames, ", "))
		}
	}
	var views []spec.View
	for _, v := range s.Views {
		if (len(rows) == 0 || slices.Contains(rows, v.Arm) || slices.Contains(rows, v.Row())) && (len(seeds) == 0 || slices.Contains(seeds, v.Trial.Seed.String())) {
			views = append(views, v)
		}
	}
	if len(views) == 0 && len(rows) > 0 && len(seeds) > 0 {
		return nil, usagef("--only %s runs with none of the seeds %s", strings.Join(rows, ", "), strings.Join(seeds, ", "))
	}
	return views, nil
}

// failed is the error of a run whose actions failed: one line each.
func failed(l *loaded, failures []study.Failure) error {
	if len(failures) == 0 {
		return nil
	}
	var errs []error
	for _, f := range failures {
		errs = append(errs, fmt.Errorf("%s: %w", f.Action.Label(), f.Err))
	}
	return fmt.Errorf("study %s: %d of its actions failed:\n%w", l.Name, len(failures), errors.Join(errs...))
}
