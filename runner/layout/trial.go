package layout

import (
	"path/filepath"

	"ablate/experiments/language"
	"ablate/models/finetune"
	"ablate/models/sampler"
	"ablate/runner/stage"
)

// fill returns the parameters of a stage as a trial has them.
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

// Ways to score images for feedback.
const (
	scoresLearned = "learned" // by the trial's reward
	scoresNone    = "none"
)

// scorer is what scores the images that a trial draws: "learned", "oracle" or "none".
func scorer(t language.Trial) string {
	switch loss := t.Content.Name("reward.loss"); {
	case t.Content.Learns():
		return scoresLearned
	case loss != "":
		return loss
	}
	return scoresNone
}

// chain lays out a trial. base is the base trial of the same seed up to its reward, which is
// the proxy of every trial.
func (g *Graph) chain(t language.Trial, base Chain) (Chain, error) {
	c, err := g.toReward(t)
	if err != nil {
		return nil, err
	}
	for _, lay := range []func(t language.Trial, c, base Chain) (Chain, error){g.withAssessment, g.withFinetuning, g.withEvaluation, g.withProbes} {
		if c, err = lay(t, c, base); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// toReward lays out a trial up to its reward.
func (g *Graph) toReward(t language.Trial) (Chain, error) {
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

// model is the denoiser that a trial begins with: pretrained, or adopted.
func (g *Graph) model(t language.Trial) (*Action, error) {
	path := t.Content.Name("model.checkpoint.path")
	if path == "" {
		p, err := fill[stage.PretrainParams](t)
		return g.add(stage.Pretrain, p), err
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(g.dir, path)
	}
	digest, err := g.digest(path)
	if err != nil {
		return nil, err
	}
	return g.add(stage.Adopt, stage.AdoptParams{Path: path, Digest: digest}), nil
}

// embedder is the embedder that a trial trains, or the one of its adopted checkpoint.
func (g *Graph) embedder(t language.Trial, model *Action) (*Action, error) {
	if t.Content.Whole("embedder.steps") == 0 {
		return model, nil
	}
	p, err := fill[stage.EmbedParams](t)
	return g.add(stage.Embed, p), err
}

// draw draws an image for each of a list of prompts, with the pretrained model or, where
// there is one, with the fine-tuned one.
func (g *Graph) draw(t language.Trial, model, tuned, prompts *Action, p stage.DrawParams) (*Action, error) {
	filled, err := fill[stage.DrawParams](t)
	p.Sampler, p.Images = filled.Sampler, rows(prompts)
	if p.Steps {
		p.Images *= tuned.Params.(stage.FinetuneParams).Keeps
	}
	inputs := []Input{{stage.ModelInput, model}, {stage.PromptsInput, prompts}}
	if tuned != nil {
		inputs = append(inputs, Input{stage.TunedInput, tuned})
	}
	return g.add(stage.Draw, p, inputs...), err
}

// rows is how many prompts a list has.
func rows(prompts *Action) int { return prompts.Params.(stage.PromptsParams).Rows }

// judge judges images for their prompts.
func (g *Graph) judge(images, prompts *Action) *Action {
	return g.add(stage.Judge, stage.NoParams{}, Input{stage.ImagesInput, images}, Input{stage.PromptsInput, prompts})
}

// list is a list of prompts, as long as the trial or p says.
func (g *Graph) list(t language.Trial, p stage.PromptsParams) *Action {
	p.Seed = t.Seed.Feedback
	if path := stage.RowsPath(p.List); path != "" {
		p.Rows = t.Content.Whole(path)
	}
	return g.add(stage.Prompts, p)
}

// drawn are a list of prompts, and the images that the pretrained model draws for it.
func (g *Graph) drawn(t language.Trial, c Chain, p stage.PromptsParams) (prompts, images *Action, err error) {
	prompts = g.list(t, p)
	images, err = g.draw(t, c.Action(Model), nil, prompts, stage.DrawParams{})
	return prompts, images, err
}

// withLabels adds the images that the annotator labels, and the labels.
func (g *Graph) withLabels(t language.Trial, c Chain) (Chain, error) {
	prompts, images, err := g.drawn(t, c, stage.PromptsParams{List: stage.LabelledList})
	if err != nil {
		return nil, err
	}
	verdicts := g.judge(images, prompts)
	labels, err := g.label(t, prompts, verdicts)
	return c.with(Part{LabelledPrompts, prompts}, Part{LabelledImages, images}, Part{LabelledVerdicts, verdicts}, Part{Labels, labels}), err
}

// label labels images as the annotator does.
func (g *Graph) label(t language.Trial, prompts, verdicts *Action) (*Action, error) {
	p, err := fill[stage.LabelParams](t)
	p.List = prompts.Params.(stage.PromptsParams).List
	return g.add(stage.Label, p, Input{stage.PromptsInput, prompts}, Input{stage.VerdictsInput, verdicts}), err
}

// withAssessment adds the assessment of a learned reward, on images of the base model that
// no training sees, labelled by the same annotator.
func (g *Graph) withAssessment(t language.Trial, c, _ Chain) (Chain, error) {
	if c.Action(Reward) == nil {
		return c, nil
	}
	prompts, images, err := g.drawn(t, c, stage.PromptsParams{List: stage.AssessList, Rows: stage.AssessImages, Unseen: true})
	if err != nil {
		return nil, err
	}
	verdicts := g.judge(images, prompts)
	labels, err := g.label(t, prompts, verdicts)
	if err != nil {
		return nil, err
	}
	scores, trained := g.learnedScores(c, images, prompts), g.learnedScores(c, c.Action(LabelledImages), c.Action(LabelledPrompts))
	assessment := g.add(stage.Assess, stage.NoParams{}, Input{stage.PromptsInput, prompts}, Input{stage.VerdictsInput, verdicts},
		Input{stage.LabelsInput, labels}, Input{stage.ScoresInput, scores},
		Input{stage.Of(stage.LabelledList, stage.LabelsInput), c.Action(Labels)}, Input{stage.Of(stage.LabelledList, stage.ScoresInput), trained})
	return c.with(Part{AssessPrompts, prompts}, Part{AssessImages, images}, Part{AssessVerdicts, verdicts}, Part{AssessLabels, labels},
		Part{AssessScores, scores}, Part{LabelledScores, trained}, Part{Assessment, assessment}), nil
}

// learnedScores are scores by the trial's own reward.
func (g *Graph) learnedScores(c Chain, images, prompts *Action) *Action {
	return g.add(stage.Score, stage.NoParams{}, append([]Input{{stage.ImagesInput, images}, {stage.PromptsInput, prompts}}, rewardInputs(c)...)...)
}

// scores are the scores by which a trial weights or chooses images, with the verdicts that
// they are made from where the gold scores; nil where all images have one weight.
func (g *Graph) scores(t language.Trial, c Chain, images, prompts *Action) (scores, verdicts *Action) {
	switch scorer(t) {
	case scoresNone:
		return nil, nil
	case scoresLearned:
		return g.learnedScores(c, images, prompts), nil
	}
	verdicts = g.judge(images, prompts)
	return g.add(stage.Score, stage.NoParams{}, Input{stage.ImagesInput, images}, Input{stage.PromptsInput, prompts}, Input{stage.VerdictsInput, verdicts}), verdicts
}

// rewardInputs are what a stage reads to score images by a trial's own reward.
func rewardInputs(c Chain) []Input {
	return []Input{{stage.RewardInput, c.Action(Reward)}, {stage.EmbedderInput, c.Action(Embedder)}}
}

// withFinetuning adds the fine-tuning of a trial, if it has one, with the images, scores and
// labels that it learns from.
func (g *Graph) withFinetuning(t language.Trial, c, _ Chain) (Chain, error) {
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
		if of.mix == 0 || t.Content.Whole(stage.RowsPath(of.list)) == 0 {
			continue
		}
		if of.list == stage.LabelledList && finetune.LearnsFromLabels(p.Recipe.Method.Method) && scorer(t) != "oracle" {
			if c, err = g.withLabels(t, c); err != nil {
				return nil, err
			}
			learn(of.list, c.Action(LabelledPrompts), c.Action(LabelledImages), stage.LabelsInput, c.Action(Labels))
			continue
		}
		prompts, images, err := g.drawn(t, c, stage.PromptsParams{List: of.list})
		if err != nil {
			return nil, err
		}
		scores, verdicts := g.scores(t, c, images, prompts)
		learn(of.list, prompts, images, stage.ScoresInput, scores)
		c = c.with(Part{of.prompts, prompts}, Part{of.images, images}, Part{of.verdicts, verdicts}, Part{of.scores, scores})
	}
	if p.DrawsImages() {
		prompts := g.list(t, stage.PromptsParams{List: stage.FinetuneList, Rows: stage.FinetunePrompts})
		c = c.with(Part{FinetunePrompts, prompts})
		inputs = append(inputs, Input{stage.PromptsInput, prompts})
		if p.Scores = scorer(t); p.Scores == scoresLearned {
			inputs = append(inputs, rewardInputs(c)...)
		}
	} else {
		p.Sampler = sampler.Options{}
	}
	if p.Recipe.Beta == 0 || p.Mix.Pretraining == 0 {
		p.Data, p.PretrainingSeed = stage.DataParams{}, 0
	}
	return c.with(Part{Finetune, g.add(stage.Finetune, p, inputs...)}), nil
}

// withEvaluation adds the images of a trial's model, the fine-tuned one if there is one, and
// what is measured of them.
func (g *Graph) withEvaluation(t language.Trial, c, base Chain) (Chain, error) {
	bestOf := t.Content.Whole("evaluate.bestOf")
	model, tuned := c.Action(Model), c.Action(Finetune)
	best := func(prompts *Action) (*Action, error) {
		var candidates []Input
		for k := range bestOf {
			images, err := g.draw(t, model, tuned, prompts, stage.DrawParams{Candidate: k})
			if err != nil || bestOf == 1 {
				return images, err
			}
			scores, _ := g.scores(t, c, images, prompts)
			candidates = append(candidates, Input{stage.Numbered(stage.ImagesInput, k), images}, Input{stage.Numbered(stage.ScoresInput, k), scores})
		}
		return g.add(stage.Select, stage.NoParams{}, candidates...), nil
	}
	prompts := g.list(t, stage.PromptsParams{List: stage.AlignmentList, Unseen: true})
	captions := g.list(t, stage.PromptsParams{List: stage.FidelityList, Captions: true})
	images, err := best(prompts)
	if err != nil {
		return nil, err
	}
	faithful, err := best(captions)
	if err != nil {
		return nil, err
	}
	distance, err := fill[stage.DistanceParams](t)
	if err != nil {
		return nil, err
	}
	verdicts := g.judge(images, prompts)
	return c.with(Part{AlignmentPrompts, prompts}, Part{AlignmentImages, images}, Part{AlignmentVerdicts, verdicts},
		Part{AlignmentScores, g.proxy(base, images, prompts)},
		Part{Diversity, g.add(stage.Diversity, stage.NoParams{}, Input{stage.ImagesInput, images}, Input{stage.PromptsInput, prompts}, Input{stage.VerdictsInput, verdicts})},
		Part{Distance, g.distance(model, tuned, images, prompts, distance)},
		Part{FidelityPrompts, captions}, Part{FidelityImages, faithful},
		Part{Fidelity, g.add(stage.Fidelity, stage.FidelityParams{Images: rows(captions)}, Input{stage.ImagesInput, faithful})}), nil
}

// distance is how far a model is from the pretrained one.
func (g *Graph) distance(model, tuned, images, prompts *Action, p stage.DistanceParams) *Action {
	inputs := []Input{{stage.ModelInput, model}, {stage.ImagesInput, images}, {stage.PromptsInput, prompts}}
	if tuned != nil {
		inputs = append(inputs, Input{stage.TunedInput, tuned})
	}
	return g.add(stage.Distance, p, inputs...)
}

// proxy scores images by the reward of the base trial, nil if that has none: one reward for
// all trials of a study, so that their scores compare.
func (g *Graph) proxy(base Chain, images, prompts *Action) *Action {
	if base.Action(Reward) == nil {
		return nil
	}
	return g.add(stage.Score, stage.NoParams{}, Input{stage.ImagesInput, images}, Input{stage.PromptsInput, prompts},
		Input{stage.BaseRewardInput, base.Action(Reward)}, Input{stage.BaseEmbedderInput, base.Action(Embedder)})
}

// withProbes adds what a fine-tuning's models on its way draw, and what is measured of it.
func (g *Graph) withProbes(t language.Trial, c, base Chain) (Chain, error) {
	model, tuned := c.Action(Model), c.Action(Finetune)
	if tuned == nil {
		return c, nil
	}
	prompts, before, err := g.drawn(t, c, stage.PromptsParams{List: stage.ProbeList, Unseen: true})
	if err != nil {
		return nil, err
	}
	images, err := g.draw(t, model, tuned, prompts, stage.DrawParams{Steps: true})
	if err != nil {
		return nil, err
	}
	distance := stage.DistanceParams{Seed: t.Seed.Feedback, Images: rows(prompts), Batch: t.Content.Whole("evaluate.distance.batch"), BestOf: 1}
	return c.with(Part{ProbePrompts, prompts}, Part{BaseProbeImages, before}, Part{ProbeImages, images},
		Part{BaseProbeVerdicts, g.judge(before, prompts)}, Part{ProbeVerdicts, g.judge(images, prompts)},
		Part{BaseProbeScores, g.proxy(base, before, prompts)}, Part{ProbeScores, g.proxy(base, images, prompts)},
		Part{ProbeDistance, g.distance(model, tuned, images, prompts, distance)}), nil
}
