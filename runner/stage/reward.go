package stage

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"

	"ablate/models/embedder"
	"ablate/models/reward"
	"ablate/models/train"
	"ablate/runner/world"
)

// Reward is the stage that learns a reward from labels.
const Reward Kind = "reward"

var rewardDef = define(runReward, Def{
	Kind: Reward, Revision: 3, Backend: true, Trains: true,
	Inputs: []Input{{Name: LabelsInput}, {Name: ImagesInput, Optional: true}, {Name: EmbedderInput, Optional: true}, // or, by an engine:
		{Name: FeaturesInput, Optional: true}, {Name: TextsInput, Optional: true}, // and for perturbed prompts:
		{Name: GrammarInput, Optional: true}, {Name: GrammarTextsInput, Optional: true}},
	Files: slices.Concat(required(rewardFiles...), tabled(curvesFile)),
})

// RewardParams are the parameters of [Reward].
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
	Members       int        `json:"members" key:"reward.ensemble.members"` // number of perceptrons, each trained with its own random streams
	Penalty       float64    `json:"penalty,omitempty" key:"reward.ensemble.penalty"`
	Normalize     string     `json:"normalize" key:"reward.normalize"` // "none" or "contrastive"
	Contrast      float64    `json:"contrast,omitempty" key:"reward.contrastive.temperature"`
	Contrasts     int        `json:"contrasts,omitempty" key:"reward.contrastive.prompts"`
	Grammar       string     `json:"grammar,omitempty" key:"prompts.grammar"` // of perturbed prompts for an engine's features
}

