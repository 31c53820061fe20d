package native

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"

	"ablate/models/checkpoint"
	"ablate/models/clip"
	"ablate/models/finetune"
	"ablate/models/stable"
	"ablate/models/train"
	"ablate/runner/engine"
	"ablate/runner/engine/kit"
	"ablate/runner/phrase"
)

// This file has the verb train of the engine of Stable Diffusion, with the parameters and the draws
// of the diffusers engine.

// fineSchema returns the parameters: where something is a matter of a method, the methods without it
// leave it unused.
func fineSchema() json.RawMessage {
	list := func(of kind) any { return list(but(of)) }
	return fmt.Appendf(nil, fineText, list(but(latent)), list(named(finetune.SoftmaxWeighted)), list(named(finetune.DiffusionDPO)), list(offline), list(policy), methodGroups(), absent())
}

const fineText = `{"type": "object", "properties": {
  "method": {"type": "string", "enum": %[1]s, "default": "reward-weighted", "description": "the loss", "x-absent": %[7]s, "x-probe": ["reward-weighted", "filtered"]},
  "temperature": {"type": "number", "exclusiveMinimum": 0, "default": 0.2, "description": "of the softmax over the scores of all images", "x-unused": {"method": %[2]s}, "x-probe": [0.05, 1.0]},
  "dpo_beta": {"type": "number", "exclusiveMinimum": 0, "default": 5000, "description": "strength of the tie to the base", "x-unused": {"method": %[3]s}, "x-probe": [10.0, 5000.0]},
  "beta": {"type": "number", "minimum": 0, "default": 0, "description": "weight of the loss on pretraining data", "x-unused": {"method": %[4]s}, "x-probe": [0.0, 1.0]},
  "steps": {"type": "integer", "minimum": 1, "default": 1000, "description": "updates; of a policy gradient batches, several of which give an update", "x-unit": "steps", "x-probe": [3, 6]},
  "batch": {"type": "integer", "minimum": 1, "default": 64, "description": "images of a step, and as many of the pretraining data; pairs for dpo, and transitions of the sampler for a policy gradient", "x-unit": "images", "x-probe": [2, 4]},
  "micro": {"type": "integer", "minimum": 1, "default": 8, "description": "images that a device computes at a time; changes rounding only", "x-unit": "images", "x-identity": "record"},
  "learning_rate": {"type": "number", "exclusiveMinimum": 0, "default": 0.0001, "description": "of AdamW; 1e-5 is usual for all weights", "x-probe": [1e-4, 1e-2]},
  "warmup": {"type": "integer", "minimum": 0, "default": 0, "description": "steps in which the learning rate rises linearly", "x-unit": "steps", "x-probe": [0, 5]},
  "weight_decay": {"type": "number", "minimum": 0, "default": 0.01, "description": "of AdamW", "x-probe": [0.0, 1.0]},
  "beta1": {"type": "number", "minimum": 0, "maximum": 0.9999, "default": 0.9, "description": "of AdamW", "x-probe": [0.0, 0.99]},
  "beta2": {"type": "number", "minimum": 0, "maximum": 0.999999, "default": 0.999, "description": "of AdamW", "x-probe": [0.5, 0.999]},
  "clip": {"type": "number", "minimum": 0, "default": 1, "description": "largest norm of the gradient; 0: not clipped", "x-probe": [1e-4, 1000.0]},
  "ema": {"type": "number", "minimum": 0, "maximum": 0.999999, "default": 0, "description": "decay at each step of a moving average of the trained weights, which becomes the checkpoint; 0: none", "x-probe": [0.0, 0.9]},
  "drop": {"type": "number", "minimum": 0, "maximum": 1, "default": 0, "description": "part of the prompts that become empty, for guidance", "x-unused": {"method": %[4]s}, "x-probe": [0.0, 1.0]},
  "times": {"type": "string", "enum": ["uniform", "logit-normal"], "default": "uniform", "description": "how the noise levels are drawn", "x-unused": {"method": %[4]s}},
  "size": {"type": "integer", "minimum": 16, "default": 512, "description": "width and height to which images are resized and cropped", "x-unit": "pixels", "x-probe": [32, 64]},
  "lora": {"type": "object", "properties": {
    "rank": {"type": "integer", "minimum": 0, "default": 16, "description": "of the LoRA on the attention; 0: all weights are trained", "x-probe": [2, 4]},
    "alpha": {"type": "number", "exclusiveMinimum": 0, "default": 16, "description": "the LoRA is scaled by alpha / rank", "x-unused": {"lora.rank": [0]}, "x-probe": [2.0, 16.0]}}},
  "dtype": {"type": "string", "enum": ["float32", "bfloat16"], "default": "float32", "description": "of frozen weights and of products, but not of norms, the softmax and the loss; trained weights are float32"},
  ` + attentionSchema + `,
  %[6]s,
  "rollout": {"type": "object", "x-unused": {"method": %[5]s}, "properties": {
    "images": {"type": "integer", "minimum": 2, "default": 256, "description": "images of a rollout; each of their transitions is learned from once", "x-unit": "images", "x-probe": [2, 6]},
    "noise": {"type": "number", "exclusiveMinimum": 0, "maximum": 1, "default": 0.7, "description": "noise of the sampler, DDIM's eta", "x-probe": [0.2, 1.0]}}},
  "sampler": {"type": "object", "x-unused": {"method": %[5]s}, "properties": {
    "steps": {"type": "integer", "minimum": 2, "maximum": 1000, "default": 50, "description": "of a rollout", "x-unit": "steps", "x-probe": [3, 4]},
    "guidance": {"type": "number", "minimum": 0, "default": 5, "description": "scale of classifier-free guidance in rollouts and in the training; 1 and less: none", "x-probe": [1.0, 7.5]}}},
  "checkpointing": {"type": "boolean", "default": false, "description": "computes activations twice to save memory", "x-identity": "record"}}}`

