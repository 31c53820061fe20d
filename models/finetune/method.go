// Package finetune fine-tunes a pretrained text-to-image model on rewards or on good/bad
// labels of images. Each method is one file, with its constants, its weights or advantages of
// images, the images of a step, the schedule of its frozen copies of the network, its loss,
// and the paper's equations. There are three kinds of methods:
//
//   - an [Offline] method learns from given images on the forward process (forward.go):
//     variants of reward-weighted likelihood, DPO, KTO, AWM, DiffusionNFT, CRD;
//   - a [Policy] learns from the sampler's own trajectories by a policy gradient
//     (policy.go): DDPO, DPOK, Flow-GRPO;
//   - a [RewardGradient] differentiates a learned reward through the sampler's last steps
//     (gradient.go): ReFL, DRaFT.
//
// Symbols: r a reward in [0, 1], ℓ the denoising loss of an image, which is a surrogate of
// -log p, A an advantage, ρ a ratio of likelihoods. The papers use ε-prediction; here
// ℓ is the denoising loss of the model's forward process, with its weights.
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
// tag key is the path of a field in a trial, below finetune.
type Method interface {
	// Name is the value of finetune.method in a study.
	Name() string
	// Revision is part of the key of the method's results. Raise it when they change.
	Revision() int
	// Constants are the numbers that are inputs of the method's loss, by their names there.
	Constants() map[string]float64
}

// Methods returns all methods, in the order in which they are listed to users. No other code
// lists them.
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
	// Prepare returns the plan of training on a pool of images with the given number of
	// images in a step. Its error wraps ErrNothing if the method cannot learn from the images.
	Prepare(p *Pool, batch int) (*Plan, error)
	// Copies are the copies of the network that the loss reads.
	Copies() []Copy
	// Variant names the graph that the method's constants select, where it has several.
	Variant() string
	// Loss is the objective on the generated images, a scalar. It is nil where the
	// likelihood, weighted by the plan, is the whole loss.
	Loss() func(o Outputs, in train.Nodes) *graph.Node
}

// Together returns how many images of a batch must be computed together, because the loss of one
// depends on the others: 1 where the loss is a mean over images. They follow each other in the batch.
func Together(m Offline, batch int) int {
	if t, ok := m.(interface{ Together(batch int) int }); ok {
		return t.Together(batch)
	}
	return 1
}

// A Mover is an Offline method whose copies move from one round of fresh images to the
// next. steps is the number of training steps so far, because published schedules count
// steps.
type Mover interface {
	// Moves returns the decay d of each copy: it becomes d·copy + (1-d)·weights.
	Moves(steps int) map[Copy]float64
	// Draws is the copy that draws the images of a round; empty for the trained weights.
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

// A RolloutShape is the number of images of a prompt in a rollout and the number of updates
// that a policy makes from it. All policies have these fields, each below its own path.
type RolloutShape struct {
	Group   int // images of one prompt; 0: every image has a new prompt
	Updates int // updates of the weights for each rollout
}

// A RewardGradient learns from the gradient of a reward.
type RewardGradient interface {
	Method
	// Stop returns the step of the sampler, out of steps, at which the loss begins. The
	// earlier steps have no gradient. r is for methods whose step is random.
	Stop(steps int, r *rand.Rand) (int, error)
	// Steps returns the number of the sampler's steps from Stop on that the loss takes.
	Steps(steps int) int
	// Loss returns the loss at states x, which are at the first of times float32[]; each
	// further time is that of the next step.
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

// A Choice is a method as a parameter of a stage, in JSON {"name": …, "constants": …}.
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

// UnmarshalJSON implements json.Unmarshaler. An unknown constant is an error.
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
