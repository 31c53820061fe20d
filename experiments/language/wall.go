package language

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A wall is kept between the gold and what trains: it has the golds and the rewards of a study.
type wall struct {
	golds   map[scorer]gold
	rewards map[scorer]bool // those of arms that are no controls
}

// A scorer is a column of a program with the parameters that are names, such as that of a network. Numbers
// do not tell scorers apart: one that is scaled or works in other batches is the same judge.
type scorer struct{ program, column, names string }

// A gold is where the study names a gold, and the name of its engine.
type gold struct {
	entry
	engine string
}

// note adds the gold and the reward of a point.
func (x *expansion) note(c Content, p partial, control bool) {
	w := &x.wall
	if g, ok := x.s.scorerOf(c, "evaluate.gold"); ok {
		if _, ok := w.golds[g]; !ok {
			e := p.values["evaluate.gold.engine"]
			e.path = strings.TrimSuffix(e.path, ".engine")
			if at, ok := p.places["evaluate.gold"]; ok {
				e.at = at
			}
			w.golds[g] = gold{e, c.Name("evaluate.gold.engine")}
		}
	}
	if reward, ok := x.s.scorerOf(c, "reward.program"); ok && !control {
		w.rewards[reward] = true
	}
}

// scorerOf returns the scorer that a group of a trial names.
func (s *Study) scorerOf(c Content, group string) (scorer, bool) {
	engine := c.Name(group + ".engine")
	return s.scorer(engine, c.Name(group+".column"), c.Params(group+".params")), engine != ""
}

// scorer returns a column of an engine as a scorer. Two engines of one program are one scorer.
func (s *Study) scorer(engine, column string, params []Value) scorer {
	out := scorer{program: engine, column: column}
	for _, e := range s.Engines {
		if e.Name == engine {
			out.program = fmt.Sprintf("%q %q", e.Command, e.Container)
		}
	}
	for _, p := range params {
		if text, ok := p.Value.(string); ok {
			out.names += fmt.Sprintf("%s %q\n", p.Path, text)
		}
	}
	return out
}

// walls adds a mistake for each gold that is a reward of an arm, too.
func (x *expansion) walls() {
	for _, s := range slices.SortedFunc(maps.Keys(x.wall.golds), func(a, b scorer) int {
		return cmp.Or(strings.Compare(a.program, b.program), strings.Compare(a.column, b.column), strings.Compare(a.names, b.names))
	}) {
		if x.wall.rewards[s] {
			g := x.wall.golds[s]
			x.m.add(g.at, g.path, fmt.Sprintf("%s's %s is the reward too, and a scorer that trains is no gold", g.engine, s.column), "mark the arm control: true")
		}
	}
}
