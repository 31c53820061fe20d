package language

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"cuelang.org/go/cue"
)

// A slot is a place of a trial at which a verb of an engine stands, with the verb's parameters.
type slot struct {
	group  string // of the parameters
	engine string // path of the engine's name
	column string // path of the column of the verb's scores; empty where it has none
	verb   string
	suits  func(c Column, engine string) (msg, hint string) // why a column cannot stand there
}

const goldParams = "evaluate.gold.params"

// slots are the places of a trial for engines, in the order of the schema.
var slots = []*slot{
	{group: "model.program.params", engine: "model.program.engine", verb: "load"},
	{group: "sampler.params", engine: "model.program.engine", verb: "sample"},
	{group: "reward.program.params", engine: "reward.program.engine", column: "reward.program.column", verb: "score", suits: Column.rewards},
	{group: "reward.features.params", engine: "reward.features.engine", verb: "embed"},
	{group: "finetune.params", engine: "finetune.engine", verb: "train"},
	{group: goldParams, engine: "evaluate.gold.engine", column: "evaluate.gold.column", verb: "score", suits: Column.golds},
	{group: "evaluate.features.params", engine: "evaluate.features.engine", verb: "embed"},
}

// slotAt returns the slot whose parameters are the fields of a group, or nil.
func slotAt(group string) *slot {
	if i := slices.IndexFunc(slots, func(s *slot) bool { return s.group == group }); i >= 0 {
		return slots[i]
	}
	return nil
}

// slotOf returns the slot that a parameter belongs to, or nil.
func slotOf(path string) *slot {
	if i := slices.IndexFunc(slots, func(s *slot) bool { return strings.HasPrefix(path, s.group+".") }); i >= 0 {
		return slots[i]
	}
	return nil
}

// of returns an engine's verb for a slot, or nil.
func (s *slot) of(p *Program) *Verb {
	if p == nil {
		return nil
	}
	return p.Verbs[s.verb]
}

// axes returns the parameters that some engines have in a slot, in the order of the engines and
// of their descriptions. Where two differ about a parameter, the axis is what fits both.
func (s *slot) axes(engines []Engine, uses func(*slot, string) bool) (out []Axis) {
	index := map[string]int{}
	for _, e := range engines {
		verb := s.of(e.Program)
		if verb == nil || !uses(s, e.Name) {
			continue
		}
		for i := range verb.Params {
			a := verb.Params[i].axis(s)
			k, ok := index[a.Path]
			if !ok {
				index[a.Path] = len(out)
				out = append(out, a)
				continue
			}
			out[k] = out[k].with(a)
		}
	}
	return out
}

// axis returns a parameter as an axis of a trial.
func (p *Param) axis(s *slot) Axis {
	return Axis{Path: s.group + "." + p.Path, Kind: p.Kind, Count: p.Kind == Whole, Unit: p.unit(), Enum: p.Enum, Doc: p.Doc, Default: p.typed(p.Default)}
}

// unit returns the unit of a parameter.
func (p *Param) unit() string {
	if p.Unit == "" && p.Enum != nil {
		return "name"
	}
	return p.Unit
}

// with returns an axis that also has the values of another of the same path.
func (a Axis) with(b Axis) Axis {
	switch {
	case a.Kind == b.Kind:
	case a.Kind != Name && b.Kind != Name && a.Kind != Truth && b.Kind != Truth:
		a.Kind = Real
	default:
		a.Kind = Name
	}
	a.Count = a.Kind == Whole
	if a.Enum == nil || b.Enum == nil {
		a.Enum = nil
	} else {
		for _, name := range b.Enum {
			if !slices.Contains(a.Enum, name) {
				a.Enum = append(slices.Clip(a.Enum), name)
			}
		}
	}
	if a.Unit != b.Unit {
		a.Unit = ""
	}
	if a.Default != b.Default {
		a.Default = nil
	}
	a.Doc = cmp.Or(a.Doc, b.Doc)
	return a
}

// studyAxes returns the scalars of trials of a study with engines, in the order of the schema.
func studyAxes(engines []Engine, uses func(*slot, string) bool) (out []Axis) {
	if len(engines) == 0 {
		return Axes()
	}
	open := fixed().open
	for i, a := range fixed().axes {
		for ; len(open) > 0 && open[0].after == i; open = open[1:] {
			out = append(out, slotAt(open[0].path).axes(engines, uses)...)
		}
		out = append(out, a.Axis)
	}
	for _, o := range open {
		out = append(out, slotAt(o.path).axes(engines, uses)...)
	}
	return out
}

func everywhere(*slot, string) bool { return true }

// layoutOf returns the layout of a study with some engines.
func layoutOf(engines []Engine) *layout {
	if len(engines) == 0 {
		return native()
	}
	keyed, recorded := map[string]bool{}, map[string]bool{}
	for _, s := range slots {
		for _, e := range engines {
			if verb := s.of(e.Program); verb != nil {
				for _, p := range verb.Params {
					if path := s.group + "." + p.Path; p.Record {
						recorded[path] = true
					} else {
						keyed[path] = true
					}
				}
			}
		}
	}
	var list []Axis
	for _, a := range studyAxes(engines, everywhere) {
		if slotOf(a.Path) == nil || keyed[a.Path] {
			list = append(list, a)
		}
	}
	return newLayout(list, slices.Collect(maps.Keys(recorded)))
}

