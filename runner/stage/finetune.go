package stage

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"

	"ablate/models/finetune"
	"ablate/models/nn"
	"ablate/models/pipeline"
	"ablate/models/sampler"
	"ablate/runner/world"
)

// Finetune is the stage that fine-tunes a model by one of the methods of models/finetune.
const Finetune Kind = "finetune"

var finetuneDef = define(runFinetune, Def{
	Kind: Finetune, Revision: 3, Backend: true, Trains: true,
	Inputs: []Input{
		{Name: ModelInput},
		{Name: Of(LabelledList, PromptsInput), Optional: true}, {Name: Of(LabelledList, ImagesInput), Optional: true},
		{Name: Of(LabelledList, ScoresInput), Optional: true}, {Name: Of(LabelledList, LabelsInput), Optional: true},
		{Name: Of(UnlabelledList, PromptsInput), Optional: true}, {Name: Of(UnlabelledList, ImagesInput), Optional: true},
		{Name: Of(UnlabelledList, ScoresInput), Optional: true},
		{Name: PromptsInput, Optional: true},                                       // prompts of images that the training draws
		{Name: RewardInput, Optional: true}, {Name: EmbedderInput, Optional: true}, // reward that scores these images
		{Name: Of(PretrainingList, PromptsInput), Optional: true}, {Name: Of(PretrainingList, ImagesInput), Optional: true}, // pairs for pretraining in the place of rendered ones
		{Name: SegmentInput, Optional: true}, // the segment that this one goes on with
	},
	Files: slices.Concat(tunedFiles(), tabled(curvesFile), optional(required(stateFile)...)),
})

// SegmentInput is the name of the input of a fine-tuning that goes on where another ended.
const SegmentInput = "segment"

// stateFile is the file with the whole state of a training, in the artifact of a segment
// that another one may follow.
const stateFile = "state.safetensors"

// segmentFormat is the version of the content of stateFile. It is part of the keys of
// segments: raise it when the content changes, so that no fine-tuning goes on with a state of
// another version.
const segmentFormat = 1

// A Segment is a part of a fine-tuning that ends before the last step. Its artifact has the
// model at its end, the curve so far, and the whole state of the training. The zero value is a
// fine-tuning to the last step, whose artifact is the same whether it had segments or not.
type Segment struct {
	Until  int `json:"until,omitempty"`
	Format int `json:"format,omitempty"`
	From   int `json:"from,omitempty" key:"-"` // number of steps of the segment before, for the estimate of the cost
}

// SegmentOf returns the segment between two numbers of steps.
func SegmentOf(from, until int) Segment { return Segment{until, segmentFormat, from} }

// Mix has the relative weights of the data of a fine-tuning step.
type Mix struct {
	Labelled    float64 `json:"labelled"`
	Unlabelled  float64 `json:"unlabelled"`
	Pretraining float64 `json:"pretraining"`
}

// FinetuneParams are the parameters of [Finetune]. Without scores all images have the
// weight 1.
type FinetuneParams struct {
	Seed            int64           `json:"seed" key:"seed.feedback"`
	PretrainingSeed int64           `json:"pretrainingSeed,omitempty" key:"seed.pretraining"`
	Data            DataParams      `json:"data,omitzero"` // set if β > 0
	Mix             Mix             `json:"mix" key:"finetune.mix"`
	Recipe          finetune.Recipe `json:"recipe" key:"finetune"`
	Sampler         sampler.Options `json:"sampler"`          // sampler of images that the training draws
	Scores          string          `json:"scores,omitempty"` // what scores images that the training draws: ByReward, ByGold or ByNone; empty if it draws none
	Checkpoints     int             `json:"checkpoints" key:"finetune.probes"`
	Segment         Segment         `json:"segment,omitzero"`
}

// memory counts a batch, the images of a round, the pairs if the pretraining loss is
// added, and the trajectories of a policy gradient.
func (p FinetuneParams) memory() float64 {
	r, n := p.Recipe, func(x int) float64 { return float64(x) }
	need := number*n(r.Batch)*world.Pixels + number*n(r.LoRA.Rank) + drawn(r.Fresh.Images, p.Sampler)
	if p.Data.Pairs > 0 {
		need += n(p.Data.Pairs)*world.Pixels + number*n(r.Batch)*p.Mix.Pretraining/2*world.Pixels
	}
	if finetune.NeedsTrajectories(r.Method.Method) {
		need += number * n(r.Roll.Images) * (n(p.Sampler.Steps) + 1) * world.Pixels
	}
	return need
}

