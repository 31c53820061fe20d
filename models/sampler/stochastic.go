package sampler

import (
	"fmt"

	"github.com/gomlx/gomlx/backends"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/backend"
	"ablate/models/nn"
	"ablate/models/pipeline"
	"ablate/models/schedule"
)

// A Stochastic sampler draws images with the flow's stochastic steps and keeps
// the way to each: what a policy gradient learns from. The last step is Euler's,
// without noise, and is no choice of the policy.
type Stochastic struct {
	net pipeline.Network
	fn  *backend.Fn
}

// NewStochastic returns a sampler for every model of the network.
func NewStochastic(b backends.Backend, net pipeline.Network) (*Stochastic, error) {
	fn, err := backend.NewFn(b, "stochastic "+net.Name, 0, func(in []*graph.Node) []*graph.Node {
		x, z, words, settings, params := in[0], in[1], in[2], in[3], in[4:]
		denoise, encode := net.Bind(nn.Bind(net.AllParams(), params))
		at := func(i int) *graph.Node {
			return graph.BroadcastToDims(graph.Reshape(graph.Slice(settings, graph.AxisElem(i))), batch)
		}
		t, next, noise := at(0), at(1), at(2)
		v := net.Schedule.Velocity(x, denoise(x, t, encode(words)), graph.Reshape(t, batch, 1, 1, 1))
		mean, std := net.Schedule.StochasticStep(x, v, t, next, noise)
		y := graph.Add(mean, graph.Mul(graph.Reshape(std, batch, 1, 1, 1), z))
		return []*graph.Node{y, schedule.LogDensity(y, mean, std)}
	})
	return &Stochastic{net: net, fn: fn}, err
}

// A Path is the way to one image: States float32[Steps+1][H·W·C] from noise to
// the image, and the mean log density of each step but the last.
type Path struct {
	States  [][]float32
	Density []float32
}

// Draw draws one path for every row of words float32[n, Words]; normal fills
// the noise of image i's step s, and of its start, which is step -1. noise is the
// level a of the sampler.
func (s *Stochastic) Draw(w nn.Values, words []float32, normal func(i, step int, dst []float32), steps int, shift, noise float64) ([]Path, error) {
	params, err := w.Tensors(s.net.AllParams())
	if err != nil {
		return nil, err
	}
	defer backend.Free(params...)
	n, px := len(words)/s.net.Words, s.net.Pixels()
	if n*s.net.Words != len(words) {
		return nil, fmt.Errorf("sampler: %d words are no rows of %d", len(words), s.net.Words)
	}
	image := func(x []float32) *tensors.Tensor {
		return tensors.FromFlatDataAndDimensions(x, batch, s.net.Image[0], s.net.Image[1], s.net.Image[2])
	}
	times, err := s.net.Schedule.Steps(steps, shift)
	if err != nil {
		return nil, err
	}
	paths := make([]Path, n)
	for from := 0; from < n; from += batch {
		to := min(from+batch, n)
		x, bag := make([]float32, batch*px), make([]float32, batch*s.net.Words)
		copy(bag, words[from*s.net.Words:to*s.net.Words])
		for i := from; i < to; i++ {
			normal(i, -1, x[(i-from)*px:(i-from+1)*px])
			paths[i].States = append(paths[i].States, x[(i-from)*px:(i-from+1)*px])
		}
		bags := tensors.FromFlatDataAndDimensions(bag, batch, s.net.Words)
		for k := range steps {
			z, level := make([]float32, batch*px), float32(noise)
			if k == steps-1 {
				level = 0
			} else {
				for i := from; i < to; i++ {
					normal(i, k, z[(i-from)*px:(i-from+1)*px])
				}
			}
			in := []*tensors.Tensor{image(x), image(z), bags, tensors.FromFlatDataAndDimensions([]float32{times[k], times[k+1], level}, 3)}
			got, err := s.fn.Call(append(in, params...)...)
			if err != nil {
				return nil, err
			}
			x = backend.Float32s(got[0])
			density := backend.Float32s(got[1])
			backend.Free(got[0], got[1], in[0], in[1], in[3])
			for i := from; i < to; i++ {
				paths[i].States = append(paths[i].States, x[(i-from)*px:(i-from+1)*px])
				if k < steps-1 {
					paths[i].Density = append(paths[i].Density, density[i-from])
				}
			}
		}
		backend.Free(bags)
	}
	return paths, nil
}
