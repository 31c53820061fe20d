package language

import (
	"encoding/binary"
	"fmt"
	"slices"

	"cuelang.org/go/cue"
)

// A rule is one of #Rules: how parameters of a trial hang together. What it says
// of the values that it reads is asked of CUE once for each combination of them,
// so that a sweep costs CUE no more than the parameters that hang together.
type rule struct {
	value cue.Value
	reads []read
	memo  map[string]ruling
}

// A read is a parameter that a rule reads; def stands for it where a trial does
// not use it, nil if the rule does not apply then.
type read struct {
	leaf *leaf
	def  any
}

// A ruling is what a rule says of a trial; the zero ruling says nothing.
type ruling struct {
	because      string
	unused, zero []int          // places in layout
	becomes      map[int]string // by place
	problem      *problem
}

// A problem is why values that are right each by itself make no trial together.
type problem struct {
	paths []string // what it is about, the first one first to blame
	msg   string
	hint  string
}

// rules reads #Rules.
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

// apply takes from a trial's values what they do not use, in place. why is
// filled in, by place, for each value that was taken though it says something.
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
			// Who states that there are no such images has said why.
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

// rule has CUE apply a rule to the values that it reads.
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
		d.problem = &problem{e.At, d.because, e.Hint}
	}
	d.unused, d.zero = places(effect.Unused), places(effect.Zero)
	for path, name := range effect.Becomes {
		if d.becomes == nil {
			d.becomes = map[int]string{}
		}
		for _, i := range places([]string{path}) {
			d.becomes[i] = name
		}
	}
	return d, nil
}

// places are those of the paths at or below one of the prefixes.
func places(prefixes []string) []int {
	paths, _ := layout()
	var out []int
	for i, path := range paths {
		if slices.ContainsFunc(prefixes, func(prefix string) bool { return under(path, prefix) }) {
			out = append(out, i)
		}
	}
	return out
}
