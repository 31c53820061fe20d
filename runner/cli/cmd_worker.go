package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"ablate/models/backend"
	"ablate/runner/launch"
	"ablate/runner/stage"
	"ablate/runner/store"
	"ablate/runner/study"
)

// newWorker is the hidden command of worker processes. What it runs on is in
// its environment, which the pool sets.
func newWorker(_ *globals) *cobra.Command {
	return &cobra.Command{
		Use:    "worker",
		Short:  "Run stages for a running study (started by ablate itself)",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var env *stage.Env
			return launch.ServeStdio(cmd.Context(), func(ctx context.Context, t launch.Task, progress func(launch.Progress)) (json.RawMessage, error) {
				kind := stage.Kind(t.Stage)
				// The backend is opened by the first stage that computes, so that
				// its failure is that stage's error.
				if env == nil {
					env = stage.NewEnv(nil)
				}
				if os.Getenv(envWorkerBackend) == backend.Go {
					if why := backend.GoRefuses(t.Stage); why != "" {
						return nil, fmt.Errorf("%s: %s", kind, why)
					}
				}
				if kind.Computes() && env.Backend == nil {
					b, err := openWorkerBackend(ctx)
					if err != nil {
						return nil, fmt.Errorf("backend: %w", err)
					}
					env.Backend = b
				}
				err := stage.Run(ctx, env, stage.Task{Kind: kind, Params: t.Params, Inputs: t.Inputs, Out: t.Out}, func(step, total int, text string) {
					progress(launch.Progress{Step: step, Total: total, Text: text})
				})
				if err != nil {
					return nil, study.Classify(err)
				}
				manifest, err := store.Written(ctx, t.Out)
				if err != nil {
					return nil, study.Classify(err)
				}
				return json.Marshal(study.Made{Manifest: manifest})
			}, launch.ServeOptions{Build: buildID()})
		},
	}
}
