package stage

import (
	"context"
	"math/rand/v2"
	"path/filepath"

	"ablate/models/dit"
	"ablate/models/embedder"
	"ablate/models/pipeline"
	"ablate/models/pretrain"
	"ablate/models/random"
	"ablate/models/shapes"
	"ablate/models/train"
)

// PretrainParams of the denoiser of the shapes world.
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

func runPretrain(ctx context.Context, e *Env, t Task, progress Progress) error {
	p, err := params[PretrainParams](t)
	if err != nil {
		return err
	}
	c := dit.Default(shapes.Vocabulary())
	c.Layers, c.Width, c.Heads, c.TextWidth = p.Layers, p.Width, p.Heads, p.Width
	net := pipeline.Shapes(c)
	trainer, err := e.trainer(net.PretrainingStep())
	if err != nil {
		return err
	}
	values, curve, err := pretrain.Run(ctx, trainer, net, newPairs(p.Data, p.Seed), random.Stream(p.Seed, "pretrain", "init", 0), steps(p.Seed, "pretrain", "order"),
		pretrain.Options{Steps: p.Steps, Batch: p.Batch, LearningRate: p.LearningRate, Adam: p.Adam, EMA: p.EMA, Resume: t.Resume, Progress: progress.steps()})
	if err != nil {
		return err
	}
	if err := writeModel(t.Out, c, net, values); err != nil {
		return err
	}
	return writeCurve(filepath.Join(t.Out, curvesFile), curve)
}

// steps are the streams of a training's steps.
func steps(seed int64, stage, purpose string) random.Steps {
	return func(step int) *rand.Rand { return random.Stream(seed, stage, purpose, step) }
}

// EmbedParams of the embedder of the shapes world.
type EmbedParams struct {
	Seed         int64      `json:"seed" key:"seed.pretraining"`
	Data         DataParams `json:"data"`
	Steps        int        `json:"steps" key:"embedder.steps"`
	Batch        int        `json:"batch" key:"embedder.batch"`
	LearningRate float64    `json:"learningRate" key:"embedder.learningRate"`
	Adam         train.Adam `json:"adam" key:"embedder.adam"`
}

func runEmbed(ctx context.Context, e *Env, t Task, progress Progress) error {
	p, err := params[EmbedParams](t)
	if err != nil {
		return err
	}
	c := embedder.Default(shapes.Vocabulary())
	values, curve, err := embedder.Train(ctx, e.Backend, c, newPairs(p.Data, p.Seed), random.Stream(p.Seed, "embedder", "init", 0), steps(p.Seed, "embedder", "order"),
		embedder.Options{Steps: p.Steps, Batch: p.Batch, LearningRate: p.LearningRate, Adam: p.Adam, Resume: t.Resume, Progress: progress.steps()})
	if err != nil {
		return err
	}
	if err := writeEmbedder(t.Out, c, values); err != nil {
		return err
	}
	return writeCurve(filepath.Join(t.Out, curvesFile), curve)
}
