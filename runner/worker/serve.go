package worker

import (
	"context"
	"encoding/json"
	"fmt"

	"ablate/models/backend"
	"ablate/runner/device"
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
	return launch.ServeStdio(ctx, func(ctx context.Context, t launch.Task, progress func(launch.Progress)) (json.RawMessage, error) {
		return serve(ctx, env, t, progress)
	}, launch.ServeOptions{Build: program.Build()})
}

// serve runs one stage and returns the manifest of the files that it wrote.
func serve(ctx context.Context, env *stage.Env, t launch.Task, progress func(launch.Progress)) (json.RawMessage, error) {
	kind := stage.Kind(t.Stage)
	if device.Inherited() == device.Go {
		if why := backend.GoRefuses(kind.Def().Trains); why != "" {
			return nil, fmt.Errorf("%s: %s", kind, why)
		}
	}
	// The backend is opened by the first stage that needs it, so that a failure to open
	// it is reported as an error of that stage.
	if kind.Def().Backend && env.Backend == nil {
		b, err := device.OpenInherited()
		if err != nil {
			return nil, fmt.Errorf("backend: %w", err)
		}
		env.Backend = b
	}
	err := stage.Run(ctx, env, stage.Task{Kind: kind, Params: t.Params, Inputs: t.Inputs, Out: t.Out}, func(step, total int, text string) {
		progress(launch.Progress{Step: step, Total: total, Text: text})
	})
	if err != nil {
		return nil, run.Classify(err)
	}
	manifest, err := store.Written(ctx, t.Out)
	if err != nil {
		return nil, run.Classify(err)
	}
	return json.Marshal(run.Made{Manifest: manifest})
}
