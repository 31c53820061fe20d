package finetune

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/gomlx/gomlx/pkg/core/graph"

	"ablate/models/pipeline"
	"ablate/models/process"
	"ablate/models/train"
)

// A Plan is how an offline method trains on a pool of images.
type Plan struct {
	// Draw returns the images of a step.
	Draw func(r *rand.Rand) []int
	// Weights are the weights of the images' denoising losses; nil means no such loss.
	Weights []float32
	// Advantages are the objective's input "advantage" for each image: its advantage, target
	// or label. nil means that the objective has no such input.
	Advantages []float32
	// Effective are the weights whose effective sample size is reported; nil means equal
	// weights.
	Effective []float32
	// Anchor, if set, returns the anchor's weight of image i, given the recipe's weight.
	Anchor func(i int, weight float64) float64
	// Inputs, if set, adds further inputs for the images of a step.
	Inputs func(drawn []int, in train.Inputs)
	// Times, if set, changes the times of the images of a step.
	Times func(drawn []int, times []float32)
	// Paired means that the second half of a batch has the noise and times of the first.
	Paired bool
}

// effective is the effective sample size of a step's images.
func (p *Plan) effective(drawn []int) float64 {
	if p.Effective == nil {
		return float64(len(drawn))
	}
	return EffectiveSampleSize(gather(p.Effective, drawn))
}

func gather(x []float32, indices []int) []float32 {
	out := make([]float32, len(indices))
	for i, k := range indices {
		out[i] = x[k]
	}
	return out
}

// Outputs are the arguments of an objective on the forward process for a batch of B generated
// images: the predictions of the trained network and of its copies on the same noisy
// images, float32[B, ...]. A copy that the objective does not read is nil.
type Outputs struct {
	Process      process.Process
	Noisy, Clean *graph.Node // x_t and x₀
	Time         *graph.Node // t float32[B]
	Target       *graph.Node // of the network's prediction
	Model        *graph.Node // prediction of the trained network
	Detached     *graph.Node // the same, as a constant without a gradient
	Reference    *graph.Node // of the pretrained network
	Behaviour    *graph.Node // of the behaviour policy
	Average      *graph.Node // of the exponential moving average
}

// Loss returns each image's denoising loss ℓ float32[B] under a prediction.
func (o Outputs) Loss(prediction *graph.Node) *graph.Node {
	return process.Loss(o.Process, prediction, o.Target, o.Time)
}

// Apart returns the squared difference of two predictions float32[B], with the weight that
// the denoising loss gives to an error.
func (o Outputs) Apart(a, b *graph.Node) *graph.Node { return process.Loss(o.Process, a, b, o.Time) }

// Scale is the square root float32[B, 1, …] of the loss' weight. The squared difference of two
// predictions times Scale is their weighted squared difference.
func (o Outputs) Scale() *graph.Node {
	w := graph.Sqrt(o.Process.Weight(o.Time))
	for w.Rank() < o.Model.Rank() {
		w = graph.InsertAxes(w, -1)
	}
	return w
}

// likelihood is the loss Σ weightᵢ·ℓᵢ, without an objective.
func likelihood() loss {
	return loss{name: "likelihood", build: func(n networks, in train.Nodes) *graph.Node { return n.net.LikelihoodLoss(n.model, in) }}
}

