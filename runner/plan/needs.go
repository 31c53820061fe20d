package plan

import (
	"fmt"
	"maps"
	"strings"
	"time"

	"ablate/experiments/language"
	"ablate/models/backend"
	"ablate/runner/engine"
	"ablate/runner/layout"
	"ablate/runner/resource"
	"ablate/runner/stage"
)

// Needs are what stages need of a machine, by their kind and the engine that computes them.
type Needs map[Needer]resource.Need

// A Needer is a stage, or a stage that an engine computes.
type Needer struct {
	Stage  stage.Kind
	Engine string // empty for native stages, and for engines that nothing is said of
}

// NewNeeds returns the needs of the stages on a class of backend: the usual ones, or what the
// study says of its engines, or what the site's machine.cue says. A mistake is a
// *language.Errors.
func NewNeeds(s *language.Study, class string) (Needs, error) {
	needs, wrong := Needs{}, &language.Errors{}
	for _, k := range stage.Kinds() {
		needs[Needer{k, ""}] = usual(k, class)
	}
	set := func(at Needer, r language.Resources) {
		n, ok := needs[at]
		if !ok {
			n = needs[Needer{at.Stage, ""}]
		}
		size := func(text string, to *int64) {
			if text == "" {
				return
			}
			b, err := resource.ParseBytes(text)
			if err != nil {
				e := *r.Where
				e.Msg = err.Error()
				wrong.List = append(wrong.List, &e)
			}
			*to = b
		}
		if r.CPUs != nil {
			n.CPUs = *r.CPUs
		}
		if r.GPUs != nil {
			n.GPUs = *r.GPUs
		}
		size(r.Memory, &n.Memory)
		size(r.GPUMemory, &n.GPUMemory)
		if r.Time != "" {
			n.Time, _ = time.ParseDuration(r.Time) // the schema allows no other
		}
		needs[at] = n
	}
	for _, r := range s.Machine {
		set(Needer{stage.Kind(r.Stage), ""}, r)
	}
	engines := func(list []language.EngineResources) {
		for _, r := range list {
			for _, k := range stage.Kinds() {
				if k.Def().Verb != r.Verb {
					continue
				}
				at := Needer{k, r.Engine}
				set(at, r.Resources)
				if r.Grace != "" {
					n := needs[at]
					n.Grace, _ = time.ParseDuration(r.Grace) // the schema allows no other
					needs[at] = n
				}
			}
		}
	}
	engines(s.EngineResources)
	for _, m := range s.MachineEngines {
		engines(m.Resources)
	}
	if len(wrong.List) > 0 {
		return nil, wrong
	}
	return needs, nil
}

// usual returns the need of a stage that machine.cue does not name.
func usual(k stage.Kind, class string) resource.Need {
	n := resource.Need{CPUs: 1}
	if class == backend.CUDA && k.Def().Backend {
		n.GPUs = 1
	}
	return n
}

// Of returns the need of an action.
func (n Needs) Of(a *layout.Action) resource.Need {
	need, _ := n.find(a)
	return need
}

// Estimated returns the needs with the memory of engines' tasks by their estimates, where neither
// the study nor machine.cue says how much they need.
func (n Needs) Estimated(actions []*layout.Action, estimate func(*layout.Action) *engine.Estimate) Needs {
	out := maps.Clone(n)
	for _, a := range actions {
		e := estimate(a)
		if need := n.Of(a); e != nil && need.Memory == 0 {
			at := Needer{a.Kind, stage.EngineOf(a.Params)}
			if now, ok := out[at]; ok {
				need = now
			}
			need.Memory = max(need.Memory, e.Memory)
			out[at] = need
		}
	}
	return out
}

// find returns the need of an action, and false if nothing is known of its stage.
func (n Needs) find(a *layout.Action) (need resource.Need, ok bool) {
	if need, ok = n[Needer{a.Kind, stage.EngineOf(a.Params)}]; !ok {
		need, ok = n[Needer{a.Kind, ""}]
	}
	return need, ok
}

// On returns needs as they are within a capacity: on other backends than CUDA no stage uses a
// GPU, unless the user has named some.
func On(need func(*layout.Action) resource.Need, class string, c resource.Capacity) func(*layout.Action) resource.Need {
	if class == backend.CUDA || len(c.GPUs) > 0 {
		return need
	}
	return func(a *layout.Action) resource.Need {
		n := need(a)
		if stage.EngineOf(a.Params) != "" {
			return n // an engine has a backend of its own
		}
		n.GPUs, n.GPUMemory = 0, 0
		return n
	}
}

// Misfits returns, for each stage of actions that can never run within a capacity, what it
// needs too much of: "finetune needs 8 CPUs of 2".
func Misfits(actions []*layout.Action, need func(*layout.Action) resource.Need, c resource.Capacity) (list []string) {
	seen := map[string]bool{}
	for _, a := range actions {
		why, name := c.Misfit(need(a)), strings.TrimSpace(fmt.Sprintf("%s %s", a.Kind, stage.EngineOf(a.Params)))
		if text := fmt.Sprintf("%s needs %s", name, why); why != "" && !seen[text] {
			seen[text] = true
			list = append(list, text)
		}
	}
	return list
}
