package spec

import (
	"fmt"
	"regexp"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
)

// later are the fields of an arm that this version refuses by name, and what to
// write in their place.
var later = map[string]string{
	"zip":   "zip comes with a later version: write its points as arms of their own",
	"where": "where comes with a later version: write the points that it keeps as arms of their own",
	"arms":  "nested arms come with a later version: write them as arms of the study",
	"seeds": "an arm's own seeds come with a later version: every arm runs with the study's",
}

// study reads a whole study into s.
func (r *reader) study(v cue.Value, s *Study, o Options) {
	top := []string{"version", "title", "question", "base", "arms", "seeds", "compare"}
	base := newPartial()
	var arms []arm
	var compare cue.Value
	hasSeeds, hasArms := false, false
	for _, f := range r.fields(v, "", "a study") {
		switch f.name {
		case "version":
			if n, err := f.value.Int64(); err != nil || n != int64(s.Version) {
				r.m.add(r.place(f.value), "version", fmt.Sprintf("%s is not a version that this program reads", text(f.value)), fmt.Sprintf("write version: %d, or leave it out", s.Version))
			}
		case "title":
			s.Title = r.text(f.value, f.name)
		case "question":
			s.Question = r.text(f.value, f.name)
		case "base":
			base = r.partial(f.value, "base", "")
		case "arms":
			arms, hasArms = r.arms(f.value), true
		case "seeds":
			s.Seeds, hasSeeds = r.seeds(f.value), true
		case "compare":
			compare = f.value
		default:
			r.m.add(r.named(f.value), f.name, "a study has no such field", didYouMean(f.name, top))
		}
	}
	if !hasSeeds {
		r.m.add(where{file: r.file}, "seeds", "the study has none", "write seeds: [1, 2]")
	}
	if s.Title == "" {
		s.Title = s.Name
	}
	if !hasArms {
		arms = []arm{{name: "base", at: where{file: r.file}, set: newPartial()}}
	}
	if set, changed := r.flags(o.Set); changed {
		base = base.override(set)
		s.Name += "@" + hashSet(set)
	}
	r.expand(s, base, arms)
	s.Reference = r.reference(compare, arms)
}

func (r *reader) text(v cue.Value, path string) string {
	t, err := v.String()
	if err != nil {
		r.m.add(r.place(v), path, text(v)+" is no string", "")
	}
	return t
}

// partial reads what a base or a set says; prefix is its place in the study,
// path its place in a trial.
func (r *reader) partial(v cue.Value, prefix, path string) partial {
	p := newPartial()
	r.into(p, v, prefix, path)
	for group, members := range alternatives {
		var given []string
		for _, m := range members {
			if v.LookupPath(cue.ParsePath(group + "." + m)).Exists() {
				given = append(given, m)
			}
		}
		if len(given) > 1 {
			r.m.add(r.place(v.LookupPath(cue.ParsePath(group))), prefix+"."+group, "has both "+strings.Join(given, " and "), "a trial has one of them")
		}
	}
	return p
}

func (r *reader) into(p partial, v cue.Value, prefix, path string) {
	want := "what a trial holds"
	if path != "" {
		want = "a struct with " + strings.Join(r.groups[path], ", ")
	}
	for _, f := range r.fields(v, join(prefix, path), want) {
		at := join(path, f.name)
		if !contains(r.groups[path], f.name) {
			hint := didYouMean(f.name, r.groups[path])
			if n := nearest(f.name, r.paths()); n != "" && strings.HasPrefix(hint, "allowed") {
				hint = fmt.Sprintf("did you mean %s?", n)
			}
			r.m.add(r.named(f.value), join(prefix, at), "a trial has no such field", hint)
			continue
		}
		if l, ok := r.byPath[at]; ok {
			value, msg, hint := l.check(f.value)
			if msg != "" {
				r.m.add(r.place(f.value), join(prefix, at), msg, hint)
				continue
			}
			p.put(at, entry{value, r.place(f.value)})
			continue
		}
		for group, members := range alternatives {
			if path == group && contains(members, f.name) {
				p.chosen[group] = f.name
			}
		}
		r.into(p, f.value, prefix, at)
	}
}