func (p FinetuneParams) cost() float64 {
	steps := p.Recipe.Steps
	if p.Segment.Until > 0 {
		steps = p.Segment.Until
	}
	cost := float64(steps-p.Segment.From) * float64(p.Recipe.Batch) / 1500
	if p.DrawsImages() {
		cost *= 2
	}
	return cost
}

// DrawsImages reports whether the fine-tuning draws images during training and scores
// them.
func (p FinetuneParams) DrawsImages() bool {
	return p.Recipe.Rounds > 1 || finetune.DrawsItself(p.Recipe.Method.Method)
}

// A finetuning is a running fine-tuning.
type finetuning struct {
	e       *Env
	t       Task
	p       FinetuneParams
	prompts *promptTable // all prompts that the training may use
	drawn   []int        // prompts of the images that the training draws
}

func runFinetune(ctx context.Context, e *Env, t Task, p FinetuneParams, progress Progress) error {
	_, m, err := readModel(t.in(ModelInput))
	if err != nil {
		return err
	}
	f := &finetuning{e: e, t: t, p: p, prompts: newPromptTable()}
	job, err := f.job(progress)
	if err != nil {
		return err
	}
	// Checkpoints are kept in memory and in the saved state until the end. They are small
	// for the models of this version.
	var checkpoints []checkpointAt
	job.Checkpoints, job.Host = p.Checkpoints, []any{&checkpoints}
	job.Checkpoint = func(step int, tuned *finetune.Tuned) error {
		checkpoints = append(checkpoints, checkpointAt{step, tuned.Updates, tuned.Weights})
		return nil
	}
	tools, err := e.tools(m.Network)
	if err != nil {
		return err
	}
	if t.has(SegmentInput) {
		job.Segment.From = filepath.Join(t.in(SegmentInput), stateFile)
	}
	if until := p.Segment.Until; until > 0 {
		if until >= p.Recipe.Steps || p.Segment.Format != segmentFormat {
			return fmt.Errorf("finetune: a segment of format %d ends after step %d of %d: this is a bug of the program that sends the task", p.Segment.Format, until, p.Recipe.Steps)
		}
		job.Segment.Until, job.Segment.To = until, filepath.Join(t.Out, stateFile)
	}
	tuned, err := finetune.Run(ctx, tools, m, *job)
	if err != nil {
		return err
	}
	if until := p.Segment.Until; until > 0 {
		// The checkpoints so far are in the state: the last segment writes them.
		checkpoints = []checkpointAt{{until, tuned.Updates, tuned.Weights}}
	}
	if err := writeTuned(t.Out, m.Network, p.Recipe.Trains, p.Recipe.LoRA, checkpoints); err != nil {
		return err
	}
	return writeCurve(filepath.Join(t.Out, curvesFile), tuned.Curve)
}

// tools returns the compiled functions that all fine-tunings of a network share.
func (e *Env) tools(net pipeline.Network) (finetune.Tools, error) {
	s, err := e.sampler(net)
	if err != nil {
		return finetune.Tools{}, err
	}
	text, err := e.textEncoder(net)
	return finetune.Tools{Trainer: e.trainer, Sampler: s, Encoder: text}, err
}

// job returns the fine-tuning in the form of models/finetune. Prompts have their numbers
// in f.prompts.
func (f *finetuning) job(progress Progress) (*finetune.Job, error) {
	p, method := f.p, f.p.Recipe.Method.Method
	j := &finetune.Job{Recipe: p.Recipe, Sampler: p.Sampler, Resume: f.t.Resume, Progress: progress.steps(),
		Stream: func(purpose string, index int) *rand.Rand { return f.t.stream(p.Seed, purpose, index) },
		Prompt: f.prompt, Stored: stored, Score: f.score}
	if finetune.Differentiates(method) {
		var err error
		if j.Reward, j.RewardValues, err = f.e.rewardModel(f.t.in(RewardInput), f.t.in(EmbedderInput)); err != nil {
			return nil, err
		}
	}
	if p.DrawsImages() {
		rows, err := ReadPrompts(f.t.in(PromptsInput))
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			f.drawn = append(f.drawn, f.prompts.add(r.Prompt))
		}
	}
	if !finetune.DrawsItself(method) {
		for _, s := range []struct {
			list string
			mix  float64
		}{{LabelledList, p.Mix.Labelled}, {UnlabelledList, p.Mix.Unlabelled}} {
			if s.mix == 0 {
				continue
			}
			src, err := f.source(s.list)
			if err != nil {
				return nil, err
			}
			src.Mix = s.mix
			j.Sources = append(j.Sources, *src)
		}
		if p.Data.Pairs > 0 {
			pairs, err := f.pairs()
			if err != nil {
				return nil, err
			}
			j.PairsPerStep, j.Pairs = finetune.PairsPerStep(p.Mix.Pretraining, p.Recipe.Batch), pairs.numbered(f.prompts)
		}
	}
	var err error
	j.Text, err = f.e.textInput(f.prompts.texts)
	return j, err
}

