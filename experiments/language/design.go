package language

import (
	"fmt"
	"slices"
	"strings"
)

// Confounded is an arm with a row that differs from the reference in more than one factor, so
// that its difference from the reference cannot be attributed to one of them.
type Confounded struct {
	Arm     string   `json:"arm"`
	Factors []string `json:"factors"` // paths of the parameters, sorted; at least two
}

// String returns "ARM (PATH, PATH)".
func (c Confounded) String() string {
	return fmt.Sprintf("%s (%s)", c.Arm, strings.Join(c.Factors, ", "))
}

// confounded returns the study's confounded arms in its order. A factor is a parameter that
// both rows use with different values, and to which the study gives different values. So a
// learning rate of an arm is not a factor where the reference trains nothing, and neither is a
// value that a rule changes because of another parameter. stated has the values of the arms'
// points before rules.
func (s *Study) confounded(stated [][][]uint32) (out []Confounded) {
	reference := slices.IndexFunc(s.Arms, func(a Arm) bool { return a.Name == s.Reference && len(a.Points) > 0 })
	if reference < 0 {
		return nil
	}
	l := s.Base.layout()
	is, says := s.Arms[reference].Points[0].Content.refs, stated[reference][0]
	for i, a := range s.Arms {
		var factors []string
		for k, p := range a.Points {
			var differ []string
			var other []int
			if len(s.Engines) > 0 {
				other = otherEngines(s.Arms[reference].Points[0].Content, p.Content)
			}
			for at, ref := range p.Content.keyed() {
				if slices.Contains(other, at) {
					continue // what another engine's parameter of the same name is
				}
				if ref != 0 && is[at] != 0 && ref != is[at] && stated[i][k][at] != says[at] {
					differ = append(differ, l.paths[at])
				}
			}
			if len(s.Engines) > 0 {
				// An engine's method, and an engine's scores, take the place of these names, which
				// then say that there is no fine-tuning or no such reward.
				for _, path := range []string{"finetune.method", "reward.loss"} {
					if at := l.place[path]; (p.Content.refs[at] == 0) != (is[at] == 0) && stated[i][k][at] != says[at] {
						differ = append(differ, path)
					}
				}
			}
			if len(differ) > 1 {
				factors = append(factors, differ...)
			}
		}
		if len(factors) > 0 {
			slices.Sort(factors)
			out = append(out, Confounded{a.Name, slices.Compact(factors)})
		}
	}
	return out
}

// otherEngines returns the places of parameters that belong to different engines in two contents.
func otherEngines(a, b Content) (out []int) {
	for _, s := range slots {
		if a.Name(s.engine) != b.Name(s.engine) {
			out = append(out, a.layout().places([]string{s.group})...)
		}
	}
	return out
}
