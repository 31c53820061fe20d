package stable_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/backend"
	"ablate/models/modeltest"
	"ablate/models/reference"
	"ablate/models/scheduler"
	"ablate/models/stable"
)

// TestReferenceTrajectories draws an image from a prompt with each sampler, and compares the
// network's guided outputs, the states and the image with those of diffusers.
func TestReferenceTrajectories(t *testing.T) {
	b := modeltest.Backend(t)
	type loaded struct {
		sampler *stable.Sampler
		c       *stable.Checkpoint
		w       stable.Weights
	}
	models := map[string]loaded{}
	for _, c := range reference.Cases(t, "trajectory_*.safetensors") {
		m, ok := models[c.Name]
		if !ok {
			var err error
			if m.c, err = stable.Open(c.Checkpoint()); err != nil {
				t.Fatal(err)
			}
			if m.w, err = m.c.Load(b); err != nil {
				t.Fatal(err)
			}
			if m.sampler, err = stable.NewSampler(b, m.c); err != nil {
				t.Fatal(err)
			}
			models[c.Name] = m
		}
		var all map[string]struct {
			Prompt   string          `json:"prompt"`
			Negative string          `json:"negative_prompt"`
			Class    string          `json:"class"`
			Steps    int             `json:"steps"`
			Eta      float64         `json:"eta"`
			Guidance float64         `json:"guidance_scale"`
			Config   json.RawMessage `json:"scheduler_config"`
		}
		c.Beside(t, "trajectories.json", &all)
		k := all[strings.TrimPrefix(c.Kind, "trajectory_")]
		config, err := scheduler.Decode(k.Config, k.Class)
		if err != nil {
			t.Fatal(err)
		}
		plan, err := config.Plan(k.Steps, k.Eta)
		if err != nil {
			t.Fatal(err)
		}
		states, _, err := m.sampler.Encode(m.w, []string{k.Negative, k.Prompt})
		if err != nil {
			t.Fatal(err)
		}
		// The context is stored too; the encoder is compared with it within its own tolerance.
		stored := modeltest.Floats(t, c, "context")
		if got, want := backend.Float32s(states), backend.Float32s(stored); !near(got, want, 1e-4) {
			t.Errorf("%s: the states of the prompts are not those of transformers", c.Kind)
		}
		d := stored.Shape().Dimensions
		row := func(i int) *tensors.Tensor {
			v := backend.Float32s(stored)
			return tensors.FromFlatDataAndDimensions(slices.Clone(v[i*len(v)/2:(i+1)*len(v)/2]), append([]int{1}, d[1:]...)...)
		}
		init := modeltest.Images(t, c, "latents_init")
		size := init.Shape().Dimensions
		f := m.c.VAE.Config.Factor()
		var outputs, latents []float32
		for _, x := range modeltest.ChannelsFirst(init) {
			latents = append(latents, x*float32(plan.InitSigma))
		}
		noises := [][]float32{backend.Float32s(init)}
		if c.Has("variance_noise") {
			shape := c.Shape(t, "variance_noise")
			x := modeltest.ImagesOf(c.Floats(t, "variance_noise"), append([]int{shape[0]}, shape[2:]...))
			one := len(noises[0])
			for v := backend.Float32s(x); len(v) > 0; v = v[one:] {
				noises = append(noises, v[:one])
			}
		}
		x, err := m.sampler.Latents(m.w, row(1), row(0), func(_, step int, dst []float32) { copy(dst, noises[step]) }, stable.Options{
			Plan: plan, Guidance: k.Guidance, Height: size[1] * f, Width: size[2] * f,
			Visit: func(_ int, output, x *tensors.Tensor) error {
				outputs, latents = append(outputs, modeltest.ChannelsFirst(output)...), append(latents, modeltest.ChannelsFirst(x)...)
				return nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		reference.Check(t, c, "model_output", outputs)
		reference.Check(t, c, "latents", latents)
		decoded, err := m.sampler.Decode(m.w, x)
		if err != nil {
			t.Fatal(err)
		}
		shape := []int{1, size[1] * f, size[2] * f, 3}
		reference.Check(t, c, "image", modeltest.ChannelsFirst(tensors.FromFlatDataAndDimensions(decoded, shape...)))
		images, err := m.sampler.Images(m.w, x)
		if err != nil {
			t.Fatal(err)
		}
		bytes := make([]float32, len(images[0]))
		for i, v := range images[0] {
			bytes[i] = float32(v)
		}
		reference.Check(t, c, "image_uint8", modeltest.ChannelsFirst(tensors.FromFlatDataAndDimensions(bytes, shape...)))
		keys := []string{"timesteps", "init_noise_sigma"}
		if c.Has("sigmas") {
			keys = append(keys, "sigmas")
		}
		c.Elsewhere(t, "TestReferenceSampling", keys...)
	}
}

func near(a, b []float32, atol float32) bool {
	for i := range b {
		if d := a[i] - b[i]; !(max(d, -d) <= atol+atol*max(b[i], -b[i])) {
			return false
		}
	}
	return len(a) == len(b)
}
