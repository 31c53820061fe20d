package finetune

import (
	"math/rand/v2"
	"slices"

	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/train"
)

// crd is centred reward distillation (arXiv 2603.14128, and its port in Flow-Factory): images
// of one prompt are drawn as a group, have the same time, and have rewards that are centred
// on the group's mean. The anchor's pretrained model has no classifier-free guidance, which
// it has in the port.
type crd struct {
	Beta       float64 `json:"beta" key:"crd.beta"`
	Group      int     `json:"group" key:"crd.group"` // images of one prompt in a batch
	Prediction float64 `json:"prediction" key:"crd.prediction"`
}

func (crd) Name() string    { return "crd" }
func (crd) Revision() int   { return 0 }
func (crd) Copies() []Copy  { return []Copy{Behaviour} }
func (crd) Variant() string { return "" }

// Together is a group.
func (m crd) Together(int) int { return max(m.Group, 1) }

func (m crd) Constants() map[string]float64 { return map[string]float64{"beta": m.Beta} }

func (m crd) Prepare(p *Pool, batch int) (*Plan, error) {
	size := max(m.Group, 1)
	optimality := Optimality(Advantages(p.Scores, p.Prompts, false), AdvantageClip)
	all, groups := p.Sampler(p.All()), p.ByPrompt(p.All())
	plan := &Plan{Advantages: optimality, Draw: func(r *rand.Rand) []int {
		drawn := make([]int, batch)
		for i := range drawn {
			from := all
			if i%size > 0 {
				from = groups[p.Prompts[drawn[i-1]]]
				// The images of a group differ, as far as its prompt has enough of them.
				left := slices.DeleteFunc(slices.Clone(from.images), func(k int) bool { return slices.Contains(drawn[i-i%size:i], k) })
				if s := p.Sampler(left); !s.Empty() {
					from = s
				}
			}
			drawn[i] = from.Draw(r)
		}
		return drawn
	}}
	plan.Times = func(drawn []int, times []float32) {
		for i := range drawn {
			times[i] = times[i-i%size]
		}
	}
	plan.Inputs = func(drawn []int, in train.Inputs) {
		in["group mean"] = tensors.FromFlatDataAndDimensions(GroupMean(len(drawn), size), len(drawn), len(drawn))
	}
	// The anchor's weight of an image is in proportion to its optimality, above a floor, as in
	// the released code.
	plan.Anchor = func(i int, weight float64) float64 {
		const floor = 1e-4
		return min(weight, floor) + float64(optimality[i])*max(weight-floor, 0)
	}
	return plan, nil
}

// GroupMean returns the matrix float32[n, n] that maps values to the means of their groups:
// size values in a row are a group.
func GroupMean(n, size int) []float32 {
	m := make([]float32, n*n)
	for i := range n {
		from := i - i%size
		to := min(from+size, n)
		for k := from; k < to; k++ {
			m[i*n+k] = 1 / float32(to-from)
		}
	}
	return m
}

// Moves implements Mover. The decay of the behaviour policy rises from .25 by .005 a step to
// .999. That of the copy that draws is 0 for 75 steps and then rises by .0075 a step
// (old_model_decay and sampling_model_decay of the published settings, applied at each round
// with the number of gradient steps so far).
func (crd) Moves(steps int) map[Copy]float64 {
	s := float64(steps)
	return map[Copy]float64{Behaviour: min(.25+.005*s, .999), Drawing: min(.0075*max(s-75, 0), .999)}
}

func (crd) Draws() Copy { return Drawing }

// Loss implements Offline. As in the released code, it is scaled by the range of advantages
// over β.
func (crd) Loss() func(o Outputs, in train.Nodes) *graph.Node {
	return func(o Outputs, in train.Nodes) *graph.Node {
		loss, _ := CRD(o, in.At("advantage"), in.At("group mean"), in.At("beta"))
		return graph.Mul(graph.Div(graph.Const(loss.Graph(), float32(AdvantageClip)), in.At("beta")), loss)
	}
}

// CRD is the mean of (β·(s - s̄) - (r - r̄))², where
//
//	s = -(‖u_θ - u‖²/w_θ - ‖u_old - u‖²/w_old)
//
// is the reward that the network implies. u are predictions times the square root of the
// loss' weight, w the mean absolute errors, r float32[B] the images' optimality, and s̄ and r̄
// the means over the group (groupMean float32[B, B], whose rows sum to 1). No gradient flows
// through s̄.
func CRD(o Outputs, r, groupMean, beta *graph.Node) (loss, implicit *graph.Node) {
	scale := o.Scale()
	target, old := graph.Mul(scale, o.Target), graph.Mul(scale, o.Behaviour)
	detached := graph.Mul(scale, o.Detached)
	of := func(prediction *graph.Node) *graph.Node {
		return graph.Sub(normalized(old, old, target), normalized(graph.Mul(scale, prediction), detached, target))
	}
	mean := func(x *graph.Node) *graph.Node {
		return graph.DotGeneral(groupMean, []int{1}, nil, x, []int{0}, nil)
	}
	implicit = of(o.Model)
	centred := graph.Sub(implicit, mean(of(o.Detached)))
	return graph.ReduceAllMean(graph.Square(graph.Sub(graph.Mul(beta, centred), graph.Sub(r, mean(r))))), implicit
}
