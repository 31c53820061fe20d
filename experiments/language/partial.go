package language

import (
	"maps"
	"slices"
	"strings"
)

// entry is a value that the user wrote.
type entry struct {
	value any // nil after a mistake, which was reported
	at    where
	path  string // of the value in the study, as messages name it

	// Of a parameter of an engine: its name's place, how the user wrote it, and whether that
	// was in a flag.
	name where
	text string
	flag bool
}

// partial is the content of a base, a set or a point: values by dotted path, and the chosen
// member of each group of alternatives, even if it has no values ("model: shapes: {}").
type partial struct {
	values map[string]entry
	chosen map[string]string // group → member
	places map[string]where  // positions of the chosen members, and of groups with a required value
}

func newPartial() partial {
	return partial{values: map[string]entry{}, chosen: map[string]string{}, places: map[string]where{}}
}

// put sets a value, and with it the alternatives that its path belongs to.
func (p partial) put(path string, e entry) {
	p.values[path] = e
	for group, c := range alternatives {
		if member, ok := strings.CutPrefix(path, group+"."); ok {
			if member, _, _ = strings.Cut(member, "."); slices.Contains(c.members, member) {
				p.chosen[group] = member
			}
		}
	}
}

// override returns p with the values of o in place of its own, path by path. Choosing one
// alternative removes the values of the others, and another engine in the place of one removes
// the parameters of that one.
func (p partial) override(o partial) partial {
	out := partial{values: maps.Clone(p.values), chosen: maps.Clone(p.chosen), places: maps.Clone(p.places)}
	for group, member := range o.chosen {
		for path := range out.values {
			for _, other := range alternatives[group].members {
				if other != member && under(path, group+"."+other) {
					delete(out.values, path)
				}
			}
		}
		out.chosen[group] = member
	}
	for _, s := range slots {
		before := p.values[s.engine].value
		if before == nil {
			continue
		}
		after := out.values[s.engine].value
		if e, ok := o.values[s.engine]; ok {
			after = e.value
		}
		if after != before {
			for path := range out.values {
				if under(path, s.group) {
					delete(out.values, path)
				}
			}
		}
	}
	maps.Copy(out.values, o.values)
	maps.Copy(out.places, o.places)
	return out
}

// filled returns the values of a trial by place, defaults included, without those of engines'
// parameters. A parameter without a value and a default is 0.
func (g *grammar) filled(p *pool, of partial) []uint32 {
	refs := make([]uint32, len(g.layout.paths))
	program := of.values[programEngine].value != nil
	for _, l := range g.leaves {
		if l.slot != nil {
			continue
		}
		if e := of.values[l.Path]; e.value != nil {
			refs[l.place] = p.put(e.value)
		} else if l.Program != nil && program {
			refs[l.place] = p.put(l.Program)
		} else if l.Default != nil && of.offers(l.Path) {
			refs[l.place] = p.put(l.Default)
		}
	}
	return refs
}

// offers reports whether path is in no alternative that p has not chosen.
func (p partial) offers(path string) bool {
	for group, c := range alternatives {
		if !under(path, group) {
			continue
		}
		chosen := p.chosen[group]
		if chosen == "" {
			chosen = c.fallback
		}
		for _, member := range c.members {
			if member != chosen && under(path, group+"."+member) {
				return false
			}
		}
	}
	return true
}

// has reports whether a trial has a group of alternatives' members or of scalars: whether it
// chose it or states a value in it.
func (p partial) has(group string) bool {
	if !p.offers(group) {
		return false
	}
	if _, ok := p.places[group]; ok {
		return true
	}
	for path := range p.values {
		if under(path, group) {
			return true
		}
	}
	return false
}

// lines returns the values and chosen alternatives, sorted, for a hash.
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
