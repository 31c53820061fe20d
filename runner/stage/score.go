package stage

import (
	"context"
	"fmt"

	"ablate/models/shapes"
)

// Score scores images for feedback.
const Score Kind = "score"

var scoreDef = define(runScore, Def{
	Kind: Score, Revision: 1, Backend: true,
	Inputs: []Input{{Name: SamplesInput}, {Name: RewardInput, Optional: true}, {Name: EmbedderInput, Optional: true}},
	Files:  required(scoresFile),
})

// ScoreParams of the scores of feedback samples.
type ScoreParams struct {
	Loss string `json:"loss"` // oracle scores by the gold's verdict, a control; else by the learned reward
}

func (ScoreParams) memory() float64 { return 0 }

func (p ScoreParams) cost() float64 {
	if p.Loss == "oracle" {
		return 1
	}
	return 2
}

func runScore(_ context.Context, e *Env, t Task, p ScoreParams, _ Progress) error {
	images, err := ReadImages(t.in(SamplesInput), "images")
	if err != nil {
		return err
	}
	prompts, err := readPrompts(t.in(SamplesInput))
	if err != nil {
		return err
	}
	var scores []float32
	if p.Loss == "oracle" {
		scores = oracle(images, prompts)
	} else if scores, err = e.proxyScores(t.in(RewardInput), t.in(EmbedderInput), images, prompts); err != nil {
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
