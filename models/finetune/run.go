package finetune

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"

	"ablate/models/nn"
	"ablate/models/pipeline"
	"ablate/models/random"
	"ablate/models/sampler"
	"ablate/models/train"
)

// Tools are the compiled functions of one process, which all fine-tunings of a network share.
type Tools struct {
	// Trainer returns the trainer of a step; steps of one name share it.
	Trainer func(train.Step) (*train.Trainer, error)
	Sampler *sampler.Sampler
	Encoder *pipeline.Encoder
}

// A Job is one fine-tuning.
type Job struct {
	Recipe
	Sampler sampler.Options
	// Text is the text encoder's input of every prompt that the training may use,
	// float32[P, Text]; prompts are indices of its rows.
	Text []float32

	// Sources are the images of an offline method's first round. Each step also has
	// PairsPerStep of the pretraining Pairs.
	Sources      []Source
	Pairs        Pairs
	PairsPerStep int

	// Prompt returns the i-th prompt that the training draws for a purpose; Score scores
	// images float32[n, H, W, C] in the model's range. Both are nil where no images are drawn.
	Prompt func(purpose string, i int) int
	Score  func(images []float32, prompts []int) ([]float32, error)
	// Stored returns drawn images as they are after storing, clipped and rounded to bytes, so
	// that the images in the training are those that were scored. nil leaves them unchanged.
	Stored func(images []float32) ([]float32, error)
	// Reward is the reward that a RewardGradient differentiates; RewardValues are its values.
	Reward       *RewardModel
	RewardValues nn.Values

	// Stream returns the random stream of a purpose and an index.
	Stream func(purpose string, index int) *rand.Rand

	// Checkpoint, if set, is called with the model after each of Checkpoints evenly spaced
	// steps, which include the last. Host are pointers to data of Checkpoint that is saved
	// with the state.
	Checkpoint  func(step int, t *Tuned) error
	Checkpoints int
	Host        []any

	Resume   train.Resume
	Segment  train.Segment // a part of the training, to whose end Run trains; the zero value is all of it
	Progress func(train.Report)
}

// A Tuned is a fine-tuned model, or one during its training.
type Tuned struct {
	Updates nn.Values    // the low-rank updates; nil where all weights were trained
	Weights nn.Values    // of the trained part, with low-rank updates added at the end; nil before, if there are updates
	Curve   *train.Curve // from the first step on; nil before the end
}

// check returns an error for settings that the kind of method does not support.
func (r Recipe) check() error {
	var anchors []Anchor
	switch r.Method.Method.(type) {
	case Offline:
		anchors = []Anchor{AnchorNone, AnchorPretraining, AnchorPrediction, AnchorKL}
	case Policy:
		anchors = []Anchor{AnchorNone, AnchorVelocity, AnchorKL}
	case RewardGradient:
		anchors = []Anchor{AnchorNone}
	default:
		return fmt.Errorf("finetune: %T is not a method", r.Method.Method)
	}
	if !slices.Contains(anchors, r.Anchor) {
		return fmt.Errorf("finetune: unknown anchor %q of %s: must be one of %q", r.Anchor, r.Method.Name(), anchors)
	}
	if s := []string{"constant", "linear", "cosine"}; !slices.Contains(s, r.Schedule) {
		return fmt.Errorf("finetune: unknown schedule %q: must be one of %q", r.Schedule, s)
	}
	return nil
}

// Run fine-tunes a model.
func Run(ctx context.Context, t Tools, m *pipeline.Model, j Job) (*Tuned, error) {
	if err := j.check(); err != nil {
		return nil, err
	}
	switch method := j.Method.Method.(type) {
	case Offline:
		return j.offline(ctx, t, m, method)
	case Policy:
		return j.policy(ctx, t, m, method)
	case RewardGradient:
		return j.gradient(ctx, t, m, method)
	}
	panic("finetune: unknown kind of method, which check refuses")
}

// further are the curve's metrics in addition to the loss and the gradient's norm.
var further = []string{"learning rate", "effective sample size"}

// A training is the state of a running fine-tuning.
type training struct {
	Job
	tools   Tools
	model   *pipeline.Model
	step    *step
	trainer *train.Trainer
	state   *train.State
	cond    []float32 // of every prompt: its conditioning or, if the encoder is trained, the encoder's input
	width   int       // of a row of cond
}

