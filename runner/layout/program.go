package layout

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"ablate/experiments/language"
	"ablate/models/finetune"
	"ablate/runner/engine"
	"ablate/runner/stage"
	"ablate/runner/world"
)

// Paths of the engines of a trial.
const (
	programEngine  = "model.program.engine"
	rewardEngine   = "reward.program.engine"
	trainEngine    = "finetune.engine"
	goldEngine     = "evaluate.gold.engine"
	featuresEngine = "evaluate.features.engine"
)

// program returns the actions of a trial whose model an engine loads. base has those of the
// base trial of the same seed up to its reward, if that is learned.
func (g *Graph) program(v language.View, base Chain) (Chain, error) {
	t := v.Trial
	c, err := g.engineToReward(t)
	if err != nil {
		return nil, err
	}
	for _, lay := range []func(t language.Trial, c, base Chain) (Chain, error){g.engineAssessment, g.engineTraining, g.engineEvaluation, g.engineProbes} {
		if c, err = lay(t, c, base); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// engineToReward returns the actions of a trial up to its reward, if that is learned.
func (g *Graph) engineToReward(t language.Trial) (Chain, error) {
	load, err := g.call(t, programEngine, engine.Load, "model.program.params")
	if err != nil {
		return nil, err
	}
	p := stage.EngineLoadParams{Call: load.Call}
	sum := sha256.Sum256([]byte(strings.Join(stage.Lines(p), "\n")))
	p.Record = "loaded-" + hex.EncodeToString(sum[:16]) + ".json"
	if p.Stamp, err = g.out.Stamp(p.Record); err != nil {
		return nil, fmt.Errorf("model.program: %w", err)
	}
	c := Chain{}.with(Part{Model, g.add(stage.EngineLoad, p)})
	if !t.Content.Learns() {
		return c, nil
	}
	d, verdicts, labels, err := g.engineLabelled(t, c, stage.LabelledList, "prompts.train")
	if err != nil {
		return nil, err
	}
	features, err := g.rewardFeatures(t, d)
	if err != nil {
		return nil, err
	}
	r, err := fill[stage.RewardParams](t)
	if err != nil {
		return nil, err
	}
	if r.Loss == "mse+classification" {
		if features, err = g.withGrammar(t, r.Grammar, features); err != nil {
			return nil, err
		}
	} else {
		r.Grammar = "" // it gives perturbed prompts only
	}
	reward := g.add(stage.Reward, r, append(features, Input{stage.LabelsInput, labels})...)
	return c.with(Part{LabelledPrompts, d.prompts}, Part{LabelledImages, d.images}, Part{LabelledVerdicts, verdicts}, Part{Labels, labels}, Part{Reward, reward}), err
}

// engineLabelled adds images that the loaded model draws for a list, and their verdicts and labels.
func (g *Graph) engineLabelled(t language.Trial, c Chain, list, file string) (d drawn, verdicts, labels *Action, err error) {
	prompts, err := g.fileList(t, list, file)
	if err != nil {
		return d, nil, nil, err
	}
	if d, err = g.engineDraw(t, c.Action(Model), nil, prompts, stage.EngineSampleParams{}); err != nil {
		return d, nil, nil, err
	}
	if verdicts, err = g.engineJudge(t, d); err != nil {
		return d, nil, nil, err
	}
	labels, err = g.label(t, prompts, verdicts)
	return d, verdicts, labels, err
}

// rewardFeatures returns the features of images and of their prompts on which a reward is
// learned, as inputs.
func (g *Graph) rewardFeatures(t language.Trial, d drawn) ([]Input, error) {
	embed, err := g.call(t, "reward.features.engine", engine.Embed, "reward.features.params")
	if err != nil {
		return nil, err
	}
	images := g.embedDrawn(embed, d)
	texts := g.embedList(embed, stage.EngineEmbedParams{Images: rows(d.prompts)}, Input{stage.PromptsInput, d.prompts})
	return []Input{{stage.FeaturesInput, images}, {stage.TextsInput, texts}}, nil
}

// withGrammar returns inputs with the prompts of a grammar among which perturbed ones are, and
// their features. They depend on no seed, so that all trials share them.
func (g *Graph) withGrammar(t language.Trial, name string, inputs []Input) ([]Input, error) {
	grammar, err := world.GrammarOf(name)
	if err != nil {
		return nil, fmt.Errorf("prompts.grammar: %w", err)
	}
	embed, err := g.call(t, "reward.features.engine", engine.Embed, "reward.features.params")
	if err != nil {
		return nil, err
	}
	n := len(grammar.Seen())
	prompts := g.add(stage.Prompts, stage.PromptsParams{List: stage.GrammarList, Rows: n, Grammar: name})
	texts := g.embedList(embed, stage.EngineEmbedParams{Images: n}, Input{stage.PromptsInput, prompts})
	return append(inputs, Input{stage.GrammarInput, prompts}, Input{stage.GrammarTextsInput, texts}), nil
}

// engineLearned adds the scoring of images by a reward that was learned on features. reward is
// the name of its input.
func (g *Graph) engineLearned(t language.Trial, c Chain, reward string, d drawn) (*Action, error) {
	features, err := g.rewardFeatures(t, d)
	if err != nil {
		return nil, err
	}
	return g.add(stage.Score, stage.ScoreParams{Images: d.n}, append(features, Input{stage.PromptsInput, d.prompts}, Input{reward, c.Action(Reward)})...), nil
}

// engineAssessment adds the assessment of a learned reward on images of the loaded model for
// prompts that no training sees.
func (g *Graph) engineAssessment(t language.Trial, c, _ Chain) (Chain, error) {
	if c.Action(Reward) == nil {
		return c, nil
	}
	d, verdicts, labels, err := g.engineLabelled(t, c, stage.AssessList, "prompts.evaluate")
	if err != nil {
		return nil, err
	}
	scores, err := g.engineLearned(t, c, stage.RewardInput, d)
	if err != nil {
		return nil, err
	}
	learned := g.drawnOf(c.Action(LabelledPrompts), c.Action(LabelledImages))
	trained, err := g.engineLearned(t, c, stage.RewardInput, learned)
	if err != nil {
		return nil, err
	}
	assessment := g.add(stage.Assess, stage.NoParams{}, Input{stage.PromptsInput, d.prompts}, Input{stage.VerdictsInput, verdicts},
		Input{stage.LabelsInput, labels}, Input{stage.ScoresInput, scores},
		Input{stage.Of(stage.LabelledList, stage.LabelsInput), c.Action(Labels)}, Input{stage.Of(stage.LabelledList, stage.ScoresInput), trained})
	return c.with(Part{AssessPrompts, d.prompts}, Part{AssessImages, d.images}, Part{AssessVerdicts, verdicts}, Part{AssessLabels, labels},
		Part{AssessScores, scores}, Part{LabelledScores, trained}, Part{Assessment, assessment}), nil
}

// call returns a verb of the engine that a trial names at a path, with the parameters of a
// group.
func (g *Graph) call(t language.Trial, at, verb, group string) (Called, error) {
	return g.called(t.Content.Name(at), at, verb, group, t.Content.Params(group))
}

// called returns a verb of an engine, which the study names at a path, with the parameters of a group.
func (g *Graph) called(name, at, verb, group string, params []language.Value) (Called, error) {
	c, err := g.out.Engine(name, verb)
	if err != nil {
		return c, fmt.Errorf("%s: %w", at, err)
	}
	used, recorded := map[string]any{}, map[string]any{}
	for _, p := range params {
		if p.Recorded {
			recorded[p.Path] = p.Value
		} else {
			used[p.Path] = p.Value
		}
	}
	for _, of := range []struct {
		values map[string]any
		to     *string
	}{{used, &c.Params}, {recorded, &c.Recorded}} {
		if len(of.values) == 0 {
			continue
		}
		text, err := json.Marshal(of.values) // which sorts the paths
		if err != nil {
			return c, fmt.Errorf("%s: %w", group, err)
		}
		*of.to = string(text)
	}
	return c, nil
}

// fileList returns the action of one of a trial's lists of prompts: from its grammar, or from the
// file at a path of the trial.
func (g *Graph) fileList(t language.Trial, list, file string) (*Action, error) {
	l := stage.ListOf(list)
	p := stage.PromptsParams{Seed: t.Seed.Feedback, List: list, Rows: l.Rows, Unseen: l.Unseen, Grammar: t.Content.Name("prompts.grammar")}
	if p.Grammar == "" {
		name := t.Content.Name(file)
		if name == "" {
			return nil, fmt.Errorf("%s: the trial needs prompts: name a file of them, or set prompts.grammar", file)
		}
		p.Path = g.path(name)
		var err error
		if p.Digest, err = g.out.Prompts(p.Path); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	if l.Path != "" {
		p.Rows = t.Content.Whole(l.Path)
	} else { // a list of fixed length would cost more images than the study asks for
		p.Rows = min(p.Rows, t.Content.Whole("evaluate.images"))
	}
	return g.add(stage.Prompts, p), nil
}

// engineDraw adds the drawing of one image per prompt by the fine-tuned model, or by the one
// that was loaded if tuned is nil.
func (g *Graph) engineDraw(t language.Trial, model, tuned, prompts *Action, p stage.EngineSampleParams) (drawn, error) {
	sample, err := g.call(t, programEngine, engine.Sample, "sampler.params")
	if err != nil {
		return drawn{}, err
	}
	if p.Loaded, err = loaded(model); err != nil {
		return drawn{}, err
	}
	p.Call, p.Models = sample.Call, 1
	inputs := []Input{{stage.ModelInput, model}, {stage.PromptsInput, prompts}}
	if tuned != nil {
		inputs = append(inputs, Input{stage.TunedInput, tuned})
	}
	if p.Steps {
		p.Models = len(strings.Fields(tuned.Params.(stage.EngineTrainParams).Keep))
	}
	d := drawn{prompts: prompts, n: p.Models * rows(prompts)}
	for _, part := range sample.parts(rows(prompts)) {
		p.Part, p.Images = part, cmp.Or(part.Rows, rows(prompts))
		d.parts = append(d.parts, g.add(stage.EngineSample, p, inputs...))
	}
	d.images = g.join(d.parts)
	return d, nil
}

// loaded returns the parameters of a model's load, for stages that look for its files.
func loaded(model *Action) (string, error) {
	text, err := json.Marshal(model.Params)
	return string(text), err
}

// mostParts is the largest number of actions of a list. More of them would have more GPUs compute
// side by side, but rows and seeds do so, too, and each action costs some milliseconds.
const mostParts = 16

// parts returns the parts of a list of n rows that are one action each: of one task or, in a long
// list, of several.
func (c Called) parts(n int) []stage.Part {
	if c.Together {
		return []stage.Part{{}}
	}
	tasks := (n + c.Shard*mostParts - 1) / (c.Shard * mostParts)
	return stage.Parts(n, tasks*c.Shard)
}

// join returns the artifact of a whole list: that of its parts if there are several.
func (g *Graph) join(parts []*Action) *Action {
	if len(parts) == 1 {
		return parts[0]
	}
	inputs := make([]Input, len(parts))
	for k, a := range parts {
		inputs[k] = Input{stage.Numbered(stage.PartInput, k), a}
	}
	return g.add(stage.Join, stage.NoParams{}, inputs...)
}

// each adds an action for each part of drawn images, and returns their results together.
func (g *Graph) each(kind stage.Kind, d drawn, params func(images int) stage.Params) *Action {
	var parts []*Action
	for _, images := range d.parts {
		n := d.n
		if len(d.parts) > 1 {
			n = d.n * partOf(images).Rows / rows(d.prompts)
		}
		parts = append(parts, g.add(kind, params(n), Input{stage.ImagesInput, images}, Input{stage.PromptsInput, d.prompts}))
	}
	return g.join(parts)
}

// partOf returns the part of a list that an action draws or selects.
func partOf(a *Action) stage.Part {
	switch p := a.Params.(type) {
	case stage.EngineSampleParams:
		return p.Part
	case stage.SelectParams:
		return p.Part
	}
	return stage.Part{}
}

// drawnOf returns images that were drawn for a list, one for each prompt.
func (g *Graph) drawnOf(prompts, images *Action) drawn {
	d := drawn{prompts: prompts, images: images, parts: []*Action{images}, n: rows(prompts)}
	if len(images.Reads) > 0 && images.Reads[0] == stage.Numbered(stage.PartInput, 0) {
		d.parts = images.Inputs
	}
	return d
}

// embedDrawn adds the features of images.
func (g *Graph) embedDrawn(c Called, d drawn) *Action {
	return g.each(stage.EngineEmbed, d, func(images int) stage.Params { return stage.EngineEmbedParams{Call: c.Call, Images: images} })
}

// embedList adds the features of a folder or of prompts, p.Images of them.
func (g *Graph) embedList(c Called, p stage.EngineEmbedParams, inputs ...Input) *Action {
	p.Call = c.Call
	var parts []*Action
	n := p.Images
	for _, part := range c.parts(n) {
		p.Part, p.Images = part, cmp.Or(part.Rows, n)
		parts = append(parts, g.add(stage.EngineEmbed, p, inputs...))
	}
	return g.join(parts)
}

// engineScore adds the scoring or judging of images by the engine at a path.
func (g *Graph) engineScore(t language.Trial, group string, d drawn) (*Action, error) {
	c, err := g.call(t, group+".engine", engine.Score, group+".params")
	if err != nil {
		return nil, err
	}
	return g.column(c, t.Content.Name(group+".column"), group == "evaluate.gold", d), nil
}

// column adds the scoring of images by an engine, and takes a column. judges says that the column's
// numbers are a judge's.
func (g *Graph) column(c Called, name string, judges bool, d drawn) *Action {
	p := stage.ColumnParams{Column: name, Judges: judges && c.Columns[name].Kind == "real"}
	all := g.each(stage.EngineScore, d, func(images int) stage.Params { return stage.EngineScoreParams{Call: c.Call, Images: images} })
	return g.add(stage.Column, p, Input{stage.ScoresInput, all})
}

// engineJudge adds the judging of images by the gold; nil if the trial has none.
func (g *Graph) engineJudge(t language.Trial, d drawn) (*Action, error) {
	if t.Content.Name(goldEngine) == "" {
		return nil, nil
	}
	return g.engineScore(t, "evaluate.gold", d)
}

// engineScores adds the scoring by which a trial weights or chooses images. If the gold
// scores, it also returns the verdicts. scores is nil if all images have the same weight.
func (g *Graph) engineScores(t language.Trial, c Chain, d drawn) (scores, verdicts *Action, err error) {
	switch {
	case c.Action(Reward) != nil:
		scores, err = g.engineLearned(t, c, stage.RewardInput, d)
	case t.Content.Name(rewardEngine) != "":
		scores, err = g.engineScore(t, "reward.program", d)
	case scorer(t) == stage.ByGold:
		if verdicts, err = g.engineJudge(t, d); err == nil {
			scores = g.add(stage.Oracle, stage.NoParams{}, Input{stage.VerdictsInput, verdicts})
		}
	}
	return scores, verdicts, err
}

// engineProxy adds the scoring of images by the reward of the base trial; nil if it has none.
func (g *Graph) engineProxy(t language.Trial, base Chain, d drawn) (*Action, error) {
	if base.Action(Reward) != nil {
		return g.engineLearned(language.Trial{Content: g.base, Seed: t.Seed}, base, stage.BaseRewardInput, d)
	}
	if g.base.Name(rewardEngine) == "" {
		return nil, nil
	}
	return g.engineScore(language.Trial{Content: g.base, Seed: t.Seed}, "reward.program", d)
}

// engineTraining adds the fine-tuning of a trial, if it has one, and the images and scores that
// it learns from.
func (g *Graph) engineTraining(t language.Trial, c, _ Chain) (Chain, error) {
	if t.Content.Name(trainEngine) == "" {
		return c, nil
	}
	call, err := g.call(t, trainEngine, engine.Train, "finetune.params")
	if err != nil {
		return nil, err
	}
	p, err := fill[stage.EngineTrainParams](t)
	if err != nil {
		return nil, err
	}
	if p.Loaded, err = loaded(c.Action(Model)); err != nil {
		return nil, err
	}
	p.Strict = g.strict
	if p.Call = call.Call; p.Rows != finetune.Filtered {
		p.Rows = ""
	}
	if call.Keeps {
		p.Keep = keeps(t.Content)
	}
	params := map[string]any{}
	for _, v := range t.Content.Params("finetune.params") {
		params[v.Path] = v.Value
	}
	if call.Calls != nil && call.Calls(params) {
		if p.Scorer, err = g.scorer(t, call.Engine); err != nil {
			return nil, err
		}
	}
	if folder := t.Content.Name("finetune.pretraining"); folder != "" {
		p.Folder = g.path(folder)
		if p.Digest, _, err = g.out.Folder(p.Folder); err != nil {
			return nil, fmt.Errorf("finetune.pretraining: %w", err)
		}
	}
	inputs := []Input{{stage.ModelInput, c.Action(Model)}}
	for _, of := range []struct {
		list                              string
		prompts, images, verdicts, scores Role
	}{
		{stage.LabelledList, LabelledPrompts, LabelledImages, LabelledVerdicts, LabelledScores},
		{stage.UnlabelledList, UnlabelledPrompts, UnlabelledImages, UnlabelledVerdicts, UnlabelledScores},
	} {
		if t.Content.Whole(stage.ListOf(of.list).Path) == 0 {
			continue
		}
		prompts, err := g.fileList(t, of.list, "prompts.train")
		if err != nil {
			return nil, err
		}
		d, err := g.engineDraw(t, c.Action(Model), nil, prompts, stage.EngineSampleParams{})
		if err != nil {
			return nil, err
		}
		scores, verdicts, err := g.engineScores(t, c, d)
		if err != nil {
			return nil, err
		}
		inputs = append(inputs, Input{stage.Of(of.list, stage.PromptsInput), prompts}, Input{stage.Of(of.list, stage.ImagesInput), d.images})
		if scores != nil {
			inputs = append(inputs, Input{stage.Of(of.list, stage.ScoresInput), scores})
		}
		c = c.with(Part{of.prompts, prompts}, Part{of.images, d.images}, Part{of.verdicts, verdicts}, Part{of.scores, scores})
	}
	return c.with(Part{Finetune, g.add(stage.EngineTrain, p, inputs...)}), nil
}

// scorer returns the reward that an engine calls while it trains. It is a published one: no
// training calls the gold, and a learned reward is not a program.
func (g *Graph) scorer(t language.Trial, trainer string) (s stage.Scorer, err error) {
	if t.Content.Name(rewardEngine) == "" {
		return s, fmt.Errorf("%s: engine %s calls a scorer while it trains, and reward.program names none: set reward.program; a reward that is learned, or the gold, cannot be called", trainEngine, trainer)
	}
	c, err := g.call(t, rewardEngine, engine.Score, "reward.program.params")
	if err != nil {
		return s, err
	}
	if !c.Serves {
		return s, fmt.Errorf("%s: engine %s calls engine %s while it trains, which does not serve: its description needs \"serve\": true", rewardEngine, trainer, c.Engine)
	}
	return stage.Scorer{Call: c.Call, Column: t.Content.Name("reward.program.column")}, nil
}

// keeps returns the steps at which a training keeps a checkpoint for probes: finetune.probes
// of them, evenly spaced, if its engine has a number of steps.
func keeps(c language.Content) string {
	steps, n := c.Whole("finetune.params.steps"), c.Whole("finetune.probes")
	var out []string
	for k := 1; k <= n && steps > 0; k++ {
		if at := strconv.Itoa((steps*k + n - 1) / n); !slices.Contains(out, at) {
			out = append(out, at)
		}
	}
	return strings.Join(out, " ")
}

// engineEvaluation adds the images of a trial's fine-tuned model, or of the one that was loaded,
// and their metrics.
func (g *Graph) engineEvaluation(t language.Trial, c, base Chain) (Chain, error) {
	prompts, err := g.fileList(t, stage.AlignmentList, "prompts.evaluate")
	if err != nil {
		return nil, err
	}
	model, tuned, bestOf := c.Action(Model), c.Action(Finetune), max(1, t.Content.Whole("evaluate.bestOf"))
	d, err := g.engineDraw(t, model, tuned, prompts, stage.EngineSampleParams{})
	if err != nil {
		return nil, err
	}
	if bestOf > 1 {
		candidates := make([][]Input, len(d.parts)) // of each part
		for k := range bestOf {
			one, err := g.engineDraw(t, model, tuned, prompts, stage.EngineSampleParams{Candidate: k})
			if err != nil {
				return nil, err
			}
			scores, _, err := g.engineScores(t, c, one)
			if err != nil {
				return nil, err
			}
			for i, images := range one.parts {
				candidates[i] = append(candidates[i], Input{stage.Numbered(stage.ImagesInput, k), images}, Input{stage.Numbered(stage.ScoresInput, k), scores})
			}
		}
		for i, inputs := range candidates {
			d.parts[i] = g.add(stage.Select, stage.SelectParams{Part: partOf(d.parts[i])}, inputs...)
		}
		d.images = g.join(d.parts)
	}
	verdicts, err := g.engineJudge(t, d)
	if err != nil {
		return nil, err
	}
	proxy, err := g.engineProxy(t, base, d)
	if err != nil {
		return nil, err
	}
	c = c.with(Part{AlignmentPrompts, prompts}, Part{AlignmentImages, d.images}, Part{AlignmentVerdicts, verdicts}, Part{AlignmentScores, proxy})
	for _, j := range g.judges {
		at := "judges." + j.Name
		score, err := g.called(j.Engine, at, engine.Score, at+".params", j.Params)
		if err != nil {
			return nil, err
		}
		c = c.also(Judgements, g.column(score, j.Column, true, d))
	}
	reference := t.Content.Name("evaluate.reference")
	if t.Content.Name(featuresEngine) == "" || reference == "" {
		return c, nil
	}
	embed, err := g.call(t, featuresEngine, engine.Embed, "evaluate.features.params")
	if err != nil {
		return nil, err
	}
	p := stage.EngineEmbedParams{Folder: g.path(reference)}
	if p.Digest, p.Images, err = g.out.Folder(p.Folder); err != nil {
		return nil, fmt.Errorf("evaluate.reference: %w", err)
	}
	return c.with(Part{Fidelity, g.add(stage.Resemblance, stage.ResemblanceParams{Images: d.n},
		Input{stage.FeaturesInput, g.embedDrawn(embed, d)}, Input{stage.ReferenceInput, g.embedList(embed, p)})}), nil
}

// engineProbes adds probes: images that the checkpoints of a fine-tuning and the model that it
// began with draw, and their metrics.
func (g *Graph) engineProbes(t language.Trial, c, base Chain) (Chain, error) {
	tuned := c.Action(Finetune)
	if tuned == nil || tuned.Params.(stage.EngineTrainParams).Keep == "" {
		return c, nil
	}
	prompts, err := g.fileList(t, stage.ProbeList, "prompts.evaluate")
	if err != nil {
		return nil, err
	}
	parts := []Part{{ProbePrompts, prompts}}
	for _, of := range []struct {
		tuned                    *Action
		images, verdicts, scores Role
	}{{nil, BaseProbeImages, BaseProbeVerdicts, BaseProbeScores}, {tuned, ProbeImages, ProbeVerdicts, ProbeScores}} {
		d, err := g.engineDraw(t, c.Action(Model), of.tuned, prompts, stage.EngineSampleParams{Steps: of.tuned != nil})
		if err != nil {
			return nil, err
		}
		verdicts, err := g.engineJudge(t, d)
		if err != nil {
			return nil, err
		}
		scores, err := g.engineProxy(t, base, d)
		if err != nil {
			return nil, err
		}
		parts = append(parts, Part{of.images, d.images}, Part{of.verdicts, verdicts}, Part{of.scores, scores})
	}
	return c.with(parts...), nil
}
