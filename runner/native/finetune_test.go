package native

import (
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"ablate/models/checkpoint"
	"ablate/models/stable"
	"ablate/runner/engine"
)

// TestFinetuningLosses: from the same images, prompts, scores and seeds, steps have the losses
// of the diffusers engine, within 1e-4 of them, and the adapter of a LoRA begins with peft's values.
func TestFinetuningLosses(t *testing.T) {
	other := pythonEngine(t, "diffusers_engine.py")
	b := opened(t)
	folder := t.TempDir()
	var rows, pretraining []engine.Row
	var images [][]uint8
	for i, prompt := range []string{"two green dogs", "a red cat", "a blue bird", "three cats", "one dog", "a white fox", "no fish"} {
		rgb := make([]uint8, 3*32*32)
		for k := range rgb {
			rgb[k] = uint8(k*(i+3)/11 + 20*i)
		}
		if err := writePicture(filepath.Join(folder, fmt.Sprintf("%d.png", i)), picture(rgb, 32, 32)); err != nil {
			t.Fatal(err)
		}
		score := float64(i+1) / 8
		images = append(images, rgb)
		row := engine.Row{Index: i, Prompt: prompt, File: fmt.Sprintf("files/%d.png", i), Score: &score}
		if i < 4 {
			rows = append(rows, row)
		} else {
			row.Index, row.Score = i-4, nil
			pretraining = append(pretraining, row)
		}
	}
	base := filepath.Join(other.must(engine.Task{Verb: engine.Load}, fmt.Sprintf(`{"name": %q}`, stored(t, "sd-tiny"))), "checkpoint")
	better, poorer := []int{0, 2, 3}, []int{1, 1, 0}
	var pairs []engine.Row
	for i := range better {
		pairs = append(pairs, engine.Row{Index: i, Better: &better[i], Worse: &poorer[i]})
	}
	seeds := stable.Seeds{Init: 11, Order: 12, Noise: 13}
	for name, c := range map[string]struct {
		steps  int
		params string
		change func(*stable.Recipe)
	}{
		"lora": {10, `"method": "reward-weighted", "beta": 0.5, "learning_rate": 0.001, "warmup": 3, "drop": 0.25, "times": "logit-normal", "lora": {"rank": 4, "alpha": 8}`,
			func(r *stable.Recipe) {
				r.LoRA.Rank, r.LoRA.Alpha, r.Warmup, r.Drop, r.Times = 4, 8, 3, .25, "logit-normal"
			}},
		"dpo": {4, `"method": "dpo", "dpo_beta": 50.0, "beta": 0.5, "learning_rate": 0.0001, "lora": {"rank": 0}`,
			func(r *stable.Recipe) { r.Pairs, r.DPOBeta, r.LearningRate = true, 50, .0001 }},
	} {
		t.Run(name, func(t *testing.T) {
			inputs := map[string]engine.TaskInput{engine.BaseRole: {ID: "base", Files: base}, engine.ImagesRole: {ID: "images", Files: folder, Rows: rows},
				engine.PretrainingRole: {ID: "real", Files: folder, Rows: pretraining}}
			if name == "dpo" {
				inputs["pairs"] = engine.TaskInput{ID: "pairs", Rows: pairs}
			}
			other.T = t
			out := other.must(engine.Task{Verb: engine.Train, Seeds: map[string]int64{"init": seeds.Init, "order": seeds.Order, "noise": seeds.Noise}, Inputs: inputs},
				fmt.Sprintf(`{"steps": %d, "batch": 4, "micro": 3, "size": 32, "clip": 1.0, %s}`, c.steps, c.params))
			curve, err := engine.ReadCurve(filepath.Join(out, "curves"))
			if err != nil {
				t.Fatal(err)
			}
			r := stable.Recipe{Batch: 4, Micro: 3, LearningRate: .001, WeightDecay: .01, Beta1: .9, Beta2: .999, Clip: 1, Times: "uniform", Size: 32}
			c.change(&r)
			model, err := stable.Open(stored(t, "sd-tiny"))
			if err != nil {
				t.Fatal(err)
			}
			w, err := model.Load(b)
			if err != nil {
				t.Fatal(err)
			}
			f, err := model.Finetune(b, w, r, seeds)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Free()
			example := func(i int, row engine.Row) *stable.Example {
				x, err := f.Example(images[i], row.Prompt)
				if err != nil {
					t.Fatal(err)
				}
				return x
			}
			streams := []stable.Stream{{Name: "images", Pairs: r.Pairs}, {Name: "pretraining"}}
			var examples []*stable.Example
			for i, row := range rows {
				examples = append(examples, example(i, row))
				if !r.Pairs {
					streams[0].Items = append(streams[0].Items, stable.Item{Image: examples[i], Weight: *row.Score})
				}
			}
			for i := range pairs {
				if r.Pairs {
					streams[0].Items = append(streams[0].Items, stable.Item{Image: examples[better[i]], Worse: examples[poorer[i]], Weight: 1})
				}
			}
			for i, row := range pretraining {
				streams[1].Items = append(streams[1].Items, stable.Item{Image: example(i+4, row), Weight: .5})
			}
			for step := 1; step <= c.steps; step++ {
				loss, norm, err := f.Step(step, streams)
				if err != nil {
					t.Fatal(err)
				}
				want := curve[step-1].Metrics
				if math.Abs(loss-want["loss"]) > 1e-4*math.Abs(want["loss"]) || math.Abs(norm-want["grad_norm"]) > 1e-3*want["grad_norm"] {
					t.Errorf("step %d: loss %v and norm %v, want %v and %v", step, loss, norm, want["loss"], want["grad_norm"])
				}
			}
		})
	}
}

