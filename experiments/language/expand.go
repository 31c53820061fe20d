package language

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
)

// expand sets the study's base, arms and views, and returns the values of each arm's points
// before rules.
func (r *reader) expand(s *Study, base partial, arms []*arm) (stated [][][]uint32) {
	x := &expansion{reader: r, s: s, pool: newPool(r.layout), why: make([]string, len(r.layout.paths)), said: map[string]bool{}, owned: map[string]*owned{},
		wall: wall{map[scorer]gold{}, map[scorer]bool{}}}
	t := x.template(base, nil)
	x.homeless(base)
	refs := t.raw
	x.report(x.reduce(refs, t), base, where{file: r.file}, "base")
	s.Base = Content{x.pool, refs}
	for _, a := range arms {
		x.arm(a, base, nil)
	}
	x.idle()
	x.walls()
	n, most := 0, Arm{}
	for _, a := range s.Arms {
		n += len(a.Points) * len(a.Seeds)
		if len(a.Points)*len(a.Seeds) >= len(most.Points)*len(most.Seeds) {
			most = a
		}
	}
	if n > mostViews {
		r.m.add(where{file: r.file}, "arms", fmt.Sprintf("the study has %d points times seeds, of which arm %q has %d × %d; a study has at most %d", n, most.Name, len(most.Points), len(most.Seeds), mostViews),
			"sweep fewer values, leave combinations out with where, or make several studies of it")
		return x.stated
	}
	s.views()
	return x.stated
}

// mostViews is the largest number of views of a study: each takes some kilobytes of memory in
// every command, and needs one training or more.
const mostViews = 200_000

// mostPoints is the largest number of combinations of an arm's values, before where and
// duplicates remove some: a million take a quarter of a minute.
const mostPoints = 1_000_000

// views sets the study's views from its arms.
func (s *Study) views() {
	n := 0
	for _, a := range s.Arms {
		n += len(a.Points) * len(a.Seeds)
	}
	s.Views = make([]View, 0, n)
	for _, a := range s.Arms {
		for _, p := range a.Points {
			text := p.Content.text()
			for _, seed := range a.Seeds {
				t := Trial{Content: p.Content, Seed: seed}
				t.id = t.name(text)
				s.Views = append(s.Views, View{Arm: a.Name, Point: p.Axes, Trial: t})
			}
		}
	}
}

// leaves returns the names of the arms that have points: the arm itself, or those nested in it.
func (a *arm) leaves() []string {
	if len(a.inner) == 0 {
		return []string{a.name}
	}
	var out []string
	for _, in := range a.inner {
		out = append(out, in.leaves()...)
	}
	return out
}

type expansion struct {
	*reader
	s     *Study
	pool  *pool
	why   []string
	said  map[string]bool   // messages about the base, which its arms would repeat
	owned map[string]*owned // by path in the study, the parameters that arms set or sweep
	order []*owned

	stated [][][]uint32 // by arm and point, the values before rules

	kept map[string]bool // whether the arm's filters keep a point, by the values on which they may depend

	wall wall
}

// owned is a parameter that an arm sets or sweeps. used is false while no point uses it, and
// why is the reason.
type owned struct {
	leaf *leaf
	path string
	at   where
	used bool
	why  string
}

// A template is what points of an arm have in common: those with the same engines.
type template struct {
	number   int
	p        partial        // with the values of one of the points
	owners   []*owner       // by slot
	raw      []uint32       // the values before rules
	steps    [][][]uint32   // by axis and step, the values of the axis's leaves
	spots    [][]int        // by axis and leaf, the place of its values; -1 where the trial has none
	required []*leaf        // parameters without a default of the groups that the trial has
	broken   map[*slot]bool // slots whose engines are not known, which was reported
}

