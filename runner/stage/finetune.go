package stage

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"

	"ablate/models/checkpoint"
	"ablate/models/distance"
	"ablate/models/finetune"
	"ablate/models/nn"
	"ablate/models/pipeline"
	"ablate/models/random"
	"ablate/models/sampler"
	"ablate/models/shapes"
	"ablate/models/train"
)

// Finetune fine-tunes a model by any method.
const Finetune Kind = "finetune"

var finetuneDef = define(runFinetune, Def{
	Kind: Finetune, Revision: 2, Backend: true, Trains: true,
	Inputs: []Input{
		{Name: ModelInput},
		{Name: LabelledInput, Optional: true}, {Name: ScoresInput(LabelledSplit), Optional: true}, {Name: LabelsInput, Optional: true},
		{Name: UnlabelledInput, Optional: true}, {Name: ScoresInput(UnlabelledSplit), Optional: true},
		{Name: RewardInput, Optional: true}, {Name: EmbedderInput, Optional: true}, // of what scores images that it draws
	},
	Files: slices.Concat(required(modelFiles...), optional(required(AdapterFiles()...)...), required(imagesFile, promptsFile), tabled(curvesFile, probesFile)),
})

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
	Sampler         sampler.Options `json:"sampler"`
	Scores          string          `json:"scores,omitempty"` // what scores images that are drawn: learned, oracle or none
	Probes          int             `json:"probes" key:"finetune.probes"`
	ProbeImages     int             `json:"probeImages" key:"finetune.probeImages"`
	DistanceBatch   int             `json:"distanceBatch" key:"evaluate.distance.batch"`
}

// memory is that of a batch, the images of a round and of the probes, the pairs where the
// pretraining loss is added, and the trajectories of a policy gradient.
func (p FinetuneParams) memory() float64 {
	r, n := p.Recipe, func(x int) float64 { return float64(x) }
	need := number*n(r.Batch)*shapes.Pixels + number*n(r.LoRA.Rank) + drawn(r.Fresh.Images, p.Sampler) + (n(p.Probes)+1)*n(p.ProbeImages)*shapes.Pixels
	if p.Data.Pairs > 0 {
		need += n(p.Data.Pairs)*shapes.Pixels + number*n(r.Batch)*p.Mix.Pretraining/2*shapes.Pixels
	}
	if finetune.NeedsTrajectories(r.Method.Method) {
		need += number * n(r.Roll.Images) * (n(p.Sampler.Steps) + 1) * shapes.Pixels
	}
	return need
}

func (p FinetuneParams) cost() float64 {
	cost := float64(p.Recipe.Steps)*float64(p.Recipe.Batch)/1500 + float64(p.Probes)
	if p.DrawsImages() {
		cost *= 2
	}
	return cost
}

