package stage

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"

	"ablate/models/checkpoint"
	"ablate/models/distance"
	"ablate/models/finetune"
	"ablate/models/lora"
	"ablate/models/nn"
	"ablate/models/pipeline"
	"ablate/models/random"
	"ablate/models/sampler"
	"ablate/models/shapes"
)

// Mix are relative weights of the data of a fine-tuning step.
type Mix struct {
	Labelled    float64 `json:"labelled"`
	Unlabelled  float64 `json:"unlabelled"`
	Pretraining float64 `json:"pretraining"`
}

// FinetuneParams of any method. Without scores the weights are all 1.
type FinetuneParams struct {
	Seed            int64           `json:"seed" key:"seed.feedback"`
	PretrainingSeed int64           `json:"pretrainingSeed,omitempty" key:"seed.pretraining"`
	Data            DataParams      `json:"data,omitzero"` // there where β > 0
	Mix             Mix             `json:"mix" key:"finetune.mix"`
	Recipe          finetune.Recipe `json:"recipe" key:"finetune"`
	Revision        int             `json:"revision,omitempty" key:"method revision"` // of the method's own code
	Sampler         SamplerParams   `json:"sampler"`
	Loss            string          `json:"loss,omitempty"` // what scores images drawn on the way: learned, oracle or none
	Probes          int             `json:"probes" key:"finetune.probes"`
}

// A tuner is one fine-tuning with what it draws and judges on the way.
type tuner struct {
	ctx     context.Context
	e       *Env
	t       Task
	p       FinetuneParams
	m       *pipeline.Model
	prompts *shapes.Catalogue
}

func runFinetune(ctx context.Context, e *Env, t Task, progress Progress) error {
	p, err := params[FinetuneParams](t)
	if err != nil {
		return err
	}
	c, m, err := readModel(t.in("model"))
	if err != nil {
		return err
	}
	f := &tuner{ctx: ctx, e: e, t: t, p: p, m: m, prompts: shapes.Prompts()}
	curve, sum := newCurve("loss", "gradient norm", "learning rate", "effective sample size"), &mean{}
	probe := f.newProbe()
	h := finetune.Hooks{Probes: p.Probes, Probe: probe.look, Fresh: f.fresh, Progress: func(step int, r finetune.Result) error {
		sum.add(r.Loss, r.GradientNorm, r.LearningRate, r.EffectiveSampleSize)
		if (step+1)%every(p.Recipe.Steps) == 0 {
			curve.add(step+1, sum.take()...)
			progress(step+1, p.Recipe.Steps, "")
		}
		return context.Cause(ctx)
	}}
	var updates nn.Values
	h.Updates = func(v nn.Values) { updates = v }
	if err := probe.look(0, m.Weights); err != nil {
		return err
	}
	values, err := f.train(h)
	if err != nil {
		return err
	}
	if err := writeModel(t.Out, c, m.Network, values); err != nil {
		return err
	}
	if updates != nil {
		if err := writeAdapter(t.Out, m.Network, p.Recipe.LoRA, updates); err != nil {
			return err
		}
	}
	if err := probe.write(t.Out); err != nil {
		return err
	}
	return curve.write(filepath.Join(t.Out, curvesFile))
}

// train runs the method.
func (f *tuner) train(h finetune.Hooks) (nn.Values, error) {
	r := f.p.Recipe
	l := lora.Config{Rank: r.LoRA.Rank, Targets: r.LoRA.Targets}
	stream := func(purpose string) *rand.Rand { return random.Stream(f.p.Seed, "finetune", purpose, 0) }
	init, order := stream("init"), stream("order")
	switch finetune.KindOf(r.Method) {
	case finetune.Trajectory:
		step, err := f.e.step(f.m.Network, finetune.PolicyLoss(r.Method, r.Anchor), l)
		if err != nil {
			return nil, err
		}
		sample, err := f.e.stochastic(f.m.Network)
		if err != nil {
			return nil, err
		}
		return finetune.Policies(step, sample, f.m, f.rollout(), init, order, func(draw, i, step int, dst []float32) {
			random.Normal(random.Stream(f.p.Seed, "finetune", fmt.Sprintf("path noise %d.%d", draw, i), step+1), dst)
		}, r, h)
	case finetune.Gradient:
		judge, values, err := f.e.judge(f.t.in("reward"), f.t.in("embedder"))
		if err != nil {
			return nil, err
		}
		step, err := f.e.step(f.m.Network, finetune.DirectLoss(r.Method, *judge), l)
		if err != nil {
			return nil, err
		}
		euler, err := f.e.sampler(f.m.Network)
		if err != nil {
			return nil, err
		}
		partial := func(w nn.Values, words []float32, draw, stop int) ([]float32, error) {
			return euler.Sample(&pipeline.Model{Network: f.m.Network, Weights: w}, words, func(i int, dst []float32) {
				random.Normal(random.Stream(f.p.Seed, "finetune", fmt.Sprintf("start noise %d", draw), i), dst)
			}, sampler.Options{Steps: f.p.Sampler.Steps, Shift: f.p.Sampler.Shift, Stop: stop})
		}
		return finetune.Direct(step, f.m, f.rollout(), partial, values, init, order, r, h)
	}
	var sources []finetune.Source
	for _, s := range []struct {
		split string
		mix   float64
	}{{"labelled", f.p.Mix.Labelled}, {"unlabelled", f.p.Mix.Unlabelled}} {
		if s.mix == 0 {
			continue
		}
		src, err := f.source(s.split)
		if err != nil {
			return nil, err
		}
		src.Mix = s.mix
		sources = append(sources, src)
	}
	n, data := 0, finetune.Pairs(nil)
	if f.p.Data.Pairs > 0 {
		n, data = finetune.PairsPerStep(f.p.Mix.Pretraining, r.Batch), newPairs(f.p.Data, f.p.PretrainingSeed)
	}
	loss, err := r.Loss()
	if err != nil {
		return nil, err
	}
	if len(sources) == 0 { // pretraining pairs alone, of which every method takes the likelihood
		loss = finetune.Likelihood()
	}
	step, err := f.e.step(f.m.Network, loss, l)
	if err != nil {
		return nil, err
	}
	return finetune.Train(step, f.m, sources, data, n, init, order, r, h)
}

