package finetune

import (
	"fmt"

	"github.com/gomlx/gomlx/pkg/core/graph"

	"ablate/models/pipeline"
	"ablate/models/process"
	"ablate/models/train"
)

// StepOf returns the training step of a recipe, with the reward that a RewardGradient
// differentiates. It is for callers that take single steps, such as the benchmark.
func StepOf(net pipeline.Network, r Recipe, reward *RewardModel) (train.Step, error) {
	l, err := r.loss(reward)
	if err != nil {
		return train.Step{}, err
	}
	s, err := newStep(net, l, r.Trains, r.LoRA)
	if err != nil {
		return train.Step{}, err
	}
	return s.Step, nil
}

// An Objective builds the loss of a batch, a scalar, from the trained and the pretrained network.
type Objective func(p process.Process, model, reference pipeline.Denoiser, in train.Nodes) *graph.Node

// ObjectiveOf returns the loss of an Offline method on given images, or of a Policy, for callers with a
// training step of their own. The behaviour policy is the pretrained network. The inputs are those of
// Job's steps: what a Plan gives, or PolicyState.Transitions.
func ObjectiveOf(m Method, anchor Anchor) (Objective, error) {
	r := Recipe{Method: Choice{m}, Anchor: anchor, Schedule: "constant"}
	if err := r.check(); err != nil {
		return nil, err
	}
	l, err := r.loss(nil)
	return func(p process.Process, model, reference pipeline.Denoiser, in train.Nodes) *graph.Node {
		return l.build(networks{net: pipeline.Network{Process: p}, model: model, copies: map[Copy]pipeline.Denoiser{Reference: reference}}, in)
	}, err
}

// loss returns the loss of a step of the recipe.
func (r Recipe) loss(reward *RewardModel) (loss, error) {
	switch m := r.Method.Method.(type) {
	case Offline:
		return forward(m, r.Anchor, r.Rounds), nil
	case Policy:
		return policyLoss(m, r.Anchor), nil
	case RewardGradient:
		if reward == nil {
			return loss{}, fmt.Errorf("finetune: %s needs the gradient of a learned reward", m.Name())
		}
		return gradientLoss(m, reward), nil
	}
	return loss{}, fmt.Errorf("finetune: %T is not a method", r.Method.Method)
}