// template returns what points with the values of p have in common.
func (x *expansion) template(p partial, axes []axis) *template {
	t := &template{p: p, owners: x.ownersOf(p), raw: x.filled(x.pool, p), broken: map[*slot]bool{}}
	for i, o := range t.owners {
		t.broken[slots[i]] = o != nil && o.verb == nil
	}
	x.state(t.raw, p, t.owners)
	for _, l := range x.required {
		if _, said := p.values[l.Path]; !said && p.has(l.group()) {
			t.required = append(t.required, l)
		}
	}
	for _, ax := range axes {
		spots, steps := make([]int, len(ax.leaves)), make([][]uint32, len(ax.steps))
		for i := range ax.steps {
			steps[i] = make([]uint32, len(ax.leaves))
		}
		for k, l := range ax.leaves {
			spots[k] = l.place
			var q *placed
			var o *owner
			if l.slot != nil {
				if o, q = t.param(l); q == nil {
					spots[k] = -1
					continue
				}
				spots[k] = q.place
			}
			for i, step := range ax.steps {
				if q == nil {
					steps[i][k] = x.pool.put(step[k].value)
				} else if value, ok := x.value(q.Param, step[k], o); ok {
					steps[i][k] = x.pool.put(value)
				}
			}
		}
		t.spots, t.steps = append(t.spots, spots), append(t.steps, steps)
	}
	return t
}

// param returns the engine and the parameter that a leaf is in the trials of the template, or nil
// where the leaf is no parameter of an engine.
func (t *template) param(l *leaf) (*owner, *placed) {
	for i, s := range slots {
		if o := t.owners[i]; s == l.slot && o != nil {
			for k := range o.params {
				if s.group+"."+o.params[k].Path == l.Path {
					return o, &o.params[k]
				}
			}
			return o, nil
		}
	}
	return nil, nil
}

// homeless adds a mistake for each parameter of the base that belongs to no engine of the
// study's: nothing could tell whether it is one.
func (x *expansion) homeless(base partial) {
	for path, e := range base.values {
		if s := slotOf(path); s != nil && !slices.ContainsFunc(x.s.Engines, func(e Engine) bool { return e.Program == nil || s.of(e.Program) != nil }) {
			x.m.add(e.name, e.path, fmt.Sprintf("no engine of the study can %s", s.verb), "leave it out, or declare the engine")
		}
	}
}

// reduce reduces the values of a whole trial to its content, in place, and returns the problems
// of the trial.
func (x *expansion) reduce(refs []uint32, t *template) []*problem {
	clear(x.why)
	problems, err := x.apply(x.pool, refs, x.why)
	if err != nil {
		return []*problem{{msg: "the schema's rules cannot be applied: " + err.Error()}}
	}
	if x.declared {
		problems = append(problems, x.use(refs, t.p, t.owners)...)
	}
	for _, l := range t.required {
		if refs[l.place] == 0 && x.why[l.place] == "" {
			problems = append(problems, &problem{paths: []string{l.Path}, msg: "is missing", hint: "must be " + l.allowed})
		}
	}
	return problems
}

// report adds the problems of a trial, at the user's own value where there is one. Problems of
// the base are not repeated for each arm.
func (x *expansion) report(problems []*problem, p partial, at where, path string) {
	for _, q := range problems {
		if path == "base" {
			x.said[q.about+q.msg] = true
		} else if x.said[q.about+q.msg] {
			continue
		}
		place, about := at, path
		for _, name := range q.paths {
			if e, ok := p.values[name]; ok {
				place, about = e.at, name
				break
			}
			group := name[:max(0, strings.LastIndexByte(name, '.'))]
			if at, ok := p.places[group]; ok {
				place, about = at, name
				break
			}
		}
		if q.about != "" {
			about = q.about
		}
		x.m.add(place, about, q.msg, q.hint)
	}
}

