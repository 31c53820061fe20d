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
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"ablate/experiments/spec"
	"ablate/models/finetune"
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
	Chains  map[spec.ID]Chain // by trial

	byName map[string]*Action
	known  map[string]*Action               // by what add is told, which costs less than a name
	dir    string                           // of the study: a checkpoint's path is relative to it
	digest func(dir string) (string, error) // of a checkpoint folder
}

// NewGraph lays out the actions of the given views of a study. digest names
// the bytes of a checkpoint folder that a trial adopts.
func NewGraph(s *spec.Study, views []spec.View, digest func(dir string) (string, error)) (*Graph, error) {
	g := &Graph{Chains: make(map[spec.ID]Chain, len(views)), byName: map[string]*Action{}, known: map[string]*Action{}, dir: s.Dir}
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
	bases := map[spec.Seed]Chain{}
	var cfg spec.Config
	var of spec.Content
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
			if b, err = g.reward(spec.Trial{Content: s.Base, Seed: v.Trial.Seed}, base); err != nil {
				return nil, fmt.Errorf("base: %w", err)
			}
			bases[v.Trial.Seed] = b
		}
		short := id.Short()
		if b.Reward != nil {
			inputs := []Input{{"evaluate", c.Evaluate}, {"reward", b.Reward}, {"embedder", b.Embedder}}
			if c.Finetune != nil {
				inputs = append(inputs, Input{"finetune", c.Finetune})
			}
			c.Proxy = g.add(stage.Proxy, "", inputs,
				func() Action { return Action{Params: struct{}{}, Cost: 1} })
			b.need(short)
		}
		g.Chains[id] = c
		c.need(short)
	}
	return g, nil
}

// need notes that a trial needs a chain's actions.
func (c Chain) need(trial string) {
	for _, a := range c.all() {
		// Trials come one after the other: one that is there is the last.
		if a != nil && (len(a.Trials) == 0 || a.Trials[len(a.Trials)-1] != trial) {
			a.Trials = append(a.Trials, trial)
		}
	}
}

