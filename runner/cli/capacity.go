package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"ablate/runner/device"
	"ablate/runner/layout"
	"ablate/runner/plan"
	"ablate/runner/resource"
	"ablate/runner/run"
)

// capacityOptions are the flags that limit what a command uses of this machine.
type capacityOptions struct {
	jobs, gpus int
	gpusSet    bool
	memory     string
}

func (o *capacityOptions) addFlags(f *pflag.FlagSet) {
	f.IntVarP(&o.jobs, "jobs", "j", 0, "`N` CPUs to use at most: as many stages that need one CPU run at a time (default: all that this process may use)")
	f.IntVar(&o.gpus, "gpus", 0, "`N` GPUs to use at most (default: all that this process may use; without xla:cuda, none)")
	f.StringVar(&o.memory, "memory", "", "`SIZE` of the main memory to use at most, such as 8GiB (default: what this process may use)")
}

// check returns an error if a value is out of range.
func (o *capacityOptions) check(command string, f *pflag.FlagSet) error {
	if o.gpusSet = f.Changed("gpus"); o.gpus < 0 {
		return usagef("%s: --gpus is %d; must not be negative", command, o.gpus)
	}
	if _, err := o.bytes(); err != nil {
		return usagef("%s: --memory: %v", command, err)
	}
	return checkCounts(command, f, "jobs")
}

func (o *capacityOptions) bytes() (int64, error) {
	if o.memory == "" {
		return 0, nil
	}
	return resource.ParseBytes(o.memory)
}

// here returns what a command may use of this machine on a class of backend.
func (o *capacityOptions) here(ctx context.Context, class string) (resource.Capacity, error) {
	memory, err := o.bytes()
	if err != nil {
		return resource.Capacity{}, err
	}
	return resource.Here(ctx, class == device.CUDA, resource.Limits{CPUs: o.jobs, GPUs: o.gpus, GPUsSet: o.gpusSet, Memory: memory})
}

// words returns the flags that a worker elsewhere gets.
func (o *capacityOptions) words() (words []string) {
	if o.jobs > 0 {
		words = append(words, "--jobs", strconv.Itoa(o.jobs))
	}
	if o.gpusSet {
		words = append(words, "--gpus", strconv.Itoa(o.gpus))
	}
	if o.memory != "" {
		words = append(words, "--memory", o.memory)
	}
	return words
}

// unfit returns an error if some of a command's actions can never run within a capacity.
func unfit(command string, actions []*layout.Action, need run.Needs, c resource.Capacity) error {
	list := plan.Misfits(actions, need, c)
	if len(list) == 0 {
		return nil
	}
	return fmt.Errorf("%s: not all stages fit on this machine, of which %s may be used: %s. Lower what they need in machine.cue, or let 'ablate run --launcher slurm' or '--launcher command' start workers on larger machines",
		command, c, strings.Join(list, "; "))
}
