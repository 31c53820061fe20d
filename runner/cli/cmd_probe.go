package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ablate/runner/device"
	"ablate/runner/engine"
	"ablate/runner/phrase"
	"ablate/runner/resource"
)

type probeOptions struct {
	study      string
	keep, base string
	verbs      []string
	gpus       int
	json       bool
}

func (o *probeOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.study, "study", "", "probe an engine of `STUDY`, whose name is then the argument, and keep the verdict for the study")
	f.StringVar(&o.keep, "keep", "", "keep the folders of all tasks in a new folder `DIR` (default: they are removed)")
	f.StringVar(&o.base, "base", "", "checkpoint folder `DIR` to sample and train from, for an engine without load")
	f.StringArrayVar(&o.verbs, "verb", nil, "check this `VERB` alone: load, sample, train, score or embed (repeatable)")
	f.IntVar(&o.gpus, "gpus", 0, "number `N` of GPUs of each task")
	f.BoolVar(&o.json, "json", false, "print JSON")
	f.SetInterspersed(false) // flags after the program are the program's
}

const probeFormat = "ablate.probe/1"

// probeDocument is what probe prints as JSON.
type probeDocument struct {
	head
	engine.Verdict
}

func newProbe(g *globals) *cobra.Command {
	var o probeOptions
	cmd := &cobra.Command{
		Use:   "probe [flags] PROGRAM [ARG...] | probe --study STUDY ENGINE",
		Short: "Check whether an engine keeps the promises that results depend on",
		Long: `An engine is a program that loads, samples, trains, scores or embeds in the place of
ablate's own stages (docs/engines.md). This command gives it small tasks, with the
parameters that its description names for a probe, and checks what it promises: whole
outputs, the same bytes for the same task, noise that depends on the seed only, exact
resumption of a training that was stopped or killed, workers that leave nothing behind,
and parameters that do something. For each failure it says what that means for a study
and what to do.

PROGRAM and its arguments are the command of the engine; 'describe', 'run DIR' or 'serve'
is added to it. The exit code is 1 if a check failed.

With --study, the engine runs as that study and the machine.cue beside it say, and the
verdict is kept in the store: promises that the probe has refuted no longer count, for this
version of the program with these packages. 'plan', tables and reports say so, and also
which engines were never probed.
` + exitHelp,
		Example: "  ablate probe python3 engines/mine.py\n  ablate probe --keep tasks ./engine\n  ablate probe --study mystudy diffusers",
		Args:    cobra.MinimumNArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return runProbe(cmd.Context(), g, o, args) },
	}
	o.addFlags(cmd.Flags())
	return cmd
}

func runProbe(ctx context.Context, g *globals, o probeOptions, command []string) error {
	e, keep, err := g.probed(ctx, o, command)
	if err != nil {
		return err
	}
	d, err := e.Describe(ctx, "")
	if err != nil {
		return err
	}
	for _, verb := range o.verbs {
		if d.Verbs[verb] == nil {
			return usagef("probe: --verb is %q; the engine has %s", verb, strings.Join(slices.Sorted(maps.Keys(d.Verbs)), ", "))
		}
	}
	p := engine.ProbeOptions{GPUs: o.gpus, CPUs: 1, Only: func(c engine.Check) bool { return o.verbs == nil || slices.Contains(o.verbs, c.Verb) }}
	if o.base != "" {
		if p.Base, err = filepath.Abs(o.base); err != nil {
			return err
		}
	}
	if o.keep != "" {
		if p.Dir, err = filepath.Abs(o.keep); err != nil {
			return err
		}
		if err := os.Mkdir(p.Dir, 0o777); err != nil {
			return usagef("probe: --keep: %v: name a new folder", err)
		}
	} else {
		if p.Dir, err = os.MkdirTemp("", "ablate-probe-*"); err != nil {
			return err
		}
		defer os.RemoveAll(p.Dir)
	}
	if !o.json {
		fmt.Fprintf(g.stdout, "engine %s\n", strings.TrimSpace(d.Name+" "+d.Version))
		verb := ""
		p.End = func(c engine.Check) { verb = g.printProbed(c, verb) }
	}
	v, err := engine.Probe(ctx, e, d, p)
	if err == nil {
		err = keep(v)
	}
	if err != nil {
		return err
	}
	if o.json {
		err = printJSON(g.stdout, probeDocument{head{probeFormat}, *v})
	} else {
		g.printVerdict(v)
	}
	switch {
	case err != nil:
	case !v.Good():
		err = errors.New("probe: the engine does not keep all of its promises")
	case !slices.ContainsFunc(v.Checks, func(c engine.Check) bool { return c.Outcome == engine.Passed }):
		err = errors.New("probe: nothing could be checked: an engine without load needs --base, a checkpoint folder to begin from")
	}
	return err
}

