package stage

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"

	"ablate/models/random"
	"ablate/models/reward"
	"ablate/models/shapes"
	"ablate/models/train"
)

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

func runReward(ctx context.Context, e *Env, t Task, progress Progress) error {
	p, err := params[RewardParams](t)
	if err != nil {
		return err
	}
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
	ec, ev, err := readEmbedder(t.in("embedder"))
	if err != nil {
		return err
	}
	enc, err := e.encoder(ec)
	if err != nil {
		return err
	}
	j, err := readJudged(t.in("labelled"), t.in("labels"))
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
		v, c, err := fns.trainer.Train(ctx, d, random.Stream(p.Seed, "reward", "init", k), steps(p.Seed, "reward", fmt.Sprintf("order %d", k)),
			steps(p.Seed, "reward", fmt.Sprintf("epoch %d", k)), o)
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

// embedded are the embeddings float32[n, E] of images and of their prompts.
type embedded struct {
	width         int
	images, texts []float32
	text          func(prompts []shapes.Prompt) ([]float32, error)
}

func (e *Env) embed(embedderDir string, images []uint8, prompts []shapes.Prompt) (*embedded, error) {
	ec, ev, err := readEmbedder(embedderDir)
	if err != nil {
		return nil, err
	}
	enc, err := e.encoder(ec)
	if err != nil {
		return nil, err
	}
	if len(images) != len(prompts)*shapes.Pixels {
		return nil, fmt.Errorf("score: %d images have %d prompts", len(images)/shapes.Pixels, len(prompts))
	}
	out := &embedded{width: ec.Width, text: func(prompts []shapes.Prompt) ([]float32, error) { return enc.Texts(ev, bags(prompts)) }}
	x := make([]float32, len(images))
	modelRange(images, x)
	if out.images, err = enc.Images(ev, x); err != nil {
		return nil, err
	}
	if out.texts, err = out.text(prompts); err != nil {
		return nil, err
	}
	for _, of := range []struct {
		what string
		x    []float32
	}{{"image", out.images}, {"prompt", out.texts}} {
		if i := notFinite(of.x); i >= 0 {
			return nil, fmt.Errorf("score: the embedder maps %s %d to %v: its training diverged (a smaller embedder.learningRate helps)", of.what, i/ec.Width, of.x[i])
		}
	}
	return out, nil
}

// cosines of images and their prompts: what the frozen embedder alone says.
func (x *embedded) cosines() []float32 {
	out := make([]float32, len(x.images)/x.width)
	for i := range out {
		var dot float64
		for j := i * x.width; j < (i+1)*x.width; j++ {
			dot += float64(x.images[j]) * float64(x.texts[j]) // of unit vectors
		}
		out[i] = float32(dot)
	}
	return out
}

// scores are r of images, each with its prompt, by a learned reward.
func (e *Env) scores(rewardDir string, x *embedded, prompts []shapes.Prompt) ([]float32, error) {
	m, err := readReward(rewardDir)
	if err != nil {
		return nil, err
	}
	if x.width != m.Embedding {
		return nil, fmt.Errorf("score: the reward was trained on embeddings of width %d, the embedder gives %d", m.Embedding, x.width)
	}
	fns, err := e.reward(m.Config)
	if err != nil {
		return nil, err
	}
	// The table of prompts: one an image, then the contrasting ones, each once.
	table, own := x.texts, make([][]int, len(prompts))
	if m.Temperature > 0 {
		catalogue := shapes.Prompts()
		var others []shapes.Prompt
		at, lists := map[shapes.Prompt]int{}, map[shapes.Prompt][]int{}
		for i, p := range prompts {
			list, ok := lists[p]
			if !ok {
				for _, q := range catalogue.Contrasts(p, m.Contrasts) {
					if _, ok := at[q]; !ok {
						at[q] = len(prompts) + len(others)
						others = append(others, q)
					}
					list = append(list, at[q])
				}
				lists[p] = list
			}
			own[i] = append([]int{i}, list...)
		}
		more, err := x.text(others)
		if err != nil {
			return nil, err
		}
		table = append(table[:len(table):len(table)], more...)
	} else {
		for i := range own {
			own[i] = []int{i}
		}
	}
	scores, err := fns.scorer.All(m, x.images, own, table)
	if err != nil {
		return nil, err
	}
	if i := notFinite(scores); i >= 0 {
		return nil, fmt.Errorf("score: the reward scores image %d with %v: its training diverged (a smaller reward.learningRate helps)", i, scores[i])
	}
	return scores, nil
}

// proxyScores are r of images, each with its prompt, by a learned reward.
func (e *Env) proxyScores(rewardDir, embedderDir string, images []uint8, prompts []shapes.Prompt) ([]float32, error) {
	x, err := e.embed(embedderDir, images, prompts)
	if err != nil {
		return nil, err
	}
	return e.scores(rewardDir, x, prompts)
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
	return writeScores(t.Out, map[string][]float32{scoresName: scores})
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
	x, err := e.embed(t.in("embedder"), images, prompts)
	if err != nil {
		return err
	}
	scores, err := e.scores(t.in("reward"), x, prompts)
	if err != nil {
		return err
	}
	if err := writeScores(t.Out, map[string][]float32{scoresName: scores, cosineName: x.cosines()}); err != nil {
		return err
	}
	if _, tuned := t.Inputs["finetune"]; !tuned {
		return nil
	}
	return e.probed(t)
}

// probed is the proxy's view of what a fine-tuning's probes drew.
func (e *Env) probed(t Task) error {
	images, err := ReadImages(t.in("finetune"), probesName)
	if err != nil {
		return err
	}
	prompts, err := readPrompts(t.in("finetune"))
	if err != nil {
		return err
	}
	seen, err := ReadProbes(t.in("finetune"))
	if err != nil {
		return err
	}
	n := len(prompts) * shapes.Pixels
	if n == 0 || len(images) != len(seen.Steps)*n {
		return fmt.Errorf("proxy: %d probes of %d prompts do not have %d images", len(seen.Steps), len(prompts), len(images)/shapes.Pixels)
	}
	curve := train.NewCurve("proxy")
	for i, step := range seen.Steps {
		scores, err := e.proxyScores(t.in("reward"), t.in("embedder"), images[i*n:(i+1)*n], prompts)
		if err != nil {
			return err
		}
		curve.Add(step, MeanScore(scores))
	}
	return writeCurve(filepath.Join(t.Out, probesFile), curve)
}
