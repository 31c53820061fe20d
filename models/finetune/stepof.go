package finetune

import (
	"fmt"

	"ablate/models/pipeline"
	"ablate/models/train"
)

// StepOf returns the training step of a recipe, with the reward that a RewardGradient
// differentiates, for whoever takes single steps: the benchmark does.
func StepOf(net pipeline.Network, r Recipe, reward *RewardModel) (train.Step, error) {
	var l loss
	switch m := r.Method.Method.(type) {
	case Offline:
		l = forward(m, r.Anchor, r.Rounds)
	case Policy:
		l = policyLoss(m, r.Anchor)
	case RewardGradient:
		if reward == nil {
			return train.Step{}, fmt.Errorf("finetune: %s needs the gradient of a learned reward", m.Name())
		}
		l = gradientLoss(m, reward)
	default:
		return train.Step{}, fmt.Errorf("finetune: %T is not a method", r.Method.Method)
	}
	s, err := newStep(net, l, r.Trains, r.LoRA)
	if err != nil {
		return train.Step{}, err
	}
	return s.Step, nil
}