// memory counts the weights of each member and a batch of embeddings.
func (p RewardParams) memory() float64 {
	c := reward.Default(embedder.Default(world.Vocabulary()).Width)
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
	prepare := e.embeddedData
	if t.has(FeaturesInput) {
		prepare = func(t Task) (reward.Data, int, error) { return featuresData(t, p.Grammar) }
	}
	d, width, err := prepare(t)
	if err != nil {
		return err
	}
	m.Config = reward.Default(width)
	fns, err := e.reward(m.Config)
	if err != nil {
		return err
	}
	var curve *train.Curve // for an ensemble, the mean of the curves of its members
	for k := range p.Members {
		o := reward.Options{Loss: p.Loss, Steps: p.Steps, Batch: p.Batch, LearningRate: p.LearningRate, Adam: p.Adam,
			Lambda: p.Lambda, Temperature: p.Temperature, Perturbations: p.Perturbations,
			Resume: t.Resume.Member(k, p.Steps), Progress: func(r train.Report) {
				r.Step, r.Total = k*p.Steps+r.Step, p.Members*p.Steps
				progress.steps()(r)
			}}
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

// embeddedData returns labelled images and prompts, perturbed ones among them, as an embedder
// maps them, and the length of its embeddings.
func (e *Env) embeddedData(t Task) (d reward.Data, width int, err error) {
	ec, ev, err := readEmbedder(t.in(EmbedderInput))
	if err != nil {
		return d, 0, err
	}
	enc, err := e.encoder(ec)
	if err != nil {
		return d, 0, err
	}
	j, err := readLabelledImages(t.in(ImagesInput), t.in(LabelsInput))
	if err != nil {
		return d, 0, err
	}
	d.Labels = j.labels
	if d.Images, err = enc.Images(ev, modelRange(j.images)); err != nil {
		return d, 0, err
	}
	table, perturbed := newPromptTable(), map[int][][]int{}
	for _, prompt := range j.prompts {
		d.Prompt = append(d.Prompt, table.add(prompt))
	}
	for i, prompt := range slices.Clone(table.texts) {
		groups, err := e.world.Perturbations.Perturbed(prompt)
		if err != nil {
			return d, 0, fmt.Errorf("reward: %w", err)
		}
		for _, group := range groups {
			var list []int
			for _, q := range group {
				list = append(list, table.add(q))
			}
			perturbed[i] = append(perturbed[i], list)
		}
	}
	x, err := e.textInput(table.texts)
	if err != nil {
		return d, 0, err
	}
	if d.Prompts, err = enc.Texts(ev, x); err != nil {
		return d, 0, err
	}
	d.Wrong = func(r *rand.Rand, prompt, n int) []int { return wrong(r, perturbed[prompt], n) }
	return d, ec.Width, nil
}

// featuresData does the same with features of images and prompts by an engine. Only prompts of a
// grammar have perturbed ones.
func featuresData(t Task, grammar string) (d reward.Data, width int, err error) {
	labels, err := ReadLabels(t.in(LabelsInput))
	if err != nil {
		return d, 0, err
	}
	x, err := readEmbedded(t, 0, len(labels.Labels))
	if err != nil {
		return d, 0, err
	}
	table := newPromptTable()
	for _, i := range x.present() {
		l := labels.Labels[i]
		if l == world.Skip {
			continue
		}
		y := float32(0)
		if l == world.Good {
			y = 1
		}
		before := len(table.texts)
		k := table.add(labels.Prompts[i])
		if d.Labels, d.Prompt = append(d.Labels, y), append(d.Prompt, k); k == before {
			d.Prompts = append(d.Prompts, x.texts[i*x.width:(i+1)*x.width]...)
		}
		d.Images = append(d.Images, x.images[i*x.width:(i+1)*x.width]...)
	}
	if !t.has(GrammarInput) {
		d.Wrong = func(*rand.Rand, int, int) []int { return nil }
		return d, x.width, nil
	}
	g, err := world.GrammarOf(grammar)
	if err != nil {
		return d, 0, err
	}
	all, err := ReadPrompts(t.in(GrammarInput))
	if err != nil {
		return d, 0, err
	}
	features, err := readFeatures(t.in(GrammarTextsInput), 0)
	if err != nil {
		return d, 0, err
	}
	if features.Rows != len(all) || features.Cols != x.width {
		return d, 0, fmt.Errorf("there are %d×%d features of %d prompts of the grammar; must be %d×%d", features.Rows, features.Cols, len(all), len(all), x.width)
	}
	unit(features)
	number := map[string]int{}
	for i, p := range all {
		if !isMissing(features.Row(i)[0]) {
			number[p.Prompt] = len(d.Prompts) / x.width
			d.Prompts = append(d.Prompts, features.Row(i)...)
		}
	}
	perturbed := make([][][]int, len(table.texts))
	for i, prompt := range table.texts {
		list, err := g.Perturbed(prompt)
		if err != nil {
			return d, 0, fmt.Errorf("reward: %w", err)
		}
		var group []int
		for _, q := range list {
			if k, ok := number[q]; ok {
				group = append(group, k)
			}
		}
		perturbed[i] = [][]int{group}
	}
	d.Wrong = func(r *rand.Rand, prompt, n int) []int { return wrong(r, perturbed[prompt], n) }
	return d, x.width, nil
}

// wrong draws up to n prompts from groups, in random order within each group, and all of
// one group before the next. The number of draws from r does not depend on n.
func wrong(r *rand.Rand, groups [][]int, n int) []int {
	var out []int
	for _, g := range groups {
		list := slices.Clone(g)
		r.Shuffle(len(list), func(a, b int) { list[a], list[b] = list[b], list[a] })
		out = append(out, list...)
	}
	return out[:min(max(n, 0), len(out))]
}

// labelledImages are images that an annotator labelled good or bad, without skipped
// images.
type labelledImages struct {
	images  []uint8
	prompts []string
	labels  []float32 // 1 for good, 0 for bad
}

func readLabelledImages(imagesDir, labelsDir string) (*labelledImages, error) {
	labels, err := ReadLabels(labelsDir)
	if err != nil {
		return nil, err
	}
	images, err := Only(readImagesOf(imagesDir, len(labels.Labels)))
	if err != nil {
		return nil, err
	}
	j := &labelledImages{}
	for i, l := range labels.Labels {
		if l == world.Skip {
			continue
		}
		y := float32(0)
		if l == world.Good {
			y = 1
		}
		j.labels, j.prompts = append(j.labels, y), append(j.prompts, labels.Prompts[i])
		j.images = append(j.images, images.Images[i*world.Pixels:(i+1)*world.Pixels]...)
	}
	return j, nil
}