// paths lists every axis.
func (r *reader) paths() []string {
	var out []string
	for _, l := range r.leaves {
		out = append(out, l.Path)
	}
	return out
}

// arm is an arm as it was written.
type arm struct {
	name  string
	at    where
	set   partial
	sweep []sweep
}

// sweep is one axis of an arm.
type sweep struct {
	leaf   *leaf
	at     where
	values []entry
}

var (
	armName = regexp.MustCompile(`^[^\[\]@/,\s\p{C}]([^\[\]@/,\p{C}]*[^\[\]@/,\s\p{C}])?$`)
	armHint = "a name holds none of [ ] @ / , and neither begins nor ends with a space"
)

func (r *reader) arms(v cue.Value) []arm {
	var out []arm
	list := r.fields(v, "arms", "named arms")
	if len(list) == 0 && v.IncompleteKind() == cue.StructKind {
		r.m.add(r.place(v), "arms", "there is none", "leave arms out to run the base alone")
	}
	for _, f := range list {
		path := "arms." + label(f.name)
		a := arm{name: f.name, at: r.named(f.value), set: newPartial()}
		if !armName.MatchString(f.name) {
			r.m.add(a.at, path, fmt.Sprintf("%q is no name of an arm", f.name), armHint)
		}
		for _, g := range r.fields(f.value, path, "an arm, with set and sweep") {
			switch {
			case g.name == "set":
				a.set = r.partial(g.value, path+".set", "")
			case g.name == "sweep":
				a.sweep = r.sweeps(g.value, path+".sweep")
			case later[g.name] != "":
				r.m.add(r.named(g.value), path+"."+g.name, later[g.name], "")
			default:
				r.m.add(r.named(g.value), path+"."+g.name, "an arm has no such field", didYouMean(g.name, []string{"set", "sweep"}))
			}
		}
		for _, s := range a.sweep {
			if e, ok := a.set.values[s.leaf.Path]; ok {
				r.m.add(e.at, path+".set."+s.leaf.Path, "the arm sets it and sweeps it", "do one of the two")
			}
		}
		out = append(out, a)
	}
	return out
}

func (r *reader) sweeps(v cue.Value, path string) []sweep {
	var out []sweep
	for _, f := range r.fields(v, path, "axes with their values") {
		at := path + "." + label(f.name)
		l, ok := r.byPath[f.name]
		if !ok {
			hint := didYouMean(f.name, r.paths())
			if strings.HasPrefix(hint, "allowed") {
				hint = "an axis is the dotted path of a trial's scalar, as in \"finetune.beta\""
			}
			r.m.add(r.named(f.value), at, "there is no such axis", hint)
			continue
		}
		list, err := f.value.List()
		if err != nil {
			r.m.add(r.place(f.value), at, text(f.value)+" is no list of values", "write \""+f.name+"\": [VALUE, …]")
			continue
		}
		s := sweep{leaf: l, at: r.place(f.value)}
		for i := 0; list.Next(); i++ {
			value, msg, hint := l.check(list.Value())
			if msg != "" {
				r.m.add(r.place(list.Value()), fmt.Sprintf("%s[%d]", at, i), msg, hint)
				continue
			}
			for _, e := range s.values {
				if e.value == value {
					r.m.add(r.place(list.Value()), fmt.Sprintf("%s[%d]", at, i), FormatValue(value)+" stands twice in the sweep", "leave one of them out")
				}
			}
			s.values = append(s.values, entry{value, r.place(list.Value())})
		}
		if n, err := f.value.Len().Int64(); err == nil && n == 0 {
			r.m.add(s.at, at, "the sweep is empty", "give it a value, or leave it out")
		}
		out = append(out, s)
	}
	return out
}

