package plan

import (
	"cmp"
	"fmt"
	"time"

	"ablate/experiments/language"
	"ablate/models/backend"
	"ablate/runner/layout"
	"ablate/runner/resource"
	"ablate/runner/stage"
)

// Needs are what stages need of a machine.
type Needs map[stage.Kind]resource.Need

// NewNeeds returns the needs of the stages on a class of backend: the usual ones, or what the
// site's machine.cue says. A mistake in it is a *language.Errors.
func NewNeeds(s *language.Study, class string) (Needs, error) {
	needs, wrong := Needs{}, &language.Errors{}
	for _, k := range stage.Kinds() {
		needs[k] = usual(k, class)
	}
	for _, r := range s.Machine {
		n := needs[stage.Kind(r.Stage)]
		size := func(text string) int64 {
			if text == "" {
				return 0
			}
			b, err := resource.ParseBytes(text)
			if err != nil {
				e := *r.Where
				e.Msg = err.Error()
				wrong.List = append(wrong.List, &e)
			}
			return b
		}
		if r.CPUs != nil {
			n.CPUs = *r.CPUs
		}
		if r.GPUs != nil {
			n.GPUs = *r.GPUs
		}
		n.Memory, n.GPUMemory = size(r.Memory), size(r.GPUMemory)
		n.Time, _ = time.ParseDuration(cmp.Or(r.Time, "0s"))
		needs[stage.Kind(r.Stage)] = n
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
func (n Needs) Of(a *layout.Action) resource.Need { return n[a.Kind] }

// On returns needs as they are within a capacity: on other backends than CUDA no stage uses a
// GPU, unless the user has named some.
func On(need func(*layout.Action) resource.Need, class string, c resource.Capacity) func(*layout.Action) resource.Need {
	if class == backend.CUDA || len(c.GPUs) > 0 {
		return need
	}
	return func(a *layout.Action) resource.Need {
		n := need(a)
		n.GPUs, n.GPUMemory = 0, 0
		return n
	}
}

// Misfits returns, for each stage of actions that can never run within a capacity, what it
// needs too much of: "finetune needs 8 CPUs of 2".
func Misfits(actions []*layout.Action, need func(*layout.Action) resource.Need, c resource.Capacity) (list []string) {
	seen := map[string]bool{}
	for _, a := range actions {
		why := c.Misfit(need(a))
		if text := fmt.Sprintf("%s needs %s", a.Kind, why); why != "" && !seen[text] {
			seen[text] = true
			list = append(list, text)
		}
	}
	return list
}