// begin compiles the loss, if it is not compiled yet, and starts a training at the model's
// weights.
func (j Job) begin(t Tools, m *pipeline.Model, l loss) (*training, error) {
	s, err := newStep(m.Network, l, j.Trains, j.LoRA)
	if err != nil {
		return nil, err
	}
	trainer, err := t.Trainer(s.Step)
	if err != nil {
		return nil, err
	}
	first := m.Weights
	if j.LoRA.Rank > 0 {
		first = nn.Init(s.Params, j.Stream("init", 0))
	}
	state, err := trainer.Start(first, j.EMA > 0)
	if err != nil {
		return nil, err
	}
	u := &training{Job: j, tools: t, model: m, step: s, trainer: trainer, state: state}
	fail := func(err error) (*training, error) {
		state.Free()
		return nil, err
	}
	for name := range s.Frozen {
		v := m.Weights
		switch {
		case name == rewardSet:
			v = j.RewardValues
		case j.LoRA.Rank > 0 && name != baseSet && name != restSet:
			v = first // a copy of the updates
		}
		if err := trainer.Freeze(state, name, v); err != nil {
			return fail(err)
		}
	}
	u.width = m.CondWidth(j.Trains.Encodes())
	u.cond = j.Text
	if !j.Trains.Encodes() {
		if u.cond, err = t.Encoder.Encode(m.Weights, j.Text); err != nil {
			return fail(err)
		}
	}
	return u, nil
}

// condRow is the conditioning of a prompt.
func (u *training) condRow(prompt int) []float32 { return u.cond[prompt*u.width : (prompt+1)*u.width] }

// loop takes the steps and returns the fine-tuned model.
func (u *training) loop(ctx context.Context, host any, batch func(ctx context.Context, step int) (train.Inputs, train.Options, []float64, error)) (*Tuned, error) {
	l := train.Loop{Trainer: u.trainer, State: u.state, Steps: u.Steps, Batch: batch, Further: further, Host: append([]any{host}, u.Host...),
		Resume: u.Resume, Segment: u.Segment, Progress: u.Progress,
		After: func(step int) error {
			if u.Checkpoint == nil || !ends(step, u.Steps, u.Checkpoints) {
				return nil
			}
			return u.Checkpoint(step+1, u.tuned())
		}}
	curve, err := l.Run(ctx)
	if err != nil {
		return nil, err
	}
	out := u.tuned()
	if out.Updates != nil {
		out.Weights = u.whole(out.Updates)
	}
	out.Curve = curve
	return out, nil
}

// tuned returns the model as trained so far: the EMA of its weights, where there is one.
func (u *training) tuned() *Tuned {
	v := u.trainer.Average(u.state)
	if u.LoRA.Rank > 0 {
		return &Tuned{Updates: v}
	}
	return &Tuned{Weights: v}
}

// ends reports whether step, counted from 0, ends one of n equal parts.
func ends(step, steps, n int) bool { return (step+1)*n/steps > step*n/steps }

// whole returns the trained weights with low-rank updates added.
func (u *training) whole(v nn.Values) nn.Values {
	if u.LoRA.Rank == 0 {
		return v
	}
	base := nn.Values{}
	for _, p := range u.step.trained {
		base[p.Name] = u.model.Weights[p.Name]
	}
	return u.LoRA.Merge(base, v)
}

// current returns the model with its weights as trained so far, or with those of a copy.
func (u *training) current(k Copy) *pipeline.Model {
	if k == "" {
		return u.model.With(u.whole(u.trainer.Weights(u.state)))
	}
	return u.model.With(u.whole(u.trainer.Set(u.state, string(k))))
}

// encoded returns the conditioning of prompts by a model's own text encoder, float32[n, Cond].
func (u *training) encoded(m *pipeline.Model, prompts []int) ([]float32, error) {
	var rows []float32
	for _, p := range prompts {
		rows = append(rows, u.condRow(p)...)
	}
	if !u.Trains.Encodes() {
		return rows, nil
	}
	return u.tools.Encoder.Encode(m.Weights, rows)
}

// order returns the random stream of a step's draws.
func (u *training) order(step int) *rand.Rand { return u.Stream("order", step) }

// until returns a progress function that ends a draw, with ctx's cause, once ctx is done.
func until(ctx context.Context) func(int) error {
	return func(int) error { return context.Cause(ctx) }
}

// noise returns the function that fills the initial noise of each image of draw number k.
func (u *training) noise(purpose string, k int) func(i int, dst []float32) {
	return func(i int, dst []float32) { random.Normal(u.Stream(fmt.Sprintf("%s %d", purpose, k), i), dst) }
}
