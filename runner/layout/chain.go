package layout

import (
	"slices"

	"ablate/experiments/language"
)

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
