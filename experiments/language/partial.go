package language

import (
	"maps"
	"slices"
	"strings"
)

// entry is a value that the user wrote.
type entry struct {
	value any // nil where it was a mistake, which was said
	at    where
}

// partial is what a base, a set or a point says of a trial: values by dotted
// path, and which member it names of each group of alternatives, even if it says
// nothing of it ("model: shapes: {}").
type partial struct {
	values map[string]entry
	chosen map[string]string // group → member
	places map[string]where  // of the members chosen
}

func newPartial() partial {
	return partial{values: map[string]entry{}, chosen: map[string]string{}, places: map[string]where{}}
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

// filled returns every value of the trial that p stands for, defaults included,
// by place. A value that has no default and was not given is absent.
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
