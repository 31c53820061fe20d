package layout

import (
	"cmp"
	"slices"

	"ablate/experiments/language"
)

// A Role is what an action does in a trial. Two roles may have actions of one stage, and
// one action may have two roles: an adopted checkpoint is model and embedder.
type Role int

// The roles, in the order of a trial.
const (
	Model         Role = iota // the pretrained or adopted denoiser
	Embedder                  // what the reward is learned on
	Labelled                  // images that the annotator labels
	Unlabelled                // images that a reward scores
	Labels                    // of Labelled
	Reward                    // the learned one
	HeldOut                   // images that no training sees
	HeldOutLabels             // of HeldOut
	Assessment                // of Reward, on HeldOut
	LabelledScores
	UnlabelledScores
	Finetune
	Evaluate
	Proxy
)

// roleNames are the names of the roles, which are part of the format of trials.arrow: its
// column artifact.NAME has the artifact of a trial in the role.
var roleNames = [...]string{
	Model: "pretrain", Embedder: "embedder", Labelled: "sample.labelled", Unlabelled: "sample.unlabelled", Labels: "label", Reward: "reward",
	HeldOut: "sample.assess", HeldOutLabels: "label.assess", Assessment: "assess", LabelledScores: "score.labelled", UnlabelledScores: "score.unlabelled",
	Finetune: "finetune", Evaluate: "evaluate", Proxy: "proxy",
}

// Roles lists the roles in the order of a trial.
func Roles() []Role {
	roles := make([]Role, len(roleNames))
	for i := range roles {
		roles[i] = Role(i)
	}
	return roles
}

func (r Role) String() string { return roleNames[r] }

// A Part is an action in its role.
type Part struct {
	Role   Role
	Action *Action
}

// A Chain is what one trial is made of: the actions that it needs, in the order of their
// roles.
type Chain []Part

// Action returns the action in a role, nil if the trial needs none.
func (c Chain) Action(r Role) *Action {
	for _, p := range c {
		if p.Role == r {
			return p.Action
		}
	}
	return nil
}

// Actions lists the actions of a chain, each once.
func (c Chain) Actions() []*Action {
	out := make([]*Action, 0, len(c))
	for _, p := range c {
		if !slices.Contains(out, p.Action) {
			out = append(out, p.Action)
		}
	}
	return out
}

// with returns a chain that has more parts; those without an action are left out.
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

// addTrial adds a trial to those that need the actions of the chain.
func (c Chain) addTrial(v language.View, turn int) {
	trial, view := v.Trial.ID().String(), v.String()
	for _, p := range c {
		a := p.Action
		// Trials are added one after the other, so that one which is there is the last.
		if len(a.Trials) > 0 && a.Trials[len(a.Trials)-1] == trial {
			continue
		}
		if len(a.Trials) == 0 || turn < a.Turn {
			a.Turn = turn
		}
		a.Trials, a.Views = append(a.Trials, trial), append(a.Views, view)
	}
}
