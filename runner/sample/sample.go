// Package sample draws images of a user's prompts with the model of a trial, and beside it with the
// pretrained one from the same noise. It runs the stage by which the trial draws, and writes pictures,
// a contact sheet and a list of them into a folder of the user. The store gets no artifact.
package sample

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"ablate/experiments/language"
	"ablate/runner/layout"
	"ablate/runner/project"
	"ablate/runner/stage"
	"ablate/runner/world"
)

// Options of a drawing.
type Options struct {
	Prompts []stage.FilePrompt
	N       int    // images of each prompt
	Seed    int64  // row seed of the first image of each prompt; the others follow. From 1 to MostSeed
	Step    int    // of the fine-tuning, after which a checkpoint was kept; 0 means its end
	Out     string // folder to write into
	Force   bool   // replace files that are there
}

// MostSeed is the largest seed of an image: libraries for random noise take those in [1, 2³¹).
const MostSeed = 1<<31 - 1

// mostPrompt is the largest length of a prompt in bytes.
const mostPrompt = 16 << 10

// A Drawing is what will be drawn, after all checks that need no device.
type Drawing struct {
	o      Options
	p      project.Project
	v      language.View
	class  string // of backend
	action *layout.Action
	native bool
	models []model
}

// A model draws a picture for each row.
type model struct {
	Model
	inputs map[string]string // folders of its artifacts, by the names of the stage's inputs
}

// New returns the drawing of images with the model of a view's trial. class is the class of backend
// that has computed the model.
func New(ctx context.Context, p project.Project, class string, v language.View, o Options) (*Drawing, error) {
	found, err := p.Find(p.Graph, class)
	if err != nil {
		return nil, err
	}
	m, err := p.Model(ctx, found, v)
	if err != nil {
		return nil, err
	}
	d := &Drawing{o: o, p: p, v: v, class: class, action: p.Graph.Chains[v.Trial.ID()].Sampling(len(o.Prompts)*o.N, o.Step)}
	if d.action == nil {
		return nil, fmt.Errorf("%s draws no images", v)
	}
	d.native = stage.EngineOf(d.action.Params) == ""
	pretrained := model{Model{Name: "pretrained", Base: m.BaseID.String()}, map[string]string{stage.ModelInput: m.Base}}
	switch {
	case m.Tuned != "":
		trained := model{Model{"trained", o.Step, m.BaseID.String(), m.TunedID.String()}, map[string]string{stage.ModelInput: m.Base, stage.TunedInput: m.Tuned}}
		if o.Step > 0 {
			trained.Name = fmt.Sprintf("step%d", o.Step)
		}
		d.models = []model{trained, pretrained}
	case o.Step > 0:
		return nil, fmt.Errorf("--step is %d, and %s fine-tunes nothing: leave it out", o.Step, v)
	default:
		d.models = []model{pretrained}
	}
	if err := d.checkStep(m.Tuned); err != nil {
		return nil, err
	}
	if err := d.checkPrompts(); err != nil {
		return nil, err
	}
	return d, d.checkFiles()
}

// rows returns the list of prompts, each N times. The k-th images of all prompts have the same seed.
func (d *Drawing) rows() []stage.Prompt {
	rows := make([]stage.Prompt, 0, len(d.o.Prompts)*d.o.N)
	for _, p := range d.o.Prompts {
		for k := range d.o.N {
			rows = append(rows, stage.Prompt{Prompt: p.Text, Negative: p.Negative, Seed: d.o.Seed + int64(k)})
		}
	}
	return rows
}

// Action returns the action that draws, which says what it needs of a machine.
func (d *Drawing) Action() *layout.Action { return d.action }

// Alone reports whether the trial fine-tunes nothing, so that the pretrained model draws alone.
func (d *Drawing) Alone() bool { return len(d.models) == 1 }

// images returns the number of images of each model.
func (d *Drawing) images() int { return len(d.o.Prompts) * d.o.N }

// checkStep returns an error if the fine-tuning has kept no checkpoint after the step.
func (d *Drawing) checkStep(tuned string) error {
	if d.o.Step == 0 {
		return nil
	}
	steps, err := stage.CheckpointSteps(tuned)
	switch {
	case err != nil:
		return err
	case len(steps) == 0:
		return fmt.Errorf("--step is %d, and the fine-tuning of %s has kept no checkpoint but its last one: leave --step out", d.o.Step, d.v)
	case !slices.Contains(steps, d.o.Step):
		return fmt.Errorf("--step is %d; the fine-tuning of %s has kept checkpoints after steps %s", d.o.Step, d.v, strings.Trim(fmt.Sprint(steps), "[]"))
	}
	return nil
}

// checkPrompts returns an error if the model cannot read a prompt. Engines check theirs themselves.
func (d *Drawing) checkPrompts() error {
	for i, p := range d.o.Prompts {
		switch {
		case strings.TrimSpace(p.Text) == "":
			return fmt.Errorf("prompt %d is empty: write what the image shows", i+1)
		case !utf8.ValidString(p.Text):
			return fmt.Errorf("prompt %d, %q, is not UTF-8", i+1, p.Text)
		case len(p.Text) > mostPrompt:
			return fmt.Errorf("prompt %d has %d bytes; must have at most %d", i+1, len(p.Text), mostPrompt)
		case d.native && p.Negative != "":
			return fmt.Errorf("prompt %d, %q, has the negative prompt %q, and the models of the shapes world read none: leave it out", i+1, p.Text, p.Negative)
		case d.native:
			if _, err := world.Shapes().Texts.Input([]string{p.Text}); err != nil {
				return err
			}
		}
	}
	return nil
}
