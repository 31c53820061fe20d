// Package worker computes the actions of a study in worker processes: Run is the
// parent, which starts them and hands them actions, Serve is such a process.
package worker

import (
	"context"
	"path/filepath"
	"time"

	"github.com/rs/zerolog"

	"ablate/runner/device"
	"ablate/runner/launch"
	"ablate/runner/layout"
	"ablate/runner/program"
	"ablate/runner/project"
	"ablate/runner/run"
)

// Options of a run. None of them changes a result.
type Options struct {
	Workers  int
	FailFast bool // stop at the first failure
	Limit    int  // run at most so many actions that are missing; 0 is no limit
	Events   func(run.Event)
}

// silence is how long a worker may work without a sign of progress. The longest known
// silence, a compilation, takes a minute or two.
const silence = 30 * time.Minute

// Run computes the missing actions of a graph on a device, and writes the journal and
// the logs into the project's folder, which it has claimed.
func Run(ctx context.Context, p project.Project, todo *layout.Graph, d device.Device, o Options) (*run.Outcome, error) {
	j, err := p.Store.OpenJournal(p.Dir)
	if err != nil {
		return nil, err
	}
	defer j.Close()
	pool, err := launch.NewPool(launch.Options{Workers: o.Workers, Pin: true, Env: d.Environment(), Build: program.Build(), Silence: silence})
	if err != nil {
		return nil, err
	}
	defer pool.Close()
	out, err := run.Run(ctx, todo, p.Store, j, pool, run.Options{
		Slots: o.Workers, FailFast: o.FailFast, Limit: o.Limit, Backend: d.Class, Machine: machine(d), Logs: filepath.Join(p.Dir, "logs"), Events: o.Events,
	})
	if err == nil {
		zerolog.Ctx(ctx).Debug().Int64("bytes", pool.PeakRSS()).Msg("peak memory of all workers together, at most")
	}
	return out, err
}

// machine is what the journal and the store record of a device.
func machine(d device.Device) run.Machine {
	return run.Machine{Device: d.Name, Backend: d.Class, Versions: d.Versions(), CPU: device.CPUName(), Environment: d.Fingerprint(),
		Build: "ablate " + program.Version() + " " + program.Build()}
}
