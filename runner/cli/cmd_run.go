package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"ablate/models/backend"
	"ablate/reports/text"
	"ablate/runner/launch"
	"ablate/runner/plan"
	"ablate/runner/stage"
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
finished is kept, and the next run goes on from it.` + onlyHelp + `
` + exitHelp,
		Example: "  ablate run experiments/quickstart\n  ablate run experiments/quickstart --set finetune.beta=0.1 --only 'all data'",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, name := range []string{"jobs", "limit"} {
				if n, _ := cmd.Flags().GetInt(name); cmd.Flags().Changed(name) && n < 1 {
					return usagef("run: --%s is %d; must be 1 or more", name, n)
				}
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
	fl.BoolVar(&f.json, "json", false, "print as JSON: table, and the paths of results and report")
	return cmd
}

func runRun(ctx context.Context, g *globals, f runFlags, path string) error {
	log := zerolog.Ctx(ctx)
	start := time.Now()
	l, todo, asked, err := g.toRun(ctx, f, path)
	if err != nil {
		return err
	}
	name, err := l.runBackend(ctx, asked)
	if err != nil {
		return err
	}
	var b *chosen
	class := name
	if name == backend.Auto {
		if b, err = g.choose(ctx, name); err != nil {
			return err
		}
		class = b.Class
	}
	found, err := study.Collect(todo, l.Store, class)
	if err != nil {
		return err
	}
	// What the tables will read is checked now, so that this run mends it.
	if err := found.Check(ctx, todo, l.Store, stage.Tabled); err != nil {
		return err
	}
	complete := len(found.Outputs) == len(todo.Actions) && len(found.Damaged) == 0
	dir, err := l.Store.ClaimStudy(l.resultsName(), l.Root, class)
	switch {
	case err == nil:
		l.Dir = dir
	case complete && (errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)):
		log.Warn().Err(err).Msg("study " + l.Name + ": nothing to run; tables and report stay as they are")
		r, err := l.results(ctx, class)
		if err != nil {
			return err
		}
		if f.json {
			return g.printRun(r, "", 0)
		}
		return g.printTable(r, tableFlags{})
	default:
		return err
	}
	out := &study.Outcome{Outputs: found.Outputs}
	if !complete {
		if b == nil {
			if b, err = g.choose(ctx, name); err != nil {
				return l.elsewhere(name, err)
			}
		}
		if out, err = g.execute(ctx, l, todo, b, f); err != nil {
			return err
		}
		log.Info().Int("ran", out.Ran).Int("cached", out.Cached).Int("failed", len(out.Failures)).
			Str("took", took(time.Since(start))).Msg("study " + l.Name)
	} else {
		log.Info().Int("cached", len(found.Outputs)).Msg("study " + l.Name + ": nothing to run")
	}
	return g.conclude(ctx, l, class, out, f)
}

// toRun loads a study, or a saved plan's, with the actions that are to run and the
// class of backend that is asked for, if one is.
func (g *globals) toRun(ctx context.Context, f runFlags, path string) (l *loaded, todo *study.Graph, backend string, err error) {
	if isPlan(path) {
		p, err := g.unchanged(ctx, path, f)
		if err != nil {
			return nil, nil, "", err
		}
		p.loaded.Graph, err = p.loaded.layOut(ctx, p.loaded.Views)
		return p.loaded, p.graph, p.Backend, err
	}
	if l, err = g.load(ctx, path, f.studyFlags); err != nil {
		return nil, nil, "", err
	}
	views, err := only(l.Study, f.only, f.seeds)
	if err != nil {
		return nil, nil, "", err
	}
	todo, err = l.layOut(ctx, views)
	return l, todo, f.backend, err
}

// elsewhere is the error of a study whose backend does not work here.
func (l *loaded) elsewhere(name string, err error) error {
	if l.Record.Backend != name || name == backend.CPU {
		return err
	}
	return fmt.Errorf("%w\nstudy %s has its results from %s: run it where that works, or give --backend %s to compute everything again", err, l.Name, name, backend.CPU)
}

// conclude writes the tables and the report of a run, prints the table, and says
// what is left.
func (g *globals) conclude(ctx context.Context, l *loaded, class string, out *study.Outcome, f runFlags) error {
	r, err := l.results(ctx, class)
	if err != nil {
		return errors.Join(failed(l, out.Failures), err)
	}
	if err := r.missing(out); err != nil {
		return err
	}
	if err := r.write(); err != nil {
		return errors.Join(failed(l, out.Failures), err)
	}
	report, err := g.writeReport(ctx, l, r)
	if err != nil {
		return errors.Join(failed(l, out.Failures), err)
	}
	switch {
	case f.json:
		err = g.printRun(r, report, out.Left)
	case out.Left > 0:
		_, err = fmt.Fprintf(g.stdout, "Stopped after %s (--limit %d): %d left. Run again to go on.\nreport: %s\n", many(out.Ran+len(out.Failures), "action"), f.limit, out.Left, report)
	default:
		if err = g.printTable(r, tableFlags{}); err == nil {
			_, err = fmt.Fprintf(g.stdout, "\nreport: %s\n", report)
		}
	}
	return errors.Join(failed(l, out.Failures), err)
}

// printRun prints as JSON what a run gave: its table, where results and report lie,
// and how many actions --limit has left.
func (g *globals) printRun(r *results, report string, left int) error {
	var table bytes.Buffer
	if err := text.JSON(&table, r.ablation); err != nil {
		return err
	}
	return writeJSON(g.stdout, struct {
		Table   json.RawMessage `json:"table"`
		Results string          `json:"results"`
		Report  string          `json:"report"`
		Left    int             `json:"left,omitempty"`
	}{table.Bytes(), r.l.Dir, report, left})
}

// missing is the error of a run whose results are no longer in the store when
// they are gathered.
func (r *results) missing(out *study.Outcome) error {
	for _, a := range r.l.Graph.Actions {
		if o, ran := out.Outputs[a.Name]; ran {
			if have, ok := r.found.Outputs[a.Name]; !ok || have.ID != o.ID || r.found.Unreadable(a) {
				return fmt.Errorf("study %s: the result of %s (%s) is no longer in the store: something removed it from %s while this ran; run again",
					r.l.Name, a.Label(), o.ID.Short(), r.l.Store.Dir())
			}
		}
	}
	return nil
}

// unchanged opens a saved plan and compares it with what a run would do now.
func (g *globals) unchanged(ctx context.Context, name string, f runFlags) (*planned, error) {
	if len(f.set) > 0 || len(f.only) > 0 || len(f.seeds) > 0 || f.backend != "" {
		return nil, usagef("run: a plan says what is set, which arms run and on what: leave out --set, --only and --seed, and --backend, or run the study")
	}
	saved, err := plan.Open(name)
	if err != nil {
		return nil, err
	}
	now, err := g.plan(ctx, saved.Study, studyFlags{set: saved.Set, backend: saved.Backend}, saved.Only, nil)
	if err != nil {
		return nil, err
	}
	if changes := saved.Changes(now.Plan); len(changes) > 0 {
		return nil, differenceError{fmt.Errorf("plan %s: nothing was run, for this has changed since it was made:\n  %s\nplan again, or run %s itself",
			name, strings.Join(changes, "\n  "), saved.Study)}
	}
	return now, nil
}

// silence is how long a worker may work without a sign of life: the longest
// known, a compilation, takes a minute or two.
const silence = 30 * time.Minute

// execute runs what is missing of a graph in worker processes.
func (g *globals) execute(ctx context.Context, l *loaded, todo *study.Graph, b *chosen, f runFlags) (*study.Outcome, error) {
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
	pool, err := launch.NewPool(launch.Options{Workers: jobs, Pin: true, Env: b.environment(), Build: buildID(), Silence: silence})
	if err != nil {
		return nil, err
	}
	defer pool.Close()
	p := g.newProgress(zerolog.Ctx(ctx), todo)
	defer p.close()
	out, err := study.Run(ctx, todo, l.Store, j, pool, study.Options{
		Slots: jobs, FailFast: f.failFast, Limit: f.limit, Backend: b.Class, Machine: b.machine(), Logs: filepath.Join(l.Dir, "logs"), Events: p.event,
	})
	if err == nil {
		zerolog.Ctx(ctx).Debug().Int64("bytes", pool.PeakRSS()).Msg("peak memory of all workers together, at most")
	}
	return out, err
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
