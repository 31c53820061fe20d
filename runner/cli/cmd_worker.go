package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ablate/runner/device"
	"ablate/runner/failure"
	"ablate/runner/phrase"
	"ablate/runner/plan"
	"ablate/runner/project"
	"ablate/runner/store"
	"ablate/runner/worker"
)

type workerOptions struct {
	computeOptions
	idle time.Duration
	json bool
}

func (o *workerOptions) addFlags(f *pflag.FlagSet) {
	o.computeOptions.addFlags(f)
	f.DurationVar(&o.idle, "idle", 10*time.Minute, "stop after computing nothing for this `TIME`, while other workers compute what everything else waits for (0: no limit)")
	f.BoolVar(&o.json, "json", false, "print what it did as JSON")
}

const workerFormat = "ablate.worker/1"

// workerDocument is what worker prints as JSON.
type workerDocument struct {
	head
	Ran     int             `json:"ran"`      // number of stages that it computed
	Cached  int             `json:"cached"`   // number of stages whose results were in the store, or came into it meanwhile
	Left    int             `json:"left"`     // number of stages that are not computed yet
	Stopped string          `json:"stopped"`  // the flag because of which it stopped before the end; empty if none
	Failed  []workerFailure `json:"failures"` // of all stages of the file
}

// workerFailure is a stage that failed.
type workerFailure struct {
	Stage string `json:"stage"`
	View  string `json:"view"` // row and seed of the first trial that needs it
	Class string `json:"class"`
	Error string `json:"error"`
}

func newWorker(g *globals) *cobra.Command {
	var o workerOptions
	cmd := &cobra.Command{
		Use:   "worker RUNFILE",
		Short: "Compute stages of a run, beside other workers on other machines",
		Long: `Takes stages of a run that are ready and that no other worker computes, computes them,
and keeps their results in the store, until nothing is left. Any number of workers may do
so at the same time, on machines that share the store's folder. 'ablate run' writes the
run file, studies/NAME/run.json in the store, and works on it in the same way; afterwards
it also makes tables and report.

A worker takes what fits beside what it computes: the run file has the CPUs, GPUs and
memory that each stage needs. It leaves to others what needs more than it may use.

The store is the one in which the run file lies; --store names another one. The worker
uses the backend of the run file. On SIGTERM and SIGUSR2 it saves the states of trainings
and stops; any other worker goes on from there.
` + exitHelp,
		Example: "  ablate worker /shared/.ablate/studies/quickstart/run.json --max-time 4h",
		Args:    cobra.ExactArgs(1),
		PreRunE: func(cmd *cobra.Command, _ []string) error { return o.check(cmd.Flags()) },
		RunE:    func(cmd *cobra.Command, args []string) error { return runWorker(cmd.Context(), g, o, args[0]) },
	}
	o.addFlags(cmd.Flags())
	return cmd
}

func (o *workerOptions) check(f *pflag.FlagSet) error {
	if o.idle != 0 && o.idle < time.Second {
		return usagef("worker: --idle is %s; must be 0 or at least 1s", o.idle)
	}
	return o.computeOptions.check("worker", f)
}

func runWorker(ctx context.Context, g *globals, o workerOptions, path string) error {
	f, todo, needs, err := plan.OpenGraph(path)
	if err != nil {
		return err
	}
	p, err := g.shared(path)
	if err != nil {
		return err
	}
	d, err := device.Choose(ctx, f.Backend, g.fetchBar())
	if err != nil {
		return err
	}
	c, err := o.here(ctx, d.Class)
	if err != nil {
		return usagef("worker: %v", err)
	}
	need := plan.On(needs.Of, d.Class, c)
	if list := plan.Misfits(todo.Actions, need, c); len(list) > 0 {
		zerolog.Ctx(ctx).Warn().Str("capacity", c.String()).Strs("stages", list).Msg("some stages do not fit here and are left to other workers")
	}
	out, err := g.work(ctx, p, todo, d, f.Name, o.computeOptions, worker.Options{Capacity: c, Need: need, Idle: o.idle})
	if err != nil {
		return err
	}
	zerolog.Ctx(ctx).Info().Int("ran", out.Ran).Int("cached", out.Cached).Int("failed", len(out.Failures)).Int("left", out.Left).Msg("worker of study " + f.Name)
	doc := workerDocument{head{workerFormat}, out.Ran, out.Cached, out.Left, out.Stopped, []workerFailure{}}
	bad := 0
	for _, x := range out.Failures {
		doc.Failed = append(doc.Failed, workerFailure{string(x.Action.Kind), x.Action.Rows(), string(x.Class()), x.Err.Error()})
		if x.Class() != failure.Diverged {
			bad++
		}
	}
	if o.json {
		err = printJSON(g.stdout, doc)
	} else {
		_, err = fmt.Fprintf(g.stdout, "%s computed, %d left\n", phrase.Count(out.Ran, "stage"), out.Left)
	}
	if bad > 0 {
		err = errors.Join(err, fmt.Errorf("study %s: %s failed; 'ablate status' lists them", f.Name, phrase.Count(bad, "stage")))
	}
	return err
}

// shared returns the store and the folder of results in which a run file lies. --store names
// the store by another path.
func (g *globals) shared(path string) (project.Project, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return project.Project{}, err
	}
	dir := filepath.Dir(abs) // STORE/studies/NAME
	studies := filepath.Dir(dir)
	if filepath.Base(studies) != "studies" {
		return project.Project{}, usagef("worker: %s does not lie in a store: 'ablate run' writes the run file, studies/NAME/run.json in the store", path)
	}
	in := g.store
	if in == "" {
		in = filepath.Dir(studies)
	}
	s, err := store.Open(in)
	if err != nil {
		return project.Project{}, err
	}
	return project.Project{Store: s, Dir: filepath.Join(s.Dir(), "studies", filepath.Base(dir))}, nil
}
