package language

import (
	"encoding/json"
	"math"
)

// wireEngines has what a study says of engines, as JSON: gob omits a 0 that a pointer points to,
// such as a minimum.
type wireEngines struct{ JSON json.RawMessage }

// saysOfEngines is what a study says of engines.
type saysOfEngines struct {
	Engines   []Engine
	Resources []EngineResources
	Machine   []MachineEngine
	Overlap   int
	Resume    string
}

// engines returns what the study says of engines, nil where it says nothing.
func (s *Study) engines() *wireEngines {
	says := saysOfEngines{s.Engines, s.EngineResources, s.MachineEngines, s.Overlap, s.Resume}
	if says.Engines == nil && says.Resources == nil && says.Machine == nil && says.Overlap == 0 && says.Resume == "" {
		return nil
	}
	text, err := json.Marshal(says)
	if err != nil {
		panic(err) // a description has a number that is not finite, which its reader excludes
	}
	return &wireEngines{text}
}

// into sets what a study says of engines.
func (w *wireEngines) into(s *Study) error {
	if w == nil {
		return nil
	}
	var says saysOfEngines
	if err := json.Unmarshal(w.JSON, &says); err != nil {
		return err
	}
	for _, e := range says.Engines {
		if e.Program == nil {
			continue
		}
		for _, v := range e.Program.Verbs {
			kinds := map[string]Kind{}
			for _, p := range v.Params {
				kinds[p.Path] = p.Kind
			}
			for i := range v.Params {
				p := &v.Params[i]
				p.Default = retyped(p.Default, p.Kind)
				retype(p.Unused, kinds)
			}
			for _, in := range v.Inputs {
				retype(in.When, kinds)
			}
		}
	}
	s.Engines, s.EngineResources, s.MachineEngines, s.Overlap, s.Resume = says.Engines, says.Resources, says.Machine, says.Overlap, says.Resume
	return nil
}

// retype gives the values of conditions the types of their parameters, which JSON does not keep.
func retype(list []Condition, kinds map[string]Kind) {
	for _, c := range list {
		for i, v := range c.Values {
			c.Values[i] = retyped(v, kinds[c.Path])
		}
	}
}

func retyped(v any, k Kind) any {
	if x, ok := v.(float64); ok && k == Whole && x == math.Trunc(x) {
		return int64(x)
	}
	return v
}