// PretrainingList is the name of the pairs for pretraining among the inputs of a fine-tuning.
const PretrainingList = "pretraining"

// pairs returns the pairs for pretraining: those of the inputs or, if there are none, those
// that the model was pretrained on.
func (f *finetuning) pairs() (*pairs, error) {
	if !f.t.has(Of(PretrainingList, ImagesInput)) {
		return f.e.pairs(f.p.Data, f.p.PretrainingSeed), nil
	}
	prompts, err := ReadPrompts(f.t.in(Of(PretrainingList, PromptsInput)))
	if err != nil {
		return nil, err
	}
	set, err := Only(readImagesOf(f.t.in(Of(PretrainingList, ImagesInput)), len(prompts)))
	return &pairs{set.Images, texts(prompts)}, err
}

// source reads the images, prompts, scores and labels of a list. Without scores, all
// scores are 1. Without labels, a score of at least .5 counts as the label good.
func (f *finetuning) source(list string) (*finetune.Source, error) {
	in := func(input string) string { return f.t.in(Of(list, input)) }
	prompts, err := ReadPrompts(in(PromptsInput))
	if err != nil {
		return nil, err
	}
	n := len(prompts)
	images, err := Only(readImagesOf(in(ImagesInput), n))
	if err != nil {
		return nil, err
	}
	scores := ones(n)
	if in(ScoresInput) != "" {
		s, err := Only(ReadScores(in(ScoresInput)))
		if err != nil {
			return nil, err
		}
		scores = s.Scores
	}
	if len(scores) != n {
		return nil, fmt.Errorf("finetune: %d scores for %d prompts", len(scores), n)
	}
	src := &finetune.Source{Images: modelRange(images.Images), Scores: scores, Prompts: make([]int, n), Good: make([]bool, n), Judged: make([]bool, n)}
	for i, p := range prompts {
		src.Prompts[i], src.Good[i], src.Judged[i] = f.prompts.add(p.Prompt), scores[i] >= .5, true
	}
	if in(LabelsInput) == "" {
		return src, nil
	}
	l, err := ReadLabels(in(LabelsInput))
	if err != nil {
		return nil, err
	}
	if len(l.Labels) != n {
		return nil, fmt.Errorf("finetune: %d labels for %d images", len(l.Labels), n)
	}
	for i, label := range l.Labels {
		src.Good[i], src.Judged[i] = label == world.Good, label != world.Skip
	}
	return src, nil
}

func ones(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = 1
	}
	return x
}

// prompt returns the i-th prompt that the training draws from its list for a purpose.
func (f *finetuning) prompt(purpose string, i int) int {
	return f.drawn[f.t.stream(f.p.Seed, purpose, i).IntN(len(f.drawn))]
}

// stored returns images as if they had been stored and read again: clipped and rounded to
// bytes.
func stored(images []float32) ([]float32, error) {
	b, err := quantizeModel(images)
	return modelRange(b), err
}

// Values of [FinetuneParams.Scores].
const (
	ByReward = "learned" // the trial's own reward
	ByGold   = "oracle"  // the gold; such a trial is a control
	ByNone   = "none"    // nothing: all images have the score 1
)

// score returns the scores of images that the training has drawn.
func (f *finetuning) score(images []float32, prompts []int) ([]float32, error) {
	if f.p.Scores == ByNone {
		return ones(len(prompts)), nil
	}
	b, err := quantizeModel(images)
	if err != nil {
		return nil, err
	}
	texts := make([]string, len(prompts))
	for i, k := range prompts {
		texts[i] = f.prompts.texts[k]
	}
	switch f.p.Scores {
	case ByReward:
		scores, _, err := f.e.rewardScores(f.t.in(RewardInput), f.t.in(EmbedderInput), b, texts)
		return scores, err
	case ByGold:
		verdicts, err := f.e.judge(b, texts)
		return verdicts.Scores(), err
	}
	return nil, fmt.Errorf("finetune: images are scored by %q; must be %q, %q or %q", f.p.Scores, ByReward, ByGold, ByNone)
}

// rewardModel returns a learned reward with its embedder as a graph, and the values of
// its parameters.
func (e *Env) rewardModel(rewardDir, embedderDir string) (*finetune.RewardModel, nn.Values, error) {
	ec, ev, err := readEmbedder(embedderDir)
	if err != nil {
		return nil, nil, err
	}
	m, err := readReward(rewardDir)
	if err != nil {
		return nil, nil, err
	}
	return finetune.NewRewardModel(ec, ev, m)
}
