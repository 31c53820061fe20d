// Package embedder trains and applies the image and text embedder of the shapes world. Its
// frozen embeddings are the input of the learned reward, as CLIP's are in Lee et al. 2023
// (arXiv 2302.12192). It is a small CNN for images and a multilayer perceptron on bags of
// words for prompts, trained with CLIP's symmetric contrastive loss (Radford et al. 2021,
// arXiv 2103.00020, figure 3) on the world's imperfect captions.
package embedder

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/gomlx/gomlx/backends"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/backend"
	"ablate/models/nn"
	"ablate/models/random"
	"ablate/models/train"
)

// Config is the architecture, as in config.json of a checkpoint.
type Config struct {
	ImageSize  int    `json:"image_size"`
	Channels   int    `json:"num_channels"`
	Features   [3]int `json:"conv_channels"`
	Width      int    `json:"projection_dim"`
	Vocabulary int    `json:"vocab_size"`
}

// Default returns the configuration of the shapes world's embedder.
func Default(vocabulary int) Config {
	return Config{ImageSize: 16, Channels: 3, Features: [3]int{32, 64, 96}, Width: 128, Vocabulary: vocabulary}
}

// Check returns an error for a configuration from a file that is not valid.
func (c Config) Check() error {
	for _, v := range []int{c.ImageSize, c.Channels, c.Features[0], c.Features[1], c.Features[2], c.Width, c.Vocabulary} {
		if v < 1 || v > 1<<16 {
			return fmt.Errorf("embedder configuration %+v: every number must be from 1 to 65536", c)
		}
	}
	if c.ImageSize%4 != 0 {
		return fmt.Errorf("image_size is %d: it must be a multiple of 4", c.ImageSize)
	}
	return nil
}

// Params are the embedder's parameters in their fixed order.
func (c Config) Params() []nn.Param {
	side := c.ImageSize / 4
	var ps []nn.Param
	ps = append(ps, nn.ConvParams("image.conv0", 3, c.Channels, c.Features[0])...)
	ps = append(ps, nn.ConvParams("image.conv1", 3, c.Features[0], c.Features[1])...)
	ps = append(ps, nn.ConvParams("image.conv2", 3, c.Features[1], c.Features[2])...)
	ps = append(ps, nn.LinearParams("image.hidden", side*side*c.Features[2], 2*c.Width, math.Sqrt2)...)
	ps = append(ps, nn.LinearParams("image.out", 2*c.Width, c.Width, 1)...)
	ps = append(ps, nn.LinearParams("text.hidden", c.Vocabulary, 2*c.Width, math.Sqrt2)...)
	ps = append(ps, nn.LinearParams("text.out", 2*c.Width, c.Width, 1)...)
	return append(ps, nn.Param{Name: "logit_scale", Shape: []int{}, Fill: math.Log(1 / 0.07)})
}

// Image embeds x float32[B, S, S, C] in the range -1 to 1 as unit vectors
// float32[B, Width].
func (c Config) Image(w nn.Weights, x *graph.Node) *graph.Node {
	x.AssertDims(-1, c.ImageSize, c.ImageSize, c.Channels)
	relu := func(x *graph.Node) *graph.Node { return graph.MaxScalar(x, 0) }
	h := relu(w.Conv("image.conv0", x, 2))
	h = relu(w.Conv("image.conv1", h, 1))
	h = relu(w.Conv("image.conv2", h, 2)) // [B, S/4, S/4, C]
	h = graph.Reshape(h, x.Shape().Dimensions[0], -1)
	return unit(w.Linear("image.out", relu(w.Linear("image.hidden", h))))
}

// Text embeds words float32[B, Vocabulary] as unit vectors float32[B, Width].
func (c Config) Text(w nn.Weights, words *graph.Node) *graph.Node {
	words.AssertDims(-1, c.Vocabulary)
	h := graph.MaxScalar(w.Linear("text.hidden", words), 0)
	return unit(w.Linear("text.out", h))
}

func unit(x *graph.Node) *graph.Node {
	norm := graph.Sqrt(graph.AddScalar(graph.ReduceAndKeep(graph.Square(x), graph.ReduceSum, -1), 1e-12))
	return graph.Div(x, norm)
}

// Loss is the symmetric contrastive cross entropy over the batch. The shapes world has few
// captions, so that a batch may have one several times. Inputs are images float32[B, S, S, C],
// text float32[B, Vocabulary] and target float32[B, B], whose row i is 1/k in the k columns
// with the same caption as row i, and 0 in the others.
func (c Config) Loss(w nn.Weights, _ train.Sets, in train.Nodes) *graph.Node {
	image, text, target := c.Image(w, in.At("images")), c.Text(w, in.At("text")), in.At("target")
	scale := graph.Exp(graph.MinScalar(w.At("logit_scale"), math.Log(100)))
	logits := graph.Mul(graph.DotGeneral(image, []int{1}, nil, text, []int{1}, nil), scale)
	cross := func(axis int) *graph.Node {
		return graph.Neg(graph.ReduceAllMean(graph.ReduceSum(graph.Mul(target, graph.LogSoftmax(logits, axis)), axis)))
	}
	return graph.MulScalar(graph.Add(cross(-1), cross(0)), 0.5)
}

