package result

import (
	"encoding/json"

	"ablate/experiments/language"
	"ablate/runner/layout"
	"ablate/runner/stage"
)

// sharedWeights returns the name of a file of weights that the gold of a view reads and its reward
// reads, too; "" if there is none. An engine says what it reads by the fact files, digests by name.
// Images that the gold labels are no reward's, and neither are those of an arm whose reward is
// the gold.
func (r *Result) sharedWeights(v language.View) string {
	if len(r.Project.Study.Engines) == 0 {
		return "" // nor is there a graph where kept results are read
	}
	c := r.Project.Graph.Chains[v.Trial.ID()]
	gold := r.weightsOf(c.Action(layout.AlignmentVerdicts), nil)
	if len(gold) == 0 {
		return ""
	}
	labelled := map[*layout.Action]bool{c.Action(layout.LabelledVerdicts): true, c.Action(layout.UnlabelledVerdicts): true}
	for _, role := range []layout.Role{layout.Finetune, layout.AlignmentImages} { // by training, or by best of n
		for digest, name := range r.weightsOf(c.Action(role), labelled) {
			if _, ok := gold[digest]; ok {
				return name
			}
		}
	}
	return ""
}

// weightsOf returns the files that the scorers read from which an action was computed, by digest. It
// does not follow the actions in without.
func (r *Result) weightsOf(a *layout.Action, without map[*layout.Action]bool) map[string]string {
	out, seen := map[string]string{}, map[*layout.Action]bool{}
	var visit func(a *layout.Action)
	visit = func(a *layout.Action) {
		if a == nil || seen[a] || without[a] {
			return
		}
		seen[a] = true
		if _, ok := a.Params.(stage.EngineScoreParams); ok {
			for _, text := range stage.MadeOf(r.madeOf(a), stage.MadeFacts) {
				var facts struct {
					Files map[string]string `json:"files"`
				}
				_ = json.Unmarshal([]byte(text), &facts) // other facts have other forms
				for name, digest := range facts.Files {
					out[digest] = name
				}
			}
			return // what it scores is not what it reads
		}
		for _, in := range a.Inputs {
			visit(in)
		}
	}
	visit(a)
	return out
}
