package stage

import (
	"context"
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
	EMA          float64    `json:"ema" key:"model.shapes.ema"`
}

// points is the number of points of a training curve.
const points = 100

// every is the number of steps between two points of a curve.
func every(steps int) int { return max(1, steps/points) }

func runPretrain(ctx context.Context, e *Env, t Task, progress Progress) error {
	p, err := params[PretrainParams](t)
	if err != nil {
		return err
	}
	c := dit.Default(shapes.Vocabulary())
	c.Layers, c.Width, c.Heads, c.TextWidth = p.Layers, p.Width, p.Heads, p.Width
	net := pipeline.Shapes(c)
	trainer, err := e.trainer(net)
	if err != nil {
		return err
	}
	curve, sum := newCurve("loss", "gradient norm"), &mean{}
	values, err := pretrain.Run(trainer, net, newPairs(p.Data, p.Seed),
		random.Stream(p.Seed, "pretrain", "init", 0), random.Stream(p.Seed, "pretrain", "order", 0),
		pretrain.Options{Steps: p.Steps, Batch: p.Batch, LearningRate: p.LearningRate, EMA: p.EMA,
			Progress: func(step int, r train.Result) error {
				sum.add(r.Loss, r.GradientNorm)
				if (step+1)%every(p.Steps) == 0 {
					curve.add(step+1, sum.take()...)
					progress(step+1, p.Steps, "")
				}
				return context.Cause(ctx)
			}})
	if err != nil {
		return err
	}
	if err := writeModel(t.Out, c, net, values); err != nil {
		return err
	}
	return curve.write(filepath.Join(t.Out, curvesFile))
}

// EmbedParams of the embedder of the shapes world.
type EmbedParams struct {
	Seed         int64      `json:"seed" key:"seed.pretraining"`
	Data         DataParams `json:"data"`
	Steps        int        `json:"steps" key:"embedder.steps"`
	Batch        int        `json:"batch" key:"embedder.batch"`
	LearningRate float64    `json:"learningRate" key:"embedder.learningRate"`
}

func runEmbed(ctx context.Context, e *Env, t Task, progress Progress) error {
	p, err := params[EmbedParams](t)
	if err != nil {
		return err
	}
	c := embedder.Default(shapes.Vocabulary())
	curve, sum := newCurve("loss", "gradient norm"), &mean{}
	values, err := embedder.Train(e.Backend, c, newPairs(p.Data, p.Seed),
		random.Stream(p.Seed, "embedder", "init", 0), random.Stream(p.Seed, "embedder", "order", 0),
		embedder.Options{Steps: p.Steps, Batch: p.Batch, LearningRate: p.LearningRate,
			Progress: func(step int, r train.Result) error {
				sum.add(r.Loss, r.GradientNorm)
				if (step+1)%every(p.Steps) == 0 {
					curve.add(step+1, sum.take()...)
					progress(step+1, p.Steps, "")
				}
				return context.Cause(ctx)
			}})
	if err != nil {
		return err
	}
	if err := writeEmbedder(t.Out, c, values); err != nil {
		return err
	}
	return curve.write(filepath.Join(t.Out, curvesFile))
}
