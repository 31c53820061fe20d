package finetune

import (
	"fmt"
	"math"
	"reflect"

	"ablate/models/lora"
	"ablate/models/pipeline"
	"ablate/models/train"
)

// A Recipe is how a model is fine-tuned: the method with its constants, and the settings that
// all methods have. The tag key is the path of a field in a trial, below finetune, from which
// runner/stage derives keys of the store.
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
	Prediction float64 `json:"prediction"` // weight of the anchor of the same name, as the next two fields are
	Velocity   float64 `json:"velocity"`
	KL         float64 `json:"kl"`

	Rounds int     `json:"rounds,omitempty"` // number of rounds; the first has the given images, the others fresh ones
	Fresh  Fresh   `json:"fresh"`
	Roll   Rollout `json:"rollout"`
}

// Fresh is the size of a round of fresh images of an offline method.
type Fresh struct {
	Images int `json:"images,omitempty"`
	Group  int `json:"group,omitempty"` // images of one prompt
}

// Rollout is the size of a policy's rollout.
type Rollout struct {
	Images int     `json:"images,omitempty"`
	Noise  float64 `json:"noise,omitempty"` // noise scale of the sampler's transitions
}

// An Anchor is a penalty that keeps a fine-tuned model near the pretrained one.
type Anchor string

// The anchors. AnchorPretraining is the likelihood of pretraining pairs. AnchorPrediction is
// the mean squared difference of the two models' predictions on the forward process, weighted
// as in the denoising loss. AnchorVelocity, for policies, is the unweighted one of
// their velocities at the states and times of the sampler. AnchorKL is the divergence: of
// the denoising processes on the forward process, or of a transition for policies.
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

// anchorFields are the fields of methods with the weight of an anchor.
var anchorFields = map[Anchor]string{AnchorPrediction: "Prediction", AnchorVelocity: "Velocity", AnchorKL: "KL"}

// anchorWeight returns the anchor's weight: the method's field of the anchor's name, where it
// has one, else the recipe's.
func (r Recipe) anchorWeight() float64 {
	if own := reflect.ValueOf(r.Method.Method).FieldByName(anchorFields[r.Anchor]); own.IsValid() {
		return own.Float()
	}
	return map[Anchor]float64{AnchorPrediction: r.Prediction, AnchorVelocity: r.Velocity, AnchorKL: r.KL}[r.Anchor]
}

// Published returns the anchor whose weight is one of a method's constants, and that weight;
// AnchorNone if there is none, or if the weight is 0.
func Published(m Method) (Anchor, float64) {
	for anchor, field := range anchorFields {
		if own := reflect.ValueOf(m).FieldByName(field); own.IsValid() && own.Float() > 0 {
			return anchor, own.Float()
		}
	}
	return AnchorNone, 0
}

// options returns the optimizer's options at step i.
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

// round returns the number of the round of step i, counted from 0.
func (r Recipe) round(i int) int { return i * max(r.Rounds, 1) / r.Steps }

// PairsPerStep returns the number of pretraining pairs in a step with a batch of generated
// images: half the batch times the mix weight, at least 1 where that is positive.
func PairsPerStep(mix float64, batch int) int {
	if mix <= 0 {
		return 0
	}
	return max(1, int(mix*float64(batch)/2+0.5))
}

// decode returns a method with constants that are read from JSON.
func decode(m Method, constants []byte) (Method, error) {
	v := reflect.New(reflect.TypeOf(m))
	if err := strict(constants, v.Interface()); err != nil {
		return nil, fmt.Errorf("constants of %s: %w", m.Name(), err)
	}
	return v.Elem().Interface().(Method), nil
}
