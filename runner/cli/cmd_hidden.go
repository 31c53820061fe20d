package cli

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"ablate/runner/device"
	"ablate/runner/engine"
	"ablate/runner/native"
	"ablate/runner/sandbox"
	"ablate/runner/worker"
)

// The program starts itself as a child process with the hidden commands.

func newStages(_ *globals) *cobra.Command {
	return &cobra.Command{
		Use: "stages", Short: "Run the stages that a run sends (started by ablate itself)", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return worker.Serve(cmd.Context()) },
	}
}

func newWalls(_ *globals) *cobra.Command {
	return &cobra.Command{
		Use: engine.WallsCommand, Short: "Run an engine behind walls (started by ablate itself)", Hidden: true, Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return engine.BuildWalls() },
	}
}

func newEngine(_ *globals) *cobra.Command {
	return &cobra.Command{
		Use: "engine [stable-diffusion] describe FILE | run DIR | serve | estimate ASK FILE", Short: "Be the engine of the shapes world or of Stable Diffusion (docs/engines.md; started by ablate for studies that name it)", Hidden: true, Args: cobra.RangeArgs(1, 4),
		RunE: func(cmd *cobra.Command, args []string) error { return native.Main(cmd.Context(), args) },
	}
}

func newTryBackend(g *globals) *cobra.Command {
	return &cobra.Command{
		Use: device.ProbeCommand, Short: "Try a backend (started by ablate itself)", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return device.ServeProbe(cmd.Context(), g.stdout) },
	}
}

func newLoad(g *globals) *cobra.Command {
	var o studyOptions
	cmd := &cobra.Command{
		Use: sandbox.Command + " STUDY", Short: "Load a study (started by ablate itself)", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return sandbox.Serve(args[0], o.set, g.stdout.raw, func(err error) { os.Exit(exitCode(context.Background(), err)) })
		},
	}
	o.addFlags(cmd.Flags())
	return cmd
}
