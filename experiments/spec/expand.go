package spec

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// expand fills in the study's base, arms and views.
func (r *reader) expand(s *Study, base partial, arms []arm) {
	m := r.filled(base)
	u := normalise(m)
	s.Base = newContent(m)
	if len(arms) == 1 && arms[0].name == "base" && len(arms[0].set.values) == 0 {
		r.problems(u, base, where{file: r.file}, "base")
		u.problems = nil
	}
	for _, a := range arms {
		s.Arms = append(s.Arms, Arm{Name: a.name, Points: r.points(s, base, a)})
	}
	for _, a := range s.Arms {
		for _, p := range a.Points {
			for _, seed := range s.Seeds {
				s.Views = append(s.Views, View{Arm: a.Name, Point: p.Axes, Trial: Trial{Content: p.Content, Seed: seed}})
			}
		}
	}
}

// points expands one arm: the product of its axes, the last one fastest.
func (r *reader) points(s *Study, base partial, a arm) []Point {
	path := "arms." + label(a.name)
	fixed := base.override(a.set)
	idle := map[string]string{} // of what the arm says itself: unused by every point so far, and why
	for p := range a.set.values {
		idle[p] = ""
	}
	for _, w := range a.sweep {
		idle[w.leaf.Path] = ""
	}
	used := map[string]bool{}
	var out []Point
	seen := map[string]bool{}
	index := make([]int, len(a.sweep))
	for {
		p := newPartial()
		for i, w := range a.sweep {
			if index[i] < len(w.values) {
				p.put(w.leaf.Path, w.values[index[i]])
			}
		}
		whole := fixed.override(p)
		m := r.filled(whole)
		u := normalise(m)
		r.problems(u, whole, a.at, path)
		for own := range idle {
			if why, dropped := u.unused[own]; dropped {
				idle[own] = why
			} else {
				used[own] = true
			}
		}
		pt := Point{Content: newContent(m)}
		for _, w := range a.sweep {
			// The content's own value: what means the same is written alike.
			if v, ok := pt.Content.Value(w.leaf.Path); ok {
				pt.Axes = append(pt.Axes, AxisValue{w.leaf.Path, v})
			}
		}
		key := strings.Join(pt.Content.Lines(), "\n")
		if seen[key] {
			s.Collapsed++
		} else {
			seen[key] = true
			out = append(out, pt)
		}
		if !next(index, a.sweep) {
			break
		}
	}
	for _, own := range slices.Sorted(maps.Keys(idle)) {
		if used[own] {
			continue
		}
		at, where := path+".set."+own, a.set.values[own].at
		for _, w := range a.sweep {
			if w.leaf.Path == own {
				at, where = path+".sweep."+label(own), w.at
			}
		}
		r.m.add(where, at, fmt.Sprintf("the arm's trials do not use it: %s", idle[own]), "leave it out, or change what makes it unused")
	}
	return out
}

// next counts index up, the last place fastest; false when it is through.
func next(index []int, axes []sweep) bool {
	for i := len(index) - 1; i >= 0; i-- {
		index[i]++
		if index[i] < len(axes[i].values) {
			return true
		}
		index[i] = 0
	}
	return false
}

// problems reports why values make no trial together, at the user's own value
// where there is one.
func (r *reader) problems(u *use, p partial, at where, path string) {
	for _, q := range u.problems {
		place, about := at, path
		for _, name := range q.paths {
			if e, ok := p.values[name]; ok {
				place, about = e.at, name
				break
			}
		}
		r.m.add(place, about, q.msg, q.hint)
	}
}
