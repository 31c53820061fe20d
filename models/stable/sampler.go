package stable

import (
	"fmt"
	"math"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/backend"
	"ablate/models/nn"
	"ablate/models/scheduler"
	"ablate/models/unet"
)

// A Sampler draws images from every model with the architecture of a checkpoint.
type Sampler struct {
	c      *Checkpoint
	b      backend.Backend
	encode *backend.Fn
	steps  map[variant]*backend.Fn
	decode *backend.Fn
}

// A variant is one of the graphs of a step.
type variant struct{ guided, stochastic bool }

// NewSampler returns a sampler.
func NewSampler(b backend.Backend, c *Checkpoint) (*Sampler, error) {
	s := &Sampler{c: c, b: b, steps: map[variant]*backend.Fn{}}
	var err error
	if s.encode, err = backend.NewFn(b, "encode prompts", 0, func(in []*graph.Node) []*graph.Node {
		return []*graph.Node{graph.ConvertDType(c.Text.Encode(nn.Bind(c.Text.Params(), in[1:]), in[0]).Last, dtypes.Float32)}
	}); err != nil {
		return nil, err
	}
	for _, v := range []variant{{}, {guided: true}, {stochastic: true}, {true, true}} {
		// The inputs are the state x and the earlier predictions, which are donated, the step's
		// coefficients, its time and the strength of guidance, the text and, if guided, the
		// negative one, the noise of a stochastic step, and the weights.
		if s.steps[v], err = backend.NewFn(b, fmt.Sprintf("sample %+v", v), scheduler.Depth, func(in []*graph.Node) []*graph.Node {
			state, rest := in[:scheduler.Depth], in[scheduler.Depth:]
			vector, time, guidance, text := rest[0], rest[1], rest[2], rest[3]
			rest = rest[4:]
			x := scheduler.Input(vector, state[0])
			if v.guided {
				x, text, rest = graph.Concatenate([]*graph.Node{x, x}, 0), graph.Concatenate([]*graph.Node{rest[0], text}, 0), rest[1:]
			}
			var z *graph.Node
			if v.stochastic {
				z, rest = rest[0], rest[1:]
			}
			at := graph.BroadcastToDims(time, x.Shape().Dimensions[0])
			output := c.UNet.Denoise(nn.Bind(c.unetParams(), rest), x, at, text, unet.Options{Saving: nn.Saving{Flash: c.Flash}, Type: c.Precision.dtype()})
			if v.guided {
				output = guided(output, guidance)
			}
			next, keep := scheduler.Advance(vector, state[0], output, z, state[1:])
			return append(append([]*graph.Node{next}, keep...), output)
		}); err != nil {
			return nil, err
		}
	}
	s.decode, err = backend.NewFn(b, "decode latents", 0, func(in []*graph.Node) []*graph.Node {
		return []*graph.Node{c.VAE.Decode(nn.Bind(c.decoderParams(), in[1:]), c.VAE.Config.Unscaled(in[0]), nil)}
	})
	return s, err
}

// guided returns the prediction of classifier-free guidance (Ho & Salimans 2022, arXiv 2207.12598, eq. 6,
// with the scale that diffusers has), from those without and then with the text, [2B, ...].
func guided(output, scale *graph.Node) *graph.Node {
	n := output.Shape().Dimensions[0] / 2
	without, with := graph.Slice(output, graph.AxisRange(0, n)), graph.Slice(output, graph.AxisRange(n))
	return graph.Add(without, graph.Mul(scale, graph.Sub(with, without)))
}

// Encode returns the states float32[B, S, D] of prompts, and how many tokens each of them has: of
// one with more than Checkpoint.Tokens, the last are not read.
func (s *Sampler) Encode(w Weights, prompts []string) (states *tensors.Tensor, tokens []int, err error) {
	var ids []int32
	for _, p := range prompts {
		own, n := s.c.Tokenizer.Encode(p, s.c.Tokens())
		ids, tokens = append(ids, own...), append(tokens, n)
	}
	in := tensors.FromFlatDataAndDimensions(ids, len(prompts), s.c.Tokens())
	defer backend.Free(in)
	out, err := s.encode.Call(append([]*tensors.Tensor{in}, w.Text...)...)
	if err != nil {
		return nil, nil, err
	}
	return out[0], tokens, nil
}