// A fine has the parameters of train.
type fine struct {
	stable.Recipe
	Method        string  `json:"method"`
	Temperature   float64 `json:"temperature"`
	Beta          float64 `json:"beta"`
	Checkpointing bool    `json:"checkpointing"`
	numeric
}

// fineOf returns the parameters of a training. decode reads those that method leaves.
func fineOf(params map[string]any, decode func(to any) error) (p fine, err error) {
	m, err := method(params)
	if err == nil {
		err = decode(&p)
	}
	p.Recipe.Method, p.Pairs, p.Saving.Blocks = m, p.Method == finetune.DiffusionDPO, p.Checkpointing
	return p, err
}

// streams is the number of streams from which a step takes items: the images or the prompts and, where they have
// a weight, the pretraining data.
func (p fine) streams() int {
	if _, draws := p.Recipe.Method.(finetune.Policy); p.Beta > 0 && !draws {
		return 2
	}
	return 1
}

// parallel checks that several devices have a part of each step.
func (p fine) parallel() error {
	parts, _ := p.Parts(p.streams())
	if p.Recipe.Method == nil {
		parts *= p.streams()
	}
	if parts < p.Devices {
		return kit.Refuse("batch: %d; by this method its items are computed in %s, and the task has %d GPUs, each of which needs one: raise batch, or lower gpus in resources or machine.cue", p.Batch, phrase.Count(parts, "part"), p.Devices)
	}
	return nil
}

const pairsRole = "pairs"

// describeTraining returns what the verb train can do.
func describeTraining() *engine.Verb {
	images := map[string]json.RawMessage{"method": json.RawMessage(list(offline))}
	draws := map[string]json.RawMessage{"method": json.RawMessage(list(policy))}
	return &engine.Verb{Revision: 2, Stop: "file", Resume: "exact", Repeat: "bytes", Keeps: true, Estimate: true, Format: adapterFormat, Formats: []string{diffusersFormat, adapterFormat},
		Seeds:   []string{"init", "order", "noise"},
		Scorers: true, ScorersWhen: draws,
		Inputs: map[string]engine.Input{engine.BaseRole: {}, engine.ImagesRole: {Columns: []string{"prompt", "score"}, When: images}, engine.PromptsRole: {When: draws},
			pairsRole:              {When: map[string]json.RawMessage{"method": json.RawMessage(list(named(finetune.DiffusionDPO)))}},
			engine.PretrainingRole: {When: map[string]json.RawMessage{"beta": json.RawMessage(`{"above": 0}`), "method": images["method"]}}},
		Params: fineSchema()}
}

