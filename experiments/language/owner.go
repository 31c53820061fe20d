package language

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// owner is the engine of a slot of a trial.
type owner struct {
	slot   *slot
	name   string
	verb   *Verb  // nil where the engine is unknown or could not be described
	column Column // of the slot; without a name where it has none, or an unknown one
	params []placed
}

// placed is a parameter of a trial's engine with its place among the trial's values.
type placed struct {
	*Param
	place int
}

// at returns the place of an engine's parameter.
func (l *layout) at(s *slot, p *Param) int {
	if p.Record {
		return l.record[s.group+"."+p.Path]
	}
	return l.place[s.group+"."+p.Path]
}

// ownersOf returns the engines of a trial by slot, nil where it has none, and adds a mistake
// for each that is unknown or lacks what the trial needs.
func (x *expansion) ownersOf(p partial) []*owner {
	out := make([]*owner, len(slots))
	for i, s := range slots {
		out[i] = x.owner(s, p)
	}
	return out
}

// owner does the same for one slot.
func (r *reader) owner(s *slot, p partial) *owner {
	e := p.values[s.engine]
	name, _ := e.value.(string)
	if name == "" {
		return nil
	}
	o := &owner{slot: s, name: name}
	program, ok := r.programs[name]
	switch {
	case !ok:
		r.m.add(e.at, e.path, fmt.Sprintf("the study has no engine %q", name), didYouMean(name, slices.Sorted(maps.Keys(r.programs))))
		return o
	case program == nil:
		return o // it could not be described, which was reported
	}
	if o.verb = s.of(program); o.verb == nil {
		r.m.add(e.at, e.path, fmt.Sprintf("engine %s does not %s", name, s.verb), "it can "+strings.Join(slices.Sorted(maps.Keys(program.Verbs)), ", "))
		return o
	}
	for k := range o.verb.Params {
		o.params = append(o.params, placed{&o.verb.Params[k], r.layout.at(s, &o.verb.Params[k])})
	}
	if c, ok := p.values[s.column]; ok && s.column != "" && c.value != nil {
		var names []string
		for _, column := range o.verb.Columns {
			if names = append(names, column.Name); column.Name == c.value {
				o.column = column
			}
		}
		if o.column.Name == "" {
			r.m.add(c.at, c.path, fmt.Sprintf("engine %s gives no column %q", name, c.value), didYouMean(c.value.(string), names))
		} else if msg, hint := s.suits(o.column, name); msg != "" {
			r.m.add(c.at, c.path, msg, hint)
		}
	}
	return o
}

// state sets the values of the parameters of a trial's engines, defaults included, and adds a
// mistake for each that the engine does not have or allow.
func (x *expansion) state(refs []uint32, p partial, owners []*owner) {
	for i, s := range slots {
		o := owners[i]
		if o == nil || o.verb == nil {
			continue
		}
		for _, q := range o.params {
			path := s.group + "." + q.Path
			e, ok := p.values[path]
			if !ok {
				refs[q.place] = x.pool.put(q.typed(q.Default))
			} else if value, ok := x.value(q.Param, e, o); ok {
				refs[q.place] = x.pool.put(value)
			}
		}
		x.strange(p, o)
	}
}

// strange adds a mistake for each parameter that an engine does not have.
func (r *reader) strange(p partial, o *owner) {
	for _, path := range slices.Sorted(maps.Keys(p.values)) {
		known := func(q placed) bool { return o.slot.group+"."+q.Path == path }
		if under(path, o.slot.group) && !slices.ContainsFunc(o.params, known) {
			r.unknown(path, p.values[path].name, p.values[path].path, o)
		}
	}
}

// value checks a value of an engine's parameter.
func (r *reader) value(q *Param, e entry, o *owner) (any, bool) {
	if e.value == nil {
		return nil, false // reported
	}
	value, msg, hint := q.check(e, o.name)
	if msg != "" {
		r.m.add(e.at, e.path, msg, hint)
		return nil, false
	}
	return value, true
}

// unknown adds a mistake for a parameter that an engine does not have.
func (r *reader) unknown(path string, at where, about string, o *owner) {
	var all []string
	name := strings.TrimPrefix(path, o.slot.group+".")
	for _, q := range o.params {
		all = append(all, q.Path)
		if under(q.Path, name) {
			r.m.add(at, about, fmt.Sprintf("engine %s has a group of parameters there, and no parameter", o.name), "write a struct with "+strings.TrimPrefix(q.Path, name+"."))
			return
		}
	}
	hint := "it has none"
	if all != nil {
		hint = didYouMean(name, all)
	}
	r.m.add(at, about, fmt.Sprintf("engine %s has no such parameter for %s", o.name, o.slot.verb), hint)
}

