package stage

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"

	"ablate/models/checkpoint"
	"ablate/runner/world"
)

// Label is the stage that labels images like a human annotator: it takes the judge's
// labels and adds errors.
const Label Kind = "label"

var labelDef = define(runLabel, Def{
	Kind: Label, Revision: 2,
	Inputs: []Input{{Name: PromptsInput}, {Name: VerdictsInput}},
	Files:  tabled(labelsFile),
})

// LabelParams are the parameters of [Label]. The annotator is the gold judge with errors of
// probability Noise: the parser of the shapes world, or Gold.
type LabelParams struct {
	Seed  int64   `json:"seed" key:"seed.feedback"`
	Noise float64 `json:"noise" key:"feedback.parser.noise"`
	List  string  `json:"list"`           // list of the prompts; the errors are drawn from random streams of the list
	Gold  string  `json:"gold,omitempty"` // engine and column, ENGINE.COLUMN
}

// Labelled is the artifact of [Label]: the label of each image by an annotator. Labels of
// people would have the same form.
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
	verdicts, err := Only(readLabelsOf(t.in(VerdictsInput), len(prompts)))
	if err != nil {
		return err
	}
	out := Labelled{Annotator: cmp.Or(p.Gold, "parser"), Prompts: texts(prompts), Labels: make([]string, len(prompts))}
	for i, l := range verdicts.Labels {
		if out.Labels[i] = world.Skip; l == "" {
			continue
		}
		out.Labels[i] = world.Annotate(t.stream(p.Seed, p.List, i), l, p.Noise)
	}
	return checkpoint.WriteJSON(filepath.Join(t.Out, labelsFile), out)
}

// ReadLabels reads the artifact of [Label].
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
