package language

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"sync"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/literal"
)

// Metrics returns the names of the metrics that a study may compare and guard, in the order of
// the schema.
func Metrics() []string { return metrics() }

var metrics = sync.OnceValue(func() []string {
	defs, err := definitions()
	if err != nil {
		panic(err) // the embedded schema is broken, which tests exclude
	}
	var out []string
	var walk func(ast.Expr)
	walk = func(e ast.Expr) {
		switch e := e.(type) {
		case *ast.BinaryExpr:
			walk(e.X)
			walk(e.Y)
		case *ast.BasicLit:
			if s, err := literal.Unquote(e.Value); err == nil {
				out = append(out, s)
			}
		}
	}
	walk(defs["#Metric"].Value)
	return out
})

// defaultGate is the list of metrics that 'ablate check' compares where a study names none.
var defaultGate = []string{"alignment", "alignment.unseen", "fidelity.recall", "fidelity.frechet"}

// compare reads the field compare of a study: the reference, the metrics and further choices of
// the analysis.
func (r *reader) compare(s *Study, v cue.Value, arms []*arm) {
	var valid []string
	for _, a := range arms {
		valid = append(valid, a.leaves()...)
	}
	if len(valid) > 0 {
		s.Reference = valid[0]
	}
	if !v.Exists() {
		return
	}
	known := []string{"reference", "prompts", "primary", "contrasts", "detect", "looks", "precise", "show"}
	for _, f := range r.fields(v, "compare", "a struct with reference", known...) {
		path := "compare." + f.name
		switch f.name {
		case "reference":
			s.Reference = r.text(f.value, path)
			if s.Reference != "" && !contains(valid, s.Reference) {
				r.m.add(r.place(f.value), path, fmt.Sprintf("the study has no arm %q", s.Reference), didYouMean(s.Reference, valid))
			}
		case "detect":
			s.Detect = r.sizes(f.value, path, "0 is not a size of a difference", "write the smallest difference that would matter")
		case "looks": // study has read it, before the arms
		case "precise":
			s.Precise = r.sizes(f.value, path, "0 is not a width of an interval", "write the width that would be narrow enough")
			if s.Looks == nil {
				r.m.add(r.place(f.value), path, "an interval reaches a width by adding seeds, but the study has no looks", "write looks: [3, 5, 8, 12] beside it")
			}
		case "show":
			s.Show = r.metricList(f.value, path, `write show: ["distance.kl"]`)
		case "primary":
			s.Primary = r.metricList(f.value, path, `write primary: ["alignment", "fidelity.recall"]`)
		case "prompts":
			s.Prompts = r.text(f.value, path)
			if s.Prompts != "" && !contains(promptKinds, s.Prompts) {
				r.m.add(r.place(f.value), path, fmt.Sprintf("%q is not a kind of prompts; must be fixed or sampled", s.Prompts), didYouMean(s.Prompts, promptKinds))
			}
		case "contrasts":
			s.Contrasts = r.contrasts(f.value, path)
		default:
			r.m.add(r.named(f.value), path, "compare has no such field", didYouMean(f.name, known))
		}
	}
}

// sizes reads positive sizes by metric. zero is the message for a size of 0.
func (r *reader) sizes(v cue.Value, path, zero, hint string) map[string]float64 {
	out := map[string]float64{}
	for _, m := range r.byMetric(v, path, "a struct of sizes by metric, such as {alignment: 0.05}") {
		if x, ok := r.size(m.value, path+"."+m.name); ok && x == 0 {
			r.m.add(r.place(m.value), path+"."+m.name, zero, hint)
		} else if ok {
			out[m.name] = x
		}
	}
	return out
}

// promptKinds are the roles of prompts in a study.
var promptKinds = []string{"fixed", "sampled"}

// contrasts reads pairs of rows.
func (r *reader) contrasts(v cue.Value, path string) (out [][2]string) {
	const want = `write contrasts: [{a: "awm", b: "kto"}]`
	list, err := v.List()
	if err != nil {
		r.m.add(r.place(v), path, text(v)+" is not a list of pairs", want)
		return nil
	}
	for i := 0; list.Next(); i++ {
		at := fmt.Sprintf("%s[%d]", path, i)
		var pair [2]string
		for _, f := range r.fields(list.Value(), at, "a pair: {a: \"awm\", b: \"kto\"}", "a", "b") {
			switch f.name {
			case "a":
				pair[0] = r.text(f.value, at+".a")
			case "b":
				pair[1] = r.text(f.value, at+".b")
			default:
				r.m.add(r.named(f.value), at+"."+f.name, "a contrast has no such field", want)
			}
		}
		switch {
		case pair[0] == "" || pair[1] == "":
			r.m.add(r.place(list.Value()), at, "a contrast needs a and b, names of rows", want)
		case pair[0] == pair[1]:
			r.m.add(r.place(list.Value()), at, fmt.Sprintf("%q is compared with itself", pair[0]), want)
		default:
			out = append(out, pair)
		}
	}
	return out
}

