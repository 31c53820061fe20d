package language

import (
	"fmt"
	"slices"
	"strings"
)

// A Judge is a column of an engine that judges the evaluation images of rows beside the gold. It
// identifies no trial, and gives the metric judge.NAME.
type Judge struct {
	Name, Engine, Column string

	Number bool    // it gives images numbers from 0 to 1, and not verdicts
	Params []Value // of the engine's verb score, sorted by path
}

// Metric returns the name of the judge's metric, and of its column of samples.arrow.
func (j Judge) Metric() string { return "judge." + j.Name }

// Rewards reports whether a judge is the scorer by which a trial's images are weighted or selected.
func (s *Study) Rewards(j Judge, c Content) bool {
	group := "reward.program"
	if c.Name("reward.loss") == "oracle" {
		group = "evaluate.gold"
	}
	reward, ok := s.scorerOf(c, group)
	return ok && reward == s.scorer(j.Engine, j.Column, j.Params)
}

// judges reads the judges of a study. They are read before what names their metrics.
func (r *reader) judges(s *Study, list []field) {
	i := slices.IndexFunc(list, func(f field) bool { return f.name == "judges" })
	if i < 0 {
		return
	}
	all := list[i].value
	if !r.declared {
		r.m.add(r.named(all), "judges", noEngines, declareEngines)
		return
	}
	for _, f := range r.fields(all, "judges", `named judges, as in vqa: {engine: "vqa", column: "score"}`) {
		r.judged = append(r.judged, Judge{Name: f.name}.Metric())
		j := r.judge(f)
		j.Number = s.column(j.Engine, j.Column).Kind == "real"
		s.Judges = append(s.Judges, j)
	}
}

// judge reads a judge. Its parts that have mistakes are empty.
func (r *reader) judge(f field) Judge {
	j := Judge{Name: f.name}
	path := join("judges", label(f.name))
	if !engineName.MatchString(f.name) {
		r.m.add(r.named(f.value), path, fmt.Sprintf("%q is not a valid name of a judge", f.name), "a name has lower-case letters, digits and -, and begins with a letter")
	}
	suits := func(c Column, engine string) (msg, hint string) { return c.judges(engine, "judge", j.Metric()) }
	slot := &slot{group: path + ".params", engine: path + ".engine", column: path + ".column", verb: "score", suits: suits}
	p := newPartial()
	known := []string{"engine", "column", "params"}
	list := r.fields(f.value, path, "a judge, with engine and column", known...)
	for _, g := range list {
		at := join(path, g.name)
		switch g.name {
		case "engine", "column":
			if text := r.text(g.value, at); text != "" {
				p.put(at, entry{value: text, at: r.place(g.value), path: at})
			}
		case "params":
			r.foreign(p, g.value, "", at)
		default:
			r.m.add(r.named(g.value), at, "a judge has no such field", didYouMean(g.name, known))
		}
	}
	for _, name := range known[:2] {
		if !slices.Contains(names(list), name) && !r.broken(f.value) {
			r.m.add(r.named(f.value), path, "has no "+name, `write {engine: "vqa", column: "score"}`)
		}
	}
	o := r.owner(slot, p)
	if o == nil || o.verb == nil {
		return j
	}
	r.strange(p, o)
	j.Engine, j.Column = o.name, o.column.Name
	values := map[string]any{}
	for _, q := range o.params {
		e, said := p.values[slot.group+"."+q.Path]
		if said {
			values[q.Path], _ = r.value(q.Param, e, o)
		} else if values[q.Path] = q.typed(q.Default); values[q.Path] == nil {
			r.m.add(r.named(f.value), slot.group+"."+q.Path, fmt.Sprintf("is missing, and engine %s has no default for it", o.name), "must be "+q.Allowed())
		}
	}
	for _, q := range o.params {
		used := q.Unused == nil || slices.ContainsFunc(q.Unused, func(c Condition) bool { return !c.Holds(values[c.Path]) })
		if used && values[q.Path] != nil {
			j.Params = append(j.Params, Value{q.Path, values[q.Path], q.Record})
		}
	}
	slices.SortFunc(j.Params, func(a, b Value) int { return strings.Compare(a.Path, b.Path) })
	return j
}