const fineProbe = `{"method": "reward-weighted", "beta": 0.5, "steps": 6, "batch": 4, "micro": 4, "learning_rate": 1e-3, "warmup": 2, "weight_decay": 0.02,
 "beta1": 0.8, "beta2": 0.99, "clip": 0.5, "ema": 0.5, "drop": 0.25, "times": "logit-normal", "size": 32, "lora": {"rank": 4, "alpha": 8.0}, "dtype": "float32", "checkpointing": false}`

// train fine-tunes the model of the role base.
func (d *diffusion) train(ctx context.Context, t *kit.Task) (err error) {
	p, err := fineOf(t.Params, t.Decode)
	if err != nil {
		return err
	}
	if err := d.loaded(t, engine.BaseRole, p.numeric, p.LoRA.Rank == 0); err != nil {
		return err
	}
	if factor := d.model.VAE.Config.Factor(); p.Size%factor != 0 {
		return kit.Refuse("size: %d; must be a multiple of %d", p.Size, factor)
	}
	p.Devices = max(1, t.Resources.GPUs)
	if err := p.parallel(); err != nil {
		return err
	}
	if have := d.b.NumDevices(); have < p.Devices {
		return &kit.End{Status: engine.Failed, Class: engine.Device, Err: fmt.Errorf("the task has %d GPUs, and XLA finds %d: see CUDA_VISIBLE_DEVICES and nvidia-smi", p.Devices, have)}
	}
	if p.Devices > 1 {
		t.Facts = map[string]any{"devices": p.Devices}
	}
	f, err := d.model.Finetune(d.b, d.weights, p.Recipe, stable.Seeds{Init: t.Seeds["init"], Order: t.Seeds["order"], Noise: t.Seeds["noise"]})
	if err != nil {
		return err
	}
	defer f.Free()
	score, end := p.scored(ctx, t)
	f.Score = score
	defer func() { err = errors.Join(err, end()) }()
	streams, err := d.streams(ctx, t, p, f)
	if err != nil {
		return err
	}
	points, err := resume(t, f)
	if err != nil {
		return err
	}
	_, draws := p.Recipe.Method.(finetune.Policy)
	var begun *stable.Begun
	// point adds the point of the step that has begun to the curve.
	point := func() error {
		if begun == nil {
			return nil
		}
		step := len(points) + 1
		loss, norm, err := begun.Result()
		metrics := map[string]float64{"loss": loss, "grad_norm": norm, "learning_rate": p.LearningRate * min(1, float64(step)/float64(max(1, p.Warmup)))}
		if draws {
			metrics[engine.RewardScorer] = begun.Reward
		}
		begun = nil
		if err != nil {
			return ended(step, err)
		}
		for name, x := range metrics {
			if math.IsNaN(x) || math.IsInf(x, 0) {
				return &kit.End{Status: engine.Diverged, Step: step, Err: fmt.Errorf("%s is %v at step %d", name, x, step)}
			}
		}
		_ = t.Progress(engine.Progress{Step: step, Of: p.Steps, Metrics: metrics}) // it is for people who watch
		metrics["step"] = float64(step)
		points = append(points, metrics)
		return nil
	}
	for step := len(points) + 1; step <= p.Steps; step++ {
		next, err := f.Begin(step, streams)
		if err := point(); err != nil {
			return err
		}
		if err != nil {
			return ended(step, err)
		}
		begun = next
		keep := slices.Contains(t.Keep, step)
		due, stop := t.Due()
		if keep || due {
			if err := point(); err != nil {
				return err
			}
		}
		if keep {
			if err := d.write(t, f, kept(t, step)); err != nil {
				return err
			}
		}
		if due {
			if err := errors.Join(kit.WriteJSON(filepath.Join(t.State(), "points.json"), points), f.Save(filepath.Join(t.State(), "state"), step)); err != nil {
				return err
			}
			if stop && step < p.Steps {
				return &kit.End{Status: engine.Stopped, Step: step}
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	if err := point(); err != nil {
		return err
	}
	if err := kit.WriteRows(t, "curves", points); err != nil {
		return err
	}
	for _, step := range t.Keep {
		out, err := t.Out(filepath.Join("steps", fmt.Sprint(step)))
		if err == nil {
			err = os.CopyFS(out, os.DirFS(kept(t, step)))
		}
		if err != nil {
			return err
		}
	}
	out, err := t.Out(engine.CheckpointRole)
	if err != nil {
		return err
	}
	return d.write(t, f, out)
}

// ended is the error of a step.
func ended(step int, err error) error {
	var diverged *train.DivergedError
	if errors.As(err, &diverged) {
		return &kit.End{Status: engine.Diverged, Step: step, Err: err}
	}
	return err
}

// kept is the folder where a checkpoint of a step waits for the end.
func kept(t *kit.Task, step int) string {
	return filepath.Join(t.State(), fmt.Sprintf("keep-%d", step))
}

// resume restores the state of an earlier attempt, if there is one, and returns the points of its
// curve, one for each step. A state that cannot be used is not: the training begins again.
func resume(t *kit.Task, f *stable.Finetuning) ([]map[string]float64, error) {
	step, err := f.Load(filepath.Join(t.State(), "state"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var points []map[string]float64
	if err == nil {
		var data []byte
		if data, err = os.ReadFile(filepath.Join(t.State(), "points.json")); err == nil {
			err = json.NewDecoder(bytes.NewReader(data)).Decode(&points)
		}
		if err == nil && len(points) < step {
			err = fmt.Errorf("its curve has %d of %d points", len(points), step)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("the saved state of the training cannot be used: %w: remove %s to begin again", err, t.State())
	}
	t.ResumedFrom = step
	return points[:step], nil
}

// write writes a checkpoint into a folder.
func (d *diffusion) write(t *kit.Task, f *stable.Finetuning, dir string) error {
	about := engine.Checkpoint{Format: adapterFormat}
	id := t.Inputs[engine.BaseRole].ID
	about.Base = &id
	a := f.Adapter()
	part := filepath.Join(dir, unetPart)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	if a != nil {
		if err := a.Write(filepath.Join(dir, adapterFile), unetPart); err != nil {
			return err
		}
	} else {
		about.Format, about.Replaces = diffusersFormat, []string{unetPart}
		if err := os.MkdirAll(part, 0o777); err != nil {
			return err
		}
		config, err := os.ReadFile(filepath.Join(d.model.Dir, unetPart, "config.json"))
		if err != nil {
			return err
		}
		if err := errors.Join(os.WriteFile(filepath.Join(part, "config.json"), config, 0o666),
			checkpoint.WriteFile(filepath.Join(part, "diffusion_pytorch_model.safetensors"), f.UNet())); err != nil {
			return err
		}
	}
	return kit.WriteJSON(filepath.Join(dir, checkpointFile), about)
}

// streams returns what each step draws a batch from.
func (d *diffusion) streams(ctx context.Context, t *kit.Task, p fine, f *stable.Finetuning) ([]stable.Stream, error) {
	if _, ok := p.Recipe.Method.(finetune.Policy); ok {
		return promptStream(t)
	}
	rows, err := t.Rows(engine.ImagesRole)
	if err != nil {
		return nil, err
	}
	d.cut(t, engine.ImagesRole, rows)
	images, err := p.examples(ctx, t, f, engine.ImagesRole, rows)
	if err != nil {
		return nil, err
	}
	stream := stable.Stream{Name: engine.ImagesRole, Pairs: p.Pairs}
	if p.Pairs {
		pairs, err := t.Rows(pairsRole)
		if err != nil {
			return nil, err
		}
		at := map[int]*stable.Example{}
		for i, r := range rows {
			at[r.Index] = images[i]
		}
		for _, r := range pairs {
			if r.Better == nil || r.Worse == nil || at[*r.Better] == nil || at[*r.Worse] == nil {
				return nil, kit.Refuse("%s: row %d does not name two of the images", pairsRole, r.Index)
			}
			weight := 1.
			if r.Weight != nil {
				weight = *r.Weight
			}
			stream.Items = append(stream.Items, stable.Item{Image: at[*r.Better], Worse: at[*r.Worse], Weight: weight})
		}
	} else if m, ok := p.Recipe.Method.(finetune.Offline); ok {
		if stream.Plan, err = p.plan(m, rows); err != nil {
			return nil, err
		}
		for _, x := range images {
			stream.Items = append(stream.Items, stable.Item{Image: x})
		}
	} else {
		weights, err := p.weights(rows)
		if err != nil {
			return nil, err
		}
		for i, x := range images {
			stream.Items = append(stream.Items, stable.Item{Image: x, Weight: weights[i]})
		}
	}
	if len(stream.Items) == 0 {
		return nil, &kit.End{Status: engine.Failed, Class: engine.Data, Err: errors.New("there is nothing to train on")}
	}
	streams := []stable.Stream{stream}
	if p.streams() > 1 {
		rows, err := t.Rows(engine.PretrainingRole)
		if err != nil {
			return nil, err
		}
		d.cut(t, engine.PretrainingRole, rows)
		images, err := p.examples(ctx, t, f, engine.PretrainingRole, rows)
		if err != nil {
			return nil, err
		}
		stream := stable.Stream{Name: engine.PretrainingRole}
		for _, x := range images {
			stream.Items = append(stream.Items, stable.Item{Image: x, Weight: p.Beta})
		}
		streams = append(streams, stream)
	}
	return streams, nil
}

// weights returns the weight of each image by its score.
func (p fine) weights(rows []engine.Row) ([]float64, error) {
	w := make([]float64, len(rows))
	largest := math.Inf(-1)
	for i, r := range rows {
		switch {
		case p.Method == finetune.Filtered:
			w[i] = 1
			continue
		case r.Score != nil:
			w[i] = *r.Score
		case r.Label == "good":
			w[i] = 1
		case r.Label == "":
			return nil, kit.Refuse("images: row %d has no score", r.Index)
		}
		if largest = max(largest, w[i]); p.Method == finetune.RewardWeighted && w[i] < 0 {
			return nil, kit.Refuse("images: the score of row %d is %v: a weight below 0 has no likelihood; softmax-weighted takes any score", r.Index, w[i])
		}
	}
	if p.Method == finetune.SoftmaxWeighted {
		sum := 0.
		for i := range w {
			w[i] = math.Exp((w[i] - largest) / p.Temperature)
			sum += w[i]
		}
		for i := range w {
			w[i] *= float64(len(w)) / sum
		}
	}
	return w, nil
}

// examples encodes images, resized so that their shorter side has the size, and cut around the centre.
func (p fine) examples(ctx context.Context, t *kit.Task, f *stable.Finetuning, role string, rows []engine.Row) ([]*stable.Example, error) {
	var out []*stable.Example
	for i, r := range rows {
		x, err := pixelsOf(r.File)
		if err != nil {
			return nil, err
		}
		if short := min(x.Height, x.Width); short != p.Size {
			scale := float64(p.Size) / float64(short)
			fit := func(n int) int { return max(p.Size, int(math.RoundToEven(float64(n)*scale))) }
			x = x.Resize(fit(x.Height), fit(x.Width), clip.Lanczos)
		}
		x = x.Crop((x.Height-p.Size)/2, (x.Width-p.Size)/2, p.Size, p.Size)
		example, err := f.Example(x.RGB, r.Prompt)
		if err != nil {
			return nil, err
		}
		out = append(out, example)
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		_ = t.Progress(engine.Progress{Note: fmt.Sprintf("encoding %s: %d of %d", role, i+1, len(rows))})
	}
	return out, nil
}