// metricList reads a list of metrics.
func (r *reader) metricList(v cue.Value, path, example string) (out []string) {
	list, err := v.List()
	if err != nil {
		r.m.add(r.place(v), path, text(v)+" is not a list of metrics", example)
		return nil
	}
	for i := 0; list.Next(); i++ {
		at := fmt.Sprintf("%s[%d]", path, i)
		if m := r.text(list.Value(), at); r.metric(m, r.place(list.Value()), at) {
			out = append(out, m)
		}
	}
	return out
}

// categorized are the metrics of a category of prompts.
var categorized = regexp.MustCompile(`^alignment\.[\pL\p{Nd}_-]+(\.(seen|unseen))?$`)

// metric reports whether a study may have a metric, and adds a mistake if it may not. An empty
// name has had its mistake before.
func (r *reader) metric(name string, at where, path string) bool {
	switch {
	case name == "":
		return false
	case r.byTag && categorized.MatchString(name) && name != "alignment.seen" && name != "alignment.unseen":
		r.tagged = append(r.tagged, Tagged{name, &Error{File: at.file, Line: at.line, Column: at.column, Path: path}})
	case !contains(metrics(), name) && !contains(r.judged, name):
		r.m.add(at, path, fmt.Sprintf("unknown metric %q", name), didYouMean(name, slices.Concat(metrics(), r.judged)))
		return false
	}
	return true
}

// gate reads the margins of metrics that are compared with a baseline.
func (r *reader) gate(v cue.Value) []Gate {
	var out []Gate
	if !v.Exists() {
		for _, m := range defaultGate {
			out = append(out, Gate{Metric: m, Seeds: 1})
		}
		return out
	}
	known := []string{"absolute", "relative", "seeds"}
	for _, m := range r.byMetric(v, "gate", "a struct of tolerances by metric, such as {alignment: {absolute: 0.02}}") {
		g := Gate{Metric: m.name, Seeds: 1}
		at := "gate." + m.name
		for _, f := range r.fields(m.value, at, "a tolerance: {absolute: 0.02}, {relative: 0.1}, or {} for none", known...) {
			path := at + "." + f.name
			switch f.name {
			case "absolute", "relative":
				if x, ok := r.size(f.value, path); ok && f.name == "absolute" {
					g.Absolute = &x
				} else if ok {
					g.Relative = &x
				}
			case "seeds":
				n, err := f.value.Int64()
				if err != nil || n < 1 || n > math.MaxInt32 {
					r.m.add(r.place(f.value), path, text(f.value)+" is not a number of seeds", "write a whole number from 1 up")
				}
				g.Seeds = int(n)
			default:
				r.m.add(r.named(f.value), path, "a tolerance has no such field", didYouMean(f.name, known))
			}
		}
		if g.Absolute != nil && g.Relative != nil {
			r.m.add(r.place(m.value), at, "both absolute and relative are given", "keep one")
		}
		out = append(out, g)
	}
	return out
}

// byMetric returns the fields of a struct whose names are metrics.
func (r *reader) byMetric(v cue.Value, path, want string) []field {
	var out []field
	for _, f := range r.fields(v, path, want, metrics()...) {
		if r.metric(f.name, r.named(f.value), path+"."+f.name) {
			out = append(out, f)
		}
	}
	return out
}

// size returns a number that is 0 or more, and false after an error.
func (r *reader) size(v cue.Value, path string) (float64, bool) {
	x, err := v.Float64()
	if v.Err() != nil {
		r.doubts = append(r.doubts, v.Err())
		return 0, false
	}
	if err != nil || math.IsInf(x, 0) || x < 0 {
		r.m.add(r.place(v), path, text(v)+" is not a valid size", "write a number above 0, in the units of the metric")
		return 0, false
	}
	return x, true
}
