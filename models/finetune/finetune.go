// Package finetune adapts a pretrained model to rewards or labels; one file an
// objective. Three kinds of methods share its steps:
//
//   - offline ones learn from given images on the forward process (Train):
//     reward-weighted likelihood and its kin, DPO, KTO, AWM, DiffusionNFT, CRD;
//   - policy gradients learn from the sampler's own trajectories (Policies):
//     DDPO, DPOK, Flow-GRPO;
//   - gradients of the reward go back through the sampler's last steps (Direct):
//     ReFL, DRaFT.
//
// Symbols: r a reward in [0, 1], ℓ the denoising loss of an image, which stands
// for -log p, u a network's output (schedule.Flow), A an advantage, ρ a ratio of
// likelihoods. ε-prediction is written in the papers; here ℓ is the model's own
// weighted denoising loss.
package finetune

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/nn"
	"ablate/models/pipeline"
	"ablate/models/train"
)

// Hooks are what a training calls; nil ones are not called.
type Hooks struct {
	// Progress is told what each step did.
	Progress func(step int, r Result) error
	// Probe looks at the weights after Probes evenly spaced steps, the last
	// among them.
	Probe  func(step int, weights nn.Values) error
	Probes int
	// Updates is given the low-rank updates that were trained, once at the end, as
	// they were added to the weights that are returned.
	Updates func(updates nn.Values)
	// Fresh draws a round's images from weights.
	Fresh func(round int, weights nn.Values) (Source, error)
}

// Result is what a step reports.
type Result struct {
	train.Result
	LearningRate        float64
	EffectiveSampleSize float64 // (Σ|w|)²/Σw² of the step's generated images by what weighs them, of at most Batch
}

// PairsPerStep is the number of pretraining pairs beside a batch of generated
// images: half as many, times the mix weight, at least 1 when that is positive.
func PairsPerStep(mix float64, batch int) int {
	if mix <= 0 {
		return 0
	}
	return max(1, int(mix*float64(batch)/2+0.5))
}

// Loss is what a step of the recipe minimizes.
func (r Recipe) Loss() (Loss, error) {
	o, err := r.objective()
	if err != nil {
		return Loss{}, err
	}
	if anchored := r.Anchor == "velocity" || r.Anchor == "kl"; o.Loss != nil || anchored {
		return Forward(o, anchored), nil
	}
	return Likelihood(), nil
}

func (r Recipe) objective() (Objective, error) {
	switch r.Method {
	case "reward-weighted", "softmax-weighted", "filtered":
		return weighted, nil
	case "dpo":
		return dpo, nil
	case "kto":
		return kto, nil
	case "awm":
		return awm(r.AWM.Weighting, r.AWM.Average > 0), nil
	case "nft":
		return nft, nil
	case "crd":
		return crd, nil
	}
	return Objective{}, fmt.Errorf("finetune: method %q does not learn from given images", r.Method)
}

// optimizer are the options of step i.
func (r Recipe) optimizer(i int) train.Options {
	o := train.Default(r.LearningRate)
	switch r.Schedule {
	case "constant":
		o.LearningRate *= train.WarmupDecay(i, r.Steps, r.Warmup, 1, 0)
	case "cosine":
		o.LearningRate *= train.WarmupDecay(i, r.Steps, r.Warmup, 1, 0) * (1 + math.Cos(math.Pi*float64(i)/float64(r.Steps))) / 2
	default:
		o.LearningRate *= train.WarmupDecay(i, r.Steps, r.Warmup, 0.5, 0)
	}
	o.Beta2, o.EMA, o.Clip, o.WeightDecay = 0.99, r.EMA, r.Clip, r.WeightDecay
	return o
}

