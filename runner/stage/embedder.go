package stage

import (
	"context"
	"path/filepath"
	"slices"

	"ablate/models/embedder"
	"ablate/models/train"
	"ablate/runner/world"
)

// Embed is the stage that trains the embedder of images and prompts on which rewards are
// learned.
const Embed Kind = "embedder"

var embedDef = define(runEmbed, Def{
	Kind: Embed, Revision: 2, Backend: true, Trains: true,
	Files: slices.Concat(required(embedderFiles...), tabled(curvesFile)),
})

// EmbedParams are the parameters of [Embed].
type EmbedParams struct {
	Seed         int64      `json:"seed" key:"seed.pretraining"`
	Data         DataParams `json:"data"`
	Steps        int        `json:"steps" key:"embedder.steps"`
	Batch        int        `json:"batch" key:"embedder.batch"`
	LearningRate float64    `json:"learningRate" key:"embedder.learningRate"`
	Adam         train.Adam `json:"adam" key:"embedder.adam"`
}

// memory counts the pairs, and a batch with the similarities of all its images and
// captions.
func (p EmbedParams) memory() float64 {
	return float64(p.Data.Pairs)*world.Pixels + number*float64(p.Batch)*(world.Pixels+float64(p.Batch))
}

func (p EmbedParams) cost() float64 { return float64(p.Steps) * float64(p.Batch) / 5000 }

func runEmbed(ctx context.Context, e *Env, t Task, p EmbedParams, progress Progress) error {
	c := embedder.Default(world.Vocabulary())
	pairs, err := e.encodedPairs(p.Data, p.Seed)
	if err != nil {
		return err
	}
	values, curve, err := embedder.Train(ctx, e.Backend, c, pairs, t.stream(p.Seed, "init", 0), t.steps(p.Seed, "order"),
		embedder.Options{Steps: p.Steps, Batch: p.Batch, LearningRate: p.LearningRate, Adam: p.Adam, Resume: t.Resume, Progress: progress.steps()})
	if err != nil {
		return err
	}
	if err := writeEmbedder(t.Out, c, values); err != nil {
		return err
	}
	return writeCurve(filepath.Join(t.Out, curvesFile), curve)
}
