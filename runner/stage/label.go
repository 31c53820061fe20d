package stage

import (
	"context"
	"fmt"
	"path/filepath"

	"ablate/models/checkpoint"
	"ablate/models/shapes"
)

// Label labels images as the annotator does.
const Label Kind = "label"

var labelDef = define(runLabel, Def{
	Kind: Label, Revision: 1,
	Inputs: []Input{{Name: LabelledInput}},
	Files:  tabled(labelsFile),
})

// LabelParams of the annotator: the parser, erring with probability Noise.
type LabelParams struct {
	Seed  int64   `json:"seed" key:"seed.feedback"`
	Noise float64 `json:"noise" key:"feedback.parser.noise"`
	Split string  `json:"split,omitempty"` // of the images; empty: those that a reward learns from
}

// Labelled is a label artifact: what an annotator said of each image. People's
// labels are the same.
type Labelled struct {
	Annotator string   `json:"annotator"`
	Prompts   []string `json:"prompts"`
	Labels    []string `json:"labels"` // good, bad or skip
}

func (LabelParams) memory() float64 { return 0 }

func (LabelParams) cost() float64 { return 1 }

func runLabel(_ context.Context, _ *Env, t Task, p LabelParams, _ Progress) error {
	images, err := ReadImages(t.in(LabelledInput), "images")
	if err != nil {
		return err
	}
	prompts, err := readPrompts(t.in(LabelledInput))
	if err != nil {
		return err
	}
	readings := read(images)
	if len(readings) != len(prompts) {
		return fmt.Errorf("label: %d images have %d prompts", len(readings), len(prompts))
	}
	purpose := "parser"
	if p.Split != "" {
		purpose += " " + p.Split
	}
	out := Labelled{Annotator: "parser", Prompts: promptStrings(prompts), Labels: make([]string, len(prompts))}
	for i, r := range readings {
		out.Labels[i] = shapes.Annotate(t.stream(p.Seed, purpose, i), r.Judge(prompts[i]), p.Noise).String()
	}
	return checkpoint.WriteJSON(filepath.Join(t.Out, labelsFile), out)
}

// ReadLabels reads a label artifact.
func ReadLabels(dir string) (*Labelled, error) {
	var l Labelled
	path := filepath.Join(dir, labelsFile)
	if err := checkpoint.ReadJSON(path, &l, true); err != nil {
		return nil, err
	}
	if len(l.Labels) != len(l.Prompts) {
		return nil, fmt.Errorf("%s: %d labels for %d prompts", path, len(l.Labels), len(l.Prompts))
	}
	for i, s := range l.Labels {
		if s != "good" && s != "bad" && s != "skip" {
			return nil, fmt.Errorf("%s: label %d is %q: want good, bad or skip", path, i, s)
		}
	}
	return &l, nil
}
