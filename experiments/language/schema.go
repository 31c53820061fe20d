package language

import (
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"sync"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/build"
	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/cue/parser"

	"ablate/experiments/schema"
)

// Kind is the type of an axis's values.
type Kind int

// The kinds: real numbers (float64), whole numbers (int64), names (string) and truth values
// (bool), which only parameters of engines have.
const (
	Real Kind = iota
	Whole
	Name
	Truth
)

// Axis is one scalar of a trial. Its path is its name in sweeps, as a column, as the label of a
// plot and in --set.
type Axis struct {
	Path    string
	Kind    Kind
	Count   bool     // the values are whole numbers
	Unit    string   // such as "steps" or "probability"; "name" for one of Enum
	Enum    []string // the allowed names; nil where there is no list
	Doc     string   // meaning, one paragraph
	Default any      // float64, int64, string or bool; nil where there is none, or engines have different ones
	// Program is the default where an engine loads the model; nil where it is Default.
	Program any
	// Absent is the value with which a trial keeps the id that it had before the parameter was
	// added; nil for parameters of the first version.
	Absent any
}

// Axes returns every scalar of a trial of a study without engines, in the order of the schema.
// The caller may change the slice. [Study.Axes] returns those of any study.
func Axes() []Axis { return slices.Clone(axes()) }

var axes = sync.OnceValue(func() (list []Axis) {
	for _, a := range fixed().axes {
		if !a.engine {
			list = append(list, a.Axis)
		}
	}
	return list
})

// A fixedAxis is a scalar of the schema itself.
type fixedAxis struct {
	Axis
	engine bool // only studies with engines have it
}

// fixed returns what the schema itself has of trials.
var fixed = sync.OnceValue(func() (out struct {
	axes []fixedAxis
	open []openGroup
}) {
	g, err := compile(cuecontext.New())
	if err != nil {
		panic(err) // the embedded schema is broken, which tests exclude
	}
	for _, l := range g.leaves {
		out.axes = append(out.axes, fixedAxis{l.Axis, l.engine})
	}
	out.open = g.open
	return out
})

// A leaf is an axis with the schema's constraint on its values.
type leaf struct {
	Axis
	ctx        *cue.Context
	constraint cue.Value
	allowed    string // the constraint in words: "a number >=0 and <=1"
	place      int    // index of its path in layout; -1 where it is only recorded
	record     int    // index of its path among those that are only recorded; -1 where it is not
	required   bool   // a trial that has its group must have it
	engine     bool   // a scalar of the schema that only studies with engines have
	slot       *slot  // where it is a parameter of engines; there is then no constraint
}

// group returns the path of the group that the axis is in.
func (l *leaf) group() string { return l.Path[:strings.LastIndexByte(l.Path, '.')] }

// A grammar is the schema, compiled in one CUE context.
type grammar struct {
	ctx    *cue.Context
	leaves []*leaf
	byPath map[string]*leaf
	groups map[string][]string // fields of "", "finetune", "finetune.mix", …, in order
	rules  []*rule
	layout *layout
	open   []openGroup

	declared bool                // the study has engines
	programs map[string]*Program // by name of the engine; nil where it could not be described
	dormant  map[string]bool     // groups and scalars that only studies with engines have, in one without

	required []*leaf // parameters that a trial must have where it has their group

	resources, engineResources cue.Value // #Resources and #EngineResources
}

// An openGroup is a group whose fields are the parameters of an engine.
type openGroup struct {
	path, doc string
	after     int // number of leaves before it
}

// A choice is a group of which a trial has at most one of some members.
type choice struct {
	members  []string
	fallback string // the member of a trial that names none; empty where there is none
}

var alternatives = map[string]choice{
	"model":  {[]string{"shapes", "checkpoint", "program"}, "shapes"},
	"reward": {[]string{"program", "features"}, ""},
}

// compile compiles the embedded schema in ctx.
func compile(ctx *cue.Context) (*grammar, error) {
	inst := build.NewContext().NewInstance("schema", nil)
	names, err := fs.Glob(schema.Files, "*.cue")
	if err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	for _, name := range names {
		src, err := schema.Files.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("schema: %w", err)
		}
		f, err := parser.ParseFile(name, src, parser.ParseComments)
		if err != nil {
			return nil, fmt.Errorf("schema: %w", err)
		}
		if err := inst.AddSyntax(f); err != nil {
			return nil, fmt.Errorf("schema: %w", err)
		}
	}
	v := ctx.BuildInstance(inst)
	if err := v.Err(); err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	g := &grammar{ctx: ctx, byPath: map[string]*leaf{}, groups: map[string][]string{},
		resources: v.LookupPath(cue.ParsePath("#Resources")), engineResources: v.LookupPath(cue.ParsePath("#EngineResources"))}
	trial := v.LookupPath(cue.ParsePath("#Trial"))
	if err := g.walk("", v.LookupPath(cue.ParsePath("#Partial")), trial); err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	if err := g.readRules(v.LookupPath(cue.ParsePath("#Rules"))); err != nil {
		return nil, fmt.Errorf("schema: #Rules: %w", err)
	}
	return g, nil
}