// Train fine-tunes a model on given images, and in each round after the first
// on fresh ones; on those of the round before where fresh ones teach nothing.
// Without sources a step takes pretraining pairs alone, n of them. init draws
// low-rank updates; order draws images, pairs, noise and times.
func Train(s *Step, m *pipeline.Model, sources []Source, pairs Pairs, n int, init, order *rand.Rand, r Recipe, h Hooks) (nn.Values, error) {
	t, err := s.start(m, nil, init)
	if err != nil {
		return nil, err
	}
	defer t.free()
	l, err := newLearner(r, sources)
	if err != nil {
		return nil, err
	}
	if l.batch+n == 0 {
		return nil, fmt.Errorf("finetune: there is neither a generated image nor a pretraining pair to learn from")
	}
	px, round := m.Pixels(), 0
	for step := range r.Steps {
		if next := step * r.Rounds / r.Steps; next > round {
			round = next
			policy, err := t.refresh(r.Method, round)
			if err != nil {
				return nil, err
			}
			fresh, err := h.Fresh(round, policy)
			if err != nil {
				return nil, err
			}
			next, err := newLearner(r, []Source{fresh})
			if err == nil {
				l = next
			} else if !errors.Is(err, errNothing) {
				return nil, err
			}
		}
		b := m.NewBatch(l.batch + n)
		image := func(i int) []float32 { return b.Images[i*px : (i+1)*px] }
		words := func(i int) []float32 { return b.Words[i*m.Words : (i+1)*m.Words] }
		drawn := l.draw(order)
		for i, k := range drawn {
			src, j := l.pool.of(k)
			src.Images(j, image(i))
			src.Words(j, words(i))
			b.Coefficients[i] = l.coefficient(k)
		}
		for i := range n {
			pairs.Fill(order.IntN(pairs.Len()), image(l.batch+i), words(l.batch+i))
			b.Coefficients[l.batch+i] = float32(r.Beta / float64(n))
		}
		b.Draw(order)
		if r.Method == "dpo" {
			b.Repeat(l.batch / 2)
		}
		opt := r.optimizer(step)
		res, err := s.trainer.Step(t.state, opt, append(b.Inputs(), l.inputs(s, m.Network, drawn, b.Times)...)...)
		if err != nil {
			return nil, err
		}
		if err := h.after(step, r.Steps, t, Result{res, opt.LearningRate, l.effective(drawn)}); err != nil {
			return nil, err
		}
	}
	return t.finish(h), nil
}

// after reports a step and looks at the weights where it is time.
func (h Hooks) after(step, steps int, t *tuning, r Result) error {
	if h.Progress != nil {
		if err := h.Progress(step, r); err != nil {
			return err
		}
	}
	if h.Probe == nil || !probed(step, steps, h.Probes) {
		return nil
	}
	return h.Probe(step+1, t.average())
}

// probed reports whether step, counted from 0, ends one of n equal parts.
func probed(step, steps, n int) bool { return (step+1)*n/steps > step*n/steps }

// refresh moves the copies that a round's images are compared with, round by
// round, with the published decays, and returns the weights that draw the round's
// images: the current ones, but for nft, which draws from its old copy. Where
// there is one round the copies stay where the given images come from: at the
// pretrained model; moved after every step on given images they led nft to noise,
// and awm and crd to a third less recall. A published round is an update or two;
// here it is as many as steps and rounds say.
func (t *tuning) refresh(method string, round int) (nn.Values, error) {
	weights, k := t.weights(), float64(round)
	switch method {
	case "awm": // the old copy is the policy itself; the running mean slows to .3
		if err := t.follow(Old, weights, 0); err != nil {
			return nil, err
		}
		return weights, t.follow(Average, weights, min(.001*k, .3))
	case "nft":
		err := t.follow(Old, weights, min(.001*k, .5))
		return t.copies[Old], err
	case "crd": // whose own drawing copy is the policy itself for the first 75 rounds
		return weights, t.follow(Old, weights, min(.25+.005*k, .999))
	}
	return weights, nil
}

// errNothing is that of images from which a method can learn nothing.
var errNothing = errors.New("nothing to learn from")

