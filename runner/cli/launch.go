package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/pflag"

	"ablate/runner/cluster"
	"ablate/runner/failure"
	"ablate/runner/layout"
	"ablate/runner/phrase"
	"ablate/runner/plan"
	"ablate/runner/program"
	"ablate/runner/project"
	"ablate/runner/resource"
	"ablate/runner/run"
	"ablate/runner/status"
)

// launchOptions are the flags that start workers elsewhere.
type launchOptions struct {
	launcher, template, program string
	workers                     int
	detached                    bool
}

// The values of --launcher.
const (
	bySlurm   = "slurm"
	byCommand = "command"
)

func (o *launchOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.launcher, "launcher", "", "compute by workers that are started elsewhere: `HOW` is slurm or command")
	f.IntVar(&o.workers, "workers", 1, "`N` workers for --launcher")
	f.StringVar(&o.template, "template", "", "`COMMAND` that starts a worker, for --launcher command: {worker} is the worker's command line, {worker:q} the same as one quoted word, {n} its number from 0")
	f.BoolVar(&o.detached, "detached", false, "the command of --template only submits a worker, and ends before it does")
	f.StringVar(&o.program, "worker-program", "", "`PATH` of this program where the workers run (default: the path here)")
}

// check returns an error if the flags do not fit together.
func (o *launchOptions) check(f *pflag.FlagSet) error {
	switch {
	case o.launcher == "":
		for _, name := range []string{"workers", "template", "detached", "worker-program"} {
			if f.Changed(name) {
				return usagef("run: --%s needs --launcher", name)
			}
		}
		return nil
	case o.launcher != bySlurm && o.launcher != byCommand:
		return usagef("run: --launcher is %q; must be %s or %s", o.launcher, bySlurm, byCommand)
	case f.Changed("limit"):
		return usagef("run: --limit counts the stages of one process: leave it out with --launcher")
	case f.Changed("fail-fast"):
		return usagef("run: --fail-fast stops one process, and workers elsewhere would go on: leave it out with --launcher")
	case o.launcher == bySlurm && (o.template != "" || o.detached):
		return usagef("run: --template and --detached are for --launcher command; what sbatch needs stands in the file %s beside the study", cluster.SiteFile)
	case o.launcher == byCommand:
		if err := cluster.CheckTemplate(o.template); err != nil {
			return usagef("run: --template: %v", err)
		}
	}
	return checkCounts("run", f, "workers")
}

// launch computes the missing actions of a graph by workers that a launcher starts.
func (g *globals) launch(ctx context.Context, p project.Project, todo *layout.Graph, class string, o runOptions) (*run.Outcome, error) {
	file := filepath.Join(p.Dir, runFile)
	needs, err := writeRunFile(p, todo, class, o)
	if err != nil {
		return nil, err
	}
	need, err := o.needed(todo, class, needs)
	if err != nil {
		return nil, err
	}
	words, err := o.worker(file, p.Store.Dir())
	if err != nil {
		return nil, err
	}
	found, err := p.Find(todo, class)
	if err != nil {
		return nil, err
	}
	for _, f := range found.Failed { // what a run here would try again
		if !failure.Final(f, program.Identity()) {
			if err := p.Store.Retry(f.Action); err != nil {
				return nil, err
			}
		}
	}
	var l cluster.Launcher = &cluster.Command{Template: o.template, Detached: o.detached, Worker: words, Logs: filepath.Join(p.Dir, "logs")}
	if o.launcher == bySlurm {
		site, err := siteFile(p.Study.Dir, p.Study.Root)
		if err != nil {
			return nil, err
		}
		l = &cluster.Slurm{Name: "ablate-" + strings.NewReplacer("/", "-", " ", "-").Replace(p.Study.Name), Worker: words, Site: site, Dir: p.Dir,
			Needs: func() ([]resource.Need, error) { return left(p, todo, class, need) }}
	}
	log, before := zerolog.Ctx(ctx), found.Len()
	log.Info().Str("backend", class).Str("launcher", o.launcher).Int("workers", o.workers).Int("finished", before).Int("of", len(todo.Actions)).Msg("computing by workers elsewhere")
	shown := g.newProgress(ctx, status.NewTracker(p, todo, class, program.Identity()), p.Study.Name)
	err = cluster.Run(ctx, l, cluster.Options{
		Workers: o.workers,
		Look:    func() (cluster.Progress, error) { return shown.look(p.Folder()) },
		Report:  func(s cluster.Progress) { shown.workers(o.launcher, s) },
		Log:     func(text string) { log.Warn().Msg(text) },
	})
	shown.close()
	if err != nil {
		return nil, err
	}
	if found, err = p.Find(todo, class); err != nil {
		return nil, err
	}
	out := &run.Outcome{Outputs: found.Outputs, Cached: before, Ran: found.Len() - before}
	for _, a := range todo.Actions {
		if f, ok := found.Failed[a]; ok {
			out.Failures = append(out.Failures, run.Failure{Action: a, Err: &failure.EarlierError{Failure: f}})
		}
	}
	return out, nil
}