// Options of a draw.
type Options struct {
	Plan     *scheduler.Plan
	Guidance float64 // scale of classifier-free guidance; 1 and less is none
	Height   int     // of images, in pixels
	Width    int
	// Visit, if not nil, is called after each step with the network's output, guided, and the
	// state, both float32[B, H, W, C]. It must not keep them.
	Visit func(step int, output, x *tensors.Tensor) error
}

// Latents draws latents float32[B, H, W, C], as the denoiser's are, for the states of B prompts and,
// if there is guidance, of B negative ones. noise fills the normal noise of image i before step k;
// that before the first step is the initial noise.
func (s *Sampler) Latents(w Weights, text, negative *tensors.Tensor, noise func(i, step int, dst []float32), o Options) (*tensors.Tensor, error) {
	f := s.c.VAE.Config.Factor()
	if o.Height < f || o.Width < f || o.Height%f != 0 || o.Width%f != 0 {
		return nil, fmt.Errorf("images of %d × %d pixels: height and width must be multiples of %d", o.Height, o.Width, f)
	}
	n := text.Shape().Dimensions[0]
	dims := []int{n, o.Height / f, o.Width / f, s.c.UNet.Config.InChannels}
	one := dims[1] * dims[2] * dims[3]
	drawn := func(step int, scale float64) *tensors.Tensor {
		x := make([]float32, n*one)
		for i := range n {
			noise(i, step, x[i*one:(i+1)*one])
		}
		for i := range x {
			x[i] *= float32(scale)
		}
		return tensors.FromFlatDataAndDimensions(x, dims...)
	}
	v := variant{o.Guidance > 1, o.Plan.Stochastic()}
	state := []*tensors.Tensor{drawn(0, o.Plan.InitSigma)}
	for range scheduler.Depth - 1 {
		state = append(state, tensors.FromFlatDataAndDimensions(make([]float32, n*one), dims...))
	}
	for k, step := range o.Plan.Steps {
		vector := step.Vector()
		own := []*tensors.Tensor{tensors.FromFlatDataAndDimensions(vector, len(vector)), tensors.FromScalar(float32(step.Time)), tensors.FromScalar(float32(o.Guidance))}
		in := append(append(append([]*tensors.Tensor{}, state...), own...), text)
		if v.guided {
			in = append(in, negative)
		}
		if v.stochastic {
			z := drawn(k+1, 1)
			in, own = append(in, z), append(own, z)
		}
		out, err := s.steps[v].Call(append(in, w.UNet...)...)
		backend.Free(own...)
		if err != nil {
			return nil, err
		}
		state = out[:scheduler.Depth]
		if o.Visit != nil {
			err = o.Visit(k, out[scheduler.Depth], state[0])
		}
		backend.Free(out[scheduler.Depth])
		if err != nil {
			backend.Free(state...)
			return nil, err
		}
	}
	backend.Free(state[1:]...)
	return state[0], nil
}

// Images returns the images of latents, with three bytes for each pixel, row by row.
func (s *Sampler) Images(w Weights, latents *tensors.Tensor) ([][]uint8, error) {
	decoded, err := s.Decode(w, latents)
	if err != nil {
		return nil, err
	}
	n := latents.Shape().Dimensions[0]
	out := make([][]uint8, n)
	one := len(decoded) / n
	for i := range out {
		out[i] = make([]uint8, one)
		for j, x := range decoded[i*one : (i+1)*one] {
			out[i][j] = uint8(math.RoundToEven(float64(min(max(x/2+.5, 0), 1)) * 255))
		}
	}
	return out, nil
}

// Decode returns the images of latents, float32[B, F·H, F·W, 3] about in [-1, 1].
func (s *Sampler) Decode(w Weights, latents *tensors.Tensor) ([]float32, error) {
	out, err := s.decode.Call(append([]*tensors.Tensor{latents}, w.Decoder...)...)
	if err != nil {
		return nil, err
	}
	defer backend.Free(out...)
	return backend.Float32s(out[0]), nil
}