// Pairs are the image-caption pairs that an embedder learns from.
type Pairs interface {
	Len() int
	// Fill writes pair i's image float32[S, S, C] in the range -1 to 1 and its
	// words float32[Vocabulary].
	Fill(i int, image, words []float32)
	// Caption returns a number that is the same for pairs of equal captions.
	Caption(i int) int
}

// Options of a training.
type Options struct {
	Steps, Batch int
	LearningRate float64
	Adam         train.Adam
	Resume       train.Resume
	Progress     func(train.Report)
}

// Train trains an embedder from scratch on pairs; init draws its initial weights and
// order the pairs of each step.
func Train(ctx context.Context, b backends.Backend, c Config, pairs Pairs, init *rand.Rand, order random.Steps, o Options) (nn.Values, *train.Curve, error) {
	trainer, err := train.New(b, train.Step{Name: "embedder", Params: c.Params(), Loss: c.Loss})
	if err != nil {
		return nil, nil, err
	}
	state, err := trainer.Start(nn.Init(c.Params(), init), false)
	if err != nil {
		return nil, nil, err
	}
	defer state.Free()
	loop := train.Loop{Trainer: trainer, State: state, Steps: o.Steps, Resume: o.Resume, Progress: o.Progress,
		Batch: func(_ context.Context, step int) (train.Inputs, train.Options, []float64, error) {
			opt := train.Options{LearningRate: o.LearningRate * train.WarmupDecay(step, o.Steps, 20, 0.6, 0.03), Adam: o.Adam, Clip: 1}
			return c.batch(pairs, o.Batch, order(step)), opt, nil, nil
		}}
	curve, err := loop.Run(ctx)
	if err != nil {
		return nil, nil, err
	}
	return trainer.Weights(state), curve, nil
}

// batch draws n pairs.
func (c Config) batch(pairs Pairs, n int, r *rand.Rand) train.Inputs {
	px := c.ImageSize * c.ImageSize * c.Channels
	images, text, target := make([]float32, n*px), make([]float32, n*c.Vocabulary), make([]float32, n*n)
	captions, count := make([]int, n), map[int]int{}
	for i := range n {
		k := r.IntN(pairs.Len())
		pairs.Fill(k, images[i*px:(i+1)*px], text[i*c.Vocabulary:(i+1)*c.Vocabulary])
		captions[i] = pairs.Caption(k)
		count[captions[i]]++
	}
	for i, a := range captions {
		for j, b := range captions {
			if a == b {
				target[i*n+j] = 1 / float32(count[a])
			}
		}
	}
	return train.Inputs{
		"images": tensors.FromFlatDataAndDimensions(images, n, c.ImageSize, c.ImageSize, c.Channels),
		"text":   tensors.FromFlatDataAndDimensions(text, n, c.Vocabulary),
		"target": tensors.FromFlatDataAndDimensions(target, n, n),
	}
}

// An Encoder embeds many images or prompts with a trained embedder.
type Encoder struct {
	c           Config
	b           backend.Backend
	image, text *backend.Fn
}

// NewEncoder compiles an encoder for every embedder of the configuration.
func NewEncoder(b backends.Backend, c Config) (*Encoder, error) {
	ps := c.Params()
	image, err := backend.NewFn(b, "embed images", 0, func(in []*graph.Node) []*graph.Node {
		return []*graph.Node{c.Image(nn.Bind(ps, in[1:]), in[0])}
	})
	if err != nil {
		return nil, err
	}
	text, err := backend.NewFn(b, "embed prompts", 0, func(in []*graph.Node) []*graph.Node {
		return []*graph.Node{c.Text(nn.Bind(ps, in[1:]), in[0])}
	})
	return &Encoder{c: c, b: b, image: image, text: text}, err
}

// encodeBatch is constant so that an embedding's last bits do not depend on
// how many others are computed with it.
const encodeBatch = 256

// Images embeds images float32[n, S, S, C] as float32[n, Width].
func (e *Encoder) Images(w nn.Values, images []float32) ([]float32, error) {
	return e.run(e.image, w, images, []int{e.c.ImageSize, e.c.ImageSize, e.c.Channels})
}

// Texts embeds words float32[n, Vocabulary] as float32[n, Width].
func (e *Encoder) Texts(w nn.Values, words []float32) ([]float32, error) {
	return e.run(e.text, w, words, []int{e.c.Vocabulary})
}

func (e *Encoder) run(fn *backend.Fn, w nn.Values, x []float32, dims []int) ([]float32, error) {
	params, err := w.Tensors(e.b, e.c.Params())
	if err != nil {
		return nil, err
	}
	defer backend.Free(params...)
	row := 1
	for _, d := range dims {
		row *= d
	}
	out, err := backend.Batched(fn, params, len(x)/row, encodeBatch, func(from, to int) []*tensors.Tensor {
		return []*tensors.Tensor{backend.Rows(x, from, to, encodeBatch, dims...)}
	})
	if err != nil || len(out) == 0 {
		return nil, err
	}
	return out[0], nil
}
