// Package distance estimates the KL divergence of a fine-tuned model from its pretrained
// model, by one estimator for all methods of fine-tuning (Kingma et al. 2021, arXiv
// 2107.00630, eq. 13 and 17, in models/process).
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
	"ablate/models/process"
	"ablate/models/random"
)

// A Meter computes distances between models of one network.
type Meter struct {
	net pipeline.Network
	b   backend.Backend
	fn  *backend.Fn
}

// New returns a meter for any two models of the network.
func New(b backends.Backend, net pipeline.Network) (*Meter, error) {
	n := len(net.Params)
	fn, err := backend.NewFn(b, "distance "+net.Name, 0, func(in []*graph.Node) []*graph.Node {
		x0, eps, t, p := in[0], in[1], in[2], net.Process
		x, target := p.Noisy(x0, eps, t), p.Target(x0, eps, t)
		predict := func(cond *graph.Node, params []*graph.Node) *graph.Node {
			return net.Denoise(nn.Bind(net.Params, params), x, t, cond)
		}
		model, base := predict(in[3], in[5:5+n]), predict(in[4], in[5+n:])
		apart := process.MeanSquare(p.Clean(x, model, t), p.Clean(x, base, t))
		gap := graph.Sub(process.Loss(p, model, target, t), process.Loss(p, base, target, t))
		return []*graph.Node{apart, gap}
	})
	return &Meter{net, b, fn}, err
}

// Pairs are n images with the conditioning of their prompts, as encoded by each of the two
// models.
type Pairs struct {
	Images      []float32 // x₀ [n, H, W, C]
	Model, Base []float32 // [n, Cond]
}

// intervals is the number of equal parts of the range of times. An image is compared at one
// random time in each part (stratified sampling).
const intervals = 4

// Divergence estimates the KL divergence between the denoising processes of two models, in
// nats per image: the integral over times of the weighted squared difference of their x̂₀
// (process.Divergence), within its Range. It is an estimate and not a bound, because it adds
// noise to images that the model drew, where the exact divergence has the states of the
// model's sampler, and because it leaves out times below the range. Where images were
// selected, as by best of n, it is the divergence on the selected images.
func (m *Meter) Divergence(model, base nn.Values, drawn Pairs, batch int, r *rand.Rand) (float64, error) {
	from, to := m.net.Process.Range()
	span := (to - from) / intervals
	n := len(drawn.Model) / m.net.Cond
	params, err := m.params(model, base)
	if err != nil {
		return 0, err
	}
	defer backend.Free(params...)
	var sum float64
	for q := range intervals {
		times := make([]float32, n)
		for i := range times {
			// Times end before the end of the range, where the weight is 0.
			times[i] = float32(m.net.Process.Trained(min(from+span*(float64(q)+r.Float64()), to-1e-4*span)))
		}
		apart, _, err := m.compare(params, drawn, times, batch, r)
		if err != nil {
			return 0, err
		}
		for i, d := range apart {
			sum += float64(d) * m.net.Process.DivergenceWeight(float64(times[i])) * span / float64(n)
		}
	}
	return sum * float64(m.net.Pixels()), nil
}

// Gap is the mean over pairs of the model's denoising loss minus the base's, at random
// training times.
func (m *Meter) Gap(model, base nn.Values, pairs Pairs, batch int, r *rand.Rand) (float64, error) {
	n := len(pairs.Model) / m.net.Cond
	params, err := m.params(model, base)
	if err != nil {
		return 0, err
	}
	defer backend.Free(params...)
	times := make([]float32, n)
	m.net.Process.Times(r, times)
	_, gaps, err := m.compare(params, pairs, times, batch, r)
	var sum float64
	for _, g := range gaps {
		sum += float64(g) / float64(n)
	}
	return sum, err
}

// params returns the parameters of both models.
func (m *Meter) params(model, base nn.Values) ([]*tensors.Tensor, error) {
	params, err := model.Tensors(m.b, m.net.Params)
	if err != nil {
		return nil, err
	}
	others, err := base.Tensors(m.b, m.net.Params)
	return append(params, others...), err
}

// compare returns each image's mean over pixels of (x̂₀ - x̂₀_base)² and difference of
// losses.
func (m *Meter) compare(params []*tensors.Tensor, p Pairs, times []float32, batch int, r *rand.Rand) (apart, gap []float32, err error) {
	n, px := len(times), m.net.Pixels()
	if len(p.Images) != n*px || len(p.Base) != len(p.Model) || n == 0 || batch < 1 {
		return nil, nil, fmt.Errorf("distance: %d values of images and %d of conditioning for %d images, in batches of %d", len(p.Images), len(p.Base), n, batch)
	}
	z := make([]float32, n*px)
	random.Normal(r, z)
	size := m.net.Image
	out, err := backend.Batched(m.fn, params, n, batch, func(from, to int) []*tensors.Tensor {
		// Rows of padding need a valid time too.
		t := make([]float32, batch)
		for i := range t {
			t[i] = times[min(from+i, n-1)]
		}
		return []*tensors.Tensor{
			backend.Rows(p.Images, from, to, batch, size[0], size[1], size[2]), backend.Rows(z, from, to, batch, size[0], size[1], size[2]),
			tensors.FromFlatDataAndDimensions(t, batch), backend.Rows(p.Model, from, to, batch, m.net.Cond), backend.Rows(p.Base, from, to, batch, m.net.Cond),
		}
	})
	if err != nil {
		return nil, nil, err
	}
	return out[0], out[1], nil
}
