package project

import (
	"context"

	"ablate/runner/engine"
)

// An EngineState is what is known of an engine of the study, for people.
type EngineState struct {
	Name     string   `json:"name"`
	Promises string   `json:"promises"` // what results depend on, as far as probes did not refute it
	Probed   string   `json:"probed"`   // "here", "elsewhere" (on other hardware) or "never"
	Refuted  []string `json:"refuted"`  // promises that probes found broken, as "VERB: CHECK"
	Noise    string   `json:"-"`        // that its images begin with, by its promise; empty if it promises none
}

// Values of [EngineState.Probed].
const (
	Here      = "here"
	Elsewhere = "elsewhere"
	Never     = "never"
)

// EngineStates returns what is known of the study's engines. hardware is that of this machine.
func (p Project) EngineStates(ctx context.Context, hardware ...string) ([]EngineState, error) {
	var out []EngineState
	for _, declared := range p.Study.Engines {
		d, err := p.Describe(ctx, declared.Name)
		if err != nil {
			return nil, err
		}
		s := EngineState{Name: declared.Name, Promises: d.Description.Promises(), Probed: Never, Refuted: append([]string{}, d.Verdicts.Refuted()...)}
		if v := d.Description.Verbs[engine.Sample]; v != nil {
			s.Noise = v.Noise
		}
		if len(d.Verdicts.On) > 0 {
			s.Probed = Elsewhere
		}
		for _, h := range hardware {
			if d.Verdicts.On[h] != nil {
				s.Probed = Here
			}
		}
		out = append(out, s)
	}
	return out, nil
}
