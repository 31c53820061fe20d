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
}

// partial is the content of a base, a set or a point: values by dotted path, and the chosen
// member of each group of alternatives, even if it has no values ("model: shapes: {}").
type partial struct {
	values map[string]entry
	chosen map[string]string // group → member
	places map[string]where  // positions of the chosen members
}

func newPartial() partial {
	return partial{values: map[string]entry{}, chosen: map[string]string{}, places: map[string]where{}}
}

// put sets a value, and with it the alternatives that its path belongs to.
func (p partial) put(path string, e entry) {
	p.values[path] = e
	for group := range alternatives {
		if member, ok := strings.CutPrefix(path, group+"."); ok {
			member, _, _ = strings.Cut(member, ".")
			p.chosen[group] = member
		}
	}
}

// override returns p with the values of o in place of its own, path by path. Choosing one
// alternative removes the values of the others.
func (p partial) override(o partial) partial {
	out := partial{values: maps.Clone(p.values), chosen: maps.Clone(p.chosen), places: maps.Clone(p.places)}
	for group, member := range o.chosen {
		for path := range out.values {
			if under(path, group) && !under(path, group+"."+member) {
				delete(out.values, path)
			}
		}
		out.chosen[group] = member
	}
	maps.Copy(out.values, o.values)
	maps.Copy(out.places, o.places)
	return out
}

// filled returns all values of a trial by place, defaults included. A parameter without a value
// and a default is 0.
func (g *grammar) filled(p *pool, of partial) []uint32 {
	refs := make([]uint32, len(g.leaves))
	for _, l := range g.leaves {
		if e := of.values[l.Path]; e.value != nil {
			refs[l.place] = p.put(e.value)
		} else if l.Default != nil && of.offers(l.Path) {
			refs[l.place] = p.put(l.Default)
		}
	}
	return refs
}

// offers reports whether path is in no alternative that p has not chosen.
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
