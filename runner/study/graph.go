// Package study turns a study into actions, runs those that are missing, and
// gathers what they produced into tables.
//
// A trial is a chain of actions. An action is named twice: structurally, by
// its parameters and the names of the actions it reads, which is known before
// anything runs and makes trials share actions; and by the key of runner/store,
// in which the actions it reads have become artifacts.
package study

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
	"ablate/models/shapes"
	"ablate/runner/stage"
)

// An Action is one stage of one or more trials.
type Action struct {
	Name   string // structural name
	Kind   stage.Kind
	Params any      // what the stage's code reads
	Lines  []string // stage.Lines of Params
	Inputs []Input
	Trials []string // ids of the trials that need it, in the order of the study
	Views  []string // one view of each of these trials
	Turn   int      // when it is wanted: actions of lower turns run first
	Cost   float64  // rough seconds on one core

	index int // in Graph.Actions
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
	Held, HeldLabels, Assess  *Action // of images that no training sees: they, their labels, and what they say of the reward
	LabelledScores            *Action
	UnlabelledScores          *Action
	Finetune, Evaluate, Proxy *Action
}

func (c Chain) all() [14]*Action {
	return [...]*Action{c.Model, c.Embedder, c.Labelled, c.Unlabelled, c.Labels, c.Reward, c.Held, c.HeldLabels, c.Assess,
		c.LabelledScores, c.UnlabelledScores, c.Finetune, c.Evaluate, c.Proxy}
}

