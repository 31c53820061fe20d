// Package layout lays out the actions that the trials of a study are made of.
//
// A trial is a chain of actions. An action is named twice: structurally, by
// its parameters and the names of the actions it reads, which is known before
// anything runs and makes trials share actions; and by the key of runner/store,
// in which the actions it reads have become artifacts.
package layout

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"ablate/experiments/language"
	"ablate/models/finetune"
	"ablate/runner/stage"
)

// A Graph is every action of a study, each once, after those that it reads.
type Graph struct {
	Actions []*Action
	Chains  map[language.ID]Chain // by trial

	byName map[string]*Action
	known  map[actionKey]*Action
	dir    string                           // of the study: a checkpoint's path is relative to it
	digest func(dir string) (string, error) // of a checkpoint folder
}

// actionKey tells actions apart within a graph, at less cost than a name: a
// study of a hundred thousand trials hashes each of its actions once.
type actionKey struct {
	kind   stage.Kind
	params stage.Params // compared by value
	inputs string       // roles, and indices of actions
}

// NewGraph lays out the actions of the given views of a study. digest names
// the bytes of a checkpoint folder that a trial adopts.
func NewGraph(s *language.Study, views []language.View, digest func(dir string) (string, error)) (*Graph, error) {
	g := &Graph{Chains: make(map[language.ID]Chain, len(views)), byName: map[string]*Action{}, known: map[actionKey]*Action{}, dir: s.Dir}
	digests := map[string]string{}
	g.digest = func(dir string) (d string, err error) {
		if d, ok := digests[dir]; ok {
			return d, nil
		}
		d, err = digest(dir)
		digests[dir] = d
		return d, err
	}
	bases := map[language.Seed]Chain{}
	for _, v := range views {
		id := v.Trial.ID()
		if _, ok := g.Chains[id]; ok {
			continue
		}
		c, err := g.chain(v.Trial)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", v, err)
		}
		// Every trial's images are scored by the reward of the base trial.
		b, ok := bases[v.Trial.Seed]
		if !ok {
			if b, err = g.reward(language.Trial{Content: s.Base, Seed: v.Trial.Seed}); err != nil {
				return nil, fmt.Errorf("base: %w", err)
			}
			bases[v.Trial.Seed] = b
		}
		if b.Reward != nil {
			inputs := []Input{{stage.EvaluateInput, c.Evaluate}, {stage.RewardInput, b.Reward}, {stage.EmbedderInput, b.Embedder}}
			if c.Finetune != nil {
				inputs = append(inputs, Input{stage.FinetuneInput, c.Finetune})
			}
			c.Proxy = g.add(stage.Proxy, stage.NoParams{}, inputs...)
			b.need(v, g.turn(s, v))
		}
		g.Chains[id] = c
		c.need(v, g.turn(s, v))
	}
	return g, nil
}

// turn says when a trial runs: seed by seed, and within a seed in the order of
// the study. So a whole row can be looked at early, and all rows of one seed long
// before the last.
func (g *Graph) turn(s *language.Study, v language.View) int {
	return slices.Index(s.Seeds, v.Trial.Seed)*len(s.Views) + len(g.Chains)
}

// add returns the action of that kind with these parameters and inputs.
func (g *Graph) add(kind stage.Kind, params stage.Params, inputs ...Input) *Action {
	read := make([]byte, 0, 128)
	for _, in := range inputs {
		read = append(append(read, in.Name...), 0)
		read = binary.LittleEndian.AppendUint32(read, uint32(in.Action.index))
	}
	key := actionKey{kind, params, string(read)}
	if a, ok := g.known[key]; ok {
		return a
	}
	a := &Action{Kind: kind, Params: params, Lines: stage.Lines(params), Inputs: inputs, Cost: stage.Cost(params), index: len(g.Actions)}
	text := fmt.Appendf(nil, "%s %d\n%s\n", a.Kind, a.Kind.Def().Revision, strings.Join(a.Lines, "\n"))
	for _, in := range inputs {
		text = fmt.Appendf(text, "%s %s\n", in.Name, in.Action.Name)
	}
	sum := sha256.Sum256(text)
	a.Name = hex.EncodeToString(sum[:])
	// Parameters that differ only where a key has nothing of them, such as the
	// path of a checkpoint, are one action.
	if old, ok := g.byName[a.Name]; ok {
		a = old
	} else {
		g.byName[a.Name] = a
		g.Actions = append(g.Actions, a)
	}
	g.known[key] = a
	return a
}

