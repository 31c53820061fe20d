package layout

import (
	"path/filepath"
	"slices"

	"ablate/experiments/language"
	"ablate/models/finetune"
	"ablate/models/sampler"
	"ablate/runner/stage"
)

// fill returns the parameters of a stage with the values of a trial.
func fill[P any](t language.Trial) (P, error) {
	var p P
	return p, stage.Fill(&p, func(path string) (any, bool) {
		switch path {
		case "seed.feedback":
			return t.Seed.Feedback, true
		case "seed.pretraining":
			return t.Seed.Pretraining, true
		}
		return t.Content.Value(path)
	})
}

// scorer returns the value of [stage.FinetuneParams.Scores]: what scores the images that
// a fine-tuning draws.
func scorer(t language.Trial) string {
	switch loss := t.Content.Name("reward.loss"); {
	case t.Content.Learns():
		return stage.ByReward
	case loss == stage.ByGold:
		return stage.ByGold
	}
	return stage.ByNone
}

// chain returns the actions of a view's trial. base has the actions of the base trial of the
// same seed up to its reward, which is the proxy of every trial. A trial that is cut at a
// rung has nothing that would measure it with the gold.
func (g *Graph) chain(v language.View, base Chain) (Chain, error) {
	if v.Trial.Content.Name(programEngine) != "" {
		return g.program(v, base)
	}
	c, err := g.head(v)
	if err != nil {
		return nil, err
	}
	lays := []func(v language.View, c, base Chain) (Chain, error){g.withFinetuning, g.withEvaluation, g.withProbes}
	if v.Cut {
		lays = lays[:1]
	}
	for _, lay := range lays {
		if c, err = lay(v, c, base); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// headKey identifies a head: what it depends on.
type headKey struct {
	seed    language.Seed
	cut     bool
	content string // without the parameters of the fine-tuning
}

// head returns the beginning of a trial's chain, which no parameter of its fine-tuning changes: up to
// the reward and its assessment. Most trials of a large study share one of few.
func (g *Graph) head(v language.View) (Chain, error) {
	key := headKey{v.Trial.Seed, v.Cut, v.Trial.Content.Without("finetune")}
	if c, ok := g.heads[key]; ok {
		return c, nil
	}
	c, err := g.toReward(v.Trial)
	if err == nil && !v.Cut {
		c, err = g.withAssessment(v.Trial, c)
	}
	if err != nil {
		return nil, err
	}
	g.heads[key] = c
	return c, nil
}

// toReward returns the actions of a trial up to its reward.
func (g *Graph) toReward(t language.Trial) (Chain, error) {
	if t.Content.Name(programEngine) != "" {
		return g.engineToReward(t)
	}
	model, err := g.model(t)
	if err != nil {
		return nil, err
	}
	c := Chain{}.with(Part{Model, model})
	if !t.Content.Learns() {
		return c, nil
	}
	embedder, err := g.embedder(t, model)
	if err != nil {
		return nil, err
	}
	if c, err = g.withLabels(t, c); err != nil {
		return nil, err
	}
	p, err := fill[stage.RewardParams](t)
	reward := g.add(stage.Reward, p, Input{stage.ImagesInput, c.Action(LabelledImages)}, Input{stage.LabelsInput, c.Action(Labels)}, Input{stage.EmbedderInput, embedder})
	return c.with(Part{Embedder, embedder}, Part{Reward, reward}), err
}

// model returns the action of the denoiser that a trial begins with, which is pretrained
// or adopted.
func (g *Graph) model(t language.Trial) (*Action, error) {
	path := t.Content.Name("model.checkpoint.path")
	if path == "" {
		p, err := fill[stage.PretrainParams](t)
		return g.add(stage.Pretrain, p), err
	}
	path = g.path(path)
	digest, err := g.out.Checkpoint(path)
	if err != nil {
		return nil, err
	}
	return g.add(stage.Adopt, stage.AdoptParams{Path: path, Digest: digest}), nil
}

// path returns the absolute path of a file that the study names.
func (g *Graph) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(g.dir, name)
}

// embedder returns the action whose artifact has the embedder of a trial: the one that
// trains it, or model if that is an adopted checkpoint.
func (g *Graph) embedder(t language.Trial, model *Action) (*Action, error) {
	if t.Content.Whole("embedder.steps") == 0 {
		return model, nil
	}
	p, err := fill[stage.EmbedParams](t)
	return g.add(stage.Embed, p), err
}

// drawn is a list of prompts and images drawn for them.
type drawn struct {
	prompts, images *Action
	parts           []*Action // of an engine: the parts of images, or images itself
	n               int       // number of images of all sets
}

// draw adds the drawing of one image per prompt by the fine-tuned model, or by the
// pretrained model if tuned is nil.
func (g *Graph) draw(t language.Trial, model, tuned, prompts *Action, p stage.DrawParams) (drawn, error) {
	filled, err := fill[stage.DrawParams](t)
	filled.Candidate, filled.Steps = p.Candidate, p.Steps
	filled.Images, filled.Models = rows(prompts), 1
	inputs := []Input{{stage.ModelInput, model}, {stage.PromptsInput, prompts}}
	if tuned != nil {
		inputs = append(inputs, Input{stage.TunedInput, tuned})
	}
	if p.Steps {
		filled.Models = checkpoints(tuned)
	}
	return drawn{prompts: prompts, images: g.add(stage.Draw, filled, inputs...), n: filled.Models * filled.Images}, err
}

// rows returns the number of prompts of a list.
func rows(prompts *Action) int { return prompts.Params.(stage.PromptsParams).Rows }

// checkpoints returns the number of checkpoints of a fine-tuning.
func checkpoints(tuned *Action) int {
	p := tuned.Params.(stage.FinetuneParams)
	return min(p.Checkpoints, p.Recipe.Steps)
}

// inputs returns the images and their prompts as inputs of a stage, followed by more.
func (d drawn) inputs(more ...Input) []Input {
	return append([]Input{{stage.ImagesInput, d.images}, {stage.PromptsInput, d.prompts}}, more...)
}

// judge adds the judging of images.
func (g *Graph) judge(d drawn) *Action {
	return g.add(stage.Judge, stage.JudgeParams{Images: d.n}, d.inputs()...)
}

// list returns the action of one of a trial's lists of prompts.
func (g *Graph) list(t language.Trial, name string) *Action {
	l := stage.ListOf(name)
	if l.Path != "" {
		l.Rows = t.Content.Whole(l.Path)
	}
	return g.add(stage.Prompts, stage.PromptsParams{Seed: t.Seed.Feedback, List: name, Rows: l.Rows, Unseen: l.Unseen, Captions: l.Captions})
}

// pretrained returns a list of prompts and the images that the pretrained model draws for
// it.
func (g *Graph) pretrained(t language.Trial, c Chain, list string) (drawn, error) {
	return g.draw(t, c.Action(Model), nil, g.list(t, list), stage.DrawParams{})
}

// withLabels adds the images for labelling, and their labels by the annotator.
func (g *Graph) withLabels(t language.Trial, c Chain) (Chain, error) {
	d, err := g.pretrained(t, c, stage.LabelledList)
	if err != nil {
		return nil, err
	}
	verdicts := g.judge(d)
	labels, err := g.label(t, d.prompts, verdicts)
	return c.with(Part{LabelledPrompts, d.prompts}, Part{LabelledImages, d.images}, Part{LabelledVerdicts, verdicts}, Part{Labels, labels}), err
}

// label adds the labelling of images by the annotator.
func (g *Graph) label(t language.Trial, prompts, verdicts *Action) (*Action, error) {
	p, err := fill[stage.LabelParams](t)
	p.List = prompts.Params.(stage.PromptsParams).List
	p.Gold = t.Content.Gold()
	return g.add(stage.Label, p, Input{stage.PromptsInput, prompts}, Input{stage.VerdictsInput, verdicts}), err
}

// withAssessment adds the assessment of a learned reward on images of the pretrained
// model that no training sees. The same annotator labels them.
func (g *Graph) withAssessment(t language.Trial, c Chain) (Chain, error) {
	if c.Action(Reward) == nil {
		return c, nil
	}
	d, err := g.pretrained(t, c, stage.AssessList)
	if err != nil {
		return nil, err
	}
	prompts := c.Action(LabelledPrompts)
	learned := drawn{prompts: prompts, images: c.Action(LabelledImages), n: rows(prompts)}
	verdicts := g.judge(d)
	labels, err := g.label(t, d.prompts, verdicts)
	if err != nil {
		return nil, err
	}
	scores, trained := g.learnedScores(c, d), g.learnedScores(c, learned)
	assessment := g.add(stage.Assess, stage.NoParams{}, Input{stage.PromptsInput, d.prompts}, Input{stage.VerdictsInput, verdicts},
		Input{stage.LabelsInput, labels}, Input{stage.ScoresInput, scores},
		Input{stage.Of(stage.LabelledList, stage.LabelsInput), c.Action(Labels)}, Input{stage.Of(stage.LabelledList, stage.ScoresInput), trained})
	return c.with(Part{AssessPrompts, d.prompts}, Part{AssessImages, d.images}, Part{AssessVerdicts, verdicts}, Part{AssessLabels, labels},
		Part{AssessScores, scores}, Part{LabelledScores, trained}, Part{Assessment, assessment}), nil
}

// learnedScores adds the scoring of images by the trial's own reward.
func (g *Graph) learnedScores(c Chain, d drawn) *Action {
	return g.add(stage.Score, stage.ScoreParams{Images: d.n}, d.inputs(rewardInputs(c)...)...)
}

// scores adds the scoring by which a trial weights or chooses images. If the gold scores,
// it also returns the verdicts. scores is nil if all images have the same weight.
func (g *Graph) scores(t language.Trial, c Chain, d drawn) (scores, verdicts *Action) {
	switch scorer(t) {
	case stage.ByReward:
		return g.learnedScores(c, d), nil
	case stage.ByGold:
		verdicts = g.judge(d)
		return g.add(stage.Oracle, stage.NoParams{}, Input{stage.VerdictsInput, verdicts}), verdicts
	}
	return nil, nil
}

// rewardInputs returns the inputs with which a stage scores images by a trial's own
// reward.
func rewardInputs(c Chain) []Input {
	return []Input{{stage.RewardInput, c.Action(Reward)}, {stage.EmbedderInput, c.Action(Embedder)}}
}

// withFinetuning adds the fine-tuning of a trial, if it has one, and the images, scores
// and labels that it learns from.
func (g *Graph) withFinetuning(v language.View, c, base Chain) (Chain, error) {
	t := v.Trial
	if t.Content.Name("finetune.method") == "none" {
		return c, nil
	}
	p, err := fill[stage.FinetuneParams](t)
	if err != nil {
		return nil, err
	}
	inputs := []Input{{stage.ModelInput, c.Action(Model)}}
	learn := func(list string, prompts, images *Action, input string, of *Action) {
		inputs = append(inputs, Input{stage.Of(list, stage.PromptsInput), prompts}, Input{stage.Of(list, stage.ImagesInput), images})
		if of != nil {
			inputs = append(inputs, Input{stage.Of(list, input), of})
		}
	}
	for _, of := range []struct {
		list                              string
		mix                               float64
		prompts, images, verdicts, scores Role
	}{
		{stage.LabelledList, p.Mix.Labelled, LabelledPrompts, LabelledImages, LabelledVerdicts, LabelledScores},
		{stage.UnlabelledList, p.Mix.Unlabelled, UnlabelledPrompts, UnlabelledImages, UnlabelledVerdicts, UnlabelledScores},
	} {
		if of.mix == 0 || t.Content.Whole(stage.ListOf(of.list).Path) == 0 {
			continue
		}
		if of.list == stage.LabelledList && finetune.LearnsFromLabels(p.Recipe.Method.Method) && scorer(t) != stage.ByGold {
			if c, err = g.withLabels(t, c); err != nil {
				return nil, err
			}
			learn(of.list, c.Action(LabelledPrompts), c.Action(LabelledImages), stage.LabelsInput, c.Action(Labels))
			continue
		}
		d, err := g.pretrained(t, c, of.list)
		if err != nil {
			return nil, err
		}
		scores, verdicts := g.scores(t, c, d)
		learn(of.list, d.prompts, d.images, stage.ScoresInput, scores)
		c = c.with(Part{of.prompts, d.prompts}, Part{of.images, d.images}, Part{of.verdicts, verdicts}, Part{of.scores, scores})
	}
	if p.DrawsImages() {
		prompts := g.list(t, stage.FinetuneList)
		c = c.with(Part{FinetunePrompts, prompts})
		inputs = append(inputs, Input{stage.PromptsInput, prompts})
		if p.Scores = scorer(t); p.Scores == stage.ByReward {
			inputs = append(inputs, rewardInputs(c)...)
		}
	} else {
		p.Sampler = sampler.Options{}
	}
	if p.Recipe.Beta == 0 || p.Mix.Pretraining == 0 {
		p.Data, p.PretrainingSeed = stage.DataParams{}, 0
	}
	last := 0
	for _, at := range v.Rungs {
		q := p
		q.Segment = stage.SegmentOf(last, at)
		segment := g.add(stage.Finetune, q, inputs...)
		d, err := g.draw(t, c.Action(Model), segment, g.list(t, stage.ProbeList), stage.DrawParams{})
		if err != nil {
			return nil, err
		}
		c = c.with(Part{ProbePrompts, d.prompts}).also(Rung, segment).also(RungImages, d.images).also(RungScores, g.proxy(base, d))
		if last > 0 {
			inputs = inputs[:len(inputs)-1]
		}
		last, inputs = at, append(slices.Clip(inputs), Input{stage.SegmentInput, segment})
	}
	if v.Cut {
		return c, nil
	}
	p.Segment.From = last
	return c.with(Part{Finetune, g.add(stage.Finetune, p, inputs...)}), nil
}

// withEvaluation adds the images of a trial's fine-tuned model, or of the pretrained one
// if it fine-tunes nothing, and their metrics.
func (g *Graph) withEvaluation(v language.View, c, base Chain) (Chain, error) {
	t := v.Trial
	bestOf := t.Content.Whole("evaluate.bestOf")
	model, tuned := c.Action(Model), c.Action(Finetune)
	best := func(list string) (drawn, error) {
		prompts := g.list(t, list)
		var candidates []Input
		for k := range bestOf {
			d, err := g.draw(t, model, tuned, prompts, stage.DrawParams{Candidate: k})
			if err != nil || bestOf == 1 {
				return d, err
			}
			scores, _ := g.scores(t, c, d)
			candidates = append(candidates, Input{stage.Numbered(stage.ImagesInput, k), d.images}, Input{stage.Numbered(stage.ScoresInput, k), scores})
		}
		return drawn{prompts: prompts, images: g.add(stage.Select, stage.SelectParams{}, candidates...), n: rows(prompts)}, nil
	}
	aligned, err := best(stage.AlignmentList)
	if err != nil {
		return nil, err
	}
	faithful, err := best(stage.FidelityList)
	if err != nil {
		return nil, err
	}
	distance, err := fill[stage.DistanceParams](t)
	if err != nil {
		return nil, err
	}
	verdicts := g.judge(aligned)
	return c.with(Part{AlignmentPrompts, aligned.prompts}, Part{AlignmentImages, aligned.images}, Part{AlignmentVerdicts, verdicts},
		Part{AlignmentScores, g.proxy(base, aligned)},
		Part{Diversity, g.add(stage.Diversity, stage.DiversityParams{Images: aligned.n}, aligned.inputs(Input{stage.VerdictsInput, verdicts})...)},
		Part{Distance, g.distance(model, tuned, aligned, distance)},
		Part{FidelityPrompts, faithful.prompts}, Part{FidelityImages, faithful.images},
		Part{Fidelity, g.add(stage.Fidelity, stage.FidelityParams{Images: faithful.n}, Input{stage.ImagesInput, faithful.images})}), nil
}

// distance adds the measurement of the distance of models from the pretrained one.
func (g *Graph) distance(model, tuned *Action, d drawn, p stage.DistanceParams) *Action {
	inputs := d.inputs(Input{stage.ModelInput, model})
	if tuned != nil {
		inputs = append(inputs, Input{stage.TunedInput, tuned})
		p.Models = d.n / rows(d.prompts)
	}
	return g.add(stage.Distance, p, inputs...)
}

// proxy adds the scoring of images by the reward of the base trial. It returns nil if the
// base trial has no reward. All trials of a study are scored by the same reward, so that
// their scores are comparable.
func (g *Graph) proxy(base Chain, d drawn) *Action {
	if base.Action(Reward) == nil {
		return nil
	}
	return g.add(stage.Score, stage.ScoreParams{Images: d.n},
		d.inputs(Input{stage.BaseRewardInput, base.Action(Reward)}, Input{stage.BaseEmbedderInput, base.Action(Embedder)})...)
}

// withProbes adds probes: images that the checkpoints of a fine-tuning and the pretrained
// model draw, and their metrics.
func (g *Graph) withProbes(v language.View, c, base Chain) (Chain, error) {
	t := v.Trial
	model, tuned := c.Action(Model), c.Action(Finetune)
	if tuned == nil {
		return c, nil
	}
	before, err := g.pretrained(t, c, stage.ProbeList)
	if err != nil {
		return nil, err
	}
	d, err := g.draw(t, model, tuned, before.prompts, stage.DrawParams{Steps: true})
	if err != nil {
		return nil, err
	}
	distance := stage.DistanceParams{Seed: t.Seed.Feedback, Images: rows(d.prompts), Batch: t.Content.Whole("evaluate.distance.batch")}
	return c.with(Part{ProbePrompts, d.prompts}, Part{BaseProbeImages, before.images}, Part{ProbeImages, d.images},
		Part{BaseProbeVerdicts, g.judge(before)}, Part{ProbeVerdicts, g.judge(d)},
		Part{BaseProbeScores, g.proxy(base, before)}, Part{ProbeScores, g.proxy(base, d)},
		Part{ProbeDistance, g.distance(model, tuned, d, distance)}), nil
}
