package finetune

import (
	"github.com/gomlx/gomlx/pkg/core/graph"

	"ablate/models/schedule"
)

// Outputs are what an objective on the forward process sees of a batch of B
// generated images: the outputs u of the trained network and of its copies
// (schedule.Flow, Output) on the same noisy images, float32[B, ...]. A copy
// that the objective does not read is nil.
type Outputs struct {
	Schedule     schedule.Flow
	Noisy, Clean *graph.Node // x_t and x₀
	Time         *graph.Node // t float32[B]
	Target       *graph.Node // what u should be
	Model        *graph.Node // u_θ
	Base         *graph.Node // of the pretrained network
	Old          *graph.Node // of a copy that follows the trained network
	Average      *graph.Node // of a second, slower one
	Still        *graph.Node // u_θ as a constant, through which no gradient flows
}

// Loss is each image's denoising loss ℓ float32[B] under the output u.
func (o Outputs) Loss(u *graph.Node) *graph.Node { return schedule.MeanSquare(u, o.Target) }

// A Copy names weights that an objective reads beside the trained ones.
type Copy int

// The copies of a network.
const (
	Base    Copy = iota // the pretrained weights
	Old                 // what images are compared with: moves towards the trained weights at each round, all the way under AWM alone
	Average             // a slower one, of the weights at each round
)

// An Objective is a loss on the forward process: a function of a batch's
// outputs, of figures of each image that the host computed, and of constants
// that a study may sweep.
type Objective struct {
	// Name tells compiled steps apart.
	Name string
	// Reads are the copies that it needs.
	Reads []Copy
	// Loss is the objective, a scalar. image are the per-image inputs float32[B],
	// share float32[B, B] averages over an image's group (rows sum to 1), and
	// constants are scalars.
	Loss func(o Outputs, image []*graph.Node, share *graph.Node, constants []*graph.Node) *graph.Node
	// Images and Constants are how many of both it takes.
	Images, Constants int
}

// weighted is reward-weighted likelihood: the likelihood's coefficients are all
// there is to it, and stand in the step for every objective.
var weighted = Objective{Name: "weighted"}
