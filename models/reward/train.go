package reward

import (
	"fmt"
	"math/rand/v2"

	"github.com/gomlx/gomlx/backends"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/nn"
	"ablate/models/train"
)

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
	Loss          string // MSE, MSEClassification, CrossEntropyLoss or BradleyTerryLoss
	Steps, Batch  int    // Batch counts images: half as many pairs, rounded up, under BradleyTerryLoss
	LearningRate  float64
	WeightDecay   float64
	Lambda        float64 // λ, weight of prompt classification
	Temperature   float64 // T, divides the scores (not an inverse temperature)
	Perturbations int     // N wrong prompts beside the right one
	Progress      func(step int, r train.Result) error
}

// A Trainer trains rewards of one configuration; it compiles once a loss and
// shape.
type Trainer struct {
	b     backends.Backend
	c     Config
	steps map[string]*train.Trainer // by loss
}

// NewTrainer returns a trainer.
func NewTrainer(b backends.Backend, c Config) (*Trainer, error) {
	return &Trainer{b: b, c: c, steps: map[string]*train.Trainer{}}, c.Check()
}

func (t *Trainer) step(loss string) (*train.Trainer, error) {
	if s, ok := t.steps[loss]; ok {
		return s, nil
	}
	l, err := t.c.Loss(loss)
	if err != nil {
		return nil, err
	}
	s, err := train.New(t.b, "reward "+loss, t.c.Params(), l)
	if err == nil {
		t.steps[loss] = s
	}
	return s, err
}

// Train trains a reward from scratch; init draws its weights, order its
// batches, pairs and wrong prompts.
func (t *Trainer) Train(d Data, init, order *rand.Rand, o Options) (nn.Values, error) {
	if len(d.Labels) == 0 {
		return nil, fmt.Errorf("reward: no image has a label good or bad, so nothing can be learned (every one was skipped, or feedback.labelled is too small)")
	}
	step, err := t.step(o.Loss)
	if err != nil {
		return nil, err
	}
	draw, err := d.batches(o, order)
	if err != nil {
		return nil, err
	}
	state, err := step.Start(nn.Init(t.c.Params(), init))
	if err != nil {
		return nil, err
	}
	defer state.Free()
	e, n := t.c.Embedding, 1
	if o.Loss == MSEClassification {
		n += o.Perturbations
	}
	for i := range o.Steps {
		batch := draw()
		b := len(batch)
		images, labels := make([]float32, b*e), make([]float32, b)
		prompts, present := make([]float32, b*n*e), make([]float32, b*n)
		for row, x := range batch {
			copy(images[row*e:], d.Images[x.image*e:(x.image+1)*e])
			labels[row] = d.Labels[x.image]
			for j, p := range append([]int{d.Prompt[x.image]}, x.wrong...) {
				copy(prompts[(row*n+j)*e:], d.Prompts[p*e:(p+1)*e])
				present[row*n+j] = 1
			}
		}
		opt := train.Default(o.LearningRate * train.WarmupDecay(i, o.Steps, 20, 0.5, 0))
		opt.WeightDecay = o.WeightDecay
		r, err := step.Step(state, opt,
			tensors.FromFlatDataAndDimensions(images, b, e),
			tensors.FromFlatDataAndDimensions(prompts, b, n, e),
			tensors.FromFlatDataAndDimensions(present, b, n),
			tensors.FromFlatDataAndDimensions(labels, b),
			tensors.FromFlatDataAndDimensions([]float32{float32(o.Lambda), float32(o.Temperature)}, 2))
		if err != nil {
			return nil, err
		}
		if o.Progress != nil {
			if err := o.Progress(i, r); err != nil {
				return nil, err
			}
		}
	}
	return step.Weights(state), nil
}

// A row is an image of a batch and its wrong prompts.
type row struct {
	image int
	wrong []int
}

// batches returns what draws one batch after the other.
func (d Data) batches(o Options, order *rand.Rand) (func() []row, error) {
	if o.Loss == BradleyTerryLoss {
		p, err := newPairs(d)
		return func() []row {
			half := (o.Batch + 1) / 2
			batch := make([]row, 2*half)
			for i := range half {
				batch[i].image, batch[half+i].image = p.draw(order)
			}
			return batch
		}, err
	}
	var deck []int
	return func() []row {
		batch := make([]row, o.Batch)
		for i := range batch {
			if len(deck) == 0 {
				deck = order.Perm(len(d.Labels))
			}
			batch[i].image = deck[0]
			deck = deck[1:]
			if o.Loss == MSEClassification && o.Perturbations > 0 {
				batch[i].wrong = d.Wrong(order, d.Prompt[batch[i].image], o.Perturbations)
			}
		}
		return batch
	}, nil
}