// A learner is what a method makes of its images, on the host.
type learner struct {
	r       Recipe
	batch   int // generated images of a step
	pool    *pool
	weights []float32 // of the likelihood, where the method weighs it
	signal  []float32 // what the objective is told of each image; nil where that is its label
	urn     urn       // what a step draws from; for dpo and kto the two that follow
	good    urn
	bad     urn
	// By prompt: for crd all images, for dpo the good and the bad ones.
	group, goodOf, badOf map[int]urn
	prompts              []int // that have both
}

func newLearner(r Recipe, sources []Source) (*learner, error) {
	p, err := newPool(sources)
	if err != nil {
		return nil, err
	}
	l := &learner{r: r, pool: p, batch: r.Batch}
	all := p.where(func(int) bool { return true })
	if l.urn = p.urn(all); l.urn.length() == 0 {
		l.batch = 0
		return l, nil
	}
	good := func() []int { return p.where(func(i int) bool { return p.judged[i] && p.good[i] }) }
	bad := func() []int { return p.where(func(i int) bool { return p.judged[i] && !p.good[i] }) }
	const clip = 5 // of advantages, in every published setting
	switch r.Method {
	case "reward-weighted":
		l.weights = p.scores
	case "softmax-weighted":
		l.weights = Softmax(p.scores, r.Tau)
	case "filtered":
		if l.weights = Above(p.scores, r.Threshold); r.Keep == "fraction" {
			l.weights = Top(p.scores, r.Top)
		}
		// A step's images are drawn from what is kept: a batch of which most weigh
		// nothing would be a small one.
		kept := p.where(func(i int) bool { return l.weights[i] > 0 })
		if len(kept) == 0 {
			return nil, fmt.Errorf("finetune: no image has a score of %v, so that filtered keeps none: %w", r.Threshold, errNothing)
		}
		l.urn = p.urn(kept)
	case "dpo":
		l.goodOf, l.badOf = p.byPrompt(good()), p.byPrompt(bad())
		for _, g := range slices.Sorted(maps.Keys(l.goodOf)) {
			if _, ok := l.badOf[g]; ok {
				l.prompts = append(l.prompts, g)
			}
		}
		if l.batch%2 != 0 {
			return nil, fmt.Errorf("finetune: dpo learns from pairs, and a batch of %d is odd", l.batch)
		}
		if len(l.prompts) == 0 {
			return nil, fmt.Errorf("finetune: dpo compares good and bad images of one prompt, and no prompt has both: %w", errNothing)
		}
	case "kto":
		if l.good, l.bad = p.urn(good()), p.urn(bad()); l.good.length() == 0 || l.bad.length() == 0 {
			return nil, fmt.Errorf("finetune: kto needs good and bad images, and there are %d and %d: %w", len(l.good.images), len(l.bad.images), errNothing)
		}
	case "awm":
		l.signal = clipTo(Advantages(p.scores, p.prompts, false), clip)
		for i := range l.signal {
			l.signal[i] /= clip
		}
	case "nft":
		if !r.Labels() {
			l.signal = Optimality(Advantages(p.scores, p.prompts, false), clip)
			break
		}
		if l.urn = p.urn(p.where(func(i int) bool { return p.judged[i] })); l.urn.length() == 0 {
			return nil, fmt.Errorf("finetune: no image has a label: %w", errNothing)
		}
	case "crd":
		l.signal = Optimality(Advantages(p.scores, p.prompts, false), clip)
		l.group = p.byPrompt(all)
	}
	return l, nil
}

