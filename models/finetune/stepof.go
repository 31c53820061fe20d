package finetune

import (
	"fmt"

	"ablate/models/pipeline"
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
