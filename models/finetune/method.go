// Package finetune adapts a pretrained model to rewards or labels. A method is one
// file: its constants, what it makes of the data, what a step draws, how its copies of
// the network move, and its loss. There are three kinds:
//
//   - an [Offline] method learns from given images on the forward process (forward.go):
//     reward-weighted likelihood and its kin, DPO, KTO, AWM, DiffusionNFT, CRD;
//   - a [Policy] learns from the sampler's own trajectories by a policy gradient
//     (policy.go): DDPO, DPOK, Flow-GRPO;
//   - a [RewardGradient] goes back through the sampler's last steps (gradient.go):
//     ReFL, DRaFT.
//
// Symbols: r a reward in [0, 1], ℓ the denoising loss of an image, which stands for
// -log p, A an advantage, ρ a ratio of likelihoods. The papers write ε-prediction; here
// ℓ is the model's own weighted denoising loss.
package finetune

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/gomlx/gomlx/pkg/core/graph"

	"ablate/models/train"
)

// A Method is one way to fine-tune. It is a struct whose fields are its constants; the
// tag key gives a field the path that it has in a trial, below finetune.
type Method interface {
	// Name is the method's in a study.
	Name() string
	// Revision is part of the identity of what the method computed. Raise it when that
	// changes.
	Revision() int
	// Constants are the numbers that the method's loss takes as inputs, by their names
	// there.
	Constants() map[string]float64
}

// Methods are all methods, in the order in which they are listed to people. This is the
// one place that knows of every file.
func Methods() []Method {
	return []Method{
		rewardWeighted{}, softmaxWeighted{}, filtered{}, dpo{}, kto{}, awm{}, nft{}, crd{},
		ddpo{}, dpok{}, grpo{},
		refl{}, draft{},
	}
}

// ByName returns the method of a name, with constants of 0.
func ByName(name string) (Method, error) {
	var names []string
	for _, m := range Methods() {
		if m.Name() == name {
			return m, nil
		}
		names = append(names, m.Name())
	}
	return nil, fmt.Errorf("finetune: unknown method %q: must be one of %s", name, strings.Join(names, ", "))
}

// An Offline method learns from given images.
type Offline interface {
	Method
	// Prepare makes of a pool of images what steps of the given batch draw from. An error
	// that wraps ErrNothing says that the images teach nothing.
	Prepare(p *Pool, batch int) (*Plan, error)
	// Copies are the copies of the network that the loss reads.
	Copies() []Copy
	// Variant distinguishes graphs of one method that its constants choose between.
	Variant() string
	// Loss is the objective on the generated images, a scalar; nil where the likelihood,
	// weighted by the plan, is all of it.
	Loss() func(o Outputs, in train.Nodes) *graph.Node
}

// A Mover is an Offline method whose copies move from one round of fresh images to the
// next. Steps are those taken until then, for the published schedules count steps.
type Mover interface {
	// Moves returns the decay d of each copy: it becomes d·copy + (1-d)·weights.
	Moves(steps int) map[Copy]float64
	// Draws is the copy that draws a round's images.
	Draws() Copy
}

// A Policy learns by a policy gradient.
type Policy interface {
	Method
	Rollout() RolloutShape
	// Advantages returns the advantage of each image of a rollout, from their scores.
	Advantages(h *History, scores []float32, prompts []int) []float32
	// Surrogate is the loss of a batch of transitions with the given ratios of
	// probabilities and advantages float32[B].
	Surrogate(ratio, advantage *graph.Node, in train.Nodes) *graph.Node
}

// A RolloutShape is how many images a policy draws at a time and how it learns from
// them. The fields are shared by all policies and have paths of their own.
type RolloutShape struct {
	Group   int // images of one prompt; 0 draws prompts freely
	Updates int // of the weights, before images are drawn again
}

// A RewardGradient differentiates a reward.
type RewardGradient interface {
	Method
	// Stop returns the step of the sampler, of steps in all, from which the loss goes on.
	// The states before it are drawn without a gradient. r draws where the method does.
	Stop(steps int, r *rand.Rand) (int, error)
	// Steps is how many of the sampler's steps from Stop on the loss takes.
	Steps(steps int) int
	// Loss is that of states x at the first of times float32[], each next to the one
	// before, where predict returns a prediction and score a reward float32[B].
	Loss(g GradientGraph, x *graph.Node, times []*graph.Node, in train.Nodes) *graph.Node
}

// LearnsFromLabels reports whether a method learns from labels and not from scores.
func LearnsFromLabels(m Method) bool {
	l, ok := m.(interface{ Labels() bool })
	return ok && l.Labels()
}

// DrawsItself reports whether a method draws the images that it learns from.
func DrawsItself(m Method) bool {
	_, offline := m.(Offline)
	return !offline
}

// NeedsTrajectories reports whether a method keeps the trajectories of its images.
func NeedsTrajectories(m Method) bool {
	_, policy := m.(Policy)
	return policy
}

// Differentiates reports whether a method needs the gradient of a learned reward.
func Differentiates(m Method) bool {
	_, gradient := m.(RewardGradient)
	return gradient
}

// A Choice is a method as a parameter of a stage: JSON {"name": …, "constants": …}.
type Choice struct{ Method }

// MarshalJSON implements json.Marshaler.
func (c Choice) MarshalJSON() ([]byte, error) {
	if c.Method == nil {
		return []byte("null"), nil
	}
	constants, err := json.Marshal(c.Method)
	if err != nil {
		return nil, err
	}
	return json.Marshal(struct {
		Name      string          `json:"name"`
		Constants json.RawMessage `json:"constants"`
	}{c.Name(), constants})
}

// UnmarshalJSON implements json.Unmarshaler. A constant that the method does not have is
// an error.
func (c *Choice) UnmarshalJSON(b []byte) error {
	var head struct {
		Name      string          `json:"name"`
		Constants json.RawMessage `json:"constants"`
	}
	if err := strict(b, &head); err != nil {
		return err
	}
	m, err := ByName(head.Name)
	if err != nil {
		return err
	}
	c.Method, err = decode(m, head.Constants)
	return err
}

func strict(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	return d.Decode(v)
}
