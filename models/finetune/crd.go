package finetune

import (
	"github.com/gomlx/gomlx/pkg/core/graph"
)

// CRD is centred reward distillation (arXiv 2603.14128): the mean of
// (β·(s - s̄) - (r - r̄))², where
//
//	s = -(‖u_θ - u‖²/w_θ - ‖u_old - u‖²/w_old)
//
// is the reward that the network implies, w the mean absolute errors, r float32[B]
// the image's optimality, and the means s̄ and r̄ are over its group (share
// float32[B, B], rows sum to 1). No gradient flows through the mean of s.
func CRD(o Outputs, r, share, beta *graph.Node) (loss, implicit *graph.Node) {
	of := func(u *graph.Node) *graph.Node {
		return graph.Sub(normalized(o.Old, o.Old, o.Target), normalized(u, o.Still, o.Target))
	}
	mean := func(x *graph.Node) *graph.Node {
		return graph.DotGeneral(share, []int{1}, nil, x, []int{0}, nil)
	}
	implicit = of(o.Model)
	centred := graph.Sub(implicit, mean(of(o.Still)))
	return graph.ReduceAllMean(graph.Square(graph.Sub(graph.Mul(beta, centred), graph.Sub(r, mean(r))))), implicit
}

// The released code scales the loss by 5/β, the range of advantages over β.
var crd = Objective{Name: "crd", Reads: []Copy{Old}, Images: 1, Constants: 2,
	Loss: func(o Outputs, image []*graph.Node, share *graph.Node, c []*graph.Node) *graph.Node {
		loss, _ := CRD(o, image[0], share, c[0])
		return graph.Mul(c[1], loss)
	}}
