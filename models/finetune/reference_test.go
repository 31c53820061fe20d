package finetune

import (
	"encoding/json"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/backend"
	"ablate/models/modeltest"
	"ablate/models/reference"
	"ablate/models/schedule"
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
// policy loss, with what PyTorch computes.
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
			flow := schedule.Flow{}
			o := Outputs{Schedule: flow, Noisy: flow.Noisy(in["x0"], in["eps"], in["t"]), Clean: in["x0"], Time: in["t"],
				Target: graph.Sub(in["eps"], in["x0"]), Model: v, Base: in["v_base"], Old: in["v_old"], Average: in["v_ema"], Still: graph.StopGradient(v)}
			put := func(name string, x *graph.Node) { names, out = append(names, name), append(out, x) }
			take := func(name string, loss *graph.Node) {
				put(name+"_loss", graph.Reshape(loss, 1))
				put(name+"_grad", graph.Gradient(loss, v)[0])
			}
			anchor := graph.ReduceAllMean(schedule.MeanSquare(o.Model, o.Base))
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
				score := func(u *graph.Node) *graph.Node { return Score(w, o.Loss(u), o.Time, scalar(k.Power)) }
				_, ratio := AWM(score(o.Model), score(o.Old), constant(scaled), scalar(k.ClipRange))
				put("awm_"+w+"_ratio", ratio)
				loss := awm(w, true).Loss(o, []*graph.Node{constant(scaled)}, nil, []*graph.Node{scalar(k.ClipRange), scalar(k.AverageBeta), scalar(k.Power)})
				take("awm_"+w, plus(loss, k.Beta))
			}
			for name, r := range map[string]*graph.Node{"nft": constant(optimality), "nft_labels": in["labels"]} {
				for _, b := range k.NFT {
					name, beta := name+"_beta"+b.String(), scalar(number(t, b))
					put(name+"_each", NFT(o, r, beta))
					take(name, plus(nft.Loss(o, []*graph.Node{r}, nil, []*graph.Node{beta, scalar(k.Clip)}), k.NFTKL))
				}
			}
			share := constant(shares(group))
			share = graph.Reshape(share, len(group), len(group))
			_, implicit := CRD(o, constant(optimality), share, scalar(k.CRD))
			put("crd_implicit", implicit)
			take("crd", plus(crd.Loss(o, []*graph.Node{constant(optimality)}, share, []*graph.Node{scalar(k.CRD), scalar(1)}), k.CRDKL))

			next := graph.MulScalar(in["t"], 1-k.Fraction)
			step := func(u *graph.Node) (mean, std, density *graph.Node) {
				mean, std = flow.StochasticStep(o.Noisy, u, in["t"], next, scalar(k.Noise))
				return mean, std, schedule.LogDensity(in["sde_next"], mean, std)
			}
			mean, std, density := step(v)
			_, _, old := step(in["v_old"])
			base, _, _ := step(in["v_base"])
			put("sde_mean", mean)
			put("sde_std", std)
			put("sde_log_prob", density)
			put("sde_log_prob_old", old)
			ratio := graph.Exp(graph.Sub(density, old))
			put("grpo_ratio", ratio)
			kl := graph.ReduceAllMean(flow.StepDivergence(mean, base, in["t"], next, scalar(k.Noise)))
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
// on a step of DDIM, with what PyTorch computes.
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
			Scheduler schedule.DDPM
		}
		c.JSON(t, &k)
		if err := k.Scheduler.Check(); err != nil {
			t.Fatal(err)
		}
		alphas := k.Scheduler.Alphas()
		var sample, coefficient, std []float32
		for _, time := range c.Ints(t, "pg_timesteps") {
			s := k.Scheduler.DDIM(alphas, time, k.Scheduler.Steps/k.Steps, k.Eta)
			sample, coefficient, std = append(sample, float32(s.Sample)), append(coefficient, float32(s.Output)), append(std, float32(s.Std))
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
				loss, inside := DPO(schedule.MeanSquare(p, in["dpo_target"]), schedule.MeanSquare(in["dpo_ref_pred"], in["dpo_target"]), scalar(number(t, b)))
				name := "dpo_beta" + b.String()
				put(name+"_loss", loss)
				put(name+"_inside", inside)
				put(name+"_grad_model_pred", graph.Gradient(loss, p)[0])
				put(name+"_implicit_accuracy", graph.ReduceAllMean(graph.ConvertDType(graph.GreaterThan(inside, graph.ZerosLike(inside)), p.DType())))
			}
			a, b, s := graph.Const(g, sample), graph.Const(g, coefficient), graph.Const(g, std)
			n := in["pg_model_output_new"]
			mean := func(output *graph.Node) *graph.Node { return schedule.Mean(in["pg_sample"], output, a, b) }
			before, after, pretrained := mean(in["pg_model_output_old"]), mean(n), mean(in["pg_model_output_pretrained"])
			old, density := schedule.LogDensity(in["pg_prev_sample"], before, s), schedule.LogDensity(in["pg_prev_sample"], after, s)
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
			kl := graph.Div(schedule.MeanSquare(after, pretrained), graph.MulScalar(graph.Square(s), 2))
			put("pg_dpok_kl_exact_mean", kl)
			put("pg_dpok_kl_exact_sum", graph.MulScalar(kl, float64(n.Shape().Size()/n.Shape().Dimensions[0])))
			surrogate := graph.ReduceAllMean(schedule.MeanSquare(n, in["pg_model_output_pretrained"]))
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
