// Package reward learns r(image, prompt) in [0, 1] from good/bad labels: frozen
// embeddings of both into a multilayer perceptron (Lee et al. 2023, arXiv
// 2302.12192, section 3.2), with mean squared error and, weighted by λ, prompt
// classification over perturbed prompts.
package reward

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/gomlx/gomlx/backends"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/backend"
	"ablate/models/nn"
	"ablate/models/train"
)

// Config is the architecture of the perceptron.
type Config struct {
	Embedding int `json:"embedding_dim"` // width of an image's and of a prompt's embedding
	Hidden    int `json:"hidden_dim"`
}

// Default is the perceptron of the shapes world: two hidden layers, as in the
// paper, of 256 in place of 1024.
func Default(embedding int) Config { return Config{Embedding: embedding, Hidden: 256} }

// Check reports what is wrong with a configuration that was read from a file.
func (c Config) Check() error {
	if c.Embedding < 1 || c.Hidden < 1 || c.Embedding > 1<<16 || c.Hidden > 1<<16 {
		return fmt.Errorf("reward configuration %+v: every number must be positive", c)
	}
	return nil
}

// Params are the perceptron's parameters in their fixed order.
func (c Config) Params() []nn.Param {
	var ps []nn.Param
	ps = append(ps, nn.LinearParams("mlp.0", 3*c.Embedding, c.Hidden, math.Sqrt2)...)
	ps = append(ps, nn.LinearParams("mlp.1", c.Hidden, c.Hidden, math.Sqrt2)...)
	return append(ps, nn.LinearParams("mlp.2", c.Hidden, 1, 1)...)
}

// Score is r float32[...] for unit-norm embeddings of images and prompts, both
// float32[..., Embedding].
func (c Config) Score(w nn.Weights, image, text *graph.Node) *graph.Node {
	// Unit vectors have entries of order 1/√E: scaled, the layers see order 1.
	s := math.Sqrt(float64(c.Embedding))
	x := graph.Concatenate([]*graph.Node{
		graph.MulScalar(image, s), graph.MulScalar(text, s), graph.MulScalar(graph.Mul(image, text), s*s),
	}, -1)
	relu := func(x *graph.Node) *graph.Node { return graph.MaxScalar(x, 0) }
	h := relu(w.Linear("mlp.0", x))
	h = relu(w.Linear("mlp.1", h))
	y := graph.Logistic(w.Linear("mlp.2", h)) // [..., 1]
	return graph.Reshape(y, y.Shape().Dimensions[:y.Rank()-1]...)
}

// loss is L_MSE + λ·L_pc (Lee et al. 2023, section 3.2). Its inputs are images
// float32[B, E], prompts float32[B, 1+N, E], the right one first, present
// float32[B, 1+N] which is 0 where an image has fewer than N wrong prompts,
// labels float32[B] and (λ, T) float32[2].
func (c Config) loss(w nn.Weights, in []*graph.Node) *graph.Node {
	image, prompts, present, label, hyper := in[0], in[1], in[2], in[3], in[4]
	b, n := prompts.Shape().Dimensions[0], prompts.Shape().Dimensions[1]
	images := graph.BroadcastToDims(graph.InsertAxes(image, 1), b, n, c.Embedding)
	r := c.Score(w, images, prompts) // [B, 1+N]
	right := graph.Reshape(graph.Slice(r, graph.AxisRange(), graph.AxisElem(0)), b)
	mse := graph.ReduceAllMean(graph.Square(graph.Sub(label, right)))
	if n == 1 {
		return mse
	}
	lambda := graph.Reshape(graph.Slice(hyper, graph.AxisElem(0)))
	temperature := graph.Reshape(graph.Slice(hyper, graph.AxisElem(1)))
	logits := graph.Div(r, temperature)
	absent := graph.MulScalar(graph.OneMinus(present), -1e9)
	logp := graph.LogSoftmax(graph.Add(logits, absent), -1)
	first := graph.Reshape(graph.Slice(logp, graph.AxisRange(), graph.AxisElem(0)), b)
	// Only images labelled good say which prompt is the right one.
	good := graph.MaxScalar(graph.ReduceAllSum(label), 1)
	classification := graph.Neg(graph.Div(graph.ReduceAllSum(graph.Mul(label, first)), good))
	return graph.Add(mse, graph.Mul(lambda, classification))
}

// Data is what a reward learns from: n labelled images with their prompts.
type Data struct {
	Images []float32 // embeddings [n, Embedding]
	Labels []float32 // 1 good, 0 bad [n]
	Prompt []int     // index of each image's prompt in Prompts [n]
	// Prompts are the embeddings of every prompt [m, Embedding].
	Prompts []float32
	// Wrong draws up to n perturbed prompts of a prompt.
	Wrong func(r *rand.Rand, prompt, n int) []int
}

