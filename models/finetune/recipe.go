package finetune

import (
	"fmt"
	"math"
	"reflect"

	"ablate/models/lora"
	"ablate/models/pipeline"
	"ablate/models/train"
)

// A Recipe is how a model is fine-tuned: the method with its constants, and what all
// methods share. The tag key gives a field the path that it has in a trial, below
// finetune; runner/stage derives keys of the store from it.
type Recipe struct {
	Method       Choice        `json:"method"`
	Trains       pipeline.Part `json:"trains"`
	Steps        int           `json:"steps"`
	Batch        int           `json:"batch"`
	LearningRate float64       `json:"learningRate"`
	Warmup       int           `json:"warmup"`
	Schedule     string        `json:"schedule"` // constant, linear or cosine
	EMA          float64       `json:"ema"`
	Clip         float64       `json:"clip"` // largest global norm of the gradient
	Adam         train.Adam    `json:"adam"`
	LoRA         lora.Config   `json:"lora"`

	Anchor     Anchor  `json:"anchor"`
	Beta       float64 `json:"beta"`       // weight of pretraining pairs
	Prediction float64 `json:"prediction"` // weight of the anchor of that name, as are the next two
	Velocity   float64 `json:"velocity"`
	KL         float64 `json:"kl"`

	Rounds int     `json:"rounds,omitempty"` // of fresh images, the first being the given ones
	Fresh  Fresh   `json:"fresh"`
	Roll   Rollout `json:"rollout"`
}

// Fresh is what a round of an offline method draws.
type Fresh struct {
	Images int `json:"images,omitempty"`
	Group  int `json:"group,omitempty"` // of one prompt among them
}

// Rollout is what a policy draws.
type Rollout struct {
	Images int     `json:"images,omitempty"`
	Noise  float64 `json:"noise,omitempty"` // of the sampler's transitions
}

// An Anchor holds a fine-tuned model near the pretrained one.
type Anchor string

// The anchors. AnchorPrediction is the mean square difference of the two models'
// predictions on the forward process, weighted as the denoising loss weighs a
// prediction's error; AnchorVelocity is that of their velocities at the sampler's own
// states and times, unweighted, and belongs to policies. AnchorKL is the divergence: of
// the denoising processes on the forward process, of a transition for policies.
const (
	AnchorNone        Anchor = "none"
	AnchorPretraining Anchor = "pretraining"
	AnchorPrediction  Anchor = "prediction"
	AnchorVelocity    Anchor = "velocity"
	AnchorKL          Anchor = "kl"
)

// anchored reports whether the loss compares the network with the pretrained one.
func (r Recipe) anchored() bool {
	return r.Anchor == AnchorPrediction || r.Anchor == AnchorVelocity || r.Anchor == AnchorKL
}

// anchorWeight is the anchor's weight: the method's own where it has one, which is a
// field of the anchor's name.
func (r Recipe) anchorWeight() float64 {
	shared := map[Anchor]float64{AnchorPrediction: r.Prediction, AnchorVelocity: r.Velocity, AnchorKL: r.KL}
	field := map[Anchor]string{AnchorPrediction: "Prediction", AnchorVelocity: "Velocity", AnchorKL: "KL"}[r.Anchor]
	if own := reflect.ValueOf(r.Method.Method).FieldByName(field); own.IsValid() {
		return own.Float()
	}
	return shared[r.Anchor]
}

// options are the optimizer's at step i.
func (r Recipe) options(i int) train.Options {
	rate := r.LearningRate
	switch r.Schedule {
	case "constant":
		rate *= train.WarmupDecay(i, r.Steps, r.Warmup, 1, 0)
	case "cosine":
		rate *= train.WarmupDecay(i, r.Steps, r.Warmup, 1, 0) * (1 + math.Cos(math.Pi*float64(i)/float64(r.Steps))) / 2
	case "linear":
		rate *= train.WarmupDecay(i, r.Steps, r.Warmup, 0.5, 0)
	}
	return train.Options{LearningRate: rate, Adam: r.Adam, Clip: r.Clip, EMA: r.EMA}
}

// round is the round that step i belongs to, counted from 0.
func (r Recipe) round(i int) int { return i * max(r.Rounds, 1) / r.Steps }

// PairsPerStep is the number of pretraining pairs beside a batch of generated images:
// half as many, times the mix weight, at least 1 when that is positive.
func PairsPerStep(mix float64, batch int) int {
	if mix <= 0 {
		return 0
	}
	return max(1, int(mix*float64(batch)/2+0.5))
}

// decode reads a method's constants into a value of its type.
func decode(m Method, constants []byte) (Method, error) {
	v := reflect.New(reflect.TypeOf(m))
	if err := strict(constants, v.Interface()); err != nil {
		return nil, fmt.Errorf("constants of %s: %w", m.Name(), err)
	}
	return v.Elem().Interface().(Method), nil
}
