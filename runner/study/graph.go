// Package study turns a study into actions, runs those that are missing, and
// gathers what they produced into tables.
//
// A trial is a chain of actions. An action is named twice: structurally, by
// its own part of the trial and the names of the actions it reads, which is
// known before anything runs and makes trials share actions; and by the key of
// runner/store, in which the actions it reads have become artifacts.
package study

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"ablate/experiments/spec"
	"ablate/models/shapes"
	"ablate/runner/stage"
)

// An Action is one stage of one or more trials.
type Action struct {
	Name   string // structural name
	Kind   stage.Kind
	Lines  []string // its own part of the trial, "path value", sorted
	Params any      // what the stage's code reads; nothing in it but what Lines say, and paths
	Inputs []Input
	Trials []string // short ids of the trials that need it, in the order of the study
	Cost   float64  // rough seconds on one core, to run the longest chain first
}

// An Input is an action whose artifact another reads.
type Input struct {
	Role   string
	Action *Action
}

// A Chain is what one trial is made of; an action that it does not need is nil.
type Chain struct {
	Model, Embedder           *Action
	Labelled, Unlabelled      *Action
	Labels, Reward            *Action
	LabelledScores            *Action
	UnlabelledScores          *Action
	Finetune, Evaluate, Proxy *Action
}

// Actions lists a chain's actions that are there.
func (c Chain) Actions() []*Action {
	var out []*Action
	for _, a := range []*Action{c.Model, c.Embedder, c.Labelled, c.Unlabelled, c.Labels, c.Reward, c.LabelledScores,
		c.UnlabelledScores, c.Finetune, c.Evaluate, c.Proxy} {
		if a != nil && !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out
}

// A Graph is every action of a study, each once, after those that it reads.
type Graph struct {
	Actions []*Action
	Chains  map[spec.ID]Chain // by trial

	byName map[string]*Action
	dir    string                           // of the study: a checkpoint's path is relative to it
	digest func(dir string) (string, error) // of a checkpoint folder
}

// NewGraph lays out the actions of the given views of a study. digest names
// the bytes of a checkpoint folder that a trial adopts.
func NewGraph(s *spec.Study, views []spec.View, digest func(dir string) (string, error)) (*Graph, error) {
	g := &Graph{Chains: map[spec.ID]Chain{}, byName: map[string]*Action{}, dir: s.Dir, digest: digest}
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
		base, err := g.reward(spec.Trial{Content: s.Base, Seed: v.Trial.Seed})
		if err != nil {
			return nil, fmt.Errorf("base: %w", err)
		}
		if base.Reward != nil {
			c.Proxy = g.add(Action{Kind: stage.Proxy, Params: struct{}{}, Cost: 1,
				Inputs: []Input{{"evaluate", c.Evaluate}, {"reward", base.Reward}, {"embedder", base.Embedder}}})
		}
		g.Chains[id] = c
		for _, a := range append(c.Actions(), base.Actions()...) {
			if short := id.Short(); !slices.Contains(a.Trials, short) && (c.Proxy != nil || slices.Contains(c.Actions(), a)) {
				a.Trials = append(a.Trials, short)
			}
		}
	}
	return g, nil
}

// add returns the action of that name, adding it if it is new.
func (g *Graph) add(a Action) *Action {
	slices.Sort(a.Lines)
	h := sha256.New()
	fmt.Fprintf(h, "%s %d\n%s\n", a.Kind, stage.Revision[a.Kind], strings.Join(a.Lines, "\n"))
	for _, in := range a.Inputs {
		fmt.Fprintf(h, "%s %s\n", in.Role, in.Action.Name)
	}
	a.Name = hex.EncodeToString(h.Sum(nil))
	if old, ok := g.byName[a.Name]; ok {
		return old
	}
	g.byName[a.Name] = &a
	g.Actions = append(g.Actions, &a)
	return &a
}

