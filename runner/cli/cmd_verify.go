package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ablate/runner/device"
	"ablate/runner/layout"
	"ablate/runner/lookup"
	"ablate/runner/phrase"
	"ablate/runner/plan"
	"ablate/runner/project"
	"ablate/runner/resource"
	"ablate/runner/run"
	"ablate/runner/verify"
	"ablate/runner/worker"
)

type verifyOptions struct {
	studyOptions
	sample int
	all    bool
	seed   uint64
	capacityOptions
	timeout time.Duration
	json    bool
}

func (o *verifyOptions) addFlags(f *pflag.FlagSet) {
	o.studyOptions.addFlags(f)
	f.IntVar(&o.sample, "sample", 10, "compute `N` stages again, chosen at random")
	f.BoolVar(&o.all, "all", false, "compute all stages again")
	f.Uint64Var(&o.seed, "seed", 0, "choose the sample by this number `S`; the same number chooses the same stages")
	o.capacityOptions.addFlags(f)
	f.DurationVar(&o.timeout, "timeout", 0, "stop a stage that takes longer than this `TIME`, which then has failed (default: no limit)")
	f.BoolVar(&o.json, "json", false, "print JSON")
}

const verifyFormat = "ablate.verify/1"

// verifyDocument is what verify prints as JSON.
type verifyDocument struct {
	head
	Study   string `json:"study"`
	Backend string `json:"backend"` // class of backend of the results
	verify.Result
}

func newVerify(g *globals) *cobra.Command {
	var o verifyOptions
	cmd := &cobra.Command{
		Use:   "verify STUDY",
		Short: "Compute a sample of a study's results again, and compare the bytes",
		Long: `Compares all results of a study in the store with their digests, which finds damaged
files. Then it computes a sample of the stages again, in worker processes, and compares
the bytes with the results in the store, which finds results that this program and machine
do not reproduce. A stage is only computed again if its result is of the same environment
as this machine has now: library, driver, processor and flags.

Nothing in the store is replaced. Results that differ are listed, and the exit code is 3.
Damaged ones are moved to quarantine/, so that the next run computes them again, and the
exit code is 1.
` + exitHelp,
		Example: "  ablate verify experiments/quickstart\n  ablate verify experiments/quickstart --sample 30 --seed 7",
		Args:    cobra.ExactArgs(1),
		PreRunE: func(cmd *cobra.Command, _ []string) error { return o.check(cmd.Flags()) },
		RunE:    func(cmd *cobra.Command, args []string) error { return runVerify(cmd.Context(), g, o, args[0]) },
	}
	o.addFlags(cmd.Flags())
	return cmd
}

// check returns an error if a value is out of range, or flags contradict each other.
func (o *verifyOptions) check(f *pflag.FlagSet) error {
	switch {
	case o.sample < 0:
		return usagef("verify: --sample is %d; must be 0 or more", o.sample)
	case o.timeout < 0:
		return usagef("verify: --timeout is %v; must not be negative", o.timeout)
	case o.all && (f.Changed("sample") || f.Changed("seed")):
		return usagef("verify: --all computes everything again: leave out --sample and --seed")
	}
	return o.capacityOptions.check("verify", f)
}

func runVerify(ctx context.Context, g *globals, o verifyOptions, path string) error {
	p, err := g.load(ctx, path, o.studyOptions)
	if err != nil {
		return err
	}
	class, err := p.Class(o.backend)
	if err != nil {
		return err
	}
	found, err := lookup.Collect(p.Graph, p.Store, class, nil)
	if err != nil {
		return err
	}
	if found.Len() == 0 {
		return fmt.Errorf("study %s: the store %s has no results of it for %s: '%s' computes them", p.Study.Name, p.Store.Dir(), class, p.Command())
	}
	v := verify.New(p.Graph, p.Store, found)
	reading := g.newCounting(zerolog.Ctx(ctx), "reading results")
	err = v.Check(ctx, reading.at)
	reading.close()
	if err != nil {
		return err
	}
	if err := g.recompute(ctx, p, v, class, o); err != nil {
		return err
	}
	if o.json {
		err = printJSON(g.stdout, verifyDocument{head{verifyFormat}, p.Study.Name, class, v.Result})
	} else {
		g.printVerified(v)
	}
	return errors.Join(err, verified(p, v))
}