// source reads one split's images, prompts, scores and labels.
func (f *tuner) source(split string) (finetune.Source, error) {
	images, err := ReadImages(f.t.in(split), "images")
	if err != nil {
		return finetune.Source{}, err
	}
	prompts, err := readPrompts(f.t.in(split))
	if err != nil {
		return finetune.Source{}, err
	}
	var scores []float32
	if _, scored := f.t.Inputs[split+" scores"]; scored {
		if scores, err = ReadScores(f.t.in(split + " scores")); err != nil {
			return finetune.Source{}, err
		}
	}
	src, err := f.images(images, prompts, scores)
	if _, labelled := f.t.Inputs["labels"]; err != nil || !labelled || split != "labelled" {
		return src, err
	}
	l, err := ReadLabels(f.t.in("labels"))
	if err != nil {
		return src, err
	}
	if len(l.Labels) != len(prompts) {
		return src, fmt.Errorf("finetune: %d labels for %d images", len(l.Labels), len(prompts))
	}
	for i, label := range l.Labels {
		src.Good[i], src.Judged[i] = label == "good", label != "skip"
	}
	return src, nil
}

// images makes a source; nil scores are all 1. A score of at least .5 stands for
// the label good.
func (f *tuner) images(images []uint8, prompts []shapes.Prompt, scores []float32) (finetune.Source, error) {
	n := len(prompts)
	if scores == nil {
		scores = make([]float32, n)
		for i := range scores {
			scores[i] = 1
		}
	}
	if len(scores) != n || len(images) != n*shapes.Pixels {
		return finetune.Source{}, fmt.Errorf("finetune: %d images, %d prompts and %d scores do not belong together", len(images)/shapes.Pixels, n, len(scores))
	}
	src := finetune.Source{
		Images: func(i int, dst []float32) { modelRange(images[i*shapes.Pixels:(i+1)*shapes.Pixels], dst) },
		Words:  func(i int, dst []float32) { prompts[i].Words(dst) },
		Scores: scores, Mix: 1, Prompts: make([]int, n), Good: make([]bool, n), Judged: make([]bool, n),
	}
	for i, p := range prompts {
		src.Prompts[i], src.Good[i], src.Judged[i] = p.Index(), scores[i] >= .5, true
	}
	return src, nil
}

// prompt is the i-th prompt of a purpose; what learns from its images takes seen
// ones only.
func (f *tuner) prompt(purpose string, i int, seenOnly bool) shapes.Prompt {
	return f.prompts.All()[f.prompts.Draw(random.Stream(f.p.Seed, "finetune", purpose, i), seenOnly)].Prompt
}

// draw draws an image a prompt from weights; noise names its random numbers.
func (f *tuner) draw(weights nn.Values, prompts []shapes.Prompt, noise string) ([]uint8, error) {
	return f.e.draw(f.ctx, &pipeline.Model{Network: f.m.Network, Weights: weights}, prompts, f.p.Sampler, func(i int, dst []float32) {
		random.Normal(random.Stream(f.p.Seed, "finetune", noise, i), dst)
	}, silent)
}

// score scores images drawn on the way.
func (f *tuner) score(images []uint8, prompts []shapes.Prompt) ([]float32, error) {
	switch f.p.Loss {
	case "oracle":
		return oracle(images, prompts), nil
	case "learned":
		return f.e.proxyScores(f.t.in("reward"), f.t.in("embedder"), images, prompts)
	}
	return nil, nil
}