// draw is a step's images.
func (l *learner) draw(order *rand.Rand) []int {
	drawn := make([]int, l.batch)
	if l.r.Method == "dpo" {
		half := l.batch / 2
		for i := range half {
			g := l.prompts[order.IntN(len(l.prompts))]
			drawn[i], drawn[half+i] = l.goodOf[g].draw(order), l.badOf[g].draw(order)
		}
		return drawn
	}
	for i := range drawn {
		from, taken := l.urn, drawn[:0]
		switch {
		case l.r.Method == "kto":
			if from = l.bad; order.Float64() < l.r.KTO.Positive {
				from = l.good
			}
		case l.r.Method == "crd" && i%max(l.r.CRD.Group, 1) > 0:
			from, taken = l.group[l.pool.prompts[drawn[i-1]]], drawn[i-i%l.r.CRD.Group:i]
		}
		drawn[i] = from.draw(order)
		// A group is of different images while its prompt has any left.
		for len(taken) < len(from.images) && slices.Contains(taken, drawn[i]) {
			drawn[i] = from.draw(order)
		}
	}
	return drawn
}

// coefficient is what image k's denoising loss counts in a step.
func (l *learner) coefficient(k int) float32 {
	if l.weights == nil {
		return 0
	}
	return l.weights[k] / float32(l.batch)
}

// effective is the effective sample size of a step's images by what weighs
// them; their number where nothing does.
func (l *learner) effective(drawn []int) float64 {
	weigh := l.weights
	if l.r.Method == "awm" {
		weigh = l.signal
	}
	if weigh == nil {
		return float64(len(drawn))
	}
	w := make([]float32, len(drawn))
	for i, k := range drawn {
		w[i] = weigh[k]
	}
	return EffectiveSampleSize(w)
}

// inputs are those that a step of Forward takes beyond the likelihood's.
func (l *learner) inputs(s *Step, net pipeline.Network, drawn []int, times []float32) []*tensors.Tensor {
	o, err := l.r.objective()
	if err != nil || s.loss.Name == Likelihood().Name {
		return nil
	}
	vector := func(x []float32) *tensors.Tensor { return tensors.FromFlatDataAndDimensions(x, len(x)) }
	anchor := make([]float32, l.batch)
	for i, k := range drawn {
		anchor[i] = float32(l.anchor(net, k, float64(times[i])) / float64(l.batch))
	}
	in := []*tensors.Tensor{vector(anchor)}
	if o.Loss == nil {
		return in
	}
	if o.Images > 0 {
		x := make([]float32, l.batch)
		for i, k := range drawn {
			switch {
			case l.signal != nil:
				x[i] = l.signal[k]
			case l.pool.good[k]:
				x[i] = 1
			}
		}
		in = append(in, vector(x))
	}
	group := make([]int, l.batch)
	for i, k := range drawn {
		group[i] = l.pool.prompts[k]
	}
	return append(in, tensors.FromFlatDataAndDimensions(shares(group), l.batch, l.batch), vector(l.constants()))
}

// constants are the objective's, in its order.
func (l *learner) constants() []float32 {
	r := l.r
	switch r.Method {
	case "dpo":
		return []float32{float32(r.DPO.Beta)}
	case "kto":
		return []float32{float32(r.KTO.Beta), float32(r.KTO.Desirable), float32(r.KTO.Undesirable)}
	case "awm":
		return []float32{float32(r.AWM.Clip), float32(r.AWM.Average), float32(r.AWM.Power)}
	case "nft":
		return []float32{float32(r.NFT.Beta), 5}
	case "crd":
		return []float32{float32(r.CRD.Beta), float32(5 / r.CRD.Beta)}
	}
	return nil // of the likelihood alone
}

// anchor is the weight of image k's distance to the base at time t.
func (l *learner) anchor(net pipeline.Network, k int, t float64) float64 {
	switch l.r.Anchor {
	case "velocity":
		if l.r.Method == "crd" {
			// Scaled by the reward: an image of none is held by the released code's
			// floor of 1e-4 alone.
			r := float64(l.signal[k])
			return min(l.r.Weight, 1e-4) + r*max(l.r.Weight-1e-4, 0)
		}
		return l.r.Weight
	case "kl":
		// Times are not drawn evenly, and the divergence is an integral over them.
		return l.r.Weight * net.Schedule.DivergenceWeight(t) / max(net.Schedule.Density(t), 1e-3)
	}
	return 0
}
