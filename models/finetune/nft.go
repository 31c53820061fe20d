package finetune

import (
	"fmt"
	"math/rand/v2"

	"github.com/gomlx/gomlx/pkg/core/graph"

	"ablate/models/process"
	"ablate/models/train"
)

// nft is DiffusionNFT (Zheng et al. 2025, arXiv 2509.16117). The optimality r in [0, 1] of an
// image comes from the scores of its prompt's images, or is its good/bad label. Images of
// low optimality are learned from too.
type nft struct {
	Beta       float64 `json:"beta" key:"nft.beta"`
	Signal     string  `json:"signal" key:"nft.signal"` // score or label
	Prediction float64 `json:"prediction" key:"nft.prediction"`
}

func (nft) Name() string                    { return "nft" }
func (nft) Revision() int                   { return 0 }
func (nft) Copies() []Copy                  { return []Copy{Behaviour} }
func (nft) Variant() string                 { return "" }
func (m nft) Labels() bool                  { return m.Signal == "label" }
func (m nft) Constants() map[string]float64 { return map[string]float64{"beta": m.Beta} }

func (m nft) Prepare(p *Pool, batch int) (*Plan, error) {
	from, optimality := p.All(), labels(p)
	if m.Labels() {
		from = p.Where(func(i int) bool { return p.Judged[i] })
	} else {
		optimality = Optimality(Advantages(p.Scores, p.Prompts, false), AdvantageClip)
	}
	images := p.Sampler(from)
	if images.Empty() {
		return nil, fmt.Errorf("finetune: no image has a label: %w", ErrNothing)
	}
	return &Plan{Advantages: optimality, Draw: func(r *rand.Rand) []int { return images.DrawBatch(r, batch) }}, nil
}

// Moves implements Mover. The behaviour policy, which also draws, has the decay
// min(.001·steps, .5) (decay type 1 of the released code, applied at each round with the
// number of gradient steps so far).
func (nft) Moves(steps int) map[Copy]float64 {
	return map[Copy]float64{Behaviour: min(.001*float64(steps), .5)}
}

func (nft) Draws() Copy { return Behaviour }

// Loss implements Offline. As in the released code, it is scaled by the range of advantages.
func (nft) Loss() func(o Outputs, in train.Nodes) *graph.Node {
	return func(o Outputs, in train.Nodes) *graph.Node {
		return graph.MulScalar(graph.ReduceAllMean(NFT(o, in.At("advantage"), in.At("beta"))), AdvantageClip)
	}
}

// NFT returns each image's loss float32[B] (arXiv 2509.16117, eq. 6 with the weighting of the
// released code). With the implicit predictions u⁺ = βu_θ + (1-β)u_old and
// u⁻ = (1+β)u_old - βu_θ it is
//
//	[r·‖x̂₀⁺ - x₀‖²/w⁺ + (1-r)·‖x̂₀⁻ - x₀‖²/w⁻]/β,
//
// where squares are means over pixels, and w is the mean absolute error of the same x̂₀, which
// carries no gradient.
func NFT(o Outputs, r, beta *graph.Node) *graph.Node {
	away := graph.Mul(beta, graph.Sub(o.Model, o.Behaviour))
	detached := graph.Mul(beta, graph.Sub(o.Detached, o.Behaviour))
	part := func(prediction, detached *graph.Node) *graph.Node {
		clean := func(u *graph.Node) *graph.Node { return o.Process.Clean(o.Noisy, u, o.Time) }
		return normalized(clean(prediction), clean(detached), o.Clean)
	}
	plus := part(graph.Add(o.Behaviour, away), graph.Add(o.Behaviour, detached))
	minus := part(graph.Sub(o.Behaviour, away), graph.Sub(o.Behaviour, detached))
	return graph.Div(graph.Add(graph.Mul(r, plus), graph.Mul(graph.OneMinus(r), minus)), beta)
}

// normalized returns, as float32[B], the mean over pixels of (x - y)², divided by that of
// |detached - y|, which is at least 1e-5. detached is x as a constant.
func normalized(x, detached, y *graph.Node) *graph.Node {
	w := graph.MaxScalar(process.MeanPixels(graph.Abs(graph.Sub(detached, y))), 1e-5)
	return graph.Div(process.MeanSquare(x, y), w)
}