// fill is the parameters of a stage as a trial has them.
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

// scorer is what scores images that a trial draws: learned, oracle or none.
func scorer(t language.Trial) string {
	switch loss := t.Content.Name("reward.loss"); {
	case t.Content.Learns():
		return "learned"
	case loss != "":
		return loss
	}
	return "none"
}

// reward lays out a trial's chain up to its reward.
func (g *Graph) reward(t language.Trial) (Chain, error) {
	var c Chain
	if path := t.Content.Name("model.checkpoint.path"); path != "" {
		if !filepath.IsAbs(path) {
			path = filepath.Join(g.dir, path)
		}
		d, err := g.digest(path)
		if err != nil {
			return c, err
		}
		c.Model = g.add(stage.Adopt, stage.AdoptParams{Path: path, Digest: d})
	} else {
		p, err := fill[stage.PretrainParams](t)
		if err != nil {
			return c, err
		}
		c.Model = g.add(stage.Pretrain, p)
	}
	var err error
	if n := t.Content.Whole("feedback.labelled"); n > 0 {
		if c.Labelled, err = g.samples(t, c.Model, stage.LabelledSplit, n, false); err != nil {
			return c, err
		}
	}
	if n := t.Content.Whole("feedback.unlabelled"); n > 0 {
		if c.Unlabelled, err = g.samples(t, c.Model, stage.UnlabelledSplit, n, false); err != nil {
			return c, err
		}
	}
	if !t.Content.Learns() {
		return c, nil
	}
	c.Embedder = c.Model
	if t.Content.Whole("embedder.steps") > 0 {
		p, err := fill[stage.EmbedParams](t)
		if err != nil {
			return c, err
		}
		c.Embedder = g.add(stage.Embed, p)
	}
	if c.Labels, err = g.labels(t, c.Labelled, ""); err != nil {
		return c, err
	}
	p, err := fill[stage.RewardParams](t)
	c.Reward = g.add(stage.Reward, p, Input{stage.LabelledInput, c.Labelled}, Input{stage.LabelsInput, c.Labels}, Input{stage.EmbedderInput, c.Embedder})
	return c, err
}

// assess lays out what a learned reward is held against: images of the base
// model that no training sees, labelled by the same annotator.
func (g *Graph) assess(t language.Trial, c *Chain) (err error) {
	if c.Reward == nil {
		return nil
	}
	if c.Held, err = g.samples(t, c.Model, stage.AssessSplit, stage.AssessImages, true); err != nil {
		return err
	}
	if c.HeldLabels, err = g.labels(t, c.Held, stage.AssessSplit); err != nil {
		return err
	}
	c.Assess = g.add(stage.Assess, stage.NoParams{}, Input{stage.SamplesInput, c.Held}, Input{stage.SampleLabelsInput, c.HeldLabels}, Input{stage.LabelledInput, c.Labelled},
		Input{stage.LabelsInput, c.Labels}, Input{stage.EmbedderInput, c.Embedder}, Input{stage.RewardInput, c.Reward})
	return nil
}

// labels are an annotator's of a split's images; "" are those that a reward
// learns from.
func (g *Graph) labels(t language.Trial, images *Action, split string) (*Action, error) {
	p, err := fill[stage.LabelParams](t)
	p.Split = split
	return g.add(stage.Label, p, Input{stage.LabelledInput, images}), err
}