// probed returns the engine to probe, and a function that keeps the verdict.
func (g *globals) probed(ctx context.Context, o probeOptions, command []string) (*engine.Engine, func(*engine.Verdict) error, error) {
	if o.study == "" {
		e, err := engineOf(command)
		return e, func(*engine.Verdict) error { return nil }, err
	}
	if len(command) != 1 {
		return nil, nil, usagef("probe: --study takes the name of one engine, as in 'ablate probe --study %s diffusers'", o.study)
	}
	p, err := g.open(ctx, o.study, studyOptions{})
	if err != nil {
		return nil, nil, err
	}
	d, err := p.Describe(ctx, command[0])
	if err != nil {
		return nil, nil, err
	}
	return &d.Engine, func(v *engine.Verdict) error { return p.SaveVerdict(d, hardware(ctx, o.gpus), v) }, nil
}

// hardware describes what an engine computes on: the GPUs, if it has any, and the processor.
func hardware(ctx context.Context, gpus int) string {
	if gpus > 0 {
		return strings.Join(append(resource.GPUModels(ctx), device.CPUName()), "; ")
	}
	return device.CPUName()
}

// engineOf returns the engine of a command. Its source is the files that the command names,
// and files of the same kind beside them.
func engineOf(command []string) (*engine.Engine, error) {
	root, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	e := &engine.Engine{Name: filepath.Base(command[len(command)-1]), Root: root, Command: command}
	for i, arg := range command {
		if info, err := os.Stat(arg); err == nil && info.Mode().IsRegular() && (i > 0 || strings.Contains(arg, "/")) {
			abs, err := filepath.Abs(arg)
			if err != nil {
				return nil, err
			}
			if e.Source == nil {
				e.Root = filepath.Dir(abs)
			}
			e.Command[i], e.Name = abs, strings.TrimSuffix(filepath.Base(arg), filepath.Ext(arg))
			if rel, err := filepath.Rel(e.Root, abs); err == nil && filepath.IsLocal(rel) {
				e.Source = append(e.Source, rel)
			}
			if ext := filepath.Ext(arg); ext != "" {
				e.Source = append(e.Source, "*"+ext)
			}
		}
	}
	return e, nil
}

// printProbed prints a check below its verb, and returns the verb.
func (g *globals) printProbed(c engine.Check, verb string) string {
	if c.Verb != verb {
		fmt.Fprintf(g.stdout, "\n%s\n", c.Verb)
	}
	mark := map[string]string{engine.Passed: "ok  ", engine.Broken: "FAIL", engine.Skipped: "-   "}[c.Outcome]
	fmt.Fprintf(g.stdout, "  %s  %s", mark, c.Name)
	if c.Outcome == engine.Passed && c.Seconds >= 1 {
		fmt.Fprintf(g.stdout, "  (%s)", phrase.Seconds(c.Seconds))
	}
	fmt.Fprintln(g.stdout)
	for _, text := range []string{c.Found, c.Do} {
		if text != "" {
			fmt.Fprintf(g.stdout, "        %s\n", strings.ReplaceAll(text, "\n", "\n        "))
		}
	}
	return c.Verb
}

// printVerdict prints the end of a probe.
func (g *globals) printVerdict(v *engine.Verdict) {
	n := map[string]int{}
	for _, c := range v.Checks {
		n[c.Outcome]++
	}
	fmt.Fprintf(g.stdout, "\n%s passed, %d failed, %d skipped.\n", phrase.Count(n[engine.Passed], "check"), n[engine.Broken], n[engine.Skipped])
}
