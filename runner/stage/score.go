package stage

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"slices"

	"ablate/analysis/fidelity"
	"ablate/models/checkpoint"
	"ablate/runner/world"
)

// Score is the stage that scores images, each with its prompt, by a learned reward.
const Score Kind = "score"

var scoreDef = define(runScore, Def{
	Kind: Score, Revision: 2, Backend: true,
	Inputs: []Input{{Name: PromptsInput}, {Name: ImagesInput, Optional: true}, // or, by an engine:
		{Name: FeaturesInput, Optional: true}, {Name: TextsInput, Optional: true},
		{Name: RewardInput, Optional: true}, {Name: EmbedderInput, Optional: true}, // or the same of the base trial:
		{Name: BaseRewardInput, Optional: true, OfBase: true}, {Name: BaseEmbedderInput, Optional: true, OfBase: true}},
	Files: tabled(scoresFile),
})

// ScoreParams are the parameters of [Score]. None of them changes a score.
type ScoreParams struct {
	Images int `json:"images" key:"-"` // number of images of all sets, for the estimate of the cost
}

func (p ScoreParams) memory() float64 { return float64(p.Images) * world.Pixels }

func (p ScoreParams) cost() float64 { return .05 + float64(p.Images)/10000 }

func runScore(ctx context.Context, e *Env, t Task, _ ScoreParams, progress Progress) error {
	if t.has(FeaturesInput) {
		return scoreFeatures(e, t)
	}
	reward, embedder := t.in(RewardInput), t.in(EmbedderInput)
	if t.has(BaseRewardInput) {
		reward, embedder = t.in(BaseRewardInput), t.in(BaseEmbedderInput)
	}
	if reward == "" || embedder == "" {
		return fmt.Errorf("score: the task has no reward with its embedder: this is a bug of the program that sends it")
	}
	prompts, sets, err := readDrawn(t)
	if err != nil {
		return err
	}
	out, err := eachSet(ctx, sets, progress, "sets of images", func(s ImageSet) (ScoreSet, error) {
		scores, cosines, err := e.rewardScores(reward, embedder, s.Images, texts(prompts))
		return ScoreSet{s.Step, scores, cosines}, err
	})
	if err != nil {
		return err
	}
	return WriteScores(t.Out, out)
}

// scoreFeatures scores images by a reward that was learned on features of an engine.
func scoreFeatures(e *Env, t Task) error {
	reward := t.in(RewardInput)
	if t.has(BaseRewardInput) {
		reward = t.in(BaseRewardInput)
	}
	prompts, err := ReadPrompts(t.in(PromptsInput))
	if err != nil {
		return err
	}
	tensors, err := checkpoint.ReadFile(filepath.Join(t.in(FeaturesInput), featuresFile))
	if err != nil {
		return err
	}
	var out []ScoreSet
	for _, step := range stepsOf(tensors, featuresName) {
		x, err := readEmbedded(t, step, len(prompts))
		if err != nil {
			return err
		}
		has, list := x.present(), texts(prompts)
		some := x.rows(has)
		of := make([]string, len(has))
		for j, i := range has {
			of[j] = list[i]
		}
		scores, err := e.scores(reward, some, of)
		if err != nil {
			return err
		}
		s := ScoreSet{step, slices.Repeat([]float32{missing}, len(list)), x.cosines()}
		for j, i := range has {
			s.Scores[i] = scores[j]
		}
		out = append(out, s)
	}
	return WriteScores(t.Out, out)
}

// readEmbedded reads an engine's features of the images of a set and of their prompts as
// embeddings of unit length, one of each for n rows.
func readEmbedded(t Task, step, n int) (*embedded, error) {
	images, err := readFeatures(t.in(FeaturesInput), step)
	if err != nil {
		return nil, err
	}
	prompts, err := readFeatures(t.in(TextsInput), 0)
	if err != nil {
		return nil, err
	}
	switch {
	case images.Rows != n || prompts.Rows != n:
		return nil, fmt.Errorf("there are features of %d images and of %d prompts for %d rows: a reward needs them all", images.Rows, prompts.Rows, n)
	case images.Cols != prompts.Cols:
		return nil, fmt.Errorf("features of images have %d numbers and those of prompts %d: a reward needs a network that maps both into one space, such as CLIP", images.Cols, prompts.Cols)
	}
	unit(images)
	unit(prompts)
	return &embedded{width: images.Cols, images: images.Data, texts: prompts.Data}, nil
}

