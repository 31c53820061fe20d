package layout

import (
	"cmp"
	"slices"

	"ablate/runner/stage"
)

// A Role is the purpose of an action in a trial. An action may have several roles.
// Actions that are only inputs of others, such as the candidates of best of n, have none.
type Role int

// The roles, in the order of a trial. Roles that end in Prompts, Images, Verdicts or
// Scores belong to one list of prompts.
const (
	Model    Role = iota // the pretrained or adopted denoiser
	Embedder             // the embedder on which a reward is learned

	LabelledPrompts
	LabelledImages
	LabelledVerdicts
	Labels // labels of LabelledImages, by the annotator
	Reward // the learned reward
	LabelledScores

	UnlabelledPrompts
	UnlabelledImages
	UnlabelledVerdicts
	UnlabelledScores

	AssessPrompts // prompts that no training sees
	AssessImages
	AssessVerdicts
	AssessLabels
	AssessScores
	Assessment // assessment of Reward

	FinetunePrompts
	Rung       // fine-tuning up to a rung, a number of steps at which the trial's row may stop; one for each rung
	RungImages // probe images of Rung
	RungScores // scores of RungImages by the proxy
	Finetune

	AlignmentPrompts
	AlignmentImages // images after best of n, if the trial uses it
	AlignmentVerdicts
	AlignmentScores // scores by the proxy, which is the base trial's reward
	Judgements      // verdicts or numbers of the study's judges beside the gold, one for each judge
	Diversity
	Distance
	FidelityPrompts
	FidelityImages
	Fidelity

	ProbePrompts
	BaseProbeImages // probe images of the pretrained model
	BaseProbeVerdicts
	BaseProbeScores
	ProbeImages // probe images of the checkpoints of a fine-tuning
	ProbeVerdicts
	ProbeScores
	ProbeDistance
)

// roleNames are the names of roles in trials.arrow: the stage, followed by the list of
// prompts if a trial has several actions of the stage.
var roleNames = [...]string{
	Model: "pretrain", Embedder: "embedder",
	LabelledPrompts: "prompts.labelled", LabelledImages: "draw.labelled", LabelledVerdicts: "judge.labelled", Labels: "label", Reward: "reward", LabelledScores: "score.labelled",
	UnlabelledPrompts: "prompts.unlabelled", UnlabelledImages: "draw.unlabelled", UnlabelledVerdicts: "judge.unlabelled", UnlabelledScores: "score.unlabelled",
	AssessPrompts: "prompts.assess", AssessImages: "draw.assess", AssessVerdicts: "judge.assess", AssessLabels: "label.assess", AssessScores: "score.assess", Assessment: "assess",
	FinetunePrompts: "prompts.finetune", Rung: "finetune.rung", RungImages: "draw.rung", RungScores: "score.rung", Finetune: "finetune",
	AlignmentPrompts: "prompts.alignment", AlignmentImages: "draw.alignment", AlignmentVerdicts: "judge.alignment", AlignmentScores: "score.alignment",
	Judgements: "judges",
	Diversity:  "diversity", Distance: "distance",
	FidelityPrompts: "prompts.fidelity", FidelityImages: "draw.fidelity", Fidelity: "fidelity",
	ProbePrompts: "prompts.probe", BaseProbeImages: "draw.probe.base", BaseProbeVerdicts: "judge.probe.base", BaseProbeScores: "score.probe.base",
	ProbeImages: "draw.probe", ProbeVerdicts: "judge.probe", ProbeScores: "score.probe", ProbeDistance: "distance.probe",
}

// Roles returns all roles in their order, but Judgements, which only some studies have.
func Roles() (roles []Role) {
	for i := range roleNames {
		if r := Role(i); r != Judgements {
			roles = append(roles, r)
		}
	}
	return roles
}

func (r Role) String() string { return roleNames[r] }

// Results returns the roles whose artifacts a trial's row of the table is made from.
func Results() []Role {
	return []Role{Assessment, AlignmentPrompts, AlignmentVerdicts, AlignmentScores, Diversity, Distance, Fidelity}
}

