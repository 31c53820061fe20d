package unet_test

import (
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/backend"
	"ablate/models/checkpoint"
	"ablate/models/lora"
	"ablate/models/modeltest"
	"ablate/models/nn"
	"ablate/models/process"
	"ablate/models/reference"
	"ablate/models/scheduler"
	"ablate/models/train"
	"ablate/models/unet"
)

// load returns the network of a case's checkpoint, its parameters with an order of kernels, and its weights.
func load(t *testing.T, b backend.Backend, c *reference.Case, ohwi bool) (*unet.UNet, []nn.Param, []*tensors.Tensor) {
	t.Helper()
	dir := filepath.Join(c.Checkpoint(), "unet")
	config, err := unet.ReadConfig(filepath.Join(dir, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	u := unet.New(config)
	w, err := checkpoint.OpenWeights(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	params := nn.Ordered(u.Params(), ohwi)
	arrays, err := nn.Load(b, w, params, nil)
	if err != nil {
		t.Fatal(err)
	}
	if names := w.Names(); len(names) != len(arrays) {
		t.Errorf("the file has %d tensors, and the network %d parameters", len(names), len(arrays))
	}
	return u, params, arrays
}

func times(t *testing.T, c *reference.Case, key string) []float32 {
	t.Helper()
	var out []float32
	for _, x := range c.Ints(t, key) {
		out = append(out, float32(x))
	}
	return out
}

// TestReferenceUNet compares outputs, and the activations after each stage, with diffusers, in both orders of kernels.
func TestReferenceUNet(t *testing.T) {
	for _, c := range reference.Cases(t, "unet.safetensors") {
		compareUNet(t, c, false)
		compareUNet(t, c, true)
	}
}

func compareUNet(t *testing.T, c *reference.Case, ohwi bool) {
	t.Helper()
	b := modeltest.Backend(t)
	u, params, arrays := load(t, b, c, ohwi)
	var stages []string
	fn, err := backend.NewFn(b, "unet "+c.Name, 0, func(in []*graph.Node) []*graph.Node {
		var traced []*graph.Node
		stages = nil
		y := u.Denoise(nn.Bind(params, in[3:]), in[0], in[1], in[2], unet.Options{Trace: func(stage string, x *graph.Node) {
			stages, traced = append(stages, stage), append(traced, x)
		}})
		return append([]*graph.Node{y}, traced...)
	})
	if err != nil {
		t.Fatal(err)
	}
	call := func(x *tensors.Tensor, at []float32, text *tensors.Tensor) []*tensors.Tensor {
		out, err := fn.Call(append([]*tensors.Tensor{x, tensors.FromFlatDataAndDimensions(at, len(at)), text}, arrays...)...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	x, text := modeltest.Images(t, c, "unet_sample_in"), modeltest.Floats(t, c, "unet_context")
	n := x.Shape().Dimensions[0]
	var all []float32
	for _, at := range c.Floats(t, "unet_timesteps") {
		all = append(all, modeltest.ChannelsFirst(call(x, slices.Repeat([]float32{at}, n), text)[0])...)
	}
	reference.Check(t, c, "unet_out", all)
	out := call(x, times(t, c, "unet_batch_timesteps"), text)
	reference.Check(t, c, "unet_batch_out", modeltest.ChannelsFirst(out[0]))
	for i, stage := range stages {
		reference.Check(t, c, "trace_"+stage, modeltest.ChannelsFirst(out[1+i]))
	}
	if c.Has("unet_odd_sample_in") {
		odd := call(modeltest.Images(t, c, "unet_odd_sample_in"), times(t, c, "unet_odd_timestep"), modeltest.First(text, 1))
		reference.Check(t, c, "unet_odd_out", modeltest.ChannelsFirst(odd[0]))
	}
	if c.Has("unet_short_context") {
		short := call(modeltest.First(x, 1), times(t, c, "unet_batch_timesteps")[:1], modeltest.Floats(t, c, "unet_short_context"))
		reference.Check(t, c, "unet_short_context_out", modeltest.ChannelsFirst(short[0]))
	}
}

// TestReferenceLoRA compares outputs with updates of diffusers' and peft's files.
func TestReferenceLoRA(t *testing.T) {
	b := modeltest.Backend(t)
	for _, c := range reference.Cases(t, "lora*.safetensors") {
		u, params, arrays := load(t, b, c, false)
		call := func(a *lora.Adapter, strength float64) []float32 {
			var own []*tensors.Tensor
			if a != nil {
				var err error
				if own, err = a.Values.Tensors(b, a.Params()); err != nil {
					t.Fatal(err)
				}
			}
			n := len(arrays)
			fn, err := backend.NewFn(b, "unet", 0, func(in []*graph.Node) []*graph.Node {
				w := nn.Bind(params, in[3:3+n])
				if a != nil {
					w = a.Weights(w, nn.Bind(a.Params(), in[3+n:]), strength)
				}
				return []*graph.Node{u.Denoise(w, in[0], in[1], in[2], unet.Options{})}
			})
			if err != nil {
				t.Fatal(err)
			}
			at := times(t, c, "unet_batch_timesteps")
			in := []*tensors.Tensor{modeltest.Images(t, c, "unet_sample_in"), tensors.FromFlatDataAndDimensions(at, len(at)), modeltest.Floats(t, c, "unet_context")}
			out, err := fn.Call(slices.Concat(in, arrays, own)...)
			if err != nil {
				t.Fatal(err)
			}
			return modeltest.ChannelsFirst(out[0])
		}
		read := func(file string) *lora.Adapter {
			a, err := lora.Read(filepath.Join(c.Checkpoint(), c.Kind, file), "unet", u.Params())
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		// Merged into the weights, an update gives what it gives beside them.
		if key := "unet_out_lora"; c.Has(key) {
			_, ordered, again := load(t, b, c, true)
			merged, err := read("pytorch_lora_weights.safetensors").Merge(b, ordered, again, 1)
			if err != nil {
				t.Fatal(err)
			}
			besideParams, beside := params, arrays
			params, arrays = ordered, merged
			reference.Check(t, c, key, call(nil, 0))
			params, arrays = besideParams, beside
		}
		for _, key := range c.Expected() {
			switch strength, scaled := strings.CutPrefix(key, "unet_out_lora_scale_"); {
			case key == "unet_out_base":
				reference.Check(t, c, key, call(nil, 0))
			case key == "unet_out_lora_half":
				reference.Check(t, c, key, call(read("half_peft_names.safetensors"), 1))
			case key == "unet_out_lora":
				reference.Check(t, c, key, call(read("pytorch_lora_weights.safetensors"), 1))
			case scaled:
				x, err := strconv.ParseFloat(strength, 64)
				if err != nil {
					t.Fatal(err)
				}
				reference.Check(t, c, key, call(read("pytorch_lora_weights.safetensors"), x))
			}
		}
	}
}

// rule is what training_names.json says of a training.
type rule struct {
	Order     []string `json:"grad_norm_order"`
	Optimizer struct {
		LR          float64    `json:"lr"`
		Betas       [2]float64 `json:"betas"`
		Epsilon     float64    `json:"eps"`
		WeightDecay float64    `json:"weight_decay"`
	} `json:"optimizer"`
	Beta float64 `json:"beta"`
}

// TestReferenceTraining compares losses, gradients and three steps of AdamW with torch: the
// reward-weighted likelihood of all parameters, and of an adapter's alone. Kernels are OHWI;
// TestReferenceUNet has both orders.
func TestReferenceTraining(t *testing.T) {
	b := modeltest.Backend(t)
	for _, c := range reference.Cases(t, "train_reward_weighted_*.safetensors") {
		u, network, arrays := load(t, b, c, true)
		var rules map[string]rule
		c.Beside(t, "training_names.json", &rules)
		kind := strings.TrimPrefix(c.Kind, "train_reward_weighted_")
		r := rules[kind]
		sampler, err := scheduler.Read(filepath.Join(c.Checkpoint(), "scheduler", "scheduler_config.json"), "")
		if err != nil {
			t.Fatal(err)
		}
		ddpm := process.DDPM{Schedule: sampler.Schedule}
		base := nn.ValuesOf(network, arrays)
		params, start, frozen := network, base, map[string][]nn.Param{}
		weights := func(w nn.Weights, _ train.Sets) nn.Weights { return w }
		named := func(parameter string) string { return parameter } // in the case
		if kind == "lora" {
			a, err := lora.Read(filepath.Join(c.Checkpoint(), "lora", "pytorch_lora_weights.safetensors"), "unet", u.Params())
			if err != nil {
				t.Fatal(err)
			}
			params, start, frozen["base"] = a.Params(), a.Values, network
			weights = func(w nn.Weights, s train.Sets) nn.Weights { return a.Weights(s.At("base"), w, 1) }
			named = func(parameter string) string { return parameter + ".weight" }
		}
		// parts returns the loss of each image of both batches.
		parts := func(w nn.Weights, in train.Nodes, o unet.Options, mean func(a, b *graph.Node) *graph.Node) (model, pretraining *graph.Node) {
			of := func(batch string) *graph.Node {
				x0, eps, at := in.At("latents_"+batch), in.At("noise_"+batch), in.At("timesteps_"+batch)
				return mean(u.Denoise(w, ddpm.Noisy(x0, eps, at), at, in.At("context_"+batch), o), ddpm.Target(x0, eps, at))
			}
			return of("model"), of("pre")
		}
		total := func(model, pretraining, rewards *graph.Node) (reward, pre, sum *graph.Node) {
			reward, pre = graph.ReduceAllMean(graph.Mul(rewards, model)), graph.ReduceAllMean(pretraining)
			return reward, pre, graph.Add(reward, graph.MulScalar(pre, r.Beta))
		}
		inputs := func() train.Inputs {
			in := train.Inputs{}
			for _, batch := range []string{"model", "pre"} {
				in["latents_"+batch], in["noise_"+batch] = modeltest.Images(t, c, "latents_"+batch), modeltest.Images(t, c, "noise_"+batch)
				in["context_"+batch] = modeltest.Floats(t, c, "context_"+batch)
				in.Vector("timesteps_"+batch, times(t, c, "timesteps_"+batch))
			}
			in["rewards"] = modeltest.Floats(t, c, "rewards")
			return in
		}

		// The loss, its parts and the gradients.
		names := slices.Sorted(maps.Keys(inputs()))
		n := len(params)
		fn, err := backend.NewFn(b, "gradients", 0, func(in []*graph.Node) []*graph.Node {
			nodes, sets := train.Nodes{}, train.Sets{"base": nn.Bind(frozen["base"], in[len(names)+n:])}
			for i, name := range names {
				nodes[name] = in[i]
			}
			own := in[len(names) : len(names)+n]
			w := weights(nn.Bind(params, own), sets)
			// The gradients are computed as in little memory, and those of the trainer plainly.
			saving := unet.Options{Saving: nn.Saving{Blocks: true, Queries: 100, Frozen: func(name string) bool {
				return !slices.ContainsFunc(params, func(p nn.Param) bool { return p.Name == name })
			}}}
			model, pre := parts(w, nodes, saving, process.MeanSquare)
			reward, pretraining, loss := total(model, pre, nodes["rewards"])
			model2, pre2 := parts(w, nodes, saving, func(a, b *graph.Node) *graph.Node { return graph.ReduceSum(graph.Square(graph.Sub(a, b)), 1, 2, 3) })
			_, _, sum := total(model2, pre2, nodes["rewards"])
			return append([]*graph.Node{loss, reward, pretraining, model, pre, sum}, graph.Gradient(loss, own...)...)
		})
		if err != nil {
			t.Fatal(err)
		}
		var args []*tensors.Tensor
		for in, i := inputs(), 0; i < len(names); i++ {
			args = append(args, in[names[i]])
		}
		own, err := start.Tensors(b, params)
		if err != nil {
			t.Fatal(err)
		}
		if args = append(args, own...); kind == "lora" {
			args = append(args, arrays...)
		}
		out, err := fn.Call(args...)
		if err != nil {
			t.Fatal(err)
		}
		for i, key := range []string{"loss", "reward_term", "pretraining_term", "per_sample_model", "per_sample_pretraining", "loss_sum_reduction"} {
			reference.Check(t, c, key, backend.Float32s(out[i]))
		}
		gradients := filed(t, params, nn.ValuesOf(params, out[6:]))
		for _, p := range params {
			if key := "grad:" + named(p.Name); c.Has(key) {
				reference.Check(t, c, key, gradients[p.Name])
			}
		}
		norms := func(v nn.Values) []float64 {
			of := map[string]float64{}
			for name, x := range v {
				of[named(name)] = norm(x)
			}
			var list []float64
			for _, name := range r.Order {
				if _, ok := of[name]; !ok {
					t.Fatalf("%s: there is no parameter %s", c.Kind, name)
				}
				list = append(list, of[name])
			}
			return list
		}
		reference.Check(t, c, "grad_norms", norms(gradients))
		square := 0.
		for _, x := range norms(gradients) {
			square += x * x
		}
		reference.Check(t, c, "grad_norm", []float64{math.Sqrt(square)})

		// Three steps of the trainer.
		trainer, err := train.New(b, train.Step{Name: "reference " + c.Kind, Params: params, Frozen: frozen, Loss: func(w nn.Weights, s train.Sets, in train.Nodes) *graph.Node {
			model, pre := parts(weights(w, s), in, unet.Options{}, process.MeanSquare)
			_, _, loss := total(model, pre, in.At("rewards"))
			return loss
		}})
		if err != nil {
			t.Fatal(err)
		}
		state, err := trainer.Start(start, false)
		if err == nil && kind == "lora" {
			err = trainer.Freeze(state, "base", base)
		}
		if err != nil {
			t.Fatal(err)
		}
		o := train.Options{LearningRate: r.Optimizer.LR, Adam: train.Adam{Beta1: r.Optimizer.Betas[0], Beta2: r.Optimizer.Betas[1], Epsilon: r.Optimizer.Epsilon, WeightDecay: r.Optimizer.WeightDecay}}
		var losses []float64
		for k := range 4 {
			if k == 1 || k == 3 {
				change := nn.Values{}
				for name, x := range trainer.Weights(state) {
					change[name] = make([]float32, len(x))
					for i := range x {
						change[name][i] = x[i] - start[name][i]
					}
				}
				change = filed(t, params, change)
				after := filed(t, params, trainer.Weights(state))
				reference.Check(t, c, fmt.Sprintf("delta_norms_step%d", k), norms(change))
				for _, p := range params {
					for key, v := range map[string]nn.Values{fmt.Sprintf("delta_step%d:", k): change, fmt.Sprintf("param_step%d:", k): after} {
						if key += named(p.Name); c.Has(key) {
							reference.Check(t, c, key, v[p.Name])
						}
					}
				}
			}
			result, err := trainer.Step(state, o, inputs())
			if err != nil {
				t.Fatal(err)
			}
			losses = append(losses, result.Loss)
		}
		reference.Check(t, c, "losses", losses)
	}
}

func norm(x []float32) float64 {
	sum := 0.
	for _, v := range x {
		sum += float64(v) * float64(v)
	}
	return math.Sqrt(sum)
}

// filed returns values in the order that files have.
func filed(t *testing.T, params []nn.Param, v nn.Values) nn.Values {
	t.Helper()
	out := nn.Values{}
	for name, x := range nn.Filed(params, v) {
		values, err := x.Float32()
		if err != nil {
			t.Fatal(err)
		}
		out[name] = values
	}
	return out
}