func (g *Graph) samples(t language.Trial, model *Action, split string, n int, unseen bool) (*Action, error) {
	p, err := fill[stage.SampleParams](t)
	p.Split, p.Images, p.Unseen = split, n, unseen
	return g.add(stage.Sample, p, Input{stage.ModelInput, model}), err
}

// chain lays out a whole trial.
func (g *Graph) chain(t language.Trial) (Chain, error) {
	c, err := g.reward(t)
	if err != nil {
		return c, err
	}
	if err := g.assess(t, &c); err != nil {
		return c, err
	}
	tuned := c.Model
	if t.Content.Name("finetune.method") != "none" {
		if c.Finetune, err = g.finetune(t, &c); err != nil {
			return c, err
		}
		tuned = c.Finetune
	}
	c.Evaluate, err = g.evaluate(t, c, tuned)
	return c, err
}

// score scores the images that fine-tuning weights; nil where all weigh the same.
func (g *Graph) score(t language.Trial, c *Chain, samples *Action) *Action {
	switch scorer(t) {
	case "none":
		return nil
	case "oracle":
		return g.add(stage.Score, stage.ScoreParams{Loss: "oracle"}, Input{stage.SamplesInput, samples})
	}
	return g.add(stage.Score, stage.ScoreParams{Loss: "learned"}, Input{stage.SamplesInput, samples}, Input{stage.RewardInput, c.Reward}, Input{stage.EmbedderInput, c.Embedder})
}

func (g *Graph) finetune(t language.Trial, c *Chain) (*Action, error) {
	p, err := fill[stage.FinetuneParams](t)
	if err != nil {
		return nil, err
	}
	method := p.Recipe.Method.Method
	inputs := []Input{{stage.ModelInput, c.Model}}
	add := func(split string, samples *Action) *Action {
		inputs = append(inputs, Input{split, samples})
		s := g.score(t, c, samples)
		if s != nil {
			inputs = append(inputs, Input{stage.ScoresInput(split), s})
		}
		return s
	}
	if p.Mix.Labelled > 0 && c.Labelled != nil {
		if finetune.LearnsFromLabels(method) && scorer(t) != "oracle" {
			if c.Labels, err = g.labels(t, c.Labelled, ""); err != nil {
				return nil, err
			}
			inputs = append(inputs, Input{stage.LabelledInput, c.Labelled}, Input{stage.LabelsInput, c.Labels})
		} else {
			c.LabelledScores = add(stage.LabelledSplit, c.Labelled)
		}
	}
	if p.Mix.Unlabelled > 0 && c.Unlabelled != nil {
		c.UnlabelledScores = add(stage.UnlabelledSplit, c.Unlabelled)
	}
	if p.DrawsImages() {
		if p.Scores = scorer(t); p.Scores == "learned" {
			inputs = append(inputs, Input{stage.RewardInput, c.Reward}, Input{stage.EmbedderInput, c.Embedder})
		}
	}
	if p.Recipe.Beta == 0 || p.Mix.Pretraining == 0 {
		p.Data, p.PretrainingSeed = stage.DataParams{}, 0
	}
	return g.add(stage.Finetune, p, inputs...), nil
}

func (g *Graph) evaluate(t language.Trial, c Chain, model *Action) (*Action, error) {
	p, err := fill[stage.EvaluateParams](t)
	if err != nil {
		return nil, err
	}
	inputs := []Input{{stage.ModelInput, model}}
	if p.BestOf > 1 {
		if p.Scores = scorer(t); p.Scores == "learned" {
			inputs = append(inputs, Input{stage.RewardInput, c.Reward}, Input{stage.EmbedderInput, c.Embedder})
		}
	}
	if model != c.Model {
		inputs = append(inputs, Input{stage.BaseInput, c.Model})
	}
	return g.add(stage.Evaluate, p, inputs...), nil
}
