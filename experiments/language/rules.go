package language

import (
	"encoding/binary"
	"fmt"
	"slices"

	"cuelang.org/go/cue"
)

// A rule is one of #Rules: a dependency between parameters of a trial. CUE evaluates it once
// for each combination of the values that it reads, so that a sweep costs CUE no more than the
// combinations of dependent parameters.
type rule struct {
	value cue.Value
	reads []read
	memo  map[string]ruling
}

// native reports whether a rule can apply in a study without engines: whether it reads no field
// of theirs.
func (ru *rule) native() bool {
	return !slices.ContainsFunc(ru.reads, func(rd read) bool { return rd.leaf.engine })
}

// A read is a parameter that a rule reads. def is its value where a trial does not use the
// parameter; if it is nil, the rule then does not apply.
type read struct {
	leaf *leaf
	def  any
}

// A ruling is the result of a rule for a trial; the zero ruling changes nothing.
type ruling struct {
	because      string
	unused, zero []int          // indices in layout
	becomes      map[int]string // by index in layout
	problem      *problem
}

// A problem is the reason why values that are valid by themselves do not form a valid trial.
type problem struct {
	paths []string // the parameters concerned, the most likely mistake first
	msg   string
	hint  string
	about string // the path that the message is about; empty: the one of paths that is set
}

// readRules parses #Rules.
func (g *grammar) readRules(v cue.Value) error {
	list, err := v.List()
	if err != nil {
		return err
	}
	for list.Next() {
		ru := &rule{value: list.Value(), memo: map[string]ruling{}}
		if err := g.reads(ru, list.Value().LookupPath(cue.ParsePath("trial")), ""); err != nil {
			return err
		}
		g.rules = append(g.rules, ru)
	}
	return nil
}

func (g *grammar) reads(ru *rule, v cue.Value, path string) error {
	it, err := v.Fields()
	if err != nil {
		return err
	}
	for it.Next() {
		at := join(path, it.Selector().Unquoted())
		l, ok := g.byPath[at]
		if !ok {
			if _, group := g.groups[at]; !group {
				return fmt.Errorf("a rule reads %s, which is not a parameter", at)
			}
			if err := g.reads(ru, it.Value(), at); err != nil {
				return err
			}
			continue
		}
		r := read{leaf: l}
		if d, ok := it.Value().Default(); ok {
			if r.def, err = scalar(d, l.Kind); err != nil {
				return fmt.Errorf("a rule reads %s: %w", at, err)
			}
		}
		ru.reads = append(ru.reads, r)
	}
	return nil
}

// apply removes the values that a trial does not use, in place. It sets why, by place, for each
// removed value that the trial states.
func (g *grammar) apply(p *pool, refs []uint32, why []string) (problems []*problem, err error) {
	var key []byte
	for _, ru := range g.rules {
		key = key[:0]
		for _, rd := range ru.reads {
			ref := refs[rd.leaf.place]
			if ref == 0 && rd.def == nil {
				key = nil
				break
			}
			key = binary.LittleEndian.AppendUint32(key, ref)
		}
		if len(key) == 0 {
			continue
		}
		d, ok := ru.memo[string(key)]
		if !ok {
			if d, err = g.rule(ru, p, refs); err != nil {
				return nil, err
			}
			ru.memo[string(key)] = d
		}
		if d.problem != nil {
			problems = append(problems, d.problem)
		}
		for _, i := range d.unused {
			// A count of 0 is not reported: stating that there are none is consistent with the
			// rule.
			if n, ok := p.values[refs[i]].(int64); refs[i] != 0 && (!ok || n != 0) {
				why[i] = d.because
			}
			refs[i] = 0
		}
		for i, name := range d.becomes {
			refs[i] = p.put(name)
		}
		for _, i := range d.zero {
			if f, ok := p.values[refs[i]].(float64); ok && f != 0 {
				why[i] = d.because
				refs[i] = p.put(0.0)
			}
		}
	}
	return problems, nil
}

// rule evaluates a rule in CUE for the values that it reads.
func (g *grammar) rule(ru *rule, p *pool, refs []uint32) (ruling, error) {
	var d ruling
	trial := map[string]any{}
	for _, rd := range ru.reads {
		v := p.values[refs[rd.leaf.place]]
		if v == nil {
			v = rd.def
		}
		nest(trial, rd.leaf.Path, v)
	}
	v := ru.value.FillPath(cue.ParsePath("trial"), trial)
	when, err := v.LookupPath(cue.ParsePath("when")).Bool()
	if err != nil || !when {
		return d, err
	}
	if d.because, err = v.LookupPath(cue.ParsePath("because")).String(); err != nil {
		return d, err
	}
	var effect struct {
		Unused  []string          `json:"unused"`
		Zero    []string          `json:"zero"`
		Becomes map[string]string `json:"becomes"`
		Error   *struct {
			Hint string   `json:"hint"`
			At   []string `json:"at"`
		} `json:"error"`
	}
	if err := v.Decode(&effect); err != nil {
		return d, err
	}
	if e := effect.Error; e != nil {
		d.problem = &problem{paths: e.At, msg: d.because, hint: e.Hint}
	}
	d.unused, d.zero = g.layout.places(effect.Unused), g.layout.places(effect.Zero)
	for path, name := range effect.Becomes {
		if d.becomes == nil {
			d.becomes = map[int]string{}
		}
		for _, i := range g.layout.places([]string{path}) {
			d.becomes[i] = name
		}
	}
	return d, nil
}
