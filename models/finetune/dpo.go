package finetune

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/gomlx/gomlx/pkg/core/graph"

	"ablate/models/nn"
	"ablate/models/train"
)

// DiffusionDPO is the name of the method.
const DiffusionDPO = "dpo"

// dpo is Diffusion-DPO (Wallace et al. 2023, arXiv 2311.12908, eq. 14). It learns from
// pairs of a good and a bad image of one prompt, at the same noise and time. Prompts
// that have both are drawn uniformly, whatever their number of pairs.
type dpo struct {
	Beta float64 `json:"beta" key:"dpo.beta"`
}

func (dpo) Name() string    { return "dpo" }
func (dpo) Revision() int   { return 0 }
func (dpo) Copies() []Copy  { return []Copy{Reference} }
func (dpo) Variant() string { return "" }
func (dpo) Labels() bool    { return true }

// Together is the whole batch: its halves are compared.
func (dpo) Together(batch int) int { return batch }

func (m dpo) Constants() map[string]float64 { return map[string]float64{"beta": m.Beta} }

func (dpo) Prepare(p *Pool, batch int) (*Plan, error) {
	good, bad := p.ByPrompt(p.Labelled(true)), p.ByPrompt(p.Labelled(false))
	var prompts []int // those with good and bad images
	for g := range good {
		if _, ok := bad[g]; ok {
			prompts = append(prompts, g)
		}
	}
	slices.Sort(prompts)
	if batch%2 != 0 {
		return nil, fmt.Errorf("finetune: dpo learns from pairs, and a batch of %d is odd", batch)
	}
	if len(prompts) == 0 {
		return nil, fmt.Errorf("finetune: dpo compares good and bad images of one prompt, and no prompt has both: %w", ErrNothing)
	}
	return &Plan{Paired: true, Draw: func(r *rand.Rand) []int {
		drawn := make([]int, batch)
		for i := range batch / 2 {
			g := prompts[r.IntN(len(prompts))]
			drawn[i], drawn[batch/2+i] = good[g].Draw(r), bad[g].Draw(r)
		}
		return drawn
	}}, nil
}

func (dpo) Loss() func(o Outputs, in train.Nodes) *graph.Node {
	return func(o Outputs, in train.Nodes) *graph.Node {
		loss, _ := DPO(o.Loss(o.Model), o.Loss(o.Reference), in.At("beta"))
		return loss
	}
}

// DPO is the mean over pairs of -log σ(inside),
//
//	inside = -β/2·((ℓ_w - ℓ_l)_θ - (ℓ_w - ℓ_l)_ref),
//
// for losses float32[B] of which the first half is preferred to the second, pair by
// pair. ℓ is the mean over pixels, as in the released code, where β is 5000; a sum would
// need another β.
func DPO(model, reference, beta *graph.Node) (loss, inside *graph.Node) {
	pairs := model.Shape().Dimensions[0] / 2
	margin := func(l *graph.Node) *graph.Node {
		return graph.Sub(graph.Slice(l, graph.AxisRange(0, pairs)), graph.Slice(l, graph.AxisRange(pairs)))
	}
	inside = graph.Mul(graph.MulScalar(beta, -.5), graph.Sub(margin(model), margin(reference)))
	return graph.ReduceAllMean(nn.Softplus(graph.Neg(inside))), inside
}
