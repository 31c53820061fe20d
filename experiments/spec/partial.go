package spec

import (
	"maps"
	"slices"
	"strings"
)

// entry is a value that the user wrote.
type entry struct {
	value any
	at    where
}

// partial is what a base, a set or a point says of a trial: values by dotted
// path, and which member it names of each group of alternatives, even if it says
// nothing of it ("model: shapes: {}").
type partial struct {
	values map[string]entry
	chosen map[string]string // group → member
}

func newPartial() partial {
	return partial{values: map[string]entry{}, chosen: map[string]string{}}
}

// put records a value, and with it the alternatives that its path lies in.
func (p partial) put(path string, e entry) {
	p.values[path] = e
	for group := range alternatives {
		if member, ok := strings.CutPrefix(path, group+"."); ok {
			member, _, _ = strings.Cut(member, ".")
			p.chosen[group] = member
		}
	}
}

// override returns p with what o says in its place: path by path, and choosing
// one alternative removes what p says of the others.
func (p partial) override(o partial) partial {
	out := partial{values: maps.Clone(p.values), chosen: maps.Clone(p.chosen)}
	for group, member := range o.chosen {
		for path := range out.values {
			if under(path, group) && !under(path, group+"."+member) {
				delete(out.values, path)
			}
		}
		out.chosen[group] = member
	}
	maps.Copy(out.values, o.values)
	return out
}

// filled returns every value of the trial that p stands for, defaults included.
// A value that has no default and was not given is absent.
func (g *grammar) filled(p partial) map[string]any {
	m := map[string]any{}
	for _, l := range g.leaves {
		if e, ok := p.values[l.Path]; ok {
			m[l.Path] = e.value
		} else if l.Default != nil && p.offers(l.Path) {
			m[l.Path] = l.Default
		}
	}
	return m
}

// offers reports whether path lies in no alternative but those p has chosen.
func (p partial) offers(path string) bool {
	for group, members := range alternatives {
		if !under(path, group) {
			continue
		}
		member := p.chosen[group]
		if member == "" {
			member = members[0]
		}
		if !under(path, group+"."+member) {
			return false
		}
	}
	return true
}

// lines writes what p says, sorted, for a hash.
func (p partial) lines() []string {
	var out []string
	for path, e := range p.values {
		out = append(out, path+" "+line(e.value))
	}
	for group, member := range p.chosen {
		out = append(out, group+" is "+member)
	}
	slices.Sort(out)
	return out
}
