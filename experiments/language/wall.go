package language

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A wall is kept between the gold and what trains: it has the golds and the rewards of a study.
type wall struct {
	golds   map[string]entry // by engine, column and parameters, the place at which the gold is named
	rewards map[string]bool  // the same of the rewards of arms that are no controls
}

// note adds the gold and the reward of a point.
func (x *expansion) note(c Content, p partial, control bool) {
	w := &x.wall
	gold := scorer(c, "evaluate.gold")
	if gold != "" {
		if _, ok := w.golds[gold]; !ok {
			e := p.values["evaluate.gold.engine"]
			e.path = strings.TrimSuffix(e.path, ".engine")
			if at, ok := p.places["evaluate.gold"]; ok {
				e.at = at
			}
			w.golds[gold] = e
		}
	}
	if reward := scorer(c, "reward.program"); reward != "" && !control {
		w.rewards[reward] = true
	}
}

// scorer returns a text that is equal for equal scorers, "" where there is none.
func scorer(c Content, group string) string {
	var b strings.Builder
	for _, line := range c.Lines(group) {
		b.WriteString(strings.TrimPrefix(line, group) + "\n")
	}
	return b.String()
}

// walls adds a mistake for each gold that is a reward of an arm, too.
func (x *expansion) walls() {
	for _, scorer := range slices.Sorted(maps.Keys(x.wall.golds)) {
		e := x.wall.golds[scorer]
		if x.wall.rewards[scorer] {
			engine, column := part(scorer, ".engine"), part(scorer, ".column")
			x.m.add(e.at, e.path, fmt.Sprintf("%s's %s is the reward too, and a scorer that trains is no gold", engine, column), "mark the arm control: true")
		}
	}
}

// part returns the value of a line of a scorer.
func part(scorer, name string) string {
	for l := range strings.Lines(scorer) {
		if v, ok := strings.CutPrefix(l, name+" "); ok {
			return strings.Trim(strings.TrimSpace(v), `"`)
		}
	}
	return ""
}