// arm expands an arm nested in the outer ones.
func (x *expansion) arm(a *arm, base partial, outer []*arm) {
	chain := append(slices.Clone(outer), a)
	for _, path := range slices.Sorted(maps.Keys(a.set.values)) {
		l, ok := x.byPath[path]
		if !ok { // of an engine that the trial does not name, or of none
			l = &leaf{Axis: Axis{Path: path}, slot: slotOf(path), place: -1, record: -1}
		}
		x.own(a.path+".set."+path, l, a.set.values[path].at)
	}
	for _, ax := range a.axes {
		for i, l := range ax.leaves {
			x.own(ax.paths[i], l, ax.at[i])
		}
	}
	if len(a.inner) > 0 {
		for _, in := range a.inner {
			x.arm(in, base, chain)
		}
		return
	}
	// Inner arms override outer ones.
	seeds := x.s.Seeds
	out := Arm{Name: a.name}
	var axes []axis
	var filters []cue.Value
	var owns []*owned
	swept := map[string]string{}
	for _, c := range chain {
		for path, e := range c.set.values {
			if by, ok := swept[path]; ok {
				x.m.add(e.at, c.path+".set."+path, "it is swept by "+by+" already", "keep one of the two")
			}
			owns = append(owns, x.owned[c.path+".set."+path])
		}
		for _, ax := range c.axes {
			for i, l := range ax.leaves {
				if e, ok := c.set.values[l.Path]; ok {
					x.m.add(e.at, c.path+".set."+l.Path, "the arm sets it and sweeps it", "keep one of the two")
				} else if by, ok := swept[l.Path]; ok {
					x.m.add(ax.at[i], ax.paths[i], "it is swept by "+by+" already", "keep one of the two")
				}
				swept[l.Path] = ax.paths[i]
				owns = append(owns, x.owned[ax.paths[i]])
			}
		}
		axes = append(axes, c.axes...)
		filters = append(filters, c.where...)
		if c.seeds != nil {
			seeds = c.seeds
		}
		if c.pick != nil {
			out.Pick = c.pick
			seeds = slices.Concat(c.pick.On, c.pick.Report)
		}
		out.Control = out.Control || c.control
	}
	points, stated := x.points(a, base, chain, axes, filters, owns)
	if out.Seeds, out.Points = seeds, points; out.Pick != nil && len(points) == 1 {
		x.m.add(a.seedsAt, a.path+".pick", "the arm has one point, so that there is nothing to select", "sweep an axis, or leave pick out")
	}
	x.s.Arms, x.stated = append(x.s.Arms, out), append(x.stated, stated)
}

func (x *expansion) own(path string, l *leaf, at where) {
	if _, ok := x.owned[path]; !ok {
		o := &owned{leaf: l, path: path, at: at}
		x.owned[path] = o
		x.order = append(x.order, o)
	}
}

// idle reports parameters that arms set or sweep and no point uses.
func (x *expansion) idle() {
	for _, o := range x.order {
		if !o.used && o.why != "" {
			hint := "leave it out, or change what makes it unused"
			if o.leaf.slot != nil {
				hint = "" // the reason names a parameter of the engine, and says it all
			}
			x.m.add(o.at, o.path, "the arm's trials do not use it: "+o.why, hint)
		}
	}
}