// Results returns the actions of these roles, and those of the judges beside the gold.
func (c Chain) Results() (out []*Action) {
	for _, r := range append(Results(), Judgements) {
		out = append(out, c.All(r)...)
	}
	return out
}

// A Part is an action in its role.
type Part struct {
	Role   Role
	Action *Action
}

// A Chain has the actions of a trial with their roles, in the order of the roles. A role has
// one action, except those of rungs, which have one for each rung, in their order, and Judgements, which
// has one for each judge of the study, in their order.
type Chain []Part

// Action returns the action of a role, nil if the trial has none.
func (c Chain) Action(r Role) *Action {
	for _, p := range c {
		if p.Role == r {
			return p.Action
		}
	}
	return nil
}

// Sampling returns the action by which the trial's sampler draws n images with the model after a step
// of its fine-tuning, 0 for the end: without inputs, and in no graph. It returns nil for a trial
// that draws nothing.
func (c Chain) Sampling(n, step int) *Action {
	for _, a := range c.Actions() {
		if p, ok := stage.Sampling(a.Params, n, step); ok {
			return &Action{Spec: &Spec{Kind: a.Kind, Params: p, Cost: stage.Cost(p)}}
		}
	}
	return nil
}

// All returns the actions of a role.
func (c Chain) All(r Role) (out []*Action) {
	for _, p := range c {
		if p.Role == r {
			out = append(out, p.Action)
		}
	}
	return out
}

// Actions returns all actions that a trial needs, each once and after its inputs.
func (c Chain) Actions() []*Action {
	seen := map[*Action]bool{}
	return c.collect(func(a *Action) bool {
		had := seen[a]
		seen[a] = true
		return had
	})
}

// Walker returns a function that does the same for one chain of the graph after the other, in a
// fraction of the time.
func (g *Graph) Walker() func(Chain) []*Action {
	last, n := make([]int32, len(g.Actions)), int32(0) // by position, the last chain that had the action
	return func(c Chain) []*Action {
		n++
		return c.collect(func(a *Action) bool {
			at := &last[g.Position(a)]
			had := *at == n
			*at = n
			return had
		})
	}
}

// collect returns the actions of a chain and those that they need. seen reports whether it was called
// with an action before.
func (c Chain) collect(seen func(*Action) bool) []*Action {
	out := make([]*Action, 0, 2*len(c))
	var add func(a *Action)
	add = func(a *Action) {
		if seen(a) {
			return
		}
		for _, in := range a.Inputs {
			add(in)
		}
		out = append(out, a)
	}
	for _, p := range c {
		add(p.Action)
	}
	return out
}

// with returns the chain with parts added, which replace parts of the same roles. It
// leaves out parts without an action.
func (c Chain) with(parts ...Part) Chain {
	out := append(make(Chain, 0, len(c)+len(parts)), c...)
	for _, p := range parts {
		if p.Action == nil {
			continue
		}
		i, has := slices.BinarySearchFunc(out, p.Role, func(q Part, r Role) int { return cmp.Compare(q.Role, r) })
		if has {
			out[i] = p
		} else {
			out = slices.Insert(out, i, p)
		}
	}
	return out
}

// also returns the chain with an action added after those of the same role.
func (c Chain) also(r Role, a *Action) Chain {
	i, _ := slices.BinarySearchFunc(c, r+1, func(q Part, r Role) int { return cmp.Compare(q.Role, r) })
	return slices.Insert(slices.Clone(c), i, Part{r, a})
}

// addTrial records in all actions of a chain that a trial needs them. n is the number of
// the trial, from 1.
func (c Chain) addTrial(t *Trial, n, turn int32) {
	for _, p := range c {
		p.Action.addTrial(t, n, turn)
	}
}

func (a *Action) addTrial(t *Trial, n, turn int32) {
	switch {
	case a.last == n:
		return
	case a.Trial == nil:
		a.Trial, a.Turn = t, turn
	default:
		a.Others++
		a.Turn = min(a.Turn, turn)
	}
	a.last = n
	for _, in := range a.Inputs {
		in.addTrial(t, n, turn)
	}
}
