// Package sampler draws images from a model. A sampler is one compiled step
// that is called once a time.
package sampler

import (
	"fmt"

	"github.com/gomlx/gomlx/backends"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/backend"
	"ablate/models/nn"
	"ablate/models/pipeline"
)

// batch is the number of images drawn at a time. It is a constant because an
// image's last bits may depend on it; a last, smaller batch is padded.
const batch = 256

// An Euler sampler integrates dx/dt from t = 1 to 0 with Euler's method, as
// k-diffusion's sample_euler (Karras et al. 2022, algorithm 2 without churn)
// does in its own time.
type Euler struct {
	net pipeline.Network
	fn  *backend.Fn
}

// NewEuler returns a sampler for every model of the network.
func NewEuler(b backends.Backend, net pipeline.Network) (*Euler, error) {
	fn, err := backend.NewFn(b, "euler "+net.Name, 1, func(in []*graph.Node) []*graph.Node {
		x, words, times, params := in[0], in[1], in[2], in[3:]
		denoise, encode := net.Bind(nn.Bind(net.AllParams(), params))
		t := graph.Reshape(graph.Slice(times, graph.AxisElem(0)))
		next := graph.Reshape(graph.Slice(times, graph.AxisElem(1)))
		prediction := denoise(x, graph.BroadcastToDims(t, batch), encode(words))
		v := net.Schedule.Velocity(x, prediction, t)
		return []*graph.Node{graph.Add(x, graph.Mul(v, graph.Sub(next, t)))}
	})
	if err != nil {
		return nil, err
	}
	return &Euler{net: net, fn: fn}, nil
}

// Options of a draw.
type Options struct {
	Steps int
	Shift float64
	// Stop, if set, is the number of steps after which to stop, short of the image.
	Stop int
	// Progress, if set, is told how many images are done.
	Progress func(done int) error
}

// Sample draws one image for every row of words float32[n, Words]. noise(i,
// dst) fills the initial noise of image i. The result is float32[n, H, W, C],
// in the model's range, about -1 to 1.
func (e *Euler) Sample(m *pipeline.Model, words []float32, noise func(i int, dst []float32), o Options) ([]float32, error) {
	if m.Name != e.net.Name {
		return nil, fmt.Errorf("sampler for %s was given a model of %s", e.net.Name, m.Name)
	}
	n, px := len(words)/e.net.Words, e.net.Pixels()
	params, err := m.Weights.Tensors(e.net.AllParams())
	if err != nil {
		return nil, err
	}
	defer backend.Free(params...)
	times, err := e.net.Schedule.Steps(o.Steps, o.Shift)
	if err != nil {
		return nil, err
	}
	steps := o.Steps
	if o.Stop > 0 {
		steps = min(o.Stop, o.Steps)
	}
	out := make([]float32, n*px)
	for from := 0; from < n; from += batch {
		if o.Progress != nil {
			if err := o.Progress(from); err != nil {
				return nil, err
			}
		}
		to := min(from+batch, n)
		x0 := make([]float32, batch*px)
		w := make([]float32, batch*e.net.Words)
		for i := from; i < to; i++ {
			noise(i, x0[(i-from)*px:(i-from+1)*px])
		}
		copy(w, words[from*e.net.Words:to*e.net.Words])
		x := tensors.FromFlatDataAndDimensions(x0, batch, e.net.Image[0], e.net.Image[1], e.net.Image[2])
		wt := tensors.FromFlatDataAndDimensions(w, batch, e.net.Words)
		for s := range steps {
			pair := tensors.FromFlatDataAndDimensions([]float32{times[s], times[s+1]}, 2)
			got, err := e.fn.Call(append([]*tensors.Tensor{x, wt, pair}, params...)...)
			if err != nil {
				return nil, err
			}
			backend.Free(pair)
			x = got[0]
		}
		copy(out[from*px:], backend.Float32s(x)[:(to-from)*px])
		backend.Free(x, wt)
	}
	return out, nil
}