func (g *grammar) walk(prefix string, v, trial cue.Value) error {
	it, err := v.Fields(cue.Optional(true))
	if err != nil {
		return err
	}
	for it.Next() {
		name := it.Selector().Unquoted()
		path := join(prefix, name)
		g.groups[prefix] = append(g.groups[prefix], name)
		if slotAt(path) != nil {
			g.open = append(g.open, openGroup{path, docs(it.Value()), len(g.leaves)})
			continue
		}
		if it.Value().IncompleteKind() == cue.StructKind {
			if err := g.walk(path, it.Value(), trial); err != nil {
				return err
			}
			continue
		}
		l, err := newLeaf(path, it.Value(), trial)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		l.ctx = g.ctx
		l.required = it.Selector().ConstraintType() == cue.RequiredConstraint
		g.leaves = append(g.leaves, l)
		g.byPath[path] = l
	}
	return nil
}

func newLeaf(path string, v, trial cue.Value) (*leaf, error) {
	l := &leaf{Axis: Axis{Path: path, Doc: docs(v)}, constraint: v, record: -1}
	engine := v.Attribute("engine")
	l.engine = engine.Err() == nil
	unit, err := unitOf(v)
	if err != nil {
		return nil, err
	}
	l.Unit = unit
	switch v.IncompleteKind() {
	case cue.IntKind:
		l.Kind, l.Count = Whole, true
	case cue.NumberKind, cue.FloatKind:
		l.Kind = Real
	case cue.StringKind:
		l.Kind = Name
	default:
		return nil, fmt.Errorf("kind %v is not supported", v.IncompleteKind())
	}
	if l.Absent, err = valueOf(v, "absent", l.Kind); err != nil {
		return nil, err
	}
	if l.Program, err = valueOf(v, "program", l.Kind); err != nil {
		return nil, err
	}
	l.allowed, l.Enum = describe(v, l.Kind)
	// One name at a time, because a default may be in the default of a disjunction.
	d := trial
	for name := range strings.SplitSeq(path, ".") {
		if d = d.LookupPath(cue.MakePath(cue.Str(name))); d.Exists() {
			d, _ = d.Default()
		}
	}
	if d.Exists() && d.IsConcrete() {
		if l.Default, err = scalar(d, l.Kind); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// docs returns the comment of a field as one paragraph.
func docs(v cue.Value) string {
	var doc []string
	for _, c := range v.Doc() {
		doc = append(doc, strings.Join(strings.Fields(c.Text()), " "))
	}
	return strings.Join(doc, " ")
}

// valueOf parses an attribute with a value, such as @absent(VALUE); nil where there is none. That of absent is
// written out and does not follow the default, because changing the default must not change ids.
func valueOf(v cue.Value, name string, k Kind) (any, error) {
	a := v.Attribute(name)
	if a.Err() != nil {
		return nil, nil
	}
	text, err := a.String(0)
	var value any = text
	if err == nil {
		switch k {
		case Whole:
			value, err = strconv.ParseInt(text, 10, 64)
		case Real:
			value, err = strconv.ParseFloat(text, 64)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("@%s(%s): %w", name, text, err)
	}
	return value, nil
}

func unitOf(v cue.Value) (string, error) {
	a := v.Attribute("unit")
	if err := a.Err(); err != nil {
		return "", fmt.Errorf("no @unit: %w", err)
	}
	return a.String(0)
}

// describe returns the values that a constraint allows in words, and as a list where it is a
// choice of strings.
func describe(v cue.Value, k Kind) (string, []string) {
	var bounds, choices []string
	var visit func(v cue.Value)
	visit = func(v cue.Value) {
		op, args := v.Expr()
		switch op {
		case cue.AndOp, cue.OrOp:
			for _, a := range args {
				visit(a)
			}
		case cue.GreaterThanOp, cue.GreaterThanEqualOp, cue.LessThanOp, cue.LessThanEqualOp:
			bounds = append(bounds, fmt.Sprintf("%v%v", op, args[0]))
		default:
			if s, err := v.String(); err == nil {
				choices = append(choices, s)
			}
		}
	}
	visit(v)
	switch {
	case k == Name && len(choices) > 0:
		quoted := make([]string, len(choices))
		for i, c := range choices {
			quoted[i] = strconv.Quote(c)
		}
		return "one of " + strings.Join(quoted, ", "), choices
	case k == Name:
		return "a string that is not empty", nil
	case k == Whole:
		return strings.TrimSpace("a whole number " + strings.Join(bounds, " and ")), nil
	}
	return strings.TrimSpace("a number " + strings.Join(bounds, " and ")), nil
}

// loosened returns a file of the schema with every definition open, so that a study with
// mistakes can be read and all of them found.
func loosened(name string, src []byte) ([]byte, error) {
	f, err := parser.ParseFile(name, src)
	if err != nil {
		return nil, err
	}
	out := []byte("package schema\n")
	for _, d := range f.Decls {
		if field, ok := d.(*ast.Field); ok {
			if label, _, err := ast.LabelName(field.Label); err == nil {
				out = append(out, (label + ": _\n")...)
			}
		}
	}
	return out, nil
}

// nest sets a value in nested maps at its dotted path.
func nest(m map[string]any, path string, v any) {
	for {
		head, rest, deeper := strings.Cut(path, ".")
		if !deeper {
			m[head] = v
			return
		}
		next, ok := m[head].(map[string]any)
		if !ok {
			next = map[string]any{}
			m[head] = next
		}
		m, path = next, rest
	}
}

func join(prefix, name string) string {
	switch {
	case prefix == "":
		return name
	case name == "":
		return prefix
	}
	return prefix + "." + name
}
