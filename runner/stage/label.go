package stage

import (
	"context"
	"fmt"
	"path/filepath"

	"ablate/models/checkpoint"
	"ablate/runner/world"
)

// Label labels images as an annotator does: as the judge, erring now and then.
const Label Kind = "label"

var labelDef = define(runLabel, Def{
	Kind: Label, Revision: 2,
	Inputs: []Input{{Name: PromptsInput}, {Name: VerdictsInput}},
	Files:  tabled(labelsFile),
})

// LabelParams of the annotator: the parser, erring with probability Noise.
type LabelParams struct {
	Seed  int64   `json:"seed" key:"seed.feedback"`
	Noise float64 `json:"noise" key:"feedback.parser.noise"`
	List  string  `json:"list"` // of the prompts; the errors of each have streams of the list
}

// Labelled is a label artifact: what an annotator said of each image. People's
// labels are the same.
type Labelled struct {
	Annotator string   `json:"annotator"`
	Prompts   []string `json:"prompts"`
	Labels    []string `json:"labels"` // good, bad or skip
}

func (LabelParams) memory() float64 { return 0 }

func (LabelParams) cost() float64 { return .1 }

func runLabel(_ context.Context, _ *Env, t Task, p LabelParams, _ Progress) error {
	prompts, err := ReadPrompts(t.in(PromptsInput))
	if err != nil {
		return err
	}
	verdicts, err := Only(ReadVerdictsOf(t.in(VerdictsInput), len(prompts)))
	if err != nil {
		return err
	}
	out := Labelled{Annotator: "parser", Prompts: texts(prompts), Labels: make([]string, len(prompts))}
	for i, l := range verdicts.Labels {
		out.Labels[i] = world.Annotate(t.stream(p.Seed, p.List, i), l, p.Noise)
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
	return &l, checkLabels(path, l.Labels)
}