// Actions lists a chain's actions that are there.
func (c Chain) Actions() []*Action {
	var out []*Action
	for _, a := range c.all() {
		if a != nil && !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out
}

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
	params any    // a struct without pointers, compared by value
	inputs string // roles, and indices of actions
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
	base := s.Base.Config()
	bases := map[language.Seed]Chain{}
	var cfg language.Config
	var of language.Content
	for _, v := range views {
		id := v.Trial.ID()
		if _, ok := g.Chains[id]; ok {
			continue
		}
		if !of.Same(v.Trial.Content) {
			of, cfg = v.Trial.Content, v.Trial.Content.Config()
		}
		c, err := g.chain(v.Trial, cfg)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", v, err)
		}
		// Every trial's images are scored by the reward of the base trial.
		b, ok := bases[v.Trial.Seed]
		if !ok {
			if b, err = g.reward(language.Trial{Content: s.Base, Seed: v.Trial.Seed}, base); err != nil {
				return nil, fmt.Errorf("base: %w", err)
			}
			bases[v.Trial.Seed] = b
		}
		if b.Reward != nil {
			inputs := []Input{{"evaluate", c.Evaluate}, {"reward", b.Reward}, {"embedder", b.Embedder}}
			if c.Finetune != nil {
				inputs = append(inputs, Input{"finetune", c.Finetune})
			}
			c.Proxy = g.add(stage.Proxy, none{}, 1, inputs...)
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

// need notes that a trial needs a chain's actions.
func (c Chain) need(v language.View, turn int) {
	trial, view := v.Trial.ID().String(), v.String()
	for _, a := range c.all() {
		// Trials come one after the other: one that is there is the last.
		if a == nil || len(a.Trials) > 0 && a.Trials[len(a.Trials)-1] == trial {
			continue
		}
		if len(a.Trials) == 0 || turn < a.Turn {
			a.Turn = turn
		}
		a.Trials, a.Views = append(a.Trials, trial), append(a.Views, view)
	}
}

// none are the parameters of a stage that has none.
type none struct{}

// add returns the action of that kind with these parameters and inputs; cost is
// a rough number of seconds.
func (g *Graph) add(kind stage.Kind, params any, cost float64, inputs ...Input) *Action {
	read := make([]byte, 0, 128)
	for _, in := range inputs {
		read = append(append(read, in.Role...), 0)
		read = binary.LittleEndian.AppendUint32(read, uint32(in.Action.index))
	}
	key := actionKey{kind, params, string(read)}
	if a, ok := g.known[key]; ok {
		return a
	}
	a := &Action{Kind: kind, Params: params, Lines: stage.Lines(params), Inputs: inputs, Cost: cost, index: len(g.Actions)}
	text := fmt.Appendf(nil, "%s %d\n%s\n", a.Kind, stage.Revision[a.Kind], strings.Join(a.Lines, "\n"))
	for _, in := range inputs {
		text = fmt.Appendf(text, "%s %s\n", in.Role, in.Action.Name)
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

func data(d *language.Data) stage.DataParams {
	return stage.DataParams{Pairs: d.Pairs, Captions: shapes.Captions{
		Count: d.Captions.Count, Colour: d.Captions.Colour, Background: d.Captions.Background, Absent: d.Captions.Absent}}
}

func sampler(c language.Config) stage.SamplerParams {
	return stage.SamplerParams{Steps: c.Sampler.Steps, Shift: c.Sampler.Shift}
}

// reward lays out a trial's chain up to its reward.
func (g *Graph) reward(t language.Trial, cfg language.Config) (Chain, error) {
	var c Chain
	switch m := cfg.Model; {
	case m.Shapes != nil:
		s := m.Shapes
		c.Model = g.add(stage.Pretrain, stage.PretrainParams{Seed: t.Seed.Pretraining, Data: data(cfg.Data), Layers: s.Layers, Width: s.Width,
			Heads: s.Heads, Steps: s.Steps, Batch: s.Batch, LearningRate: s.LearningRate, EMA: s.EMA}, float64(s.Steps)*float64(s.Batch)/2000)
	case m.Checkpoint != nil:
		path := m.Checkpoint.Path
		if !filepath.IsAbs(path) {
			path = filepath.Join(g.dir, path)
		}
		d, err := g.digest(path)
		if err != nil {
			return c, err
		}
		c.Model = g.add(stage.Adopt, stage.AdoptParams{Path: path, Digest: d}, 1)
	}
	if f := cfg.Feedback; f != nil && f.Labelled > 0 {
		c.Labelled = g.samples(t, cfg, c.Model, "labelled", f.Labelled, false)
	}
	if f := cfg.Feedback; f != nil && f.Unlabelled > 0 {
		c.Unlabelled = g.samples(t, cfg, c.Model, "unlabelled", f.Unlabelled, false)
	}
	r := cfg.Reward
	if !r.Learns() {
		return c, nil
	}
	c.Embedder = c.Model
	if e := cfg.Embedder; e != nil {
		c.Embedder = g.add(stage.Embed, stage.EmbedParams{Seed: t.Seed.Pretraining, Data: data(cfg.Data), Steps: e.Steps, Batch: e.Batch,
			LearningRate: e.LearningRate}, float64(e.Steps)*float64(e.Batch)/5000)
	}
	c.Labels = g.labels(t, cfg, c.Labelled, "")
	c.Reward = g.add(stage.Reward, stage.RewardParams{Seed: t.Seed.Feedback, Loss: r.Loss, Lambda: r.Lambda, Temperature: r.Temperature,
		Perturbations: r.Perturbations, Steps: r.Steps, Batch: r.Batch, LearningRate: r.LearningRate, Members: r.Members, Penalty: r.Penalty,
		Normalize: r.Normalize, Contrast: r.Contrast, Contrasts: r.Contrasts}, 5*float64(r.Members),
		Input{"labelled", c.Labelled}, Input{"labels", c.Labels}, Input{"embedder", c.Embedder})
	return c, nil
}

// assess lays out what a learned reward is held against: images of the base
// model that no training sees, labelled by the same annotator.
func (g *Graph) assess(t language.Trial, cfg language.Config, c *Chain) {
	if c.Reward == nil {
		return
	}
	c.Held = g.samples(t, cfg, c.Model, stage.AssessSplit, stage.AssessImages, true)
	c.HeldLabels = g.labels(t, cfg, c.Held, stage.AssessSplit)
	c.Assess = g.add(stage.Assess, none{}, 1, Input{"samples", c.Held}, Input{"sample labels", c.HeldLabels}, Input{"labelled", c.Labelled},
		Input{"labels", c.Labels}, Input{"embedder", c.Embedder}, Input{"reward", c.Reward})
}

// labels are an annotator's of a split's images; "" are those that a reward
// learns from.
func (g *Graph) labels(t language.Trial, cfg language.Config, images *Action, split string) *Action {
	return g.add(stage.Label, stage.LabelParams{Seed: t.Seed.Feedback, Noise: cfg.Feedback.Noise, Split: split}, 1, Input{"labelled", images})
}

func (g *Graph) samples(t language.Trial, cfg language.Config, model *Action, split string, n int, unseen bool) *Action {
	return g.add(stage.Sample, stage.SampleParams{Seed: t.Seed.Feedback, Split: split, Images: n, Unseen: unseen, Sampler: sampler(cfg)},
		float64(n)/500, Input{"model", model})
}

// chain lays out a whole trial.
func (g *Graph) chain(t language.Trial, cfg language.Config) (Chain, error) {
	c, err := g.reward(t, cfg)
	if err != nil {
		return c, err
	}
	g.assess(t, cfg, &c)
	tuned := c.Model
	if cfg.Finetune.Method != "none" {
		c.Finetune = g.finetune(t, cfg, &c)
		tuned = c.Finetune
	}
	c.Evaluate = g.evaluate(t, cfg, c, tuned)
	return c, nil
}

// score scores the images that fine-tuning weights; nil where all weigh the same.
func (g *Graph) score(cfg language.Config, c *Chain, samples *Action) *Action {
	switch {
	case cfg.Reward == nil || cfg.Reward.Loss == "none":
		return nil
	case cfg.Reward.Loss == "oracle":
		return g.add(stage.Score, stage.ScoreParams{Loss: "oracle"}, 1, Input{"samples", samples})
	}
	return g.add(stage.Score, stage.ScoreParams{Loss: "learned"}, 2, Input{"samples", samples}, Input{"reward", c.Reward}, Input{"embedder", c.Embedder})
}

func (g *Graph) finetune(t language.Trial, cfg language.Config, c *Chain) *Action {
	f, loss := cfg.Finetune, "none"
	if cfg.Reward.Learns() {
		loss = "learned"
	} else if cfg.Reward != nil {
		loss = cfg.Reward.Loss
	}
	r := recipe(f)
	inputs := []Input{{"model", c.Model}}
	add := func(split string, samples *Action) *Action {
		inputs = append(inputs, Input{split, samples})
		s := g.score(cfg, c, samples)
		if s != nil {
			inputs = append(inputs, Input{split + " scores", s})
		}
		return s
	}
	if f.Mix.Labelled > 0 && c.Labelled != nil {
		if r.Labels() && loss != "oracle" {
			c.Labels = g.labels(t, cfg, c.Labelled, "")
			inputs = append(inputs, Input{"labelled", c.Labelled}, Input{"labels", c.Labels})
		} else {
			c.LabelledScores = add("labelled", c.Labelled)
		}
	}
	if f.Mix.Unlabelled > 0 && c.Unlabelled != nil {
		c.UnlabelledScores = add("unlabelled", c.Unlabelled)
	}
	draws := f.Rounds > 1 || finetune.KindOf(f.Method) != finetune.Offline
	if draws && loss == "learned" {
		inputs = append(inputs, Input{"reward", c.Reward}, Input{"embedder", c.Embedder})
	}
	p := stage.FinetuneParams{Seed: t.Seed.Feedback, Recipe: r, Revision: methodRevisions[f.Method], Sampler: sampler(cfg), Probes: f.Probes,
		Mix: stage.Mix{Labelled: f.Mix.Labelled, Unlabelled: f.Mix.Unlabelled, Pretraining: f.Mix.Pretraining}}
	cost := float64(f.Steps)*float64(f.Batch)/1500 + float64(f.Probes)
	if draws {
		p.Loss = loss
		cost *= 2
	}
	if f.Beta > 0 && f.Mix.Pretraining > 0 {
		p.Data, p.PretrainingSeed = data(cfg.Data), t.Seed.Pretraining
	}
	return g.add(stage.Finetune, p, cost, inputs...)
}

// methodRevisions are raised when what one method computes changes, and no other's:
// the revision of the stage would recompute all.
var methodRevisions = map[string]int{"crd": 2}

// recipe is how a fine-tuning is done, by its method's own constants.
func recipe(f *language.Finetune) finetune.Recipe {
	r := finetune.Recipe{Method: f.Method, Steps: f.Steps, Batch: f.Batch, LearningRate: f.LearningRate, Warmup: f.Warmup, Schedule: f.Schedule,
		EMA: f.EMA, Clip: f.Clip, WeightDecay: f.WeightDecay, LoRA: finetune.LoRA{Rank: f.Rank, Targets: f.Targets},
		Anchor: f.Anchor, Beta: f.Beta, Rounds: f.Rounds, Fresh: f.Fresh, Group: f.FreshGroup, Tau: f.Tau, Keep: f.By, Top: f.Fraction, Threshold: f.Threshold,
		DPO: finetune.DPOSet{Beta: f.DPO},
		KTO: finetune.KTOSet{Beta: f.KTO, Desirable: f.Desirable, Undesirable: f.Undesirable, Positive: f.Positive},
		AWM: finetune.AWMSet{Weighting: f.Weighting, Power: f.Power, Clip: f.AWMClip, Average: f.Average},
		NFT: finetune.NFTSet{Beta: f.NFT, Signal: f.Signal}, CRD: finetune.CRDSet{Beta: f.CRD, Group: f.CRDGroup},
		Policy: finetune.PolicySet{Images: f.Images, Noise: f.Noise, Group: f.GRPOGroup, Weight: f.DPOKWeight,
			ClipRange: f.DDPOClip + f.DPOKClip + f.GRPOClip}, // a trial has one of them
		Direct: finetune.DirectSet{Last: f.Last, From: f.ReFLFrom, Weight: f.ReFLWeight, Margin: f.ReFLMargin},
	}
	if f.Method == "draft" {
		r.Direct.Weight = 1
	}
	// One weight is there: the anchor's own or the method's.
	switch f.Anchor {
	case "velocity":
		r.Weight = f.Velocity + f.AWMVelocity + f.NFTVelocity + f.CRDVelocity + f.DPOKVelocity
	case "kl":
		r.Weight = f.KL + f.GRPOKL
	}
	return r
}

func (g *Graph) evaluate(t language.Trial, cfg language.Config, c Chain, model *Action) *Action {
	ev := cfg.Evaluate
	inputs := []Input{{"model", model}}
	loss := ""
	if ev.BestOf > 1 {
		loss = cfg.Reward.Loss
		if cfg.Reward.Learns() {
			loss = "learned"
			inputs = append(inputs, Input{"reward", c.Reward}, Input{"embedder", c.Embedder})
		}
	}
	if model != c.Model {
		inputs = append(inputs, Input{"base", c.Model})
	}
	return g.add(stage.Evaluate, stage.EvaluateParams{Seed: t.Seed.Feedback, Images: ev.Images, FidelityImages: ev.FidelityImages,
		BestOf: ev.BestOf, Sampler: sampler(cfg), Loss: loss}, float64(ev.Images+ev.FidelityImages)*float64(ev.BestOf)/500+4, inputs...)
}
