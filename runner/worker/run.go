// Package worker computes the actions of a study in worker processes. Run is the side of
// the parent, which starts workers and sends them actions. Serve is the side of a worker.
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
	"ablate/runner/resource"
	"ablate/runner/run"
)

// Options of a run. None of them changes a result.
type Options struct {
	Capacity resource.Capacity // what the actions may use of this machine
	Need     run.Needs         // what they need
	Job      string            // job of a cluster's scheduler, for others; may be empty
	FailFast bool              // stop at the first failure
	MaxTime  time.Duration     // after which the run stops; it starts nothing that would not finish by then. 0 means no limit
	Idle     time.Duration     // how long the run may compute nothing, while others compute what it waits for; 0 means no limit
	Timeout  time.Duration     // longest time of an attempt; 0 means no limit
	Limit    int               // largest number of missing actions to run; 0 means no limit
	Save     time.Duration     // time between two savings of a training's state; 0 saves only when it is stopped
	Events   func(run.Event)
}

// silence is how long a worker may work without reporting progress. The longest known
// work without progress is a compilation, which takes one or two minutes.
const silence = 30 * time.Minute

// Run computes the missing actions of a graph on a device. It writes the journal and the
// logs into the project's folder of results, which the caller must have claimed.
func Run(ctx context.Context, p project.Project, todo *layout.Graph, d device.Device, o Options) (*run.Outcome, error) {
	j, err := p.Store.OpenJournal(p.Dir)
	if err != nil {
		return nil, err
	}
	defer j.Close()
	var takes func(*layout.Action) time.Duration
	if o.MaxTime > 0 {
		if takes, err = expect(p.Dir, d.Class, o.Need, time.Now); err != nil {
			return nil, err
		}
	}
	pool, err := NewPool(d, o.Capacity)
	if err != nil {
		return nil, err
	}
	defer pool.Close()
	out, err := run.Run(ctx, todo, p.Store, j, pool, run.Options{
		Room: resource.NewAllocator(o.Capacity), Need: o.Need, FailFast: o.FailFast, MaxTime: o.MaxTime, Expect: takes, Idle: o.Idle, Timeout: o.Timeout, Limit: o.Limit, Save: o.Save, Job: o.Job, Slots: o.Capacity.CPUs, Study: p.Folder(), Backend: d.Class, Machine: Machine(ctx, d), Logs: filepath.Join(p.Dir, "logs"), Events: o.Events,
	})
	if err == nil {
		zerolog.Ctx(ctx).Debug().Int64("bytes", pool.PeakRSS()).Msg("upper bound of the peak memory of all workers together")
	}
	return out, err
}

// NewPool returns a pool of workers that compute on a device, within a capacity.
func NewPool(d device.Device, c resource.Capacity) (*launch.Pool, error) {
	return launch.NewPool(launch.Options{CPUs: c.CPUs, Pin: true, Env: d.Environment(), Threads: d.Threads, Build: program.Build(), Silence: silence})
}

// Machine describes a device for the journal and the store.
func Machine(ctx context.Context, d device.Device) run.Machine {
	return run.Machine{Device: d.Name, Backend: d.Class, Versions: d.Versions(), CPU: device.CPUName(), GPU: resource.GPUNames(ctx), Environment: d.Fingerprint(),
		Build: program.Identity()}
}