// present returns the rows whose image and prompt have embeddings.
func (x *embedded) present() (rows []int) {
	for i := range len(x.images) / x.width {
		if !isMissing(x.images[i*x.width]) && !isMissing(x.texts[i*x.width]) {
			rows = append(rows, i)
		}
	}
	return rows
}

// rows returns the embeddings of some rows.
func (x *embedded) rows(rows []int) *embedded {
	out := &embedded{width: x.width}
	for _, i := range rows {
		out.images = append(out.images, x.images[i*x.width:(i+1)*x.width]...)
		out.texts = append(out.texts, x.texts[i*x.width:(i+1)*x.width]...)
	}
	return out
}

// unit scales rows to length 1.
func unit(m fidelity.Matrix) {
	for i := range m.Rows {
		row := m.Row(i)
		var square float64
		for _, v := range row {
			square += float64(v) * float64(v)
		}
		if length := math.Sqrt(square); length > 0 {
			for j := range row {
				row[j] = float32(float64(row[j]) / length)
			}
		}
	}
}

// embedded has the embeddings of n images and of their prompts, both float32[n, E].
type embedded struct {
	width         int
	images, texts []float32
	text          func(prompts []string) ([]float32, error)
}

func (e *Env) embed(embedderDir string, images []uint8, prompts []string) (*embedded, error) {
	if len(images) != len(prompts)*world.Pixels {
		return nil, fmt.Errorf("score: %d images have %d prompts", len(images)/world.Pixels, len(prompts))
	}
	x, texts, width, err := e.Features(embedderDir, images, prompts)
	if err != nil {
		return nil, fmt.Errorf("score: %w", err)
	}
	return &embedded{width: width, images: x, texts: texts, text: func(prompts []string) ([]float32, error) {
		_, texts, _, err := e.Features(embedderDir, nil, prompts)
		return texts, err
	}}, nil
}

// cosines returns the cosine of each image and its prompt, which is the score of the
// frozen embedder alone.
func (x *embedded) cosines() []float32 {
	out := make([]float32, len(x.images)/x.width)
	for i := range out {
		var dot float64
		for j := i * x.width; j < (i+1)*x.width; j++ {
			dot += float64(x.images[j]) * float64(x.texts[j]) // the embeddings have unit length
		}
		out[i] = float32(dot)
	}
	return out
}

// scores returns the scores of images, each with its prompt, by a learned reward.
func (e *Env) scores(rewardDir string, x *embedded, prompts []string) ([]float32, error) {
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
	// table has the embeddings of prompts: one per image, then each contrasting prompt
	// once.
	table, own := x.texts, make([][]int, len(prompts))
	for i := range own {
		own[i] = []int{i}
	}
	if m.Temperature > 0 {
		others, lists := newPromptTable(), map[string][]int{}
		for i, p := range prompts {
			list, ok := lists[p]
			if !ok {
				contrasts, err := e.world.Perturbations.Contrasts(p, m.Contrasts)
				if err != nil {
					return nil, err
				}
				for _, q := range contrasts {
					list = append(list, len(prompts)+others.add(q))
				}
				lists[p] = list
			}
			own[i] = append(own[i], list...)
		}
		more, err := x.text(others.texts)
		if err != nil {
			return nil, err
		}
		table = append(table[:len(table):len(table)], more...)
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

// rewardScores returns the scores of images, each with its prompt, by a learned reward,
// and their cosines by its embedder alone.
func (e *Env) rewardScores(rewardDir, embedderDir string, images []uint8, prompts []string) (scores, cosines []float32, err error) {
	x, err := e.embed(embedderDir, images, prompts)
	if err != nil {
		return nil, nil, err
	}
	scores, err = e.scores(rewardDir, x, prompts)
	return scores, x.cosines(), err
}
