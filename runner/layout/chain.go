package layout

import (
	"cmp"
	"slices"

	"ablate/experiments/language"
)

// A Role is what an action is for in a trial. One action may have several roles, and
// actions that only lead to others, as the candidates of best of n, have none.
type Role int

// The roles, in the order of a trial. Those that end in Prompts, Images, Verdicts and
// Scores are of one list of prompts.
const (
	Model    Role = iota // the pretrained or adopted denoiser
	Embedder             // a reward is learned on it

	LabelledPrompts
	LabelledImages
	LabelledVerdicts
	Labels // of LabelledImages, by the annotator
	Reward // the learned one
	LabelledScores

	UnlabelledPrompts
	UnlabelledImages
	UnlabelledVerdicts
	UnlabelledScores

	AssessPrompts // no training sees them
	AssessImages
	AssessVerdicts
	AssessLabels
	AssessScores
	Assessment // of Reward

	FinetunePrompts
	Finetune

	AlignmentPrompts
	AlignmentImages // best of n where the trial says so
	AlignmentVerdicts
	AlignmentScores // the proxy: by the base trial's reward
	Diversity
	Distance
	FidelityPrompts
	FidelityImages
	Fidelity

	ProbePrompts
	BaseProbeImages // of the pretrained model
	BaseProbeVerdicts
	BaseProbeScores
	ProbeImages // of the models that a fine-tuning kept
	ProbeVerdicts
	ProbeScores
	ProbeDistance
)

// roleNames are the names of columns of trials.arrow: the stage, and the list of prompts
// where a trial has several actions of the stage.
var roleNames = [...]string{
	Model: "pretrain", Embedder: "embedder",
	LabelledPrompts: "prompts.labelled", LabelledImages: "draw.labelled", LabelledVerdicts: "judge.labelled", Labels: "label", Reward: "reward", LabelledScores: "score.labelled",
	UnlabelledPrompts: "prompts.unlabelled", UnlabelledImages: "draw.unlabelled", UnlabelledVerdicts: "judge.unlabelled", UnlabelledScores: "score.unlabelled",
	AssessPrompts: "prompts.assess", AssessImages: "draw.assess", AssessVerdicts: "judge.assess", AssessLabels: "label.assess", AssessScores: "score.assess", Assessment: "assess",
	FinetunePrompts: "prompts.finetune", Finetune: "finetune",
	AlignmentPrompts: "prompts.alignment", AlignmentImages: "draw.alignment", AlignmentVerdicts: "judge.alignment", AlignmentScores: "score.alignment",
	Diversity: "diversity", Distance: "distance",
	FidelityPrompts: "prompts.fidelity", FidelityImages: "draw.fidelity", Fidelity: "fidelity",
	ProbePrompts: "prompts.probe", BaseProbeImages: "draw.probe.base", BaseProbeVerdicts: "judge.probe.base", BaseProbeScores: "score.probe.base",
	ProbeImages: "draw.probe", ProbeVerdicts: "judge.probe", ProbeScores: "score.probe", ProbeDistance: "distance.probe",
}

// Roles lists the roles in their order.
func Roles() []Role {
	roles := make([]Role, len(roleNames))
	for i := range roles {
		roles[i] = Role(i)
	}
	return roles
}

func (r Role) String() string { return roleNames[r] }

// Results are the roles whose artifacts a trial's row of the table is made from.
func Results() []Role {
	return []Role{Assessment, AlignmentPrompts, AlignmentVerdicts, AlignmentScores, Diversity, Distance, Fidelity}
}

// A Part is an action in its role.
type Part struct {
	Role   Role
	Action *Action
}

// A Chain is the actions of a trial by role, in the order of the roles.
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

// Actions are all that a trial needs, each once and after those that it reads.
func (c Chain) Actions() []*Action {
	var out []*Action
	seen := map[*Action]bool{}
	var add func(a *Action)
	add = func(a *Action) {
		if seen[a] {
			return
		}
		seen[a] = true
		for _, in := range a.Inputs {
			add(in.Action)
		}
		out = append(out, a)
	}
	for _, p := range c {
		add(p.Action)
	}
	return out
}

// with returns the chain with further parts, or with others in the same roles. Parts
// without an action are left out.
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

// addTrial adds a trial to all actions that it needs.
func (c Chain) addTrial(v language.View, turn int) {
	trial, view := v.Trial.ID().String(), v.String()
	for _, p := range c {
		p.Action.addTrial(trial, view, turn)
	}
}

func (a *Action) addTrial(trial, view string, turn int) {
	// Trials are added one after the other, so that one which is there is the last.
	if len(a.Trials) > 0 && a.Trials[len(a.Trials)-1] == trial {
		return
	}
	if len(a.Trials) == 0 || turn < a.Turn {
		a.Turn = turn
	}
	a.Trials, a.Views = append(a.Trials, trial), append(a.Views, view)
	for _, in := range a.Inputs {
		in.Action.addTrial(trial, view, turn)
	}
}
