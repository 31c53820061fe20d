package finetune

import (
	"fmt"
	"math/rand/v2"

	"github.com/gomlx/gomlx/pkg/core/graph"

	"ablate/models/train"
)

// awm is advantage-weighted matching (Xue et al. 2025, arXiv 2509.25050): the mean of
// -min(ρA, clip(ρ, 1 ± c)A) with ρ = exp(s_θ - s_old), the ratio of the likelihoods of a
// generated image that its denoising losses imply, plus β_e times the distance to an
// exponential moving average of the model. Advantages are scaled to [-1, 1].
type awm struct {
	Weighting  string  `json:"weighting" key:"awm.weighting"` // uniform, t, t2 or ghuber
	Power      float64 `json:"power" key:"awm.power"`         // of ghuber
	Clip       float64 `json:"clip" key:"awm.clip"`
	Average    float64 `json:"average" key:"awm.average"` // β_e, used with several rounds
	Prediction float64 `json:"prediction" key:"awm.prediction"`
}

func (awm) Name() string  { return "awm" }
func (awm) Revision() int { return 0 }
func (m awm) Constants() map[string]float64 {
	c := map[string]float64{"clip": m.Clip}
	if m.Average > 0 {
		c["average"] = m.Average
	}
	if m.Weighting == "ghuber" {
		c["power"] = m.Power
	}
	return c
}

func (m awm) Copies() []Copy {
	if m.Average > 0 {
		return []Copy{Behaviour, Average}
	}
	return []Copy{Behaviour}
}

func (m awm) Variant() string {
	if m.Average > 0 {
		return m.Weighting + " averaged"
	}
	return m.Weighting
}

func (awm) Prepare(p *Pool, batch int) (*Plan, error) {
	advantages := clipTo(Advantages(p.Scores, p.Prompts, false), AdvantageClip)
	for i := range advantages {
		advantages[i] /= AdvantageClip
	}
	all := p.Sampler(p.All())
	return &Plan{Advantages: advantages, Effective: advantages, Draw: func(r *rand.Rand) []int { return all.DrawBatch(r, batch) }}, nil
}

// Moves implements Mover. The behaviour policy becomes the trained policy, which also draws
// the round's images. The decay of the average rises from 0 to .3 over 300 steps
// (kl_ema_decay of the released code, applied at each round with the number of steps so far).
func (m awm) Moves(steps int) map[Copy]float64 {
	moves := map[Copy]float64{Behaviour: 0}
	if m.Average > 0 {
		moves[Average] = min(.001*float64(steps), .3)
	}
	return moves
}

func (awm) Draws() Copy { return "" }

func (m awm) Loss() func(o Outputs, in train.Nodes) *graph.Node {
	return func(o Outputs, in train.Nodes) *graph.Node {
		t := o.Time
		if _, end := o.Process.Range(); end != 1 { // the weightings are of times in [0, 1]
			t = graph.DivScalar(t, end)
		}
		score := func(prediction *graph.Node) *graph.Node {
			return Score(m.Weighting, o.Loss(prediction), t, func() *graph.Node { return in.At("power") })
		}
		ratio := graph.Exp(graph.Sub(score(o.Model), score(o.Behaviour)))
		loss := Clipped(ratio, in.At("advantage"), in.At("clip"))
		if m.Average == 0 {
			return loss
		}
		return graph.Add(loss, graph.Mul(in.At("average"), graph.ReduceAllMean(o.Apart(o.Model, o.Average))))
	}
}

// Score is s = -w(ℓ, t) float32[B], AWM's log-likelihood of an image: ℓ itself, ℓ times t
// or t², or the generalized Huber form t/p·((ℓ + e)^p - e^p) with e = 1e-10 (arXiv
// 2509.25050, and its released code).
func Score(weighting string, loss, t *graph.Node, power func() *graph.Node) *graph.Node {
	const e = 1e-10
	switch weighting {
	case "uniform":
		return graph.Neg(loss)
	case "t":
		return graph.Neg(graph.Mul(t, loss))
	case "t2":
		return graph.Neg(graph.Mul(graph.Square(t), loss))
	case "ghuber":
		// x^p is computed as exp(p log x), whose gradient by x is finite for every x > 0.
		p := power()
		root := graph.Exp(graph.Mul(p, graph.Log(graph.AddScalar(loss, e))))
		floor := graph.Exp(graph.MulScalar(p, logTiny))
		return graph.Neg(graph.Mul(graph.Div(t, p), graph.Sub(root, floor)))
	}
	panic(fmt.Errorf("finetune: unknown weighting %q of awm: must be uniform, t, t2 or ghuber", weighting))
}

const logTiny = -23.025850929940457 // log 1e-10
