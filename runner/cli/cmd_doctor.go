package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ablate/runner/checkup"
	"ablate/runner/device"
)

type doctorOptions struct {
	json, fetch bool
}

func (o *doctorOptions) addFlags(f *pflag.FlagSet) {
	f.BoolVar(&o.json, "json", false, "print findings as JSON")
	f.BoolVar(&o.fetch, "fetch", false, "first fetch the XLA plugin for the CPU if it is missing")
}

const doctorFormat = "ablate.doctor/1"

// doctorDocument is what doctor prints as JSON.
type doctorDocument struct {
	head
	Findings []checkup.Finding `json:"findings"`
}

func newDoctor(g *globals) *cobra.Command {
	var o doctorOptions
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check backends, plugin and disk, and give advice on each problem",
		Long: `Tries each backend (a library with a device that computes) in a child process. Prints
which backend 'auto' picks, the folders of plugins and results, and the free disk space.
The exit code is 1 if no backend works that can train.
` + exitHelp,
		Example: "  ablate doctor\n  ablate doctor --fetch",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return runDoctor(cmd.Context(), g, o) },
	}
	o.addFlags(cmd.Flags())
	return cmd
}

func runDoctor(ctx context.Context, g *globals, o doctorOptions) error {
	if o.fetch {
		if _, err := device.Fetch(ctx, g.fetchBar()); err != nil {
			return err
		}
	}
	list, err := checkup.Machine(ctx, g.store)
	if err != nil {
		return err
	}
	if o.json {
		if err := printJSON(g.stdout, doctorDocument{head{doctorFormat}, list}); err != nil {
			return err
		}
	} else {
		printMachine(g.stdout, list)
	}
	if f, bad := checkup.Problem(list); bad {
		return fmt.Errorf("doctor: %s: %s", f.What, f.Detail)
	}
	return nil
}

// printMachine prints one line per finding and, below it, how to fix a problem. A missing
// GPU is not marked as a failure.
func printMachine(w io.Writer, list []checkup.Finding) {
	for _, f := range list {
		mark := "ok  "
		if !f.OK {
			mark = "FAIL"
			if f.What == device.CUDA {
				mark = "-   "
			}
		}
		fmt.Fprintf(w, "%s %-9s %s\n", mark, f.What, f.Detail)
		if f.Do != "" {
			fmt.Fprintf(w, "%15s%s\n", "", f.Do)
		}
	}
}