// needed returns what actions need of workers. It returns an error if the flags that limit
// workers leave them too little.
func (o *runOptions) needed(todo *layout.Graph, class string, needs plan.Needs) (run.Needs, error) {
	const most = 4096
	c := resource.Capacity{CPUs: cmp.Or(o.jobs, most)}
	var err error
	if c.Memory, err = o.bytes(); err != nil {
		return nil, err
	}
	if o.gpusSet {
		c.GPUs = make([]resource.GPU, o.gpus)
	}
	need := plan.On(needs.Of, class, c)
	if !o.gpusSet {
		c.GPUs = make([]resource.GPU, most)
	}
	if list := plan.Misfits(todo.Actions, need, c); len(list) > 0 {
		return nil, usagef("run: -j, --gpus or --memory leave each worker too little: %s", strings.Join(list, "; "))
	}
	return need, nil
}

// left returns what the actions that are left need.
func left(p project.Project, todo *layout.Graph, class string, need run.Needs) (list []resource.Need, err error) {
	found, err := p.Find(todo, class)
	if err != nil {
		return nil, err
	}
	for _, a := range todo.Actions {
		if n := need(a); !found.Has(a) && !slices.Contains(list, n) {
			list = append(list, n)
		}
	}
	return list, nil
}

// look reads the store and returns how far the actions are. folder is the name of the study's
// folder of results.
func (p *progress) look(folder string) (cluster.Progress, error) {
	if err := p.tracker.Look(); err != nil {
		return cluster.Progress{}, err
	}
	s := p.tracker.Status(time.Now())
	out := cluster.Progress{Left: s.Actions.Left(), Settled: s.Actions.Total - s.Actions.Left()}
	for _, l := range s.Processes {
		if l.Study == folder {
			out.Live++
		}
	}
	return out, nil
}

// workers shows a change of the workers that a launcher has started.
func (p *progress) workers(launcher string, s cluster.Progress) {
	if p.screen == nil {
		line := p.log.Info().Int("running", s.Running).Int("waiting", s.Waiting)
		if s.Why != "" {
			line = line.Str("because", s.Why)
		}
		line.Int("finished", s.Settled).Int("of", s.Settled+s.Left).Msg("workers")
		return
	}
	note := phrase.Count(s.Running, launcher+" worker")
	if s.Waiting > 0 {
		note += fmt.Sprintf(", %d waiting", s.Waiting)
		if s.Why != "" {
			note += " (" + s.Why + ")"
		}
	}
	p.note(note)
}

// worker returns the command line of a worker.
func (o *runOptions) worker(file, store string) ([]string, error) {
	program := o.program
	if program == "" {
		var err error
		if program, err = os.Executable(); err != nil {
			return nil, err
		}
	}
	words := []string{program, "worker", file, "--store", store, "--save-every", o.save.String()}
	words = append(words, o.capacityOptions.words()...)
	if o.timeout > 0 {
		words = append(words, "--timeout", o.timeout.String())
	}
	if o.maxTime > 0 {
		words = append(words, "--max-time", o.maxTime.String())
	}
	return words, nil
}

// siteFile returns the path of the file with what sbatch needs: beside the study, or in a
// folder above it up to the module's. It is empty if there is none.
func siteFile(dir, root string) (string, error) {
	for {
		name := filepath.Join(dir, cluster.SiteFile)
		switch _, err := os.Stat(name); {
		case err == nil:
			return name, nil
		case !errors.Is(err, fs.ErrNotExist):
			return "", err
		case dir == root || dir == filepath.Dir(dir):
			return "", nil
		}
		dir = filepath.Dir(dir)
	}
}

// writeRunFile writes the run file of the actions of a graph, and returns what they need of a
// machine.
func writeRunFile(p project.Project, todo *layout.Graph, class string, o runOptions) (plan.Needs, error) {
	needs, err := plan.NewNeeds(p.Study, class)
	if err != nil {
		return nil, err
	}
	head := plan.Head{Study: p.Study.Dir, Name: p.Study.Name, Set: o.set, Only: o.only, Backend: class}
	return needs, p.Store.Diagnose(plan.Write(filepath.Join(p.Dir, runFile), head, todo, needs))
}