// recompute computes a sample of the results again and shows the progress.
func (g *globals) recompute(ctx context.Context, p project.Project, v *verify.Verification, class string, o verifyOptions) error {
	log := zerolog.Ctx(ctx)
	if o.sample == 0 && !o.all {
		return nil
	}
	machine := run.Machine{} // has computed no result
	d, err := device.Choose(ctx, class, g.fetchBar())
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		log.Warn().Err(err).Msg("no stage can be computed again on this machine")
	default:
		machine = worker.Machine(ctx, d)
	}
	needs, err := plan.NewNeeds(p.Study, class)
	if err != nil {
		return err
	}
	c, err := o.here(ctx, class)
	if err != nil {
		return usagef("verify: %v", err)
	}
	need := plan.On(needs.Of, class, c)
	sample := v.Select(machine, need, verify.Selection{All: o.all, Sample: o.sample, Seed: o.seed})
	if len(sample) == 0 {
		return nil
	}
	if err := unfit("verify", sample, need, c); err != nil {
		return err
	}
	pool, err := worker.NewPool(d, c)
	if err != nil {
		return err
	}
	defer pool.Close()
	log.Info().Str("backend", d.Class).Str("device", d.Name).Int("cpus", c.CPUs).Int("gpus", len(c.GPUs)).Int("stages", len(sample)).Msg("computing again")
	shown := g.computing(ctx, p, layout.Some(sample), class, "verify "+p.Study.Name, c.CPUs)
	defer shown.close()
	return v.Recompute(ctx, sample, pool, verify.Options{Room: resource.NewAllocator(c), Need: need, Timeout: o.timeout, Backend: class, Events: shown.event})
}

// printVerified prints what a verification found.
func (g *globals) printVerified(v *verify.Verification) {
	for _, d := range v.Different {
		fmt.Fprintf(g.stdout, "different: %s %s: %s\n", d.Stage, d.Trial, d.Difference)
	}
	for _, d := range v.Damaged {
		fmt.Fprintf(g.stdout, "damaged: %s %s: %s\n", d.Stage, d.Trial, d.Error)
	}
	for _, d := range v.Failed {
		fmt.Fprintf(g.stdout, "failed: %s %s: %s\n", d.Stage, d.Trial, d.Error)
	}
	fmt.Fprintf(g.stdout, "%s recomputed and equal, %s checked", phrase.Count(v.Recomputed, "stage"), phrase.Count(v.Checked, "digest"))
	if v.Elsewhere > 0 {
		fmt.Fprintf(g.stdout, ", %d could not be recomputed because another environment computed them", v.Elsewhere)
	}
	if v.Missing > 0 {
		fmt.Fprintf(g.stdout, ", %d have no result yet", v.Missing)
	}
	fmt.Fprintln(g.stdout)
}

// verified returns the error of a verification that found something.
func verified(p project.Project, v *verify.Verification) error {
	var errs []error
	if n := len(v.Different); n > 0 {
		errs = append(errs, differenceError{fmt.Errorf("study %s: %s other bytes than before: equal inputs must give equal bytes. Was the program or the machine changed?", p.Study.Name, give(n))})
	}
	if n := len(v.Damaged); n > 0 {
		errs = append(errs, fmt.Errorf("study %s: %s damaged in the store: '%s' computes them again", p.Study.Name, phrase.Are(n, "result"), p.Command()))
	}
	if n := len(v.Failed); n > 0 {
		errs = append(errs, fmt.Errorf("study %s: %s failed when computed again", p.Study.Name, phrase.Count(n, "stage")))
	}
	return errors.Join(errs...)
}

func give(n int) string {
	if n == 1 {
		return "1 stage gives"
	}
	return fmt.Sprintf("%d stages give", n)
}
