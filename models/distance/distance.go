// Package distance says how far a fine-tuned model is from the one it started
// from, by the same estimator whatever trained it.
package distance

import (
	"fmt"
	"math/rand/v2"

	"github.com/gomlx/gomlx/backends"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/backend"
	"ablate/models/nn"
	"ablate/models/pipeline"
	"ablate/models/random"
	"ablate/models/schedule"
)

// batch is constant so that a figure's last bits do not depend on how many
// images there are.
const batch = 256

// A Meter compares models of one network.
type Meter struct {
	net pipeline.Network
	fn  *backend.Fn
}

// New returns a meter for every two models of the network.
func New(b backends.Backend, net pipeline.Network) (*Meter, error) {
	n := len(net.AllParams())
	fn, err := backend.NewFn(b, "distance "+net.Name, 0, func(in []*graph.Node) []*graph.Node {
		x0, eps, t, words := in[0], in[1], in[2], in[3]
		f := net.Schedule
		x := f.Noisy(x0, eps, t)
		output := func(params []*graph.Node) *graph.Node {
			denoise, encode := net.Bind(nn.Bind(net.AllParams(), params))
			return f.Output(x, denoise(x, t, encode(words)), t)
		}
		u, base, target := output(in[4:4+n]), output(in[4+n:]), f.Target(x, x0, t)
		gap := graph.Sub(schedule.MeanSquare(u, target), schedule.MeanSquare(base, target))
		return []*graph.Node{schedule.MeanSquare(u, base), gap}
	})
	return &Meter{net, fn}, err
}

// Pairs are images with their prompts.
type Pairs struct {
	Images []float32 // [n, H, W, C] in the model's range
	Words  []float32 // [n, Words]
}

// Divergence estimates the KL divergence, in nats an image, of the images that
// model draws from those that base draws, from images that the model drew: the
// divergence of the two denoising processes (schedule.Flow, DivergenceWeight),
// which bounds it from above, from t = MinDivergenceTime on. Every image is seen
// at four times, one in each quarter of the range.
func (m *Meter) Divergence(model, base nn.Values, drawn Pairs, r *rand.Rand) (float64, error) {
	const quarters = 4
	span := (1 - schedule.MinDivergenceTime) / quarters
	var sum float64
	n := len(drawn.Words) / m.net.Words
	for q := range quarters {
		times := make([]float32, n)
		for i := range times {
			// Short of 1, where the weight is 0 and a velocity is a whole image.
			times[i] = float32(min(schedule.MinDivergenceTime+span*(float64(q)+r.Float64()), .9999))
		}
		apart, _, err := m.compare(model, base, drawn, times, r)
		if err != nil {
			return 0, err
		}
		for i, d := range apart {
			sum += float64(d) * m.net.Schedule.DivergenceWeight(float64(times[i])) * span / float64(n)
		}
	}
	return sum * float64(m.net.Pixels()), nil
}

// Gap is by how much the model's denoising loss of real pairs is above the
// base's, the mean over pairs at the schedule's training times.
func (m *Meter) Gap(model, base nn.Values, pairs Pairs, r *rand.Rand) (float64, error) {
	n := len(pairs.Words) / m.net.Words
	times := make([]float32, n)
	m.net.Schedule.Times(r, times)
	_, gaps, err := m.compare(model, base, pairs, times, r)
	var sum float64
	for _, g := range gaps {
		sum += float64(g) / float64(n)
	}
	return sum, err
}

// compare are each image's mean (u - u_base)² and difference of losses.
func (m *Meter) compare(model, base nn.Values, p Pairs, times []float32, r *rand.Rand) (apart, gap []float32, err error) {
	n, px := len(times), m.net.Pixels()
	if len(p.Images) != n*px || n == 0 {
		return nil, nil, fmt.Errorf("distance: %d values are no %d images", len(p.Images), n)
	}
	params, err := model.Tensors(m.net.AllParams())
	if err != nil {
		return nil, nil, err
	}
	others, err := base.Tensors(m.net.AllParams())
	if err != nil {
		return nil, nil, err
	}
	params = append(params, others...)
	defer backend.Free(params...)
	for from := 0; from < n; from += batch {
		to := min(from+batch, n)
		x, z, t, w := make([]float32, batch*px), make([]float32, batch*px), make([]float32, batch), make([]float32, batch*m.net.Words)
		copy(x, p.Images[from*px:to*px])
		copy(w, p.Words[from*m.net.Words:to*m.net.Words])
		copy(t, times[from:to])
		for i := to - from; i < batch; i++ {
			t[i] = .5 // padding
		}
		random.Normal(r, z[:(to-from)*px])
		size := m.net.Image
		in := []*tensors.Tensor{tensors.FromFlatDataAndDimensions(x, batch, size[0], size[1], size[2]),
			tensors.FromFlatDataAndDimensions(z, batch, size[0], size[1], size[2]),
			tensors.FromFlatDataAndDimensions(t, batch), tensors.FromFlatDataAndDimensions(w, batch, m.net.Words)}
		out, err := m.fn.Call(append(in, params...)...)
		if err != nil {
			return nil, nil, err
		}
		apart = append(apart, backend.Float32s(out[0])[:to-from]...)
		gap = append(gap, backend.Float32s(out[1])[:to-from]...)
		backend.Free(append(in, out...)...)
	}
	return apart, gap, nil
}