// Options of a training.
type Options struct {
	Steps, Batch  int
	LearningRate  float64
	WeightDecay   float64
	Lambda        float64 // λ, weight of prompt classification
	Temperature   float64 // T, divides the scores (not an inverse temperature)
	Perturbations int     // N wrong prompts beside the right one; 0 leaves classification out
	Progress      func(step int, r train.Result) error
}

// A Trainer trains rewards of one configuration; it compiles once a shape.
type Trainer struct {
	c    Config
	step *train.Trainer
}

// NewTrainer returns a trainer.
func NewTrainer(b backends.Backend, c Config) (*Trainer, error) {
	t, err := train.New(b, "reward", c.Params(), c.loss)
	return &Trainer{c: c, step: t}, err
}

// Train trains a reward from scratch; init draws its weights, order its
// batches and wrong prompts.
func (t *Trainer) Train(d Data, init, order *rand.Rand, o Options) (nn.Values, error) {
	if len(d.Labels) == 0 {
		return nil, fmt.Errorf("reward: no image has a label good or bad, so nothing can be learned (every one was skipped, or feedback.labelled is too small)")
	}
	state, err := t.step.Start(nn.Init(t.c.Params(), init))
	if err != nil {
		return nil, err
	}
	defer state.Free()
	e, n := t.c.Embedding, 1+o.Perturbations
	var deck []int
	for step := range o.Steps {
		images, labels := make([]float32, o.Batch*e), make([]float32, o.Batch)
		prompts, present := make([]float32, o.Batch*n*e), make([]float32, o.Batch*n)
		for i := range o.Batch {
			if len(deck) == 0 {
				deck = order.Perm(len(d.Labels))
			}
			k := deck[0]
			deck = deck[1:]
			copy(images[i*e:], d.Images[k*e:(k+1)*e])
			labels[i] = d.Labels[k]
			list := []int{d.Prompt[k]}
			if n > 1 {
				list = append(list, d.Wrong(order, d.Prompt[k], o.Perturbations)...)
			}
			for j, p := range list {
				copy(prompts[(i*n+j)*e:], d.Prompts[p*e:(p+1)*e])
				present[i*n+j] = 1
			}
		}
		opt := train.Default(o.LearningRate * train.WarmupDecay(step, o.Steps, 20, 0.5, 0))
		opt.WeightDecay = o.WeightDecay
		r, err := t.step.Step(state, opt,
			tensors.FromFlatDataAndDimensions(images, o.Batch, e),
			tensors.FromFlatDataAndDimensions(prompts, o.Batch, n, e),
			tensors.FromFlatDataAndDimensions(present, o.Batch, n),
			tensors.FromFlatDataAndDimensions(labels, o.Batch),
			tensors.FromFlatDataAndDimensions([]float32{float32(o.Lambda), float32(o.Temperature)}, 2))
		if err != nil {
			return nil, err
		}
		if o.Progress != nil {
			if err := o.Progress(step, r); err != nil {
				return nil, err
			}
		}
	}
	return t.step.Weights(state), nil
}

// A Scorer computes r for many images.
type Scorer struct {
	c  Config
	fn *backend.Fn
}

// NewScorer compiles a scorer for every reward of the configuration.
func NewScorer(b backends.Backend, c Config) (*Scorer, error) {
	ps := c.Params()
	fn, err := backend.NewFn(b, "score", 0, func(in []*graph.Node) []*graph.Node {
		return []*graph.Node{c.Score(nn.Bind(ps, in[2:]), in[0], in[1])}
	})
	return &Scorer{c: c, fn: fn}, err
}

const scoreBatch = 256

// Score is r float32[n] of embedded images and prompts, both float32[n, E].
func (s *Scorer) Score(w nn.Values, images, prompts []float32) ([]float32, error) {
	params, err := w.Tensors(s.c.Params())
	if err != nil {
		return nil, err
	}
	defer backend.Free(params...)
	e := s.c.Embedding
	n := len(images) / e
	out := make([]float32, 0, n)
	for from := 0; from < n; from += scoreBatch {
		to := min(from+scoreBatch, n)
		x, p := make([]float32, scoreBatch*e), make([]float32, scoreBatch*e)
		copy(x, images[from*e:to*e])
		copy(p, prompts[from*e:to*e])
		xt, pt := tensors.FromFlatDataAndDimensions(x, scoreBatch, e), tensors.FromFlatDataAndDimensions(p, scoreBatch, e)
		got, err := s.fn.Call(append([]*tensors.Tensor{xt, pt}, params...)...)
		if err != nil {
			return nil, err
		}
		out = append(out, backend.Float32s(got[0])[:to-from]...)
		backend.Free(got[0], xt, pt)
	}
	return out, nil
}
