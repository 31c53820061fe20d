package layout

import (
	"path/filepath"

	"ablate/experiments/language"
	"ablate/models/finetune"
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

// chain lays out a whole trial, but for its proxy.
func (g *Graph) chain(t language.Trial) (Chain, error) {
	c, err := g.toReward(t)
	if err != nil {
		return nil, err
	}
	for _, lay := range []func(language.Trial, Chain) (Chain, error){g.withAssessment, g.withFinetuning, g.withEvaluation} {
		if c, err = lay(t, c); err != nil {
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
	labelled, err := g.samples(t, model, stage.LabelledSplit, t.Content.Whole("feedback.labelled"), false)
	if err != nil {
		return nil, err
	}
	unlabelled, err := g.samples(t, model, stage.UnlabelledSplit, t.Content.Whole("feedback.unlabelled"), false)
	if err != nil {
		return nil, err
	}
	c := Chain{}.with(Part{Model, model}, Part{Labelled, labelled}, Part{Unlabelled, unlabelled})
	if !t.Content.Learns() {
		return c, nil
	}
	embedder, err := g.embedder(t, model)
	if err != nil {
		return nil, err
	}
	labels, err := g.labels(t, labelled, "")
	if err != nil {
		return nil, err
	}
	p, err := fill[stage.RewardParams](t)
	reward := g.add(stage.Reward, p, Input{stage.LabelledInput, labelled}, Input{stage.LabelsInput, labels}, Input{stage.EmbedderInput, embedder})
	return c.with(Part{Embedder, embedder}, Part{Labels, labels}, Part{Reward, reward}), err
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

// samples are n images of a model, nil if n is 0. Those that no training sees may have
// held-out prompts.
func (g *Graph) samples(t language.Trial, model *Action, split string, n int, heldOut bool) (*Action, error) {
	if n == 0 {
		return nil, nil
	}
	p, err := fill[stage.SampleParams](t)
	p.Split, p.Images, p.Unseen = split, n, heldOut
	return g.add(stage.Sample, p, Input{stage.ModelInput, model}), err
}

// labels are an annotator's labels of images; split is empty for those that a reward
// learns from.
func (g *Graph) labels(t language.Trial, images *Action, split string) (*Action, error) {
	p, err := fill[stage.LabelParams](t)
	p.Split = split
	return g.add(stage.Label, p, Input{stage.LabelledInput, images}), err
}

// withAssessment adds the assessment of a learned reward, on images of the base model that
// no training sees, labelled by the same annotator.
func (g *Graph) withAssessment(t language.Trial, c Chain) (Chain, error) {
	reward := c.Action(Reward)
	if reward == nil {
		return c, nil
	}
	images, err := g.samples(t, c.Action(Model), stage.AssessSplit, stage.AssessImages, true)
	if err != nil {
		return nil, err
	}
	labels, err := g.labels(t, images, stage.AssessSplit)
	if err != nil {
		return nil, err
	}
	assessment := g.add(stage.Assess, stage.NoParams{}, Input{stage.SamplesInput, images}, Input{stage.SampleLabelsInput, labels},
		Input{stage.LabelledInput, c.Action(Labelled)}, Input{stage.LabelsInput, c.Action(Labels)}, Input{stage.EmbedderInput, c.Action(Embedder)},
		Input{stage.RewardInput, reward})
	return c.with(Part{HeldOut, images}, Part{HeldOutLabels, labels}, Part{Assessment, assessment}), nil
}

// scores are the scores by which fine-tuning weights images, nil where all weigh the same.
func (g *Graph) scores(t language.Trial, c Chain, images *Action) *Action {
	p := stage.ScoreParams{Loss: scorer(t)}
	switch inputs := []Input{{stage.SamplesInput, images}}; p.Loss {
	case scoresNone:
		return nil
	case scoresLearned:
		return g.add(stage.Score, p, append(inputs, rewardInputs(c)...)...)
	default:
		return g.add(stage.Score, p, inputs...)
	}
}

// rewardInputs are what a stage reads to score images by a learned reward.
func rewardInputs(c Chain) []Input {
	return []Input{{stage.RewardInput, c.Action(Reward)}, {stage.EmbedderInput, c.Action(Embedder)}}
}

// withFinetuning adds the fine-tuning of a trial, if it has one, and the scores or labels
// that it learns from.
func (g *Graph) withFinetuning(t language.Trial, c Chain) (Chain, error) {
	if t.Content.Name("finetune.method") == "none" {
		return c, nil
	}
	p, err := fill[stage.FinetuneParams](t)
	if err != nil {
		return nil, err
	}
	var parts []Part
	inputs := []Input{{stage.ModelInput, c.Action(Model)}}
	scored := func(split string, images *Action, role Role) {
		inputs = append(inputs, Input{split, images})
		if scores := g.scores(t, c, images); scores != nil {
			inputs = append(inputs, Input{stage.ScoresInput(split), scores})
			parts = append(parts, Part{role, scores})
		}
	}
	if images := c.Action(Labelled); p.Mix.Labelled > 0 && images != nil {
		if finetune.LearnsFromLabels(p.Recipe.Method.Method) && scorer(t) != "oracle" {
			labels, err := g.labels(t, images, "")
			if err != nil {
				return nil, err
			}
			inputs = append(inputs, Input{stage.LabelledInput, images}, Input{stage.LabelsInput, labels})
			parts = append(parts, Part{Labels, labels})
		} else {
			scored(stage.LabelledSplit, images, LabelledScores)
		}
	}
	if images := c.Action(Unlabelled); p.Mix.Unlabelled > 0 && images != nil {
		scored(stage.UnlabelledSplit, images, UnlabelledScores)
	}
	if p.DrawsImages() {
		if p.Scores = scorer(t); p.Scores == scoresLearned {
			inputs = append(inputs, rewardInputs(c)...)
		}
	}
	if p.Recipe.Beta == 0 || p.Mix.Pretraining == 0 {
		p.Data, p.PretrainingSeed = stage.DataParams{}, 0
	}
	return c.with(parts...).with(Part{Finetune, g.add(stage.Finetune, p, inputs...)}), nil
}

// withEvaluation adds the evaluation of a trial's model, the fine-tuned one if there is one.
func (g *Graph) withEvaluation(t language.Trial, c Chain) (Chain, error) {
	p, err := fill[stage.EvaluateParams](t)
	if err != nil {
		return nil, err
	}
	base, tuned := c.Action(Model), c.Action(Finetune)
	inputs := []Input{{stage.ModelInput, base}}
	if tuned != nil {
		inputs[0].Action = tuned
	}
	if p.BestOf > 1 {
		if p.Scores = scorer(t); p.Scores == scoresLearned {
			inputs = append(inputs, rewardInputs(c)...)
		}
	}
	if tuned != nil {
		inputs = append(inputs, Input{stage.BaseInput, base})
	}
	return c.with(Part{Evaluate, g.add(stage.Evaluate, p, inputs...)}), nil
}

// proxy scores the images of a trial by the reward of the base trial, nil if that has none.
func (g *Graph) proxy(c, base Chain) *Action {
	if base.Action(Reward) == nil {
		return nil
	}
	inputs := append([]Input{{stage.EvaluateInput, c.Action(Evaluate)}}, rewardInputs(base)...)
	if tuned := c.Action(Finetune); tuned != nil {
		inputs = append(inputs, Input{stage.FinetuneInput, tuned})
	}
	return g.add(stage.Proxy, stage.NoParams{}, inputs...)
}
