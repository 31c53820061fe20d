package scheduler

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/backend"
	"ablate/models/modeltest"
	"ablate/models/reference"
)

// TestReferenceSampling compares what samplers make of stored outputs of a network, by the
// graph that every plan uses, with diffusers' states: timesteps, sigmas and latents. The
// outputs themselves and the images are those of the whole model.
func TestReferenceSampling(t *testing.T) {
	b := modeltest.Backend(t)
	cases := reference.Cases(t, "trajectory_*.safetensors")
	// One graph: the vector, x, the output, the noise, earlier predictions.
	step, err := backend.NewFn(b, "step", 0, func(in []*graph.Node) []*graph.Node {
		next, keep := Advance(in[0], in[1], in[2], in[3], in[4:])
		return append([]*graph.Node{next}, keep...)
	})
	if err != nil {
		t.Fatal(err)
	}
	shapes := map[string]bool{}
	for _, c := range cases {
		c.Elsewhere(t, "TestReferenceTrajectories", "model_output", "image", "image_uint8")
		var all map[string]struct {
			Class  string
			Steps  int
			Eta    float64
			Config json.RawMessage `json:"scheduler_config"`
		}
		c.Beside(t, "trajectories.json", &all)
		k, ok := all[strings.TrimPrefix(c.Kind, "trajectory_")]
		if !ok {
			t.Fatalf("trajectories.json has no %s", c.Kind)
		}
		config, err := Decode(k.Config, k.Class)
		if err != nil {
			t.Fatal(err)
		}
		plan, err := config.Plan(k.Steps, k.Eta)
		if err != nil {
			t.Fatal(err)
		}
		// The checkpoint's sparse file gives the same plan where only its class is chosen.
		file := filepath.Join(c.Checkpoint(), "scheduler", "scheduler_config.json")
		own, err := Read(file, k.Class)
		if err != nil {
			t.Fatal(err)
		}
		if own.Spacing == config.Spacing && own.Karras == config.Karras {
			if p, err := own.Plan(k.Steps, k.Eta); err != nil || !reflect.DeepEqual(p, plan) {
				t.Errorf("%s: %s as %s gives another plan: %v", c.Kind, file, k.Class, err)
			}
		}
		shape := c.Shape(t, "latents_init")
		init := c.Floats(t, "latents_init")
		size := len(init)
		for i := range init {
			init[i] *= float32(plan.InitSigma)
		}
		tensor := func(x []float32) *tensors.Tensor { return tensors.FromFlatDataAndDimensions(x, shape...) }
		outputs, noises := c.Floats(t, "model_output"), make([]float32, size*len(plan.Steps))
		if c.Has("variance_noise") {
			noises = c.Floats(t, "variance_noise")
		}
		if plan.Stochastic() != c.Has("variance_noise") || len(outputs) != size*len(plan.Steps) {
			t.Fatalf("%s: %d calls, stochastic %v", c.Kind, len(plan.Steps), plan.Stochastic())
		}
		var times []float64
		latents := slices.Clone(init)
		state := []*tensors.Tensor{tensor(init)}
		for range Depth - 1 {
			state = append(state, tensor(make([]float32, size)))
		}
		for i, s := range plan.Steps {
			times = append(times, s.Time)
			vector := s.Vector()
			in := []*tensors.Tensor{tensors.FromFlatDataAndDimensions(vector, len(vector)), state[0],
				tensor(outputs[i*size : (i+1)*size]), tensor(noises[i*size : (i+1)*size])}
			if state, err = step.Call(append(in, state[1:]...)...); err != nil {
				t.Fatal(err)
			}
			latents = append(latents, backend.Float32s(state[0])...)
		}
		reference.Check(t, c, "timesteps", times)
		reference.Check(t, c, "init_noise_sigma", []float64{plan.InitSigma})
		reference.Check(t, c, "latents", latents)
		if c.Has("sigmas") {
			_, sigmas, err := config.sigmas(k.Steps)
			if err != nil {
				t.Fatal(err)
			}
			reference.Check(t, c, "sigmas", sigmas)
		}
		shapes[fmt.Sprint(shape)] = true
	}
	if step.Compiled() > len(shapes) {
		t.Errorf("%d compilations for %d shapes of latents", step.Compiled(), len(shapes))
	}
}
