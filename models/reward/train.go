package reward

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/gomlx/gomlx/backends"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/nn"
	"ablate/models/random"
	"ablate/models/train"
)

// Data are the training data of a reward: n labelled images with their prompts.
type Data struct {
	Images []float32 // embeddings [n, Embedding]
	Labels []float32 // 1 good, 0 bad [n]
	Prompt []int     // index of each image's prompt in Prompts [n]
	// Prompts are the embeddings of every prompt [m, Embedding].
	Prompts []float32
	// Wrong returns up to n random perturbed prompts of a prompt.
	Wrong func(r *rand.Rand, prompt, n int) []int
}

// Options of a training.
type Options struct {
	Loss          string // MSE, MSEClassification, CrossEntropyLoss or BradleyTerryLoss
	Steps, Batch  int    // Batch counts images: half as many pairs, rounded up, under BradleyTerryLoss
	LearningRate  float64
	Adam          train.Adam
	Lambda        float64 // λ, weight of prompt classification
	Temperature   float64 // T, divides the scores (not an inverse temperature)
	Perturbations int     // N, wrong prompts in addition to the right one
	Resume        train.Resume
	Progress      func(train.Report)
}

// A Trainer trains rewards of one configuration. It compiles once for each loss and
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
	s, err := train.New(t.b, train.Step{Name: "reward " + loss, Params: t.c.Params(), Loss: l})
	if err == nil {
		t.steps[loss] = s
	}
	return s, err
}

// Train trains a reward from scratch. init draws its weights, order the wrong prompts
// and pairs of each step, and epochs the order of the labelled images.
func (t *Trainer) Train(ctx context.Context, d Data, init *rand.Rand, order, epochs random.Steps, o Options) (nn.Values, *train.Curve, error) {
	if len(d.Labels) == 0 {
		return nil, nil, fmt.Errorf("reward: no image has a label good or bad, so nothing can be learned (every one was skipped, or feedback.labelled is too small)")
	}
	step, err := t.step(o.Loss)
	if err != nil {
		return nil, nil, err
	}
	draw, err := d.batches(o, epochs)
	if err != nil {
		return nil, nil, err
	}
	state, err := step.Start(nn.Init(t.c.Params(), init), false)
	if err != nil {
		return nil, nil, err
	}
	defer state.Free()
	loop := train.Loop{Trainer: step, State: state, Steps: o.Steps, Resume: o.Resume, Progress: o.Progress,
		Batch: func(_ context.Context, i int) (train.Inputs, train.Options, []float64, error) {
			opt := train.Options{LearningRate: o.LearningRate * train.WarmupDecay(i, o.Steps, 20, 0.5, 0), Adam: o.Adam, Clip: 1}
			return t.inputs(d, draw(i, order(i)), o), opt, nil, nil
		}}
	curve, err := loop.Run(ctx)
	if err != nil {
		return nil, nil, err
	}
	return step.Weights(state), curve, nil
}

// inputs returns the inputs of a batch. A loss uses those that it needs.
func (t *Trainer) inputs(d Data, batch []row, o Options) train.Inputs {
	e, b, n := t.c.Embedding, len(batch), 1
	if o.Loss == MSEClassification {
		n += o.Perturbations
	}
	images, labels := make([]float32, b*e), make([]float32, b)
	prompts, present := make([]float32, b*n*e), make([]float32, b*n)
	for i, x := range batch {
		copy(images[i*e:], d.Images[x.image*e:(x.image+1)*e])
		labels[i] = d.Labels[x.image]
		for j, p := range append([]int{d.Prompt[x.image]}, x.wrong...) {
			copy(prompts[(i*n+j)*e:], d.Prompts[p*e:(p+1)*e])
			present[i*n+j] = 1
		}
	}
	in := train.Inputs{
		"images":  tensors.FromFlatDataAndDimensions(images, b, e),
		"prompts": tensors.FromFlatDataAndDimensions(prompts, b, n, e),
		"present": tensors.FromFlatDataAndDimensions(present, b, n),
	}
	in.Vector("labels", labels)
	in.Scalar("lambda", o.Lambda)
	in.Scalar("temperature", o.Temperature)
	return in
}

// A row is an image of a batch and its wrong prompts.
type row struct {
	image int
	wrong []int
}

// batches returns the function that draws the batch of a step.
func (d Data) batches(o Options, epochs random.Steps) (func(step int, r *rand.Rand) []row, error) {
	if o.Loss == BradleyTerryLoss {
		p, err := newPairs(d, epochs)
		half := (o.Batch + 1) / 2
		return func(step int, r *rand.Rand) []row {
			batch := make([]row, 2*half)
			for i := range half {
				batch[i].image, batch[half+i].image = p.draw(step*half+i, r)
			}
			return batch
		}, err
	}
	images := random.NewShuffled(len(d.Labels), epochs)
	return func(step int, r *rand.Rand) []row {
		batch := make([]row, o.Batch)
		for i := range batch {
			batch[i].image = images.At(step*o.Batch + i)
			if o.Loss == MSEClassification && o.Perturbations > 0 {
				batch[i].wrong = d.Wrong(r, d.Prompt[batch[i].image], o.Perturbations)
			}
		}
		return batch
	}, nil
}
