package stage

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"ablate/models/shapes"
	"ablate/models/train"
)

// Proxy scores the images of an evaluation, and those of a fine-tuning's probes, by the
// learned reward of the base trial: one reward for every trial of a study, so that their
// scores compare.
const Proxy Kind = "proxy"

var proxyDef = define(runProxy, Def{
	Kind: Proxy, Revision: 2, Backend: true,
	Inputs: []Input{{Name: EvaluateInput}, {Name: RewardInput, OfBase: true}, {Name: EmbedderInput, OfBase: true}, {Name: FinetuneInput, Optional: true}},
	Files:  slices.Concat(tabled(scoresFile), optional(tabled(probesFile)...)),
})

func runProxy(_ context.Context, e *Env, t Task, _ NoParams, _ Progress) error {
	images, err := ReadImages(t.in(EvaluateInput), Alignment)
	if err != nil {
		return err
	}
	rows, err := ReadSamples(t.in(EvaluateInput))
	if err != nil {
		return err
	}
	var prompts []shapes.Prompt
	for _, s := range rows {
		if s.Set == Alignment {
			p, err := shapes.ParsePrompt(s.Prompt)
			if err != nil {
				return err
			}
			prompts = append(prompts, p)
		}
	}
	x, err := e.embed(t.in(EmbedderInput), images, prompts)
	if err != nil {
		return err
	}
	scores, err := e.scores(t.in(RewardInput), x, prompts)
	if err != nil {
		return err
	}
	if err := writeScores(t.Out, map[string][]float32{scoresName: scores, cosineName: x.cosines()}); err != nil {
		return err
	}
	if !t.has(FinetuneInput) {
		return nil
	}
	return e.probed(t)
}

// probed is the proxy's view of what a fine-tuning's probes drew.
func (e *Env) probed(t Task) error {
	images, err := ReadImages(t.in(FinetuneInput), probesName)
	if err != nil {
		return err
	}
	prompts, err := readPrompts(t.in(FinetuneInput))
	if err != nil {
		return err
	}
	seen, err := ReadProbes(t.in(FinetuneInput))
	if err != nil {
		return err
	}
	n := len(prompts) * shapes.Pixels
	if n == 0 || len(images) != len(seen.Steps)*n {
		return fmt.Errorf("proxy: %d probes of %d prompts do not have %d images", len(seen.Steps), len(prompts), len(images)/shapes.Pixels)
	}
	curve := train.NewCurve("proxy")
	for i, step := range seen.Steps {
		scores, err := e.proxyScores(t.in(RewardInput), t.in(EmbedderInput), images[i*n:(i+1)*n], prompts)
		if err != nil {
			return err
		}
		curve.Add(step, MeanScore(scores))
	}
	return writeCurve(filepath.Join(t.Out, probesFile), curve)
}