func data(d *spec.Data) stage.DataParams {
	return stage.DataParams{Pairs: d.Pairs, Captions: shapes.Captions{
		Count: d.Captions.Count, Colour: d.Captions.Colour, Background: d.Captions.Background, Absent: d.Captions.Absent}}
}

func sampler(c spec.Config) stage.SamplerParams {
	return stage.SamplerParams{Steps: c.Sampler.Steps, Shift: c.Sampler.Shift}
}

// reward lays out a trial's chain up to its reward.
func (g *Graph) reward(t spec.Trial) (Chain, error) {
	var c Chain
	cfg := t.Content.Config()
	pretraining := fmt.Sprintf("seed.pretraining %d", t.Seed.Pretraining)
	feedback := fmt.Sprintf("seed.feedback %d", t.Seed.Feedback)
	switch m := cfg.Model; {
	case m.Shapes != nil:
		s := m.Shapes
		c.Model = g.add(Action{Kind: stage.Pretrain, Lines: append(t.Content.Lines("data", "model"), pretraining),
			Params: stage.PretrainParams{Seed: t.Seed.Pretraining, Data: data(cfg.Data), Layers: s.Layers, Width: s.Width, Heads: s.Heads,
				Steps: s.Steps, Batch: s.Batch, LearningRate: s.LearningRate, EMA: s.EMA},
			Cost: float64(s.Steps*s.Batch) / 2000})
	case m.Checkpoint != nil:
		path := m.Checkpoint.Path
		if !filepath.IsAbs(path) {
			path = filepath.Join(g.dir, path)
		}
		d, err := g.digest(path)
		if err != nil {
			return c, err
		}
		c.Model = g.add(Action{Kind: stage.Adopt, Lines: []string{"checkpoint " + d}, Params: stage.AdoptParams{Path: path}, Cost: 1})
	}
	if f := cfg.Feedback; f != nil && f.Labelled > 0 {
		c.Labelled = g.samples(t, c.Model, "labelled", f.Labelled)
	}
	if f := cfg.Feedback; f != nil && f.Unlabelled > 0 {
		c.Unlabelled = g.samples(t, c.Model, "unlabelled", f.Unlabelled)
	}
	r := cfg.Reward
	if !r.Learns() {
		return c, nil
	}
	c.Embedder = c.Model
	if e := cfg.Embedder; e != nil {
		c.Embedder = g.add(Action{Kind: stage.Embed, Lines: append(t.Content.Lines("data", "embedder"), pretraining),
			Params: stage.EmbedParams{Seed: t.Seed.Pretraining, Data: data(cfg.Data), Steps: e.Steps, Batch: e.Batch, LearningRate: e.LearningRate},
			Cost:   float64(e.Steps*e.Batch) / 5000})
	}
	c.Labels = g.add(Action{Kind: stage.Label, Lines: append(t.Content.Lines("feedback.parser"), feedback), Cost: 1,
		Params: stage.LabelParams{Seed: t.Seed.Feedback, Noise: cfg.Feedback.Noise}, Inputs: []Input{{"labelled", c.Labelled}}})
	c.Reward = g.add(Action{Kind: stage.Reward, Lines: append(t.Content.Lines("reward"), feedback), Cost: 5,
		Params: stage.RewardParams{Seed: t.Seed.Feedback, Loss: r.Loss, Lambda: r.Lambda, Temperature: r.Temperature, Perturbations: r.Perturbations,
			Steps: r.Steps, Batch: r.Batch, LearningRate: r.LearningRate},
		Inputs: []Input{{"labelled", c.Labelled}, {"labels", c.Labels}, {"embedder", c.Embedder}}})
	return c, nil
}

func (g *Graph) samples(t spec.Trial, model *Action, split string, n int) *Action {
	return g.add(Action{Kind: stage.Sample, Cost: float64(n) / 500,
		Lines:  append(t.Content.Lines("sampler"), "split "+split, fmt.Sprintf("images %d", n), fmt.Sprintf("seed.feedback %d", t.Seed.Feedback)),
		Params: stage.SampleParams{Seed: t.Seed.Feedback, Split: split, Images: n, Sampler: sampler(t.Content.Config())},
		Inputs: []Input{{"model", model}}})
}