// use removes, in place, what the engines of a trial do not use, and returns the problems that
// the trial has with them. why gets the reasons by place.
func (x *expansion) use(refs []uint32, p partial, owners []*owner) (problems []*problem) {
	for i, s := range slots {
		o := owners[i]
		if o == nil || o.verb == nil || refs[x.layout.place[s.engine]] == 0 {
			continue
		}
		stated := func(path string) any { // the value of a parameter, whether or not it is used
			for _, q := range o.params {
				if q.Path == path {
					return x.pool.values[refs[q.place]]
				}
			}
			return nil
		}
		because := func(list []Condition) string {
			var out []string
			for _, c := range list {
				out = append(out, c.Path+" is "+line(stated(c.Path)))
			}
			return strings.Join(out, " and ")
		}
		holds := func(list []Condition) bool {
			return !slices.ContainsFunc(list, func(c Condition) bool { return !c.Holds(stated(c.Path)) })
		}
		type verdict struct {
			place int
			why   string
		}
		var unused []verdict
		for _, q := range o.params {
			path := s.group + "." + q.Path
			if q.Unused != nil && holds(q.Unused) {
				unused = append(unused, verdict{q.place, because(q.Unused)})
			} else if _, said := p.values[path]; !said && refs[q.place] == 0 {
				problems = append(problems, &problem{[]string{path, s.engine}, fmt.Sprintf("is missing, and engine %s has no default for it", o.name), "must be " + q.Allowed(), path})
			}
		}
		if c := (Content{x.pool, refs}); s.group == goldParams && o.column.Kind == "real" && c.Learns() {
			problems = append(problems, &problem{[]string{s.column, "reward.loss", "reward.features.engine"},
				fmt.Sprintf("a reward of loss %q learns from labels, which are verdicts of the gold, and %s of engine %s is a number", c.Name("reward.loss"), o.column.Name, o.name),
				`name a column of kind "verdict", or set reward.program, or reward.loss to "none" or, in a control, "oracle"`, s.column})
		}
		if s.verb == "train" {
			more, why := x.training(refs, p, owners, o, holds, because)
			problems = append(problems, more...)
			if why != "" {
				unused = append(unused, verdict{x.layout.place["finetune.pretraining"], why})
			}
			if !o.verb.Keeps {
				for _, path := range []string{"finetune.probes", "finetune.probeImages"} {
					unused = append(unused, verdict{x.layout.place[path], fmt.Sprintf("engine %s keeps no checkpoints on its way", o.name)})
				}
			}
		}
		for _, u := range unused {
			if refs[u.place] != 0 {
				x.why[u.place] = u.why
				refs[u.place] = 0
			}
		}
	}
	return problems
}

// training checks what a fine-tuning by an engine needs, and returns why it reads no pretraining
// data, or "".
func (x *expansion) training(refs []uint32, p partial, owners []*owner, o *owner, holds func([]Condition) bool, because func([]Condition) string) (problems []*problem, why string) {
	needs, ok := o.verb.Inputs["pretraining"]
	_, said := p.values["finetune.pretraining"]
	switch {
	case !ok:
		why = fmt.Sprintf("engine %s trains on no pretraining data", o.name)
	case !holds(needs.When):
		why = o.slot.group + "." + because(slices.DeleteFunc(slices.Clone(needs.When), func(c Condition) bool { return holds([]Condition{c}) }))
	case !said && refs[x.layout.place["finetune.pretraining"]] == 0:
		msg := fmt.Sprintf("is missing, and engine %s trains on pretraining data", o.name)
		if needs.When != nil {
			msg += " where " + because(needs.When)
		}
		problems = append(problems, &problem{[]string{"finetune.pretraining", "finetune.engine"}, msg, "name a folder of images with captions", "finetune.pretraining"})
	}
	for i, s := range slots {
		if m := owners[i]; s.verb == "sample" && m != nil && m.verb != nil && o.verb.Format != "" && !slices.Contains(m.verb.Formats, o.verb.Format) {
			problems = append(problems, &problem{[]string{"finetune.engine", s.engine},
				fmt.Sprintf("engine %s trains checkpoints of the format %q, which engine %s does not sample", o.name, o.verb.Format, m.name),
				"it samples " + listed(m.verb.Formats), ""})
		}
	}
	return problems, why
}

func listed(list []string) string {
	if len(list) == 0 {
		return "no trained checkpoints"
	}
	return strings.Join(list, ", ")
}