// points expands one arm to the product of its axes, the last axis varying fastest. It also
// returns the values of each point before rules.
func (x *expansion) points(a *arm, base partial, chain []*arm, axes []axis, filters []cue.Value, owns []*owned) (out []Point, stated [][]uint32) {
	size := 1
	for _, ax := range axes {
		if len(ax.steps) == 0 {
			return nil, nil // already reported
		}
		if size *= len(ax.steps); size > mostPoints {
			x.m.add(a.at, a.path, fmt.Sprintf("the arm has more than %d combinations of its axes' values", mostPoints), "sweep fewer values, couple axes with zip, or make several arms of it")
			return nil, nil
		}
	}
	// The alternatives that the axes choose are the same for every point, and the engines for
	// every point with the same values of these axes.
	index := make([]int, len(axes))
	var choosing []int
	for i, ax := range axes {
		if slices.ContainsFunc(ax.leaves, func(l *leaf) bool { return l.engine && l.Unit != "path" }) {
			choosing = append(choosing, i)
		}
	}
	templates := map[string]*template{}
	var chosen []byte
	current := func() *template {
		chosen = chosen[:0]
		for _, i := range choosing {
			chosen = binary.LittleEndian.AppendUint32(chosen, uint32(index[i]))
		}
		t, ok := templates[string(chosen)]
		if !ok {
			t = x.template(x.whole(base, chain, index), axes)
			t.number = len(templates)
			templates[string(chosen)] = t
			x.strangers(t, axes)
		}
		return t
	}
	names := 0
	var looked []int
	for _, ax := range axes {
		names += len(ax.leaves)
		for _, l := range ax.leaves {
			if slices.ContainsFunc(filters, func(w cue.Value) bool { return x.looksAt(w, l.Path) }) {
				for _, place := range []int{l.place, l.record} {
					if place >= 0 {
						looked = append(looked, place)
					}
				}
			}
		}
	}
	t := current()
	x.kept = map[string]bool{}
	out = make([]Point, 0, size)
	seen := make(map[string]bool, size)
	excluded := 0
	var key []byte
	for {
		x.alive()
		if len(choosing) > 0 {
			t = current()
		}
		raw := t.raw
		for i := range axes {
			for k, spot := range t.spots[i] {
				if spot >= 0 {
					raw[spot] = t.steps[i][index[i]][k]
				}
			}
		}
		if len(filters) == 0 || x.keeps(filters, raw, looked, a, t) {
			refs := slices.Clone(raw)
			if problems := x.reduce(refs, t); len(problems) > 0 {
				x.report(problems, x.whole(base, chain, index), a.at, a.path)
			}
			for _, o := range owns {
				if !o.used {
					x.usage(o, raw, refs, t)
				}
			}
			pt := Point{Content: Content{x.pool, refs}, Axes: make([]AxisValue, 0, names)}
			for i, ax := range axes {
				for k, l := range ax.leaves {
					// The content's value, so that equal values are written alike.
					if spot := t.spots[i][k]; spot >= 0 && refs[spot] != 0 {
						pt.Axes = append(pt.Axes, AxisValue{l.Path, x.pool.values[refs[spot]]})
					}
				}
			}
			key = key[:0]
			for _, ref := range refs[:x.layout.keyed] {
				key = binary.LittleEndian.AppendUint32(key, ref)
			}
			if seen[string(key)] {
				x.s.Collapsed++
			} else {
				seen[string(key)] = true
				says := refs // most points are changed by no rule
				if !slices.Equal(raw, refs) {
					says = slices.Clone(raw)
				}
				out, stated = append(out, pt), append(stated, says)
				if x.declared {
					control := slices.ContainsFunc(chain, func(c *arm) bool { return c.control })
					x.note(pt.Content, t.p, control)
				}
			}
		} else {
			excluded++
			var axesOf []AxisValue
			for i, ax := range axes {
				for k, l := range ax.leaves {
					if spot := t.spots[i][k]; spot >= 0 {
						axesOf = append(axesOf, AxisValue{l.Path, x.pool.values[raw[spot]]})
					}
				}
			}
			x.s.Excluded = append(x.s.Excluded, Excluded{a.name, axesOf})
		}
		if !next(index, axes) {
			break
		}
	}
	if len(out) == 0 && excluded > 0 {
		x.m.add(x.place(filters[len(filters)-1]), a.path+".where", fmt.Sprintf("it excludes all of the arm's %s", plural(excluded, "point")), "loosen it, or leave the arm out")
	}
	return out, stated
}

// usage notes whether a point uses a parameter that an arm sets or sweeps, or why not.
func (x *expansion) usage(o *owned, raw, refs []uint32, t *template) {
	if t.broken[o.leaf.slot] {
		o.used = true // reported
		return
	}
	place := o.leaf.place
	if o.leaf.slot != nil {
		owner, q := t.param(o.leaf)
		switch {
		case owner == nil:
			o.why = o.leaf.slot.engine + " is not set"
			return
		case q == nil || raw[q.place] == 0:
			o.used = true // reported
			return
		}
		place = q.place
	}
	switch {
	case x.why[place] != "":
		o.why = x.why[place]
	case refs[place] != 0 || raw[place] != 0:
		o.used = true
	case o.why == "":
		o.why = "another alternative is chosen"
	}
}

// strangers adds a mistake for each axis that is no parameter of the engine of a trial.
func (x *expansion) strangers(t *template, axes []axis) {
	for _, ax := range axes {
		for k, l := range ax.leaves {
			if l.slot == nil {
				continue
			}
			if o, q := t.param(l); o != nil && o.verb != nil && q == nil {
				x.unknown(l.Path, ax.named[k], ax.paths[k], o)
			}
		}
	}
}