// forward is the loss of an offline method:
//
//	objective(generated) + Σ weightᵢ·ℓᵢ + Σ anchorᵢ·dᵢ
//
// over a batch of images, the first G of which are generated and the rest pretraining
// pairs. d is the anchor's distance to the pretrained network. In addition to the inputs of
// the likelihood it has anchor float32[G], which is 0 where there is none, advantage
// float32[G] and the method's own inputs.
func forward(m Offline, anchor Anchor, rounds int) loss {
	objective := m.Loss()
	anchored := anchor == AnchorPrediction || anchor == AnchorKL
	if objective == nil && !anchored {
		return likelihood()
	}
	l := loss{reads: slices.Clone(m.Copies()), alias: map[Copy]Copy{}}
	name := []string{"likelihood"}
	if objective != nil {
		name = []string{m.Name(), m.Variant()}
	}
	if anchored {
		name = append(name, "anchor", string(anchor))
		if !slices.Contains(l.reads, Reference) {
			l.reads = append(l.reads, Reference)
		}
	}
	// With one round the behaviour policy is the pretrained network.
	if rounds <= 1 && slices.Contains(l.reads, Behaviour) {
		l.alias[Behaviour] = Reference
		if !slices.Contains(l.reads, Reference) {
			l.reads = append(l.reads, Reference)
		}
		name = append(name, "of one round")
	}
	if mover, ok := m.(Mover); ok && rounds > 1 {
		for _, k := range sortedCopies(mover.Moves(0)) {
			if !slices.Contains(l.reads, k) {
				l.keeps = append(l.keeps, k)
			}
		}
	}
	l.name = strings.Join(slices.DeleteFunc(name, func(s string) bool { return s == "" }), " ")
	l.build = func(n networks, in train.Nodes) *graph.Node {
		p, x0, eps, t, cond := n.net.Process, in.At("x0"), in.At("noise"), in.At("time"), in.At("cond")
		x := p.Noisy(x0, eps, t)
		prediction, target := n.model(x, t, cond), p.Target(x0, eps, t)
		loss := graph.ReduceAllSum(graph.Mul(in.At("weight"), process.Loss(p, prediction, target, t)))
		g := in.At("anchor").Shape().Dimensions[0]
		first := func(x *graph.Node) *graph.Node { return graph.Slice(x, graph.AxisRange(0, g)) }
		o := Outputs{Process: p, Noisy: first(x), Clean: first(x0), Time: first(t), Target: first(target), Model: first(prediction)}
		read := func(k Copy) *graph.Node {
			if same, ok := l.alias[k]; ok {
				k = same
			}
			d, ok := n.copies[k]
			if !ok {
				return nil
			}
			return graph.StopGradient(d(o.Noisy, o.Time, first(cond)))
		}
		o.Reference, o.Average = read(Reference), read(Average)
		if o.Behaviour = o.Reference; l.alias[Behaviour] == "" {
			o.Behaviour = read(Behaviour)
		}
		o.Detached = graph.StopGradient(o.Model)
		if n.detached != nil {
			o.Detached = graph.StopGradient(n.detached(o.Noisy, o.Time, first(cond)))
		}
		if anchored {
			distance := o.Apart(o.Model, o.Reference)
			if anchor == AnchorKL {
				distance = process.MeanSquare(p.Clean(o.Noisy, o.Model, o.Time), p.Clean(o.Noisy, o.Reference, o.Time))
			}
			loss = graph.Add(loss, graph.ReduceAllSum(graph.Mul(in.At("anchor"), distance)))
		}
		if objective == nil {
			return loss
		}
		return graph.Add(loss, objective(o, in))
	}
	return l
}

