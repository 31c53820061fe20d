package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"ablate/models/backend"
	"ablate/models/train"
	"ablate/runner/device"
	"ablate/runner/failure"
	"ablate/runner/launch"
	"ablate/runner/program"
	"ablate/runner/run"
	"ablate/runner/stage"
	"ablate/runner/store"
)

// Serve runs in a worker process. It runs the stages that the parent sends on standard
// input, on the backend that the parent chose.
func Serve(ctx context.Context) error {
	env := stage.NewEnv(nil)
	defer env.Close()
	return launch.ServeStdio(ctx, func(ctx context.Context, t launch.Task, progress func(launch.Progress)) (json.RawMessage, error) {
		return serve(ctx, env, t, progress)
	}, launch.ServeOptions{Build: program.Build(), Grace: saving})
}

// When a worker is asked to stop during a training, the step of that moment may take
// stepping, and then everything must be saved within saving, before the pool's patience
// ends.
const (
	stepping = 30 * time.Second
	saving   = 55 * time.Second
)

// resume returns where and when a task saves its state. A state that cannot be used is
// reported as a warning, and the training begins again.
func resume(t launch.Task, progress func(launch.Progress)) train.Resume {
	if t.State == "" {
		return train.Resume{}
	}
	every, last := time.Duration(t.Save*float64(time.Second)), time.Now()
	return train.Resume{
		File:  filepath.Join(t.State, "state"),
		Grace: stepping,
		Due: func(int) bool {
			if time.Since(last) < every {
				return false
			}
			last = time.Now()
			return true
		},
		Resumed: func(steps int) { progress(launch.Progress{Resumed: steps}) },
		Discard: func(err error) {
			progress(launch.Progress{Warning: "a saved state cannot be used, and the training begins again: " + err.Error()})
		},
	}
}

// progressOf returns the message about how far a stage is.
func progressOf(r stage.Report) launch.Progress {
	p := launch.Progress{Step: r.Step, Total: r.Total, Text: r.Text, Compiling: r.Compiling}
	for i, name := range r.Metrics {
		m := launch.Metric{Name: name}
		if v := r.Values[i]; v-v == 0 { // JSON has no other numbers than finite ones
			m.Value = &v
		}
		p.Metrics = append(p.Metrics, m)
	}
	return p
}

// serve runs one stage and returns the manifest of the files that it wrote.
func serve(ctx context.Context, env *stage.Env, t launch.Task, progress func(launch.Progress)) (json.RawMessage, error) {
	kind := stage.Kind(t.Stage)
	if device.Inherited() == device.Go {
		if why := backend.GoRefuses(kind.Def().Trains); why != "" {
			return nil, launch.WithClass(string(failure.Setup), fmt.Errorf("%s: %s", kind, why))
		}
	}
	// The backend is opened by the first stage that needs it, so that a failure to open
	// it is reported as an error of that stage.
	if kind.Def().Backend && env.Backend == nil {
		b, err := device.OpenInherited()
		if err != nil {
			return nil, launch.WithClass(string(failure.Setup), fmt.Errorf("backend: %w", err))
		}
		env.Backend = b
	}
	seconds := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	made := stage.Made{}
	err := stage.Run(ctx, env, stage.Task{Kind: kind, Params: t.Params, Inputs: t.Inputs, Out: t.Out, Resume: resume(t, progress),
		Action: t.Action, Store: t.Store, State: t.State, SaveEvery: seconds(t.Save), Attempt: t.Attempt, Grace: seconds(t.Grace), Limit: seconds(t.Limit), Machine: t.Machine, CPUs: t.CPUs, Made: made,
		Why: func() string {
			why, _ := os.ReadFile(t.Why) // without it, the reason is not known
			return string(why)
		}}, func(r stage.Report) { progress(progressOf(r)) })
	if err != nil {
		return nil, failure.Classify(err)
	}
	manifest, err := store.Written(ctx, t.Out)
	if err != nil {
		return nil, failure.Classify(err)
	}
	return json.Marshal(run.Made{Manifest: manifest, Lines: made.String()})
}
