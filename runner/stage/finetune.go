package stage

import (
	"context"
	"fmt"
	"path/filepath"

	"ablate/models/checkpoint"
	"ablate/models/finetune"
	"ablate/models/random"
	"ablate/models/shapes"
)

// Mix are relative weights of the data of a fine-tuning step.
type Mix struct {
	Labelled    float64 `json:"labelled"`
	Unlabelled  float64 `json:"unlabelled"`
	Pretraining float64 `json:"pretraining"`
}

// FinetuneParams of reward-weighted likelihood. Without a score the weights
// are all 1.
type FinetuneParams struct {
	Seed            int64       `json:"seed"` // the feedback seed
	PretrainingSeed int64       `json:"pretrainingSeed,omitempty"`
	Data            *DataParams `json:"data,omitempty"` // present where β > 0
	Beta            float64     `json:"beta"`
	Mix             Mix         `json:"mix"`
	Steps           int         `json:"steps"`
	Batch           int         `json:"batch"`
	LearningRate    float64     `json:"learningRate"`
	Warmup          int         `json:"warmup"`
	Schedule        string      `json:"schedule"`
	EMA             float64     `json:"ema"`
}

func runFinetune(ctx context.Context, e *Env, t Task, progress Progress) error {
	p, err := params[FinetuneParams](t)
	if err != nil {
		return err
	}
	c, m, err := readModel(t.in("model"))
	if err != nil {
		return err
	}
	var sources []finetune.Source
	for _, s := range []struct {
		split string
		mix   float64
	}{{"labelled", p.Mix.Labelled}, {"unlabelled", p.Mix.Unlabelled}} {
		if s.mix == 0 {
			continue
		}
		src, err := source(t, s.split)
		if err != nil {
			return err
		}
		src.Mix = s.mix
		sources = append(sources, src)
	}
	o := finetune.Options{Steps: p.Steps, Batch: p.Batch, LearningRate: p.LearningRate, Warmup: p.Warmup,
		Constant: p.Schedule == "constant", EMA: p.EMA, Beta: p.Beta}
	var data finetune.Pairs
	if p.Data != nil {
		o.PairsPerStep = finetune.PairsPerStep(p.Mix.Pretraining, p.Batch)
		data = newPairs(*p.Data, p.PretrainingSeed)
	}
	trainer, err := e.trainer(m.Network)
	if err != nil {
		return err
	}
	curve, sum := newCurve("loss", "gradient norm", "learning rate", "effective sample size"), &mean{}
	o.Progress = func(step int, r finetune.Result) error {
		sum.add(r.Loss, r.GradientNorm, r.LearningRate, r.EffectiveSampleSize)
		if (step+1)%every(p.Steps) == 0 {
			curve.add(step+1, sum.take()...)
			progress(step+1, p.Steps, "")
		}
		return context.Cause(ctx)
	}
	values, err := finetune.RewardWeighted(trainer, m, sources, data, random.Stream(p.Seed, "finetune", "order", 0), o)
	if err != nil {
		return err
	}
	if err := writeModel(t.Out, c, m.Network, values); err != nil {
		return err
	}
	return checkpoint.WriteJSON(filepath.Join(t.Out, curvesFile), curve)
}

// source reads one split's images, prompts and weights.
func source(t Task, split string) (finetune.Source, error) {
	images, err := ReadImages(t.in(split), "images")
	if err != nil {
		return finetune.Source{}, err
	}
	prompts, err := readPrompts(t.in(split))
	if err != nil {
		return finetune.Source{}, err
	}
	weights := make([]float32, len(prompts))
	if _, scored := t.Inputs[split+" scores"]; scored {
		if weights, err = ReadScores(t.in(split + " scores")); err != nil {
			return finetune.Source{}, err
		}
	} else {
		for i := range weights {
			weights[i] = 1
		}
	}
	if len(weights) != len(prompts) || len(images) != len(prompts)*shapes.Pixels {
		return finetune.Source{}, fmt.Errorf("finetune: %s: %d images, %d prompts and %d scores do not belong together", split, len(images)/shapes.Pixels, len(prompts), len(weights))
	}
	return finetune.Source{
		Images:  func(i int, dst []float32) { modelRange(images[i*shapes.Pixels:(i+1)*shapes.Pixels], dst) },
		Words:   func(i int, dst []float32) { prompts[i].Words(dst) },
		Weights: weights,
	}, nil
}
