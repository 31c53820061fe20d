package stage

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"

	"ablate/models/checkpoint"
	"ablate/models/random"
	"ablate/models/reward"
	"ablate/models/shapes"
	"ablate/models/train"
)

// RewardParams of a learned reward.
type RewardParams struct {
	Seed          int64   `json:"seed"` // the feedback seed
	Loss          string  `json:"loss"` // mse or mse+classification
	Lambda        float64 `json:"lambda"`
	Temperature   float64 `json:"temperature"`
	Perturbations int     `json:"perturbations"`
	Steps         int     `json:"steps"`
	Batch         int     `json:"batch"`
	LearningRate  float64 `json:"learningRate"`
}

func runReward(ctx context.Context, e *Env, t Task, progress Progress) error {
	p, err := params[RewardParams](t)
	if err != nil {
		return err
	}
	images, err := ReadImages(t.in("labelled"), "images")
	if err != nil {
		return err
	}
	labels, err := ReadLabels(t.in("labels"))
	if err != nil {
		return err
	}
	ec, ev, err := readEmbedder(t.in("embedder"))
	if err != nil {
		return err
	}
	enc, err := e.encoder(ec)
	if err != nil {
		return err
	}
	catalogue := shapes.Prompts()
	var d reward.Data
	var kept []uint8
	for i, l := range labels.Labels {
		if l == "skip" {
			continue
		}
		prompt, err := shapes.ParsePrompt(labels.Prompts[i])
		if err != nil {
			return err
		}
		k, ok := catalogue.Find(prompt)
		if !ok {
			return fmt.Errorf("reward: %q is no prompt of this world's studies", prompt)
		}
		y := float32(0)
		if l == "good" {
			y = 1
		}
		d.Labels, d.Prompt = append(d.Labels, y), append(d.Prompt, k)
		kept = append(kept, images[i*shapes.Pixels:(i+1)*shapes.Pixels]...)
	}
	x := make([]float32, len(kept))
	modelRange(kept, x)
	if d.Images, err = enc.Images(ev, x); err != nil {
		return err
	}
	all := make([]shapes.Prompt, len(catalogue.All()))
	for i, entry := range catalogue.All() {
		all[i] = entry.Prompt
	}
	if d.Prompts, err = enc.Texts(ev, bags(all)); err != nil {
		return err
	}
	d.Wrong = func(r *rand.Rand, prompt, n int) []int { return catalogue.Wrong(r, prompt, n) }

	c := reward.Default(ec.Width)
	fns, err := e.reward(c)
	if err != nil {
		return err
	}
	o := reward.Options{Steps: p.Steps, Batch: p.Batch, LearningRate: p.LearningRate, WeightDecay: 0.01,
		Lambda: p.Lambda, Temperature: p.Temperature, Perturbations: p.Perturbations}
	switch p.Loss {
	case "mse":
		o.Lambda, o.Temperature, o.Perturbations = 0, 1, 0
	case "mse+classification":
	default:
		return fmt.Errorf("reward: loss %q learns nothing", p.Loss)
	}
	curve, sum := newCurve("loss", "gradient norm"), &mean{}
	o.Progress = func(step int, r train.Result) error {
		sum.add(r.Loss, r.GradientNorm)
		if (step+1)%every(p.Steps) == 0 {
			curve.add(step+1, sum.take()...)
			progress(step+1, p.Steps, "")
		}
		return context.Cause(ctx)
	}
	v, err := fns.trainer.Train(d, random.Stream(p.Seed, "reward", "init", 0), random.Stream(p.Seed, "reward", "order", 0), o)
	if err != nil {
		return err
	}
	if err := writeReward(t.Out, c, v); err != nil {
		return err
	}
	return checkpoint.WriteJSON(filepath.Join(t.Out, curvesFile), curve)
}

// proxyScores are r of images, each with its prompt, by a learned reward.
func (e *Env) proxyScores(rewardDir, embedderDir string, images []uint8, prompts []shapes.Prompt) ([]float32, error) {
	c, v, err := readReward(rewardDir)
	if err != nil {
		return nil, err
	}
	ec, ev, err := readEmbedder(embedderDir)
	if err != nil {
		return nil, err
	}
	if ec.Width != c.Embedding {
		return nil, fmt.Errorf("score: the reward was trained on embeddings of width %d, the embedder gives %d", c.Embedding, ec.Width)
	}
	enc, err := e.encoder(ec)
	if err != nil {
		return nil, err
	}
	fns, err := e.reward(c)
	if err != nil {
		return nil, err
	}
	x := make([]float32, len(images))
	modelRange(images, x)
	xe, err := enc.Images(ev, x)
	if err != nil {
		return nil, err
	}
	te, err := enc.Texts(ev, bags(prompts))
	if err != nil {
		return nil, err
	}
	return fns.scorer.Score(v, xe, te)
}

// ScoreParams of the scores of feedback samples.
type ScoreParams struct {
	Loss string `json:"loss"` // oracle scores by the gold's verdict, a control; else by the learned reward
}

func runScore(_ context.Context, e *Env, t Task, _ Progress) error {
	p, err := params[ScoreParams](t)
	if err != nil {
		return err
	}
	images, err := ReadImages(t.in("samples"), "images")
	if err != nil {
		return err
	}
	prompts, err := readPrompts(t.in("samples"))
	if err != nil {
		return err
	}
	var scores []float32
	if p.Loss == "oracle" {
		scores = oracle(images, prompts)
	} else if scores, err = e.proxyScores(t.in("reward"), t.in("embedder"), images, prompts); err != nil {
		return err
	}
	return writeScores(t.Out, scores)
}

// oracle scores images by the gold's verdict: 1 for good, 0 for the rest.
func oracle(images []uint8, prompts []shapes.Prompt) []float32 {
	scores := make([]float32, len(prompts))
	for i, r := range read(images) {
		if r.Judge(prompts[i]) == shapes.Good {
			scores[i] = 1
		}
	}
	return scores
}

func runProxy(_ context.Context, e *Env, t Task, _ Progress) error {
	images, err := ReadImages(t.in("evaluate"), Alignment)
	if err != nil {
		return err
	}
	rows, err := ReadSamples(t.in("evaluate"))
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
	scores, err := e.proxyScores(t.in("reward"), t.in("embedder"), images, prompts)
	if err != nil {
		return err
	}
	return writeScores(t.Out, scores)
}