// TestTrained: what this engine trains, an adapter or all weights, the diffusers engine draws from as
// this engine does; and the curve is that of the diffusers engine. A training that was stopped and
// goes on ends with the same bytes.
func TestTrained(t *testing.T) {
	other := pythonEngine(t, "diffusers_engine.py")
	own := drawer(t, diffusionProgram(t))
	base := filepath.Join(own.must(engine.Task{Verb: engine.Load}, fmt.Sprintf(`{"name": %q}`, stored(t, "sd-tiny"))), "checkpoint")
	folder := t.TempDir()
	var rows []engine.Row
	for i, prompt := range []string{"two green dogs", "a red cat", "a blue bird"} {
		rgb := make([]uint8, 3*40*(50+i)) // is resized and cropped
		for k := range rgb {
			rgb[k] = uint8(k*(i+3)/11 + 20*i)
		}
		if err := writePicture(filepath.Join(folder, fmt.Sprintf("%d.png", i)), picture(rgb, 40, 50+i)); err != nil {
			t.Fatal(err)
		}
		score := float64(i+1) / 4
		rows = append(rows, engine.Row{Index: i, Prompt: prompt, File: fmt.Sprintf("files/%d.png", i), Score: &score})
	}
	for name, lora := range map[string]string{"adapter": `{"rank": 2, "alpha": 6}`, "all weights": `{"rank": 0}`} {
		params := fmt.Sprintf(`{"method": "softmax-weighted", "steps": 3, "batch": 2, "size": 32, "learning_rate": 0.01, "lora": %s}`, lora)
		q := engine.Task{Verb: engine.Train, Seeds: map[string]int64{"init": 3, "order": 4, "noise": 5}, Keep: []int{2},
			Inputs: map[string]engine.TaskInput{engine.BaseRole: {ID: "base", Files: base}, engine.ImagesRole: {ID: "images", Files: folder, Rows: rows}}}
		out := own.must(q, params)
		got, err := engine.ReadCurve(filepath.Join(out, "curves"))
		if err != nil {
			t.Fatal(err)
		}
		want, err := engine.ReadCurve(filepath.Join(other.must(q, params), "curves"))
		if err != nil {
			t.Fatal(err)
		}
		for i, point := range want {
			if a, b := got[i].Metrics["loss"], point.Metrics["loss"]; math.Abs(a-b) > 1e-4*math.Abs(b) || got[i].Metrics["learning_rate"] != point.Metrics["learning_rate"] {
				t.Errorf("%s: step %d has the loss %v, want %v", name, i+1, a, b)
			}
		}
		for _, checkpoint := range []string{"checkpoint", "steps/2"} {
			draw := engine.Task{Verb: engine.Sample, Inputs: map[string]engine.TaskInput{engine.PromptsRole: {ID: "prompts", Rows: []engine.Row{{Index: 0, Prompt: "a red cat", Seed: 9}}},
				engine.CheckpointRole: {ID: "tuned", Files: filepath.Join(out, filepath.FromSlash(checkpoint)), Base: "checkpoint.base"}, "checkpoint.base": {ID: "base", Files: base}}}
			const how = `{"steps": 3, "guidance": 3, "width": 32, "height": 32}`
			a, b := pixels(t, filepath.Join(own.must(draw, how), "images", "0.png")), pixels(t, filepath.Join(other.must(draw, how), "images", "0.png"))
			for k := range a {
				if d := int(a[k]) - int(b[k]); d < -1 || d > 1 {
					t.Errorf("%s, %s: value %d of the picture is %d, and %d by diffusers", name, checkpoint, k, a[k], b[k])
					break
				}
			}
		}
	}
}

