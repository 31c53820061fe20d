package finetune

import (
	"encoding/json"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/backend"
	"ablate/models/modeltest"
	"ablate/models/process"
	"ablate/models/reference"
	"ablate/models/train"
)

// compute runs a graph function on tensors of a case, by their keys.
func compute(t *testing.T, c *reference.Case, keys []string, build func(in map[string]*graph.Node) []*graph.Node) [][]float32 {
	t.Helper()
	fn, err := backend.NewFn(modeltest.Backend(t), "reference", 0, func(in []*graph.Node) []*graph.Node {
		named := map[string]*graph.Node{}
		for i, k := range keys {
			named[k] = in[i]
		}
		return build(named)
	})
	if err != nil {
		t.Fatal(err)
	}
	args := make([]*tensors.Tensor, len(keys))
	for i, k := range keys {
		args[i] = tensors.FromFlatDataAndDimensions(c.Floats(t, k), c.Shape(t, k)...)
	}
	out, err := fn.Call(args...)
	if err != nil {
		t.Fatal(err)
	}
	got := make([][]float32, len(out))
	for i, x := range out {
		got[i] = backend.Float32s(x)
	}
	return got
}

func number(t *testing.T, n json.Number) float64 {
	t.Helper()
	x, err := n.Float64()
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// TestReferenceForward compares the losses on the forward process, their
// gradients by the model's velocity, and a step of Flow-GRPO's sampler with its
// policy loss, with PyTorch's values.
func TestReferenceForward(t *testing.T) {
	modeltest.Backend(t)
	for _, c := range reference.Cases(t, "forward.json") {
		var k struct {
			Clip         float64       `json:"adv_clip_max"`
			Tau          float64       `json:"orw_tau"`
			Alpha        float64       `json:"orw_alpha"`
			Weightings   []string      `json:"awm_weightings"`
			Power        float64       `json:"ghuber_power"`
			ClipRange    float64       `json:"awm_clip_range"`
			Beta         float64       `json:"awm_beta"`
			AverageBeta  float64       `json:"awm_ema_beta"`
			NFT          []json.Number `json:"nft_betas"`
			NFTKL        float64       `json:"nft_kl"`
			CRD          float64       `json:"crd_beta"`
			CRDKL        float64       `json:"crd_kl"`
			Noise        float64       `json:"noise_level"`
			Fraction     float64       `json:"sde_fraction"`
			GRPOClip     float64       `json:"grpo_clip_range"`
			GRPOBeta     float64       `json:"grpo_beta"`
			Groups, Size int
		}
		c.JSON(t, &k)
		group, rewards := c.Ints(t, "group"), c.Floats(t, "rewards")
		advantages := Advantages(rewards, group, false)
		optimality := Optimality(advantages, k.Clip)
		reference.Check(t, c, "advantages", advantages)
		reference.Check(t, c, "advantages_group_std", Advantages(rewards, group, true))
		reference.Check(t, c, "optimality", optimality)

		var names []string
		keys := []string{"x0", "eps", "t", "rewards", "labels", "v_base", "v_old", "v_ema", "v_model", "sde_next"}
		got := compute(t, c, keys, func(in map[string]*graph.Node) (out []*graph.Node) {
			g, v := in["t"].Graph(), in["v_model"]
			constant := func(x []float32) *graph.Node { return graph.Const(g, x) }
			scalar := func(x float64) *graph.Node { return graph.Scalar(g, v.DType(), x) }
			flow := process.Flow{Prediction: process.Velocity}
			o := Outputs{Process: flow, Noisy: flow.Noisy(in["x0"], in["eps"], in["t"]), Clean: in["x0"], Time: in["t"],
				Target: graph.Sub(in["eps"], in["x0"]), Model: v, Reference: in["v_base"], Behaviour: in["v_old"], Average: in["v_ema"], Detached: graph.StopGradient(v)}
			put := func(name string, x *graph.Node) { names, out = append(names, name), append(out, x) }
			take := func(name string, loss *graph.Node) {
				put(name+"_loss", graph.Reshape(loss, 1))
				put(name+"_grad", graph.Gradient(loss, v)[0])
			}
			anchor := graph.ReduceAllMean(o.Apart(o.Model, o.Reference))
			plus := func(loss *graph.Node, weight float64) *graph.Node {
				return graph.Add(loss, graph.MulScalar(anchor, weight))
			}
			match := o.Loss(v)
			put("match", match)
			take("reward_weighted", graph.ReduceAllMean(graph.Mul(in["rewards"], match)))
			take("orw", plus(graph.ReduceAllMean(graph.Mul(graph.Exp(graph.MulScalar(in["rewards"], k.Tau)), match)), k.Alpha))
			scaled := make([]float32, len(advantages))
			clipped := make([]float32, len(advantages))
			for i, a := range advantages {
				clipped[i] = float32(min(max(float64(a), -k.Clip), k.Clip))
				scaled[i] = float32(float64(clipped[i]) / k.Clip)
			}
			for _, w := range k.Weightings {
				score := func(u *graph.Node) *graph.Node {
					return Score(w, o.Loss(u), o.Time, func() *graph.Node { return scalar(k.Power) })
				}
				put("awm_"+w+"_ratio", graph.Exp(graph.Sub(score(o.Model), score(o.Behaviour))))
				loss := awm{Weighting: w, Average: k.AverageBeta}.Loss()(o, train.Nodes{
					"advantage": constant(scaled), "clip": scalar(k.ClipRange), "average": scalar(k.AverageBeta), "power": scalar(k.Power)})
				take("awm_"+w, plus(loss, k.Beta))
			}
			for name, r := range map[string]*graph.Node{"nft": constant(optimality), "nft_labels": in["labels"]} {
				for _, b := range k.NFT {
					name, beta := name+"_beta"+b.String(), scalar(number(t, b))
					put(name+"_each", NFT(o, r, beta))
					take(name, plus(nft{}.Loss()(o, train.Nodes{"advantage": r, "beta": beta}), k.NFTKL))
				}
			}
			mean := make([]float32, len(group)*len(group))
			size := map[int]float32{}
			for _, g := range group {
				size[g]++
			}
			for i, g := range group {
				for j, h := range group {
					if g == h {
						mean[i*len(group)+j] = 1 / size[g]
					}
				}
			}
			groupMean := graph.Reshape(constant(mean), len(group), len(group))
			centred, implicit := CRD(o, constant(optimality), groupMean, scalar(k.CRD))
			put("crd_implicit", implicit)
			take("crd", plus(centred, k.CRDKL))

			next := graph.MulScalar(in["t"], 1-k.Fraction)
			noise := graph.BroadcastToShape(scalar(k.Noise), next.Shape())
			step := func(u *graph.Node) (mean, std, density *graph.Node) {
				mean, std = flow.Transition(o.Noisy, u, in["t"], next, noise)
				return mean, std, process.LogProbability(in["sde_next"], mean, std)
			}
			sdeMean, std, density := step(v)
			_, _, old := step(in["v_old"])
			base, _, _ := step(in["v_base"])
			put("sde_mean", sdeMean)
			put("sde_std", std)
			put("sde_log_prob", density)
			put("sde_log_prob_old", old)
			ratio := graph.Exp(graph.Sub(density, old))
			put("grpo_ratio", ratio)
			variance := graph.Square(flow.Diffusion(in["t"], next, noise))
			kl := graph.ReduceAllMean(graph.Div(process.MeanSquare(sdeMean, base), graph.MulScalar(variance, 2)))
			put("grpo_kl", graph.Reshape(kl, 1))
			take("grpo", graph.Add(Clipped(ratio, constant(clipped), scalar(k.GRPOClip)), graph.MulScalar(kl, k.GRPOBeta)))
			return out
		})
		for i, name := range names {
			reference.Check(t, c, name, got[i])
		}
	}
}

// TestReferencePreference compares Diffusion-DPO, and the terms of DDPO and DPOK
// on a step of DDIM, with PyTorch's values.
func TestReferencePreference(t *testing.T) {
	modeltest.Backend(t)
	for _, c := range reference.Cases(t, "preference.json") {
		var k struct {
			Betas     []json.Number `json:"dpo_betas"`
			Steps     int
			Eta       float64
			ClipRange float64 `json:"clip_range"`
			Clip      float64 `json:"adv_clip_max"`
			Weight    float64 `json:"dpok_reward_weight"`
			KL        float64 `json:"dpok_kl_weight"`
			Scheduler process.DDPM
		}
		c.JSON(t, &k)
		if err := k.Scheduler.Check(); err != nil {
			t.Fatal(err)
		}
		var times, nexts []float32
		for _, time := range c.Ints(t, "pg_timesteps") {
			times, nexts = append(times, float32(time)), append(nexts, float32(time-k.Scheduler.Steps/k.Steps))
		}
		var names []string
		keys := []string{"dpo_target", "dpo_ref_pred", "dpo_model_pred", "pg_sample", "pg_model_output_old", "pg_model_output_new",
			"pg_model_output_pretrained", "pg_advantages", "pg_prev_sample"}
		got := compute(t, c, keys, func(in map[string]*graph.Node) (out []*graph.Node) {
			p := in["dpo_model_pred"]
			g := p.Graph()
			scalar := func(x float64) *graph.Node { return graph.Scalar(g, p.DType(), x) }
			put := func(name string, x *graph.Node) {
				if x.Rank() == 0 {
					x = graph.Reshape(x, 1)
				}
				names, out = append(names, name), append(out, x)
			}
			for _, b := range k.Betas {
				loss, inside := DPO(process.MeanSquare(p, in["dpo_target"]), process.MeanSquare(in["dpo_ref_pred"], in["dpo_target"]), scalar(number(t, b)))
				name := "dpo_beta" + b.String()
				put(name+"_loss", loss)
				put(name+"_inside", inside)
				put(name+"_grad_model_pred", graph.Gradient(loss, p)[0])
				put(name+"_implicit_accuracy", graph.ReduceAllMean(graph.ConvertDType(graph.GreaterThan(inside, graph.ZerosLike(inside)), p.DType())))
			}
			n := in["pg_model_output_new"]
			time, next := graph.Const(g, times), graph.Const(g, nexts)
			eta := graph.BroadcastToShape(scalar(k.Eta), time.Shape())
			s := k.Scheduler.Diffusion(time, next, eta)
			mean := func(output *graph.Node) *graph.Node {
				m, _ := k.Scheduler.Transition(in["pg_sample"], output, time, next, eta)
				return m
			}
			before, after, pretrained := mean(in["pg_model_output_old"]), mean(n), mean(in["pg_model_output_pretrained"])
			old, density := process.LogProbability(in["pg_prev_sample"], before, s), process.LogProbability(in["pg_prev_sample"], after, s)
			ratio := graph.Exp(graph.Sub(density, old))
			put("pg_std", s)
			put("pg_prev_sample_mean_old", before)
			put("pg_prev_sample_mean_new", after)
			put("pg_log_prob_old", old)
			put("pg_log_prob_new", density)
			put("pg_ratio", ratio)
			clipped := graph.ClipScalar(in["pg_advantages"], -k.Clip, k.Clip)
			loss := Clipped(ratio, clipped, scalar(k.ClipRange))
			put("pg_ddpo_loss", loss)
			put("pg_ddpo_grad", graph.Gradient(loss, n)[0])
			far := graph.GreaterThan(graph.Abs(graph.AddScalar(ratio, -1)), scalar(k.ClipRange))
			put("pg_ddpo_clip_fraction", graph.ReduceAllMean(graph.ConvertDType(far, n.DType())))
			put("pg_ddpo_approx_kl", graph.MulScalar(graph.ReduceAllMean(graph.Square(graph.Sub(density, old))), .5))
			kl := graph.Div(process.MeanSquare(after, pretrained), graph.MulScalar(graph.Square(s), 2))
			put("pg_dpok_kl_exact_mean", kl)
			put("pg_dpok_kl_exact_sum", graph.MulScalar(kl, float64(n.Shape().Size()/n.Shape().Dimensions[0])))
			surrogate := graph.ReduceAllMean(process.MeanSquare(n, in["pg_model_output_pretrained"]))
			put("pg_dpok_kl_surrogate", surrogate)
			loss = graph.Add(DPOK(ratio, in["pg_advantages"], scalar(k.ClipRange), scalar(k.Weight)), graph.MulScalar(surrogate, k.KL))
			put("pg_dpok_loss", loss)
			put("pg_dpok_grad", graph.Gradient(loss, n)[0])
			return out
		})
		for i, name := range names {
			reference.Check(t, c, name, got[i])
		}
	}
}
