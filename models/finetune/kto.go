package finetune

import (
	"fmt"
	"math/rand/v2"

	"github.com/gomlx/gomlx/pkg/core/graph"

	"ablate/models/train"
)

// kto is Diffusion-KTO (Li et al. 2024, arXiv 2404.04465, eq. 9) on good/bad labels.
type kto struct {
	Beta        float64 `json:"beta" key:"kto.beta"`
	Desirable   float64 `json:"desirable" key:"kto.desirable"`     // weight of good images
	Undesirable float64 `json:"undesirable" key:"kto.undesirable"` // weight of bad ones
	Positive    float64 `json:"positive" key:"kto.positive"`       // share of good images in a batch
}

func (kto) Name() string    { return "kto" }
func (kto) Revision() int   { return 0 }
func (kto) Copies() []Copy  { return []Copy{Reference} }
func (kto) Variant() string { return "" }
func (kto) Labels() bool    { return true }

// Together is the whole batch, whose mean is the offset.
func (kto) Together(batch int) int { return batch }

func (m kto) Constants() map[string]float64 {
	return map[string]float64{"beta": m.Beta, "desirable": m.Desirable, "undesirable": m.Undesirable}
}

func (m kto) Prepare(p *Pool, batch int) (*Plan, error) {
	good, bad := p.Sampler(p.Labelled(true)), p.Sampler(p.Labelled(false))
	if good.Empty() || bad.Empty() {
		return nil, fmt.Errorf("finetune: kto needs good and bad images, and there are %d and %d: %w", len(good.images), len(bad.images), ErrNothing)
	}
	return &Plan{Advantages: labels(p), Draw: func(r *rand.Rand) []int {
		drawn := make([]int, batch)
		for i := range drawn {
			from := bad
			if r.Float64() < m.Positive {
				from = good
			}
			drawn[i] = from.Draw(r)
		}
		return drawn
	}}, nil
}

// labels are 1 for good images and 0 for others.
func labels(p *Pool) []float32 {
	y := make([]float32, len(p.Good))
	for i, good := range p.Good {
		if good {
			y[i] = 1
		}
	}
	return y
}

func (kto) Loss() func(o Outputs, in train.Nodes) *graph.Node {
	return func(o Outputs, in train.Nodes) *graph.Node {
		return KTO(o.Loss(o.Model), o.Loss(o.Detached), o.Loss(o.Reference), in.At("advantage"), in.At("beta"), in.At("desirable"), in.At("undesirable"))
	}
}

// KTO is, for labels y float32[B] in {0, 1}, the mean of
//
//	w(y)·(1 - σ(±β·(g - z))), g = ℓ_ref - ℓ_θ, z = max(0, mean g),
//
// with plus for good images and minus for bad ones; w are their weights. z is an estimate of
// the divergence from the reference and carries no gradient, as in the released code:
// detached are the losses ℓ_θ as constants.
func KTO(model, detached, reference, good, beta, desirable, undesirable *graph.Node) *graph.Node {
	g := graph.Sub(reference, model)
	z := graph.MaxScalar(graph.ReduceAllMean(graph.Sub(reference, detached)), 0)
	sign := graph.AddScalar(graph.MulScalar(good, 2), -1)
	weight := graph.Add(graph.Mul(desirable, good), graph.Mul(undesirable, graph.OneMinus(good)))
	value := graph.Logistic(graph.Mul(graph.Mul(sign, beta), graph.Sub(g, z)))
	return graph.ReduceAllMean(graph.Mul(weight, graph.OneMinus(value)))
}