// fresh draws a round's images from weights.
func (f *tuner) fresh(round int, weights nn.Values) (finetune.Source, error) {
	prompts := make([]shapes.Prompt, f.p.Recipe.Fresh)
	for i := range prompts {
		prompts[i] = f.prompt(fmt.Sprintf("fresh prompt %d", round), i/f.p.Recipe.Group, true)
	}
	images, err := f.draw(weights, prompts, fmt.Sprintf("fresh noise %d", round))
	if err != nil {
		return finetune.Source{}, err
	}
	scores, err := f.score(images, prompts)
	if err != nil {
		return finetune.Source{}, err
	}
	return f.images(images, prompts, scores)
}

// rollout is what methods that draw their own images are given.
func (f *tuner) rollout() finetune.Rollout {
	all := f.prompts.All()
	return finetune.Rollout{
		Steps: f.p.Sampler.Steps, Shift: f.p.Sampler.Shift,
		Prompt: func(i int) int {
			return f.prompts.Draw(random.Stream(f.p.Seed, "finetune", "rollout prompt", i), true)
		},
		Words: func(p int, dst []float32) { all[p].Prompt.Words(dst) },
		Score: func(images []float32, prompts []int) ([]float32, error) {
			ps := make([]shapes.Prompt, len(prompts))
			for i, p := range prompts {
				ps[i] = all[p].Prompt
			}
			bytes, err := quantizeModel(images)
			if err != nil {
				return nil, err
			}
			return f.score(bytes, ps)
		},
	}
}

// A probe looks at a model on its way: what it draws, as the gold sees it, and
// how far it has gone. The proxy's view of the same images is an action of its own.
type probe struct {
	f       *tuner
	prompts []shapes.Prompt
	real    distance.Pairs
	images  []uint8
	curve   *Curve
}

// ProbeImages is how many images a probe draws.
const ProbeImages = 256

func (f *tuner) newProbe() *probe {
	p := &probe{f: f, prompts: make([]shapes.Prompt, ProbeImages), curve: newCurve("gold", "kl", "denoising gap"), real: realPairs(ProbeImages)}
	for i := range p.prompts {
		p.prompts[i] = f.prompt("probe prompt", i, false)
	}
	return p
}

func (p *probe) look(step int, weights nn.Values) error {
	f := p.f
	images, err := f.draw(weights, p.prompts, "probe noise")
	if err != nil {
		return err
	}
	kl, gap, err := f.e.distance(f.m.Network, weights, f.m.Weights, images, p.prompts, p.real, f.p.Seed, "probe")
	if err != nil {
		return err
	}
	p.images = append(p.images, images...)
	p.curve.add(step, MeanScore(oracle(images, p.prompts)), kl, gap)
	return nil
}

func (p *probe) write(dir string) error {
	if err := writeImages(dir, map[string][]uint8{probesName: p.images}); err != nil {
		return err
	}
	if err := checkpoint.WriteJSON(filepath.Join(dir, promptsFile), promptStrings(p.prompts)); err != nil {
		return err
	}
	return p.curve.write(filepath.Join(dir, probesFile))
}

// realPairs are the first n of the reference set with their captions.
func realPairs(n int) distance.Pairs {
	images, captions := realSet("real", n)
	p := distance.Pairs{Images: make([]float32, len(images)), Words: bags(captions)}
	modelRange(images, p.Images)
	return p
}

// distance is how far a model is from base: the divergence, on images that it
// drew, and the gap of denoising losses, on real pairs.
func (e *Env) distance(net pipeline.Network, model, base nn.Values, images []uint8, prompts []shapes.Prompt, real distance.Pairs, seed int64, purpose string) (kl, gap float64, err error) {
	meter, err := memo(e.meters, net.Name, func() (*distance.Meter, error) { return distance.New(e.Backend, net) })
	if err != nil {
		return 0, 0, err
	}
	x := make([]float32, len(images))
	modelRange(images, x)
	// The same noise and times for every model of a seed, so that they compare.
	if kl, err = meter.Divergence(model, base, distance.Pairs{Images: x, Words: bags(prompts)}, random.Stream(seed, "distance", purpose, 0)); err != nil {
		return 0, 0, err
	}
	gap, err = meter.Gap(model, base, real, random.Stream(seed, "distance", purpose, 1))
	return kl, gap, err
}

// judge is a learned reward on its embedder as a graph, with its values.
func (e *Env) judge(rewardDir, embedderDir string) (*finetune.Judge, nn.Values, error) {
	ec, ev, err := readEmbedder(embedderDir)
	if err != nil {
		return nil, nil, err
	}
	m, err := readReward(rewardDir)
	if err != nil {
		return nil, nil, err
	}
	return finetune.NewJudge(ec, ev, m)
}