// add returns the action of that kind, own part and inputs, building it if it is
// new. part identifies what its lines will say.
func (g *Graph) add(kind stage.Kind, part string, inputs []Input, build func() Action) *Action {
	key := make([]byte, 0, 128)
	key = append(append(key, kind...), 0)
	for _, in := range inputs {
		key = append(append(key, in.Role...), 0)
		key = binary.LittleEndian.AppendUint32(key, uint32(in.Action.index))
	}
	key = append(key, part...)
	if a, ok := g.known[string(key)]; ok {
		return a
	}
	a := build()
	a.Kind, a.Inputs, a.index = kind, inputs, len(g.Actions)
	slices.Sort(a.Lines)
	text := fmt.Appendf(nil, "%s %d\n%s\n", a.Kind, stage.Revision[a.Kind], strings.Join(a.Lines, "\n"))
	for _, in := range inputs {
		text = fmt.Appendf(text, "%s %s\n", in.Role, in.Action.Name)
	}
	sum := sha256.Sum256(text)
	a.Name = hex.EncodeToString(sum[:])
	if old, ok := g.byName[a.Name]; ok {
		g.known[string(key)] = old
		return old
	}
	g.known[string(key)], g.byName[a.Name] = &a, &a
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

// seeded is a part of a trial and the seed that its action draws from.
func seeded(part string, seed int64) string { return part + "@" + strconv.FormatInt(seed, 10) }

func pretrainingSeed(t spec.Trial) string {
	return "seed.pretraining " + strconv.FormatInt(t.Seed.Pretraining, 10)
}

func feedbackSeed(t spec.Trial) string {
	return "seed.feedback " + strconv.FormatInt(t.Seed.Feedback, 10)
}

// reward lays out a trial's chain up to its reward.
func (g *Graph) reward(t spec.Trial, cfg spec.Config) (Chain, error) {
	var c Chain
	switch m := cfg.Model; {
	case m.Shapes != nil:
		s := m.Shapes
		c.Model = g.add(stage.Pretrain, seeded(t.Content.Part("data", "model"), t.Seed.Pretraining), nil, func() Action {
			return Action{Lines: append(t.Content.Lines("data", "model"), pretrainingSeed(t)),
				Params: stage.PretrainParams{Seed: t.Seed.Pretraining, Data: data(cfg.Data), Layers: s.Layers, Width: s.Width, Heads: s.Heads,
					Steps: s.Steps, Batch: s.Batch, LearningRate: s.LearningRate, EMA: s.EMA},
				Cost: float64(s.Steps*s.Batch) / 2000}
		})
	case m.Checkpoint != nil:
		path := m.Checkpoint.Path
		if !filepath.IsAbs(path) {
			path = filepath.Join(g.dir, path)
		}
		d, err := g.digest(path)
		if err != nil {
			return c, err
		}
		c.Model = g.add(stage.Adopt, d, nil, func() Action {
			return Action{Lines: []string{"checkpoint " + d}, Params: stage.AdoptParams{Path: path}, Cost: 1}
		})
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
		c.Embedder = g.add(stage.Embed, seeded(t.Content.Part("data", "embedder"), t.Seed.Pretraining), nil, func() Action {
			return Action{Lines: append(t.Content.Lines("data", "embedder"), pretrainingSeed(t)),
				Params: stage.EmbedParams{Seed: t.Seed.Pretraining, Data: data(cfg.Data), Steps: e.Steps, Batch: e.Batch, LearningRate: e.LearningRate},
				Cost:   float64(e.Steps*e.Batch) / 5000}
		})
	}
	c.Labels = g.labels(t, cfg, c.Labelled, "")
	inputs := []Input{{"labelled", c.Labelled}, {"labels", c.Labels}, {"embedder", c.Embedder}}
	c.Reward = g.add(stage.Reward, seeded(t.Content.Part("reward"), t.Seed.Feedback), inputs, func() Action {
		return Action{Lines: append(t.Content.Lines("reward"), feedbackSeed(t)), Cost: 5 * float64(r.Members),
			Params: stage.RewardParams{Seed: t.Seed.Feedback, Loss: r.Loss, Lambda: r.Lambda, Temperature: r.Temperature, Perturbations: r.Perturbations,
				Steps: r.Steps, Batch: r.Batch, LearningRate: r.LearningRate, Members: r.Members, Penalty: r.Penalty,
				Normalize: r.Normalize, Contrast: r.Contrast, Contrasts: r.Contrasts}}
	})
	return c, nil
}

// assess lays out what a learned reward is held against: images of the base
// model that no training sees, labelled by the same annotator.
func (g *Graph) assess(t spec.Trial, cfg spec.Config, c *Chain) {
	if c.Reward == nil {
		return
	}
	c.Held = g.samples(t, cfg, c.Model, stage.AssessSplit, stage.AssessImages, true)
	c.HeldLabels = g.labels(t, cfg, c.Held, stage.AssessSplit)
	inputs := []Input{{"samples", c.Held}, {"sample labels", c.HeldLabels}, {"labelled", c.Labelled}, {"labels", c.Labels},
		{"embedder", c.Embedder}, {"reward", c.Reward}}
	c.Assess = g.add(stage.Assess, "", inputs, func() Action { return Action{Params: struct{}{}, Cost: 1} })
}

// labels are an annotator's of a split's images; "" are those that a reward
// learns from.
func (g *Graph) labels(t spec.Trial, cfg spec.Config, images *Action, split string) *Action {
	return g.add(stage.Label, seeded(t.Content.Part("feedback.parser")+split, t.Seed.Feedback), []Input{{"labelled", images}}, func() Action {
		a := Action{Lines: append(t.Content.Lines("feedback.parser"), feedbackSeed(t)), Cost: 1,
			Params: stage.LabelParams{Seed: t.Seed.Feedback, Noise: cfg.Feedback.Noise, Split: split}}
		if split != "" {
			a.Lines = append(a.Lines, "split "+split)
		}
		return a
	})
}

func (g *Graph) samples(t spec.Trial, cfg spec.Config, model *Action, split string, n int, unseen bool) *Action {
	part := seeded(t.Content.Part("sampler")+split+" "+strconv.Itoa(n), t.Seed.Feedback)
	return g.add(stage.Sample, part, []Input{{"model", model}}, func() Action {
		return Action{Cost: float64(n) / 500,
			Lines:  append(t.Content.Lines("sampler"), "split "+split, fmt.Sprintf("images %d", n), feedbackSeed(t)),
			Params: stage.SampleParams{Seed: t.Seed.Feedback, Split: split, Images: n, Unseen: unseen, Sampler: sampler(cfg)}}
	})
}

// chain lays out a whole trial.
func (g *Graph) chain(t spec.Trial, cfg spec.Config) (Chain, error) {
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
func (g *Graph) score(cfg spec.Config, c *Chain, samples *Action) *Action {
	switch {
	case cfg.Reward == nil || cfg.Reward.Loss == "none":
		return nil
	case cfg.Reward.Loss == "oracle":
		return g.add(stage.Score, "oracle", []Input{{"samples", samples}}, func() Action {
			return Action{Lines: []string{"loss oracle"}, Params: stage.ScoreParams{Loss: "oracle"}, Cost: 1}
		})
	}
	return g.add(stage.Score, "learned", []Input{{"samples", samples}, {"reward", c.Reward}, {"embedder", c.Embedder}}, func() Action {
		return Action{Lines: []string{"loss learned"}, Params: stage.ScoreParams{Loss: "learned"}, Cost: 2}
	})
}

func (g *Graph) finetune(t spec.Trial, cfg spec.Config, c *Chain) *Action {
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
	part := seeded(t.Content.Part("finetune", "sampler")+loss, t.Seed.Feedback)
	mixed := f.Beta > 0 && f.Mix.Pretraining > 0
	if mixed {
		part += seeded(t.Content.Part("data"), t.Seed.Pretraining)
	}
	return g.add(stage.Finetune, part, inputs, func() Action {
		p := stage.FinetuneParams{Seed: t.Seed.Feedback, Recipe: r, Sampler: sampler(cfg), Probes: f.Probes,
			Mix: stage.Mix{Labelled: f.Mix.Labelled, Unlabelled: f.Mix.Unlabelled, Pretraining: f.Mix.Pretraining}}
		a := Action{Lines: append(t.Content.Lines("finetune", "sampler"), feedbackSeed(t)), Cost: float64(f.Steps*f.Batch)/1500 + float64(f.Probes)}
		if n := methodRevisions[f.Method]; n > 0 {
			a.Lines = append(a.Lines, fmt.Sprintf("method revision %d", n))
		}
		if draws {
			p.Loss = loss
			a.Lines = append(a.Lines, "loss "+loss)
			a.Cost *= 2
		}
		if mixed {
			d := data(cfg.Data)
			p.Data, p.PretrainingSeed = &d, t.Seed.Pretraining
			a.Lines = append(append(a.Lines, t.Content.Lines("data")...), pretrainingSeed(t))
		}
		a.Params = p
		return a
	})
}

// methodRevisions are raised when what one method computes changes, and no other's:
// the revision of the stage would recompute all.
var methodRevisions = map[string]int{"crd": 2}

// recipe is how a fine-tuning is done, by its method's own constants.
func recipe(f *spec.Finetune) finetune.Recipe {
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

func (g *Graph) evaluate(t spec.Trial, cfg spec.Config, c Chain, model *Action) *Action {
	ev := cfg.Evaluate
	inputs := []Input{{"model", model}}
	loss := ""
	if ev.BestOf > 1 {
		loss = cfg.Reward.Loss
		if loss != "oracle" {
			inputs = append(inputs, Input{"reward", c.Reward}, Input{"embedder", c.Embedder})
		}
	}
	if model != c.Model {
		inputs = append(inputs, Input{"base", c.Model})
	}
	part := seeded(t.Content.Part("evaluate", "sampler")+loss, t.Seed.Feedback)
	return g.add(stage.Evaluate, part, inputs, func() Action {
		a := Action{Lines: append(t.Content.Lines("evaluate", "sampler"), feedbackSeed(t)),
			Params: stage.EvaluateParams{Seed: t.Seed.Feedback, Images: ev.Images, FidelityImages: ev.FidelityImages, BestOf: ev.BestOf,
				Sampler: sampler(cfg), Loss: loss},
			Cost: float64((ev.Images+ev.FidelityImages)*ev.BestOf)/500 + 4}
		if loss == "oracle" {
			a.Lines = append(a.Lines, "loss oracle")
		} else if loss != "" {
			a.Lines = append(a.Lines, "loss learned")
		}
		return a
	})
}