// Axes returns every scalar of the study's trials, in the order of the schema: those of the
// schema, and the parameters of the engines that trials name. The caller may change the slice.
func (s *Study) Axes() []Axis {
	if len(s.Engines) == 0 {
		return Axes()
	}
	used := map[string]bool{}
	note := func(c Content) {
		for _, s := range slots {
			used[s.engine+" "+c.Name(s.engine)] = true
		}
	}
	note(s.Base)
	for _, a := range s.Arms {
		for _, p := range a.Points {
			note(p.Content)
		}
	}
	return studyAxes(s.Engines, func(s *slot, engine string) bool { return used[s.engine+" "+engine] })
}

// extend makes the grammar that of a study with some engines, or without any.
func (g *grammar) extend(engines []Engine, declared bool) {
	g.declared, g.layout, g.programs, g.dormant = declared, layoutOf(engines), map[string]*Program{}, map[string]bool{}
	for _, e := range engines {
		g.programs[e.Name] = e.Program
	}
	all := g.byPath
	if !declared {
		for path, l := range all {
			if l.engine {
				g.dormant[path] = true
			}
		}
		for _, o := range g.open {
			g.dormant[o.path] = true
		}
		g.rules = slices.DeleteFunc(g.rules, func(ru *rule) bool { return !ru.native() })
		g.sleep("")
	}
	g.leaves, g.byPath, g.required = nil, map[string]*leaf{}, nil
	list := Axes()
	if declared {
		list = studyAxes(engines, everywhere)
		if len(engines) == 0 { // all of them have mistakes
			list = nil
			for _, a := range fixed().axes {
				list = append(list, a.Axis)
			}
			g.layout = newLayout(list, nil)
		}
	}
	for _, a := range list {
		l, ok := all[a.Path]
		if !ok {
			s := slotOf(a.Path)
			l = &leaf{Axis: a, ctx: g.ctx, slot: s}
			g.grow(s.group, strings.TrimPrefix(a.Path, s.group+"."))
		}
		l.place, l.record = at(g.layout.place, a.Path), at(g.layout.record, a.Path)
		g.leaves, g.byPath[a.Path] = append(g.leaves, l), l
		if l.required {
			g.required = append(g.required, l)
		}
	}
}

// at returns the index of a path, -1 where there is none.
func at(index map[string]int, path string) int {
	if i, ok := index[path]; ok {
		return i
	}
	return -1
}

// sleep removes the fields that only studies with engines have from the groups at and below
// one, and reports whether nothing is left of it.
func (g *grammar) sleep(group string) bool {
	if g.dormant[group] {
		return true
	}
	names, ok := g.groups[group]
	if !ok {
		return false
	}
	names = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return g.sleep(join(group, name)) })
	g.groups[group] = names
	g.dormant[group] = len(names) == 0
	return len(names) == 0
}

// grow adds a parameter to the fields of its group and of those above.
func (g *grammar) grow(group, path string) {
	for {
		name, rest, deeper := strings.Cut(path, ".")
		if !slices.Contains(g.groups[group], name) {
			g.groups[group] = append(g.groups[group], name)
		}
		if !deeper {
			return
		}
		group, path = group+"."+name, rest
	}
}

// foreign reads the parameters of an engine below a path of a trial. Which engine's they are is
// known when the trial is.
func (r *reader) foreign(p partial, v cue.Value, prefix, path string) {
	for _, f := range r.fields(v, join(prefix, path), "a struct of an engine's parameters", r.groups[path]...) {
		at := join(path, f.name)
		if f.value.IncompleteKind() == cue.StructKind {
			r.foreign(p, f.value, prefix, at)
			continue
		}
		e := r.raw(f.value, join(prefix, at))
		e.name = r.named(f.value)
		p.put(at, e)
	}
}

// raw reads a value of an engine's parameter, whose type is not known yet.
func (r *reader) raw(v cue.Value, path string) entry {
	if d, ok := v.Default(); !ok || !d.IsConcrete() || v.Err() != nil {
		if w := r.real.LookupPath(v.Path()); w.Err() == nil && w.IsConcrete() {
			v = w // as in scalar
		}
	}
	e := entry{at: r.place(v), path: path}
	if r.broken(v) {
		r.doubts = append(r.doubts, v.Err())
		return e
	}
	value, msg := plainValue(v)
	if msg != "" {
		r.m.add(e.at, path, msg, "")
	}
	if d, ok := v.Default(); ok {
		v = d
	}
	e.value, e.text = value, text(v)
	return e
}

// plainValue returns a scalar of CUE as float64, int64, string or bool, or a message why it cannot be one.
func plainValue(v cue.Value) (any, string) {
	if d, ok := v.Default(); ok {
		v = d
	}
	const must = "; must be a number, a string, true or false"
	if !v.IsConcrete() {
		return nil, text(v) + " is not a concrete value" + must
	}
	var value any
	var err error
	switch k := v.Kind(); k {
	case cue.BoolKind:
		value, err = v.Bool()
	case cue.IntKind:
		value, err = v.Int64()
	case cue.FloatKind, cue.NumberKind:
		value, err = v.Float64()
	case cue.StringKind:
		value, err = v.String()
	default:
		return nil, fmt.Sprintf("%s is a %v%s", text(v), kindWord(k), must)
	}
	if err != nil {
		return nil, text(v) + " does not fit into 64 bits"
	}
	if f, ok := value.(float64); ok {
		value = f + 0 // -0 is 0
	}
	return value, ""
}