func sortedCopies(m map[Copy]float64) []Copy {
	var out []Copy
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// offlineState is the part of an offline training's state that is saved with it.
type offlineState struct {
	Round int
	Drawn *Source // the images of the round; nil while it learns from the given ones
}

// offline fine-tunes on given images and, in each round after the first, on fresh ones. If
// the method cannot learn from the fresh images, it goes on with those of the round before.
// Without sources a step has pretraining pairs only.
func (j Job) offline(ctx context.Context, t Tools, m *pipeline.Model, method Offline) (*Tuned, error) {
	batch := j.Batch
	l := forward(method, j.Anchor, j.Rounds)
	if len(j.Sources) == 0 { // pretraining pairs have the likelihood as loss with every method
		l, batch = likelihood(), 0
	}
	if batch+j.PairsPerStep == 0 {
		return nil, fmt.Errorf("finetune: there are neither generated images nor pretraining pairs to learn from")
	}
	u, err := j.begin(t, m, l)
	if err != nil {
		return nil, err
	}
	defer u.state.Free()
	f := &forwardTraining{training: u, method: method, batch: batch, plain: l.name == likelihood().name}
	if err := f.learnFrom(nil); err != nil {
		return nil, err
	}
	return u.loop(ctx, &f.offlineState, f.next)
}

// A forwardTraining is the state of a running offline training.
type forwardTraining struct {
	*training
	method Offline
	batch  int // number of generated images of a step
	plain  bool
	offlineState
	pool *Pool
	plan *Plan
	of   int // the round that the plan was made for
}

// learnFrom makes the plan for the given images, or for fresh ones.
func (f *forwardTraining) learnFrom(fresh *Source) error {
	if f.batch == 0 {
		return nil
	}
	sources := f.Sources
	if fresh != nil {
		sources = []Source{*fresh}
	}
	pool, err := NewPool(sources)
	if err != nil {
		return err
	}
	for k, s := range sources {
		if got, want := len(s.Images)/len(s.Scores), f.model.Pixels(); got != want {
			return fmt.Errorf("finetune: images of source %d have %d values each, the model's have %d", k, got, want)
		}
	}
	plan, err := f.method.Prepare(pool, f.batch)
	if err != nil {
		return err
	}
	f.pool, f.plan, f.of = pool, plan, f.Round
	return nil
}

// next returns the inputs of a step.
func (f *forwardTraining) next(ctx context.Context, step int) (train.Inputs, train.Options, []float64, error) {
	fail := func(err error) (train.Inputs, train.Options, []float64, error) { return nil, train.Options{}, nil, err }
	if f.of != f.Round { // the training was restored in a later round
		if err := f.learnFrom(f.Drawn); err != nil {
			return fail(err)
		}
		f.of = f.Round
	}
	if round := f.round(step); round > f.Round && f.batch > 0 {
		if err := f.newRound(ctx, step, round); err != nil {
			return fail(err)
		}
	}
	r := f.order(step)
	b := f.model.NewBatch(f.batch+f.PairsPerStep, f.Trains.Encodes())
	var drawn []int
	if f.batch > 0 {
		drawn = f.plan.Draw(r)
	}
	for i, k := range drawn {
		copy(b.Image(i), f.pool.Image(k))
		copy(b.CondRow(i), f.condRow(f.pool.Prompts[k]))
		if f.plan.Weights != nil {
			b.Coefficients[i] = f.plan.Weights[k] / float32(f.batch)
		}
	}
	for i := f.batch; i < f.batch+f.PairsPerStep; i++ {
		k := r.IntN(f.Pairs.Len())
		f.Pairs.Image(k, b.Image(i))
		copy(b.CondRow(i), f.condRow(f.Pairs.Caption(k)))
		b.Coefficients[i] = float32(f.Beta / float64(f.PairsPerStep))
	}
	b.Draw(r)
	ess := 0.
	if f.batch > 0 {
		ess = f.plan.effective(drawn)
		if f.plan.Paired {
			b.Repeat(f.batch / 2)
		}
		if f.plan.Times != nil {
			f.plan.Times(drawn, b.Times[:f.batch])
		}
	}
	in := b.Inputs()
	if !f.plain {
		f.inputs(in, drawn, b.Times)
	}
	o := f.options(step)
	return in, o, []float64{o.LearningRate, ess}, nil
}

// inputs adds the inputs that forward has in addition to those of the likelihood.
func (f *forwardTraining) inputs(in train.Inputs, drawn []int, times []float32) {
	anchor := make([]float32, f.batch)
	if f.anchored() {
		weight := f.anchorWeight()
		for i, k := range drawn {
			w := weight
			if f.plan.Anchor != nil {
				w = f.plan.Anchor(k, weight)
			}
			if f.Anchor == AnchorKL {
				// The divergence is an integral over times, which are not drawn uniformly.
				t := float64(times[i])
				w *= f.model.Process.DivergenceWeight(t) / f.model.Process.TimeDensity(t)
			}
			anchor[i] = float32(w / float64(f.batch))
		}
	}
	in.Vector("anchor", anchor)
	if f.method.Loss() == nil {
		return
	}
	if f.plan.Advantages != nil {
		in.Vector("advantage", gather(f.plan.Advantages, drawn))
	}
	for name, x := range f.method.Constants() {
		in.Scalar(name, x)
	}
	if f.plan.Inputs != nil {
		f.plan.Inputs(drawn, in)
	}
}

// newRound moves the copies, draws the images of a round and makes their plan.
func (f *forwardTraining) newRound(ctx context.Context, step, round int) error {
	draws := Copy("")
	if mover, ok := f.method.(Mover); ok {
		moves := mover.Moves(step)
		for _, k := range sortedCopies(moves) {
			if _, kept := f.step.Frozen[string(k)]; kept {
				if err := f.trainer.Move(f.state, string(k), moves[k]); err != nil {
					return err
				}
			}
		}
		draws = mover.Draws()
	}
	f.Round = round
	fresh, err := f.fresh(ctx, f.current(draws), round)
	if err != nil {
		return err
	}
	err = f.learnFrom(fresh)
	switch {
	case err == nil:
		f.Drawn = fresh
	case errors.Is(err, ErrNothing):
		f.of = round
	default:
		return err
	}
	return nil
}

// fresh draws and scores the images of a round.
func (f *forwardTraining) fresh(ctx context.Context, m *pipeline.Model, round int) (*Source, error) {
	n := f.Fresh.Images
	s := &Source{Mix: 1, Prompts: make([]int, n), Good: make([]bool, n), Judged: make([]bool, n)}
	for i := range s.Prompts {
		s.Prompts[i] = f.Prompt(fmt.Sprintf("fresh prompt %d", round), i/max(f.Fresh.Group, 1))
	}
	cond, err := f.encoded(m, s.Prompts)
	if err != nil {
		return nil, err
	}
	if s.Images, err = f.tools.Sampler.Draw(m, cond, f.noise("fresh noise", round), f.Sampler, 0, until(ctx)); err != nil {
		return nil, err
	}
	if f.Stored != nil {
		if s.Images, err = f.Stored(s.Images); err != nil {
			return nil, err
		}
	}
	if s.Scores, err = f.Score(s.Images, s.Prompts); err != nil {
		return nil, err
	}
	for i, r := range s.Scores {
		s.Good[i], s.Judged[i] = r >= .5, true
	}
	return s, nil
}
