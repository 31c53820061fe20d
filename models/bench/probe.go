package main

import (
	"math"

	"ablate/models/backend"
	"ablate/models/checkpoint"
	"ablate/models/distance"
	"ablate/models/pipeline"
	"ablate/models/random"
	"ablate/models/sampler"
	"ablate/models/shapes"
)

// drawn is the number of images of a probe, and batch the number that is drawn at a time.
const drawn, batch = 256, 256

var sampling = sampler.Options{Steps: 16, Shift: 1.5, Batch: batch}

// probeData returns the weights of a model and its reference, the prompts, and the random
// numbers.
func probeData() (map[string]checkpoint.Tensor, error) {
	net := network()
	file := map[string]checkpoint.Tensor{}
	base := values(net.AllParams(), "model")
	model := values(net.AllParams(), "other")
	for name, x := range base {
		for i := range x {
			model[name][i] = x[i] + .1*model[name][i]
		}
	}
	put(file, "param.", net.AllParams(), model)
	put(file, "set.reference.", net.AllParams(), base)
	words, noise := make([]float32, drawn*net.Text), make([]float32, drawn*net.Pixels())
	for i := range drawn {
		r := random.Stream(1, "bench", "prompt", i)
		shapes.NewScene(r, shapes.Prompt{}).Prompt.Words(words[i*net.Text : (i+1)*net.Text])
		random.Normal(r, noise[i*net.Pixels():(i+1)*net.Pixels()])
	}
	grid, err := net.Process.Grid(sampling.Steps, sampling.Shift)
	if err != nil {
		return nil, err
	}
	file["words"] = checkpoint.Floats(words, drawn, net.Text)
	file["noise"] = checkpoint.Floats(noise, drawn, net.Image[0], net.Image[1], net.Image[2])
	file["grid"] = checkpoint.Floats(grid, len(grid))

	// The distance draws its times and noise from this stream. JAX reads them and draws
	// as much noise with numpy, so that both sides do the same work.
	const intervals = 4
	r := random.Stream(1, "bench", "distance", 0)
	from, to := net.Process.Range()
	span := (to - from) / intervals
	var times, weights, z []float32
	for q := range intervals {
		t := make([]float32, drawn)
		for i := range t {
			t[i] = float32(min(from+span*(float64(q)+r.Float64()), to-1e-4*span))
			weights = append(weights, float32(net.Process.DivergenceWeight(float64(t[i]))*span/drawn*float64(net.Pixels())))
		}
		x := make([]float32, drawn*net.Pixels())
		random.Normal(r, x)
		times, z = append(times, t...), append(z, x...)
	}
	file["distance.times"] = checkpoint.Floats(times, intervals, drawn)
	file["distance.weights"] = checkpoint.Floats(weights, intervals, drawn)
	file["distance.noise"] = checkpoint.Floats(z, intervals, drawn, net.Image[0], net.Image[1], net.Image[2])
	return file, nil
}

func openProbe(b backend.Backend, file map[string]checkpoint.Tensor) (task, error) {
	net := network()
	fail := func(err error) (task, error) { return task{}, err }
	s, err := sampler.New(b, net)
	if err != nil {
		return fail(err)
	}
	e, err := pipeline.NewEncoder(b, net)
	if err != nil {
		return fail(err)
	}
	m, err := distance.New(b, net)
	if err != nil {
		return fail(err)
	}
	weights, err := get(file, "param.", net.AllParams())
	if err != nil {
		return fail(err)
	}
	base, err := get(file, "set.reference.", net.AllParams())
	if err != nil {
		return fail(err)
	}
	words, err := file["words"].Float32()
	if err != nil {
		return fail(err)
	}
	noise, err := file["noise"].Float32()
	if err != nil {
		return fail(err)
	}
	model, px := &pipeline.Model{Network: net, Weights: weights}, net.Pixels()
	probe := func() (kl float64, images []float32, err error) {
		cond, err := e.Encode(weights, words)
		if err != nil {
			return 0, nil, err
		}
		other, err := e.Encode(base, words)
		if err != nil {
			return 0, nil, err
		}
		images, err = s.Draw(model, cond, func(i int, dst []float32) { copy(dst, noise[i*px:(i+1)*px]) }, sampling, 0, nil)
		if err != nil {
			return 0, nil, err
		}
		kl, err = m.Divergence(weights, base, distance.Pairs{Images: images, Model: cond, Base: other}, batch, random.Stream(1, "bench", "distance", 0))
		return kl, images, err
	}
	kl, images, err := probe()
	if err != nil {
		return fail(err)
	}
	first := []float64{kl}
	for i := range 9 {
		sum := 0.
		for _, v := range images[i*px : (i+1)*px] {
			sum += math.Abs(float64(v)) / float64(px)
		}
		first = append(first, sum)
	}
	return task{first: first, do: func(int) error { _, _, err := probe(); return err }}, nil
}
