package report

import (
	"fmt"
	"slices"

	"ablate/experiments/language"
	"ablate/runner/layout"
	"ablate/runner/result"
	"ablate/runner/store"
)

// failures returns, for each trial that lacks results, a sentence with the reason.
func failures(r *result.Result) []string {
	last := map[store.ActionID]store.Attempt{}
	for _, a := range r.Attempts {
		last[a.Action] = a
	}
	var out []string
	seen := map[language.ID]bool{}
	for _, v := range r.Project.Study.Views {
		id := v.Trial.ID()
		chain := r.Project.Graph.Chains[id]
		if seen[id] || v.Stopped && !broken(r, chain) || r.Complete(chain) {
			continue
		}
		seen[id] = true
		out = append(out, v.String()+": "+why(r, chain, last))
	}
	return out
}

// broken reports whether one of a trial's actions failed.
func broken(r *result.Result, chain layout.Chain) bool {
	return slices.ContainsFunc(chain.Actions(), func(a *layout.Action) bool {
		_, ok := r.Found.Failed[a]
		return ok
	})
}

// why returns the reason why a trial has no results: the outcome of the last attempt at
// its first missing action.
func why(r *result.Result, chain layout.Chain, last map[store.ActionID]store.Attempt) string {
	for _, a := range chain.Actions() {
		if r.Found.Unreadable(a) {
			return fmt.Sprintf("its result is damaged in the store (%s %s)", a.Kind, r.Found.ID(a).Short())
		}
		key, ok := r.Found.Next(a, r.Class)
		if !ok {
			continue
		}
		if f, ok := r.Found.Failed[a]; ok {
			text := fmt.Sprintf("%s (%s): %s", a.Label(), f.Class, f.Error)
			if f.Tail != "" {
				text += "\n" + f.Tail
			}
			return text
		}
		switch at := last[key]; at.Outcome {
		case store.OutcomeInterrupted:
			return a.Label() + " was interrupted"
		case store.OutcomeRunning:
			return a.Label() + " is running"
		}
	}
	return "not run yet"
}