func (r *reader) seeds(v cue.Value) []Seed {
	list, err := v.List()
	if err != nil {
		r.m.add(r.place(v), "seeds", text(v)+" is no list of seeds", "write seeds: [1, 2]")
		return nil
	}
	var out []Seed
	i := 0
	for ; list.Next(); i++ {
		path := fmt.Sprintf("seeds[%d]", i)
		s, ok := r.seed(list.Value(), path)
		if !ok {
			continue
		}
		for _, o := range out {
			if o == s {
				r.m.add(r.place(list.Value()), path, fmt.Sprintf("seed %s is there twice", s), "seeds are replicates: all must differ")
			}
		}
		out = append(out, s)
	}
	if i == 0 {
		r.m.add(r.place(v), "seeds", "there is none", "write seeds: [1, 2]")
	}
	return out
}

func (r *reader) seed(v cue.Value, path string) (Seed, bool) {
	number := func(v cue.Value, path string) (int64, bool) {
		n, err := v.Int64()
		if err != nil || n < 0 {
			r.m.add(r.place(v), path, text(v)+" is no seed; must be a whole number >=0", "")
			return 0, false
		}
		return n, true
	}
	if v.IncompleteKind() != cue.StructKind {
		n, ok := number(v, path)
		return Seed{n, n}, ok
	}
	var s Seed
	good := true
	parts := map[string]*int64{"pretraining": &s.Pretraining, "feedback": &s.Feedback}
	list := r.fields(v, path, "pretraining and feedback")
	for _, f := range list {
		to, ok := parts[f.name]
		if !ok {
			r.m.add(r.named(f.value), path+"."+f.name, "a seed has no such field", didYouMean(f.name, []string{"pretraining", "feedback"}))
			good = false
			continue
		}
		n, ok := number(f.value, path+"."+f.name)
		*to, good = n, good && ok
	}
	for _, name := range []string{"pretraining", "feedback"} {
		if !contains(names(list), name) {
			r.m.add(r.place(v), path, "has no "+name, "write {pretraining: 1, feedback: 2}, or one number for both")
			good = false
		}
	}
	return s, good
}

func (r *reader) reference(v cue.Value, arms []arm) string {
	var valid []string
	for _, a := range arms {
		valid = append(valid, a.name)
	}
	reference := ""
	if len(valid) > 0 {
		reference = valid[0]
	}
	if !v.Exists() {
		return reference
	}
	for _, f := range r.fields(v, "compare", "a struct with reference") {
		if f.name != "reference" {
			r.m.add(r.named(f.value), "compare."+f.name, "compare has no such field", didYouMean(f.name, []string{"reference"}))
			continue
		}
		reference = r.text(f.value, "compare.reference")
		if reference != "" && !contains(valid, reference) {
			r.m.add(r.place(f.value), "compare.reference", fmt.Sprintf("the study has no arm %q", reference), didYouMean(reference, valid))
		}
	}
	return reference
}

// flags reads --set path=value; false where there is none.
func (r *reader) flags(list []string) (partial, bool) {
	p := newPartial()
	for _, s := range list {
		at := where{file: "--set " + s}
		path, value, ok := strings.Cut(s, "=")
		path = strings.TrimSpace(path)
		l, known := r.byPath[path]
		switch {
		case !ok:
			r.m.add(at, "", "want path=value", "as in --set finetune.beta=0.1")
			continue
		case !known:
			hint := didYouMean(path, r.paths())
			if strings.HasPrefix(hint, "allowed") {
				hint = "a path is that of a trial's scalar, as in finetune.beta"
			}
			r.m.add(at, path, "there is no such parameter", hint)
			continue
		}
		v := r.ctx.CompileString(value)
		if l.Kind == Name && (v.Err() != nil || v.Kind() != cue.StringKind) {
			v = r.ctx.Encode(value)
		}
		if v.Err() != nil {
			r.m.add(at, path, fmt.Sprintf("%q is no value in CUE", value), "")
			continue
		}
		got, msg, hint := l.check(v)
		if msg != "" {
			r.m.add(at, path, msg, hint)
			continue
		}
		p.put(path, entry{got, at})
	}
	return p, len(list) > 0
}

// label is a field's name as it stands in a path.
func label(name string) string {
	if ast.IsValidIdent(name) {
		return name
	}
	return fmt.Sprintf("%q", name)
}