// whole returns the values that a point states, with those of its axes: each arm's over those of
// the ones around it.
func (x *expansion) whole(base partial, chain []*arm, index []int) partial {
	i := 0
	for _, c := range chain {
		p := newPartial()
		for _, ax := range c.axes {
			for k, l := range ax.leaves {
				p.put(l.Path, ax.steps[index[i]][k])
			}
			i++
		}
		base = base.override(c.set.override(p))
	}
	return base
}

// looksAt reports whether a filter may depend on a parameter: whether its source mentions the
// parameter's name, or refers to a group that contains it. A source with more than fields,
// conditions and comparisons may depend on all parameters.
func (x *expansion) looksAt(w cue.Value, path string) bool {
	parts := strings.Split(path, ".")
	source, all := w.Source(), false
	if f, ok := source.(*ast.Field); ok {
		source = f.Value
	}
	if _, ok := source.(*ast.StructLit); !ok {
		return true
	}
	ast.Walk(source, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Field:
			name, _, err := ast.LabelName(n.Label)
			all = all || err != nil || name == parts[len(parts)-1]
			ast.Walk(n.Value, func(v ast.Node) bool {
				if id, ok := v.(*ast.Ident); ok && (slices.Contains(parts, id.Name) || !x.known(id.Name)) {
					all = true
				}
				return !all
			}, nil)
		case *ast.IfClause:
			ast.Walk(n.Condition, func(v ast.Node) bool {
				if id, ok := v.(*ast.Ident); ok && (slices.Contains(parts, id.Name) || !x.known(id.Name)) {
					all = true
				}
				return !all
			}, nil)
		case *ast.StructLit, *ast.Ident, *ast.BasicLit, *ast.BinaryExpr, *ast.UnaryExpr, *ast.ParenExpr, *ast.SelectorExpr,
			*ast.Comprehension, *ast.CommentGroup, *ast.Comment:
		default:
			all = true
		}
		return !all
	}, nil)
	return all
}

// known reports whether a name is part of a parameter's path, or a type of CUE.
func (x *expansion) known(name string) bool {
	for _, l := range x.leaves {
		if slices.Contains(strings.Split(l.Path, "."), name) {
			return true
		}
	}
	return slices.Contains([]string{"number", "int", "float", "string", "bool", "true", "false", "_"}, name)
}

// keeps reports whether a point unifies with every filter. Values on which the filters do not
// depend are irrelevant, so that CUE evaluates each combination of the others once.
func (x *expansion) keeps(filters []cue.Value, raw []uint32, looked []int, a *arm, t *template) bool {
	key := binary.LittleEndian.AppendUint32(nil, uint32(t.number))
	for _, i := range looked {
		key = binary.LittleEndian.AppendUint32(key, raw[i])
	}
	keep, ok := x.kept[string(key)]
	if !ok {
		keep = x.ask(filters, raw, a)
		x.kept[string(key)] = keep
	}
	return keep
}

// ask reports whether a point unifies with every filter in CUE. A whole number may match as 2
// or as 2.0, which CUE distinguishes.
func (x *expansion) ask(filters []cue.Value, raw []uint32, a *arm) bool {
	try := func(whole bool) cue.Value {
		m := map[string]any{}
		for _, l := range x.leaves {
			var v any
			for _, place := range []int{l.place, l.record} {
				if place >= 0 && raw[place] != 0 {
					v = x.pool.values[raw[place]]
				}
			}
			if f, ok := v.(float64); ok && whole && f == float64(int64(f)) {
				v = int64(f)
			}
			if v != nil {
				nest(m, l.Path, v)
			}
		}
		return x.ctx.Encode(m)
	}
	for _, w := range filters {
		both := w.Unify(try(true))
		x.whereNames(both, a.path+".where", "")
		if both.Validate() == nil {
			continue
		}
		if w.Unify(try(false)).Validate() != nil {
			return false
		}
	}
	return true
}

// next advances index, the last axis fastest, and returns false after the last combination.
func next(index []int, axes []axis) bool {
	for i := len(index) - 1; i >= 0; i-- {
		index[i]++
		if index[i] < len(axes[i].steps) {
			return true
		}
		index[i] = 0
	}
	return false
}
