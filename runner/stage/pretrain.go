package stage

import (
	"context"
	"path/filepath"
	"slices"

	"ablate/models/dit"
	"ablate/models/pipeline"
	"ablate/models/pretrain"
	"ablate/models/train"
	"ablate/runner/world"
)

// Pretrain is the stage that trains the denoiser from scratch.
const Pretrain Kind = "pretrain"

var pretrainDef = define(runPretrain, Def{
	Kind: Pretrain, Revision: 2, Backend: true, Trains: true,
	Files: slices.Concat(required(modelFiles...), tabled(curvesFile)),
})

// PretrainParams are the parameters of [Pretrain].
type PretrainParams struct {
	Seed         int64      `json:"seed" key:"seed.pretraining"`
	Data         DataParams `json:"data"`
	Layers       int        `json:"layers" key:"model.shapes.layers"`
	Width        int        `json:"width" key:"model.shapes.width"`
	Heads        int        `json:"heads" key:"model.shapes.heads"`
	Steps        int        `json:"steps" key:"model.shapes.steps"`
	Batch        int        `json:"batch" key:"model.shapes.batch"`
	LearningRate float64    `json:"learningRate" key:"model.shapes.learningRate"`
	Adam         train.Adam `json:"adam" key:"model.shapes.adam"`
	EMA          float64    `json:"ema" key:"model.shapes.ema"`
}

// memory counts the weights with their gradient, two moments and average, the pairs, and
// one activation of each block.
func (p PretrainParams) memory() float64 {
	weights := float64(p.Layers) * 12 * float64(p.Width) * float64(p.Width)
	return 5*number*weights + float64(p.Data.Pairs)*world.Pixels + number*float64(p.Batch)*float64(p.Layers)*float64(p.Width)*4
}

func (p PretrainParams) cost() float64 { return float64(p.Steps) * float64(p.Batch) / 2000 }

func runPretrain(ctx context.Context, e *Env, t Task, p PretrainParams, progress Progress) error {
	c := dit.Default(world.Vocabulary())
	c.Layers, c.Width, c.Heads, c.TextWidth = p.Layers, p.Width, p.Heads, p.Width
	net := pipeline.Shapes(c)
	pairs, err := e.encodedPairs(p.Data, p.Seed)
	if err != nil {
		return err
	}
	trainer, err := e.trainer(net.PretrainingStep())
	if err != nil {
		return err
	}
	values, curve, err := pretrain.Run(ctx, trainer, net, pairs, t.stream(p.Seed, "init", 0), t.steps(p.Seed, "order"),
		pretrain.Options{Steps: p.Steps, Batch: p.Batch, LearningRate: p.LearningRate, Adam: p.Adam, EMA: p.EMA, Resume: t.Resume, Progress: progress.steps()})
	if err != nil {
		return err
	}
	if err := writeModel(t.Out, c, net, values); err != nil {
		return err
	}
	return writeCurve(filepath.Join(t.Out, curvesFile), curve)
}