// TestParallel: on two devices a training has the curve and the checkpoints that it has on one, up to
// rounding; and it is refused where a device would have nothing
// to do. One that diverges ends at the step whose loss is not a number.
func TestParallel(t *testing.T) {
	own := drawer(t, diffusionProgram(t))
	base := filepath.Join(own.must(engine.Task{Verb: engine.Load}, fmt.Sprintf(`{"name": %q}`, stored(t, "sd-tiny"))), "checkpoint")
	folder := t.TempDir()
	var rows []engine.Row
	for i, prompt := range []string{"two green dogs", "a red cat", "a blue bird"} {
		rgb := make([]uint8, 3*32*32)
		for k := range rgb {
			rgb[k] = uint8(k*(i+3)/11 + 20*i)
		}
		if err := writePicture(filepath.Join(folder, fmt.Sprintf("%d.png", i)), picture(rgb, 32, 32)); err != nil {
			t.Fatal(err)
		}
		score := float64(i+1) / 4
		rows = append(rows, engine.Row{Index: i, Prompt: prompt, File: fmt.Sprintf("files/%d.png", i), Score: &score})
	}
	task := func(gpus int) engine.Task {
		return engine.Task{Verb: engine.Train, GPUs: gpus, Seeds: map[string]int64{"init": 3, "order": 4, "noise": 5}, Keep: []int{2},
			Inputs: map[string]engine.TaskInput{engine.BaseRole: {ID: "base", Files: base}, engine.ImagesRole: {ID: "images", Files: folder, Rows: rows}}}
	}
	params := func(batch int, rate float64) string {
		return fmt.Sprintf(`{"method": "reward-weighted", "steps": 4, "batch": %d, "size": 32, "learning_rate": %v, "lora": {"rank": 2}}`, batch, rate)
	}
	result := func(out string) (r engine.Result) {
		if err := checkpoint.ReadJSON(filepath.Join(out, "..", "result.json"), &r, false); err != nil {
			t.Fatal(err)
		}
		return r
	}
	var curves [][]engine.CurvePoint
	var weights []map[string]checkpoint.Tensor
	for _, gpus := range []int{0, 2} {
		out := own.must(task(gpus), params(3, .01))
		curve, err := engine.ReadCurve(filepath.Join(out, "curves"))
		if err != nil {
			t.Fatal(err)
		}
		curves = append(curves, curve)
		weights = append(weights, own.tensors(filepath.Join(out, "steps", "2", adapterFile)), own.tensors(filepath.Join(out, "checkpoint", adapterFile)))
		if got := fmt.Sprint(result(out).Facts["devices"]); gpus > 0 && got != fmt.Sprint(gpus) {
			t.Errorf("with %d GPUs, the result names %s devices", gpus, got)
		}
	}
	for i, one := range curves[0] {
		for _, name := range []string{"loss", "grad_norm"} {
			if a, b := one.Metrics[name], curves[1][i].Metrics[name]; math.Abs(a-b) > 1e-5*math.Abs(a) {
				t.Errorf("step %d: %s is %v on one device, %v on two", one.Step, name, a, b)
			}
		}
	}
	for i := range 2 {
		difference, size := 0., 0.
		for name, one := range weights[i] {
			x, err := one.Float32()
			if err != nil {
				t.Fatal(err)
			}
			y, err := weights[i+2][name].Float32()
			if err != nil {
				t.Fatal(err)
			}
			for k := range x {
				difference += math.Pow(float64(x[k]-y[k]), 2)
				size += math.Pow(float64(x[k]), 2)
			}
		}
		if apart := math.Sqrt(difference / size); apart > 1e-5 { // 3e-7 is seen
			t.Errorf("checkpoint %d: weights on two devices differ by %v of their size", i, apart)
		}
	}
	for _, c := range []struct {
		gpus, batch int
		rate        float64
		want        string
		step        int
	}{{2, 1, .01, "batch: 1; by this method its items are computed in 1 part, and the task has 2 GPUs", 0},
		{4, 4, .01, "the task has 4 GPUs, and XLA finds 3", 0},
		{2, 3, 1e30, "the training diverged", 2}} {
		out, err := own.do(task(c.gpus), params(c.batch, c.rate))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%d GPUs, batch %d, learning rate %v: %v; want %q", c.gpus, c.batch, c.rate, err, c.want)
		}
		if r := result(out); c.step > 0 && (r.Status != engine.Diverged || r.Step != c.step) {
			t.Errorf("%d GPUs, learning rate %v: %s at step %d, want diverged at %d", c.gpus, c.rate, r.Status, r.Step, c.step)
		}
	}
}
