package stage

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"

	"ablate/models/embedder"
	"ablate/models/reward"
	"ablate/models/shapes"
	"ablate/models/train"
)

// Reward learns a reward from labels.
const Reward Kind = "reward"

var rewardDef = define(runReward, Def{
	Kind: Reward, Revision: 2, Backend: true, Trains: true,
	Inputs: []Input{{Name: LabelledInput}, {Name: LabelsInput}, {Name: EmbedderInput}},
	Files:  slices.Concat(required(rewardFiles...), tabled(curvesFile)),
})

// RewardParams of a learned reward.
type RewardParams struct {
	Seed          int64      `json:"seed" key:"seed.feedback"`
	Loss          string     `json:"loss" key:"reward.loss"`
	Lambda        float64    `json:"lambda" key:"reward.lambda"`
	Temperature   float64    `json:"temperature" key:"reward.temperature"`
	Perturbations int        `json:"perturbations" key:"reward.perturbations"`
	Steps         int        `json:"steps" key:"reward.steps"`
	Batch         int        `json:"batch" key:"reward.batch"`
	LearningRate  float64    `json:"learningRate" key:"reward.learningRate"`
	Adam          train.Adam `json:"adam" key:"reward.adam"`
	Members       int        `json:"members" key:"reward.ensemble.members"` // perceptrons, each from its own streams
	Penalty       float64    `json:"penalty,omitempty" key:"reward.ensemble.penalty"`
	Normalize     string     `json:"normalize" key:"reward.normalize"` // none or contrastive
	Contrast      float64    `json:"contrast,omitempty" key:"reward.contrastive.temperature"`
	Contrasts     int        `json:"contrasts,omitempty" key:"reward.contrastive.prompts"`
}

// memory is that of the weights of each member, and of a batch of embeddings.
func (p RewardParams) memory() float64 {
	c := reward.Default(embedder.Default(shapes.Vocabulary()).Width)
	weights := 0
	for _, w := range c.Params() {
		weights += w.Size()
	}
	return number * (float64(p.Members)*float64(weights) + float64(p.Batch)*(1+float64(p.Perturbations))*float64(c.Embedding))
}

func (p RewardParams) cost() float64 { return 5 * float64(p.Members) }

func runReward(ctx context.Context, e *Env, t Task, p RewardParams, progress Progress) error {
	m := &reward.Model{}
	switch p.Normalize {
	case "none":
	case "contrastive":
		m.Temperature, m.Contrasts = p.Contrast, p.Contrasts
	default:
		return fmt.Errorf("reward: unknown normalization %q", p.Normalize)
	}
	if p.Members > 1 {
		m.Penalty = p.Penalty
	}
	ec, ev, err := readEmbedder(t.in(EmbedderInput))
	if err != nil {
		return err
	}
	enc, err := e.encoder(ec)
	if err != nil {
		return err
	}
	j, err := readJudged(t.in(LabelledInput), t.in(LabelsInput))
	if err != nil {
		return err
	}
	catalogue := shapes.Prompts()
	d := reward.Data{Labels: j.labels}
	for _, prompt := range j.prompts {
		k, ok := catalogue.Find(prompt)
		if !ok {
			return fmt.Errorf("reward: %q is no prompt of this world's studies", prompt)
		}
		d.Prompt = append(d.Prompt, k)
	}
	x := make([]float32, len(j.images))
	modelRange(j.images, x)
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

	m.Config = reward.Default(ec.Width)
	fns, err := e.reward(m.Config)
	if err != nil {
		return err
	}
	var curve *train.Curve // of an ensemble the mean of the members'
	for k := range p.Members {
		o := reward.Options{Loss: p.Loss, Steps: p.Steps, Batch: p.Batch, LearningRate: p.LearningRate, Adam: p.Adam,
			Lambda: p.Lambda, Temperature: p.Temperature, Perturbations: p.Perturbations,
			Resume: memberResume(t.Resume, k, p.Steps), Progress: func(step, _ int) { progress(k*p.Steps+step, p.Members*p.Steps, "") }}
		v, c, err := fns.trainer.Train(ctx, d, t.stream(p.Seed, "init", k), t.steps(p.Seed, fmt.Sprintf("order %d", k)), t.steps(p.Seed, fmt.Sprintf("epoch %d", k)), o)
		if err != nil {
			return err
		}
		m.Members = append(m.Members, v)
		if curve == nil {
			curve = train.NewCurve(c.Metrics...)
			curve.Steps = c.Steps
			for i := range c.Values {
				curve.Values[i] = make([]float64, len(c.Steps))
			}
		}
		for i, values := range c.Values {
			for j, x := range values {
				curve.Values[i][j] += x / float64(p.Members)
			}
		}
	}
	if err := writeReward(t.Out, m); err != nil {
		return err
	}
	return writeCurve(filepath.Join(t.Out, curvesFile), curve)
}

// memberResume is where member k of an ensemble saves its state, at its end too, so that a
// training that goes on finds the members that are done.
func memberResume(r train.Resume, k, steps int) train.Resume {
	if r.File == "" {
		return r
	}
	return train.Resume{File: fmt.Sprintf("%s.%d", r.File, k), Due: func(n int) bool { return n == steps || r.Due(n) }}
}

// judged are images that an annotator called good or bad; skips are left out.
type judged struct {
	images  []uint8
	prompts []shapes.Prompt
	labels  []float32 // 1 good, 0 bad
}

func readJudged(imagesDir, labelsDir string) (*judged, error) {
	images, err := ReadImages(imagesDir, "images")
	if err != nil {
		return nil, err
	}
	labels, err := ReadLabels(labelsDir)
	if err != nil {
		return nil, err
	}
	if len(images) != len(labels.Labels)*shapes.Pixels {
		return nil, fmt.Errorf("%d images have %d labels", len(images)/shapes.Pixels, len(labels.Labels))
	}
	j := &judged{}
	for i, l := range labels.Labels {
		if l == "skip" {
			continue
		}
		prompt, err := shapes.ParsePrompt(labels.Prompts[i])
		if err != nil {
			return nil, err
		}
		y := float32(0)
		if l == "good" {
			y = 1
		}
		j.labels, j.prompts = append(j.labels, y), append(j.prompts, prompt)
		j.images = append(j.images, images[i*shapes.Pixels:(i+1)*shapes.Pixels]...)
	}
	return j, nil
}