// DrawsImages reports whether the fine-tuning draws images on its way and scores them.
func (p FinetuneParams) DrawsImages() bool {
	return p.Recipe.Rounds > 1 || finetune.DrawsItself(p.Recipe.Method.Method)
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

func runFinetune(ctx context.Context, e *Env, t Task, p FinetuneParams, progress Progress) error {
	c, m, err := readModel(t.in(ModelInput))
	if err != nil {
		return err
	}
	f := &tuner{ctx: ctx, e: e, t: t, p: p, m: m, prompts: shapes.Prompts()}
	job, err := f.job(progress)
	if err != nil {
		return err
	}
	probe := f.newProbe()
	job.Probe, job.Host = probe.look, []any{&probe.seen}
	if err := probe.look(0, m.Weights); err != nil {
		return err
	}
	tools, err := e.tools(m.Network)
	if err != nil {
		return err
	}
	tuned, err := finetune.Run(ctx, tools, m, *job)
	if err != nil {
		return err
	}
	if err := writeModel(t.Out, c, m.Network, m.With(tuned.Weights).Weights); err != nil {
		return err
	}
	if tuned.Updates != nil {
		if err := writeAdapter(t.Out, m.Network, p.Recipe.Trains, p.Recipe.LoRA, tuned.Updates); err != nil {
			return err
		}
	}
	if err := probe.write(t.Out); err != nil {
		return err
	}
	return writeCurve(filepath.Join(t.Out, curvesFile), tuned.Curve)
}

// tools are what fine-tunings of a network share.
func (e *Env) tools(net pipeline.Network) (finetune.Tools, error) {
	s, err := e.sampler(net)
	if err != nil {
		return finetune.Tools{}, err
	}
	text, err := e.textEncoder(net)
	return finetune.Tools{Trainer: e.trainer, Sampler: s, Encoder: text}, err
}

// job is the fine-tuning as models/finetune knows it. Prompts are numbered as in
// shapes.Prompt.Index.
func (f *tuner) job(progress Progress) (*finetune.Job, error) {
	p := f.p
	j := &finetune.Job{Recipe: p.Recipe, Sampler: p.Sampler, Text: allText(), Probes: p.Probes, Resume: f.t.Resume, Progress: progress.steps(),
		Stream: func(purpose string, index int) *rand.Rand { return f.t.stream(p.Seed, purpose, index) },
		// What learns from images that it draws takes seen prompts only.
		Prompt: func(purpose string, i int) int { return f.prompt(purpose, i, true).Index() },
		Stored: func(images []float32) ([]float32, error) {
			bytes, err := quantizeModel(images)
			x := make([]float32, len(bytes))
			modelRange(bytes, x)
			return x, err
		},
		Score: func(images []float32, prompts []int) ([]float32, error) {
			bytes, err := quantizeModel(images)
			if err != nil {
				return nil, err
			}
			ps := make([]shapes.Prompt, len(prompts))
			for i, k := range prompts {
				ps[i] = shapes.PromptAt(k)
			}
			return f.score(bytes, ps)
		}}
	if finetune.Differentiates(p.Recipe.Method.Method) {
		var err error
		if j.Reward, j.RewardValues, err = f.e.rewardModel(f.t.in(RewardInput), f.t.in(EmbedderInput)); err != nil {
			return nil, err
		}
	}
	if finetune.DrawsItself(p.Recipe.Method.Method) {
		return j, nil
	}
	for _, s := range []struct {
		split string
		mix   float64
	}{{LabelledSplit, p.Mix.Labelled}, {UnlabelledSplit, p.Mix.Unlabelled}} {
		if s.mix == 0 {
			continue
		}
		src, err := f.source(s.split)
		if err != nil {
			return nil, err
		}
		src.Mix = s.mix
		j.Sources = append(j.Sources, *src)
	}
	if p.Data.Pairs > 0 {
		j.PairsPerStep, j.Pairs = finetune.PairsPerStep(p.Mix.Pretraining, p.Recipe.Batch), newPairs(p.Data, p.PretrainingSeed)
	}
	return j, nil
}

// allText is the text encoders' input of every prompt of the world, by its Index.
func allText() []float32 {
	prompts := make([]shapes.Prompt, shapes.AllPrompts())
	for i := range prompts {
		prompts[i] = shapes.PromptAt(i)
	}
	return bags(prompts)
}

// source reads one split's images, prompts, scores and labels. Without scores they are
// all 1. A score of at least .5 stands for the label good.
func (f *tuner) source(split string) (*finetune.Source, error) {
	images, err := ReadImages(f.t.in(split), "images")
	if err != nil {
		return nil, err
	}
	prompts, err := readPrompts(f.t.in(split))
	if err != nil {
		return nil, err
	}
	n := len(prompts)
	scores := ones(n)
	if f.t.has(ScoresInput(split)) {
		if scores, err = ReadScores(f.t.in(ScoresInput(split))); err != nil {
			return nil, err
		}
	}
	if len(scores) != n || len(images) != n*shapes.Pixels {
		return nil, fmt.Errorf("finetune: %d images, %d prompts and %d scores do not belong together", len(images)/shapes.Pixels, n, len(scores))
	}
	src := &finetune.Source{Images: make([]float32, len(images)), Scores: scores, Prompts: make([]int, n), Good: make([]bool, n), Judged: make([]bool, n)}
	modelRange(images, src.Images)
	for i, p := range prompts {
		src.Prompts[i], src.Good[i], src.Judged[i] = p.Index(), scores[i] >= .5, true
	}
	if !f.t.has(LabelsInput) || split != LabelledSplit {
		return src, nil
	}
	l, err := ReadLabels(f.t.in(LabelsInput))
	if err != nil {
		return nil, err
	}
	if len(l.Labels) != n {
		return nil, fmt.Errorf("finetune: %d labels for %d images", len(l.Labels), n)
	}
	for i, label := range l.Labels {
		src.Good[i], src.Judged[i] = label == "good", label != "skip"
	}
	return src, nil
}

func ones(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = 1
	}
	return x
}

