package stage

import (
	"context"
	"path/filepath"

	"ablate/analysis/fidelity"
	"ablate/models/checkpoint"
	"ablate/runner/world"
)

// Diversity is the stage that measures how much good images of one prompt differ.
const Diversity Kind = "diversity"

var diversityDef = define(runDiversity, Def{
	Kind: Diversity, Revision: 1,
	Inputs: []Input{{Name: ImagesInput}, {Name: PromptsInput}, {Name: VerdictsInput}},
	Files:  tabled(metricsFile),
})

// DiversityParams are the parameters of [Diversity]. None of them changes a metric.
type DiversityParams struct {
	Images int `json:"images" key:"-"` // number of images, for the estimate of the cost
}

func (p DiversityParams) memory() float64 { return 3 * float64(p.Images) * world.Pixels }

func (p DiversityParams) cost() float64 { return .01 + float64(p.Images)/15000 }

func runDiversity(_ context.Context, e *Env, t Task, _ DiversityParams, _ Progress) error {
	prompts, sets, err := readDrawn(t)
	if err != nil {
		return err
	}
	images, err := Only(sets, nil)
	if err != nil {
		return err
	}
	verdicts, err := Only(readLabelsOf(t.in(VerdictsInput), len(prompts)))
	if err != nil {
		return err
	}
	metrics, err := diversity(e.world.Images, prompts, verdicts.Labels, images.Images)
	if err != nil {
		return err
	}
	return checkpoint.WriteJSON(filepath.Join(t.Out, metricsFile), []MetricSet{{images.Step, metrics}})
}

// diversity returns two metrics of how much two good images of one complete prompt
// differ: their mean distance, relative to that of real images, and their mean Vendi
// score. It returns each metric for real images too. Both are means over prompts with at
// least two good images. They compare two images at a time, because the Vendi score grows
// with the number of images.
func diversity(w world.Images, prompts []Prompt, labels []string, images []uint8) ([]Metric, error) {
	var kept []string
	var x []uint8
	table := newPromptTable()
	var group []int
	for i, p := range prompts {
		if p.Complete && labels[i] == world.Good {
			kept, group = append(kept, p.Prompt), append(group, table.add(p.Prompt))
			x = append(x, images[i*world.Pixels:(i+1)*world.Pixels]...)
		}
	}
	real, err := w.Showing(perPromptSet, kept)
	if err != nil {
		return nil, err
	}
	again, err := w.Showing(perPromptSet2, kept)
	if err != nil {
		return nil, err
	}
	space := fidelity.NewSpace(real)
	base, _ := fidelity.MeanPairDistance(space.Features(real), group)
	var distances, scores []Metric
	for _, of := range []struct {
		suffix string
		images []uint8
	}{{"", x}, {".real", again}} {
		features := space.Features(of.images)
		d, n := fidelity.MeanPairDistance(features, group)
		v, m := fidelity.VendiOfPairs(features, group)
		if base == 0 {
			d, n = 0, 0
		} else {
			d /= base
		}
		distances = append(distances, Metric{"diversity" + of.suffix, d, n})
		scores = append(scores, Metric{"diversity.vendi" + of.suffix, v, m})
	}
	return append(distances, scores...), nil
}
