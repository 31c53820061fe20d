package project

import (
	"context"
	"fmt"

	"ablate/experiments/language"
	"ablate/runner/layout"
	"ablate/runner/lookup"
	"ablate/runner/phrase"
	"ablate/runner/store"
)

// A Model is a trial's model in the store: the pretrained, adopted or loaded one, and what its
// fine-tuning made of it. The bytes of both were compared with their digests.
type Model struct {
	Base, Tuned     string         // folders of the artifacts; Tuned is empty if the trial fine-tunes nothing
	BaseID, TunedID store.OutputID // their ids
}

// Model returns the model of a view's trial among the artifacts that were found. If it is not among
// them, or damaged, the error says what computes it.
func (p Project) Model(ctx context.Context, found *lookup.Found, v language.View) (m Model, err error) {
	if at, ok := v.StoppedAt(); ok {
		return m, fmt.Errorf("%s was stopped early, after step %d of its fine-tuning, so that it has no model: choose a trial that ran to its end", v, at)
	}
	c := p.Graph.Chains[v.Trial.ID()]
	base, tuned := c.Action(layout.Model), c.Action(layout.Finetune)
	if m.Base, err = found.Verified(ctx, p.Store, base); err != nil {
		return m, err
	}
	if m.Tuned, err = found.Verified(ctx, p.Store, tuned); err != nil {
		return m, err
	}
	for _, a := range []*layout.Action{base, tuned} {
		if f, ok := found.Failed[a]; ok {
			return m, fmt.Errorf("%s has no model, because its %s has failed (%s): %s", v, a.Kind, f.Class, f.Error)
		}
	}
	if v.Cut || m.Base == "" || m.Tuned == "" && tuned != nil {
		command := p.Command()
		if !p.Rounded() { // where rounds decide what runs, a part of them decides nothing
			command += " --only " + phrase.Shell(v.Row()) + " --seed " + phrase.Shell(v.Trial.Seed.String())
		}
		return m, fmt.Errorf("%s has no model, or a damaged one; this computes it: %s", v, command)
	}
	m.BaseID = found.ID(base)
	if tuned != nil {
		m.TunedID = found.ID(tuned)
	}
	return m, nil
}