// prompt is the i-th prompt of a purpose; what learns from its images takes seen
// ones only.
func (f *tuner) prompt(purpose string, i int, seenOnly bool) shapes.Prompt {
	return f.prompts.All()[f.prompts.Draw(f.t.stream(f.p.Seed, purpose, i), seenOnly)].Prompt
}

// score scores images drawn on the way.
func (f *tuner) score(images []uint8, prompts []shapes.Prompt) ([]float32, error) {
	switch f.p.Scores {
	case "oracle":
		return oracle(images, prompts), nil
	case "learned":
		return f.e.proxyScores(f.t.in(RewardInput), f.t.in(EmbedderInput), images, prompts)
	}
	return ones(len(prompts)), nil
}

// A probe looks at a model on its way: what it draws, as the gold sees it, and how far it
// has gone. The proxy's view of the same images is an action of its own.
type probe struct {
	f       *tuner
	prompts []shapes.Prompt
	seen    probed
}

// probed is what the probes have seen so far.
type probed struct {
	Images []uint8
	Curve  *train.Curve
}

func (f *tuner) newProbe() *probe {
	p := &probe{f: f, prompts: make([]shapes.Prompt, f.p.ProbeImages), seen: probed{Curve: train.NewCurve("gold", "kl", "denoising gap")}}
	for i := range p.prompts {
		p.prompts[i] = f.prompt("probe prompt", i, false)
	}
	return p
}

func (p *probe) look(step int, weights nn.Values) error {
	f := p.f
	m := f.m.With(weights)
	images, err := f.e.draw(f.ctx, m, p.prompts, f.p.Sampler, func(i int, dst []float32) {
		random.Normal(f.t.stream(f.p.Seed, "probe noise", i), dst)
	}, silent)
	if err != nil {
		return err
	}
	kl, gap, err := f.e.distance(m, f.m, images, p.prompts, f.p.ProbeImages, f.p.DistanceBatch, f.p.Seed, "probe")
	if err != nil {
		return err
	}
	p.seen.Images = append(p.seen.Images, images...)
	p.seen.Curve.Add(step, MeanScore(oracle(images, p.prompts)), kl, gap)
	return nil
}

func (p *probe) write(dir string) error {
	if err := writeImages(dir, map[string][]uint8{probesName: p.seen.Images}); err != nil {
		return err
	}
	if err := checkpoint.WriteJSON(filepath.Join(dir, promptsFile), promptStrings(p.prompts)); err != nil {
		return err
	}
	return writeCurve(filepath.Join(dir, probesFile), p.seen.Curve)
}

// distance is how far a model is from base: the divergence, on images that it drew, and
// the gap of denoising losses, on as many as pairs of the reference set.
func (e *Env) distance(m, base *pipeline.Model, images []uint8, prompts []shapes.Prompt, pairs, batch int, seed int64, purpose string) (kl, gap float64, err error) {
	meter, err := e.meter(m.Network)
	if err != nil {
		return 0, 0, err
	}
	of := func(images []uint8, prompts []shapes.Prompt) (p distance.Pairs, err error) {
		p.Images = make([]float32, len(images))
		modelRange(images, p.Images)
		if p.Model, err = e.conditioning(m, prompts); err != nil {
			return p, err
		}
		p.Base, err = e.conditioning(base, prompts)
		return p, err
	}
	drawn, err := of(images, prompts)
	if err != nil {
		return 0, 0, err
	}
	// The same noise and times for every model of a seed, so that they compare.
	if kl, err = meter.Divergence(m.Weights, base.Weights, drawn, batch, random.Stream(seed, "distance", purpose, 0)); err != nil {
		return 0, 0, err
	}
	real, err := of(realSet("real", pairs))
	if err != nil {
		return 0, 0, err
	}
	gap, err = meter.Gap(m.Weights, base.Weights, real, batch, random.Stream(seed, "distance", purpose, 1))
	return kl, gap, err
}

// rewardModel is a learned reward on its embedder as a graph, with its values.
func (e *Env) rewardModel(rewardDir, embedderDir string) (*finetune.RewardModel, nn.Values, error) {
	ec, ev, err := readEmbedder(embedderDir)
	if err != nil {
		return nil, nil, err
	}
	m, err := readReward(rewardDir)
	if err != nil {
		return nil, nil, err
	}
	return finetune.NewRewardModel(ec, ev, m)
}
