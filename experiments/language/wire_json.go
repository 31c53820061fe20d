package language

import (
	"encoding/json"
	"math"
)

// wireJSON has what a study says of engines and machines, as JSON: gob omits a 0 that a pointer
// points to, such as a minimum or a number of GPUs.
type wireJSON struct{ Text json.RawMessage }

// inJSON is what a study says of engines and machines.
type inJSON struct {
	Engines        []Engine          `json:",omitempty"`
	Resources      []EngineResources `json:",omitempty"`
	Machine        []Resources       `json:",omitempty"`
	MachineEngines []MachineEngine   `json:",omitempty"`
	Overlap        int               `json:",omitempty"`
	Resume         string            `json:",omitempty"`
}

// json returns what the study says of engines and machines, nil where it says nothing.
func (s *Study) json() *wireJSON {
	says := inJSON{s.Engines, s.EngineResources, s.Machine, s.MachineEngines, s.Overlap, s.Resume}
	if says.Engines == nil && says.Resources == nil && says.Machine == nil && says.MachineEngines == nil && says.Overlap == 0 && says.Resume == "" {
		return nil
	}
	text, err := json.Marshal(says)
	if err != nil {
		panic(err) // a description has a number that is not finite, which its reader excludes
	}
	return &wireJSON{text}
}

// into sets what a study says of engines and machines.
func (w *wireJSON) into(s *Study) error {
	if w == nil {
		return nil
	}
	var says inJSON
	if err := json.Unmarshal(w.Text, &says); err != nil {
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
	s.Engines, s.EngineResources, s.Overlap, s.Resume = says.Engines, says.Resources, says.Overlap, says.Resume
	s.Machine, s.MachineEngines = says.Machine, says.MachineEngines
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