// chain lays out a whole trial.
func (g *Graph) chain(t spec.Trial) (Chain, error) {
	c, err := g.reward(t)
	if err != nil {
		return c, err
	}
	cfg := t.Content.Config()
	feedback := fmt.Sprintf("seed.feedback %d", t.Seed.Feedback)
	score := func(samples *Action) *Action {
		switch {
		case samples == nil || cfg.Reward == nil || cfg.Reward.Loss == "none":
			return nil
		case cfg.Reward.Loss == "oracle":
			return g.add(Action{Kind: stage.Score, Lines: []string{"loss oracle"}, Params: stage.ScoreParams{Loss: "oracle"}, Cost: 1,
				Inputs: []Input{{"samples", samples}}})
		}
		return g.add(Action{Kind: stage.Score, Lines: []string{"loss learned"}, Params: stage.ScoreParams{Loss: "learned"}, Cost: 2,
			Inputs: []Input{{"samples", samples}, {"reward", c.Reward}, {"embedder", c.Embedder}}})
	}
	tuned := c.Model
	if f := cfg.Finetune; f.Method != "none" {
		p := stage.FinetuneParams{Seed: t.Seed.Feedback, Beta: f.Beta, Steps: f.Steps, Batch: f.Batch, LearningRate: f.LearningRate,
			Warmup: f.Warmup, Schedule: f.Schedule, EMA: f.EMA,
			Mix: stage.Mix{Labelled: f.Mix.Labelled, Unlabelled: f.Mix.Unlabelled, Pretraining: f.Mix.Pretraining}}
		a := Action{Kind: stage.Finetune, Lines: append(t.Content.Lines("finetune"), feedback), Cost: float64(f.Steps*f.Batch) / 1500,
			Inputs: []Input{{"model", c.Model}}}
		add := func(split string, samples *Action) *Action {
			a.Inputs = append(a.Inputs, Input{split, samples})
			s := score(samples)
			if s != nil {
				a.Inputs = append(a.Inputs, Input{split + " scores", s})
			}
			return s
		}
		if f.Mix.Labelled > 0 && c.Labelled != nil {
			c.LabelledScores = add("labelled", c.Labelled)
		}
		if f.Mix.Unlabelled > 0 && c.Unlabelled != nil {
			c.UnlabelledScores = add("unlabelled", c.Unlabelled)
		}
		if f.Beta > 0 && f.Mix.Pretraining > 0 {
			d := data(cfg.Data)
			p.Data, p.PretrainingSeed = &d, t.Seed.Pretraining
			a.Lines = append(append(a.Lines, t.Content.Lines("data")...), fmt.Sprintf("seed.pretraining %d", t.Seed.Pretraining))
		}
		a.Params = p
		c.Finetune = g.add(a)
		tuned = c.Finetune
	}
	ev := cfg.Evaluate
	p := stage.EvaluateParams{Seed: t.Seed.Feedback, Images: ev.Images, FidelityImages: ev.FidelityImages, BestOf: ev.BestOf, Sampler: sampler(cfg)}
	a := Action{Kind: stage.Evaluate, Lines: append(t.Content.Lines("evaluate", "sampler"), feedback), Inputs: []Input{{"model", tuned}},
		Cost: float64((ev.Images+ev.FidelityImages)*ev.BestOf)/500 + 4}
	if ev.BestOf > 1 {
		p.Loss = cfg.Reward.Loss
		a.Lines = append(a.Lines, "loss "+p.Loss)
		if p.Loss != "oracle" {
			a.Lines[len(a.Lines)-1] = "loss learned"
			a.Inputs = append(a.Inputs, Input{"reward", c.Reward}, Input{"embedder", c.Embedder})
		}
	}
	a.Params = p
	c.Evaluate = g.add(a)
	return c, nil
}
