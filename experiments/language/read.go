package language

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
)

// study reads a whole study into s.
func (r *reader) study(v cue.Value, s *Study, o Options) {
	top := []string{"version", "title", "question", "base", "arms", "seeds", "compare", "halving", "gate"}
	engineFields := []string{"engines", "judges", "resources", "overlap", "resume"}
	base := newPartial()
	var compare, halving, gate, written cue.Value
	hasSeeds := false
	list := r.fields(v, "", "a study", slices.Concat(top, engineFields)...)
	r.root = s.Root
	r.engines(s, v, list, o)
	r.byTag = len(s.Engines) > 0
	r.judges(s, list)
	for _, f := range list {
		switch f.name {
		case "engines", "judges": // read before all else
		case "resources":
			s.EngineResources = r.needs(f.value, s)
		case "overlap":
			s.Overlap = r.overlap(f.value)
		case "resume":
			if s.Resume = r.text(f.value, f.name); s.Resume != "" && s.Resume != "strict" {
				r.m.add(r.place(f.value), f.name, text(f.value)+` is not a way to resume; must be "strict"`, "leave it out to resume in every environment")
			}
		case "version":
			r.version(f.value, s.Version)
		case "title":
			s.Title = r.text(f.value, f.name)
		case "question":
			s.Question = r.text(f.value, f.name)
		case "base":
			base = r.partial(f.value, "base", "")
		case "arms":
			written = f.value
		case "seeds":
			s.Seeds, hasSeeds = r.seeds(f.value, "seeds"), true
		case "compare":
			compare = f.value
		case "halving":
			halving = f.value
			s.Halving = r.halving(f.value)
		case "gate":
			gate = f.value
		default:
			r.m.add(r.named(f.value), f.name, "a study has no such field", didYouMean(f.name, slices.Concat(top, engineFields)))
		}
	}
	if !hasSeeds {
		r.m.add(where{file: r.file}, "seeds", "the study has no seeds", "write seeds: [1, 2]")
	}
	if s.Title == "" {
		s.Title = s.Name
	}
	arms := []*arm{{name: "base", path: "base", at: where{file: r.file}, set: newPartial()}}
	if looks := compare.LookupPath(cue.ParsePath("looks")); looks.Exists() {
		s.Looks = r.looks(looks, "compare.looks", s)
	}
	if written.Exists() {
		var all map[Seed]bool // nil where the study has no seeds, which was reported
		for _, seed := range s.Seeds {
			if all == nil {
				all = map[Seed]bool{}
			}
			all[seed] = true
		}
		arms = r.arms(written, "arms", "", all)
		if s.Looks != nil {
			r.fixedSeeds(arms)
		}
	}
	if set, changed := r.flags(o.Set); changed {
		base = base.override(set)
		s.Name = s.Declared + "@" + hashSet(set)
	}
	stated := r.expand(s, base, arms)
	r.compare(s, compare, arms)
	s.Confounded = s.confounded(stated)
	if s.Halving != nil {
		if r.halved(halving, s, arms); len(r.m.list) == 0 {
			s.rungs()
		}
	}
	s.Gate = r.gate(gate)
}

// version adds a mistake for a study of another version of the language, with the change that
// it needs. This is the first version; later versions convert older studies here or report what
// must change.
func (r *reader) version(v cue.Value, now int) {
	n, err := v.Int64()
	switch {
	case err != nil || n < 1:
		r.m.add(r.place(v), "version", text(v)+" is not a version of the study language", fmt.Sprintf("write version: %d, or leave it out", now))
	case n > int64(now):
		r.m.add(r.place(v), "version", fmt.Sprintf("the study is written for version %d of the language, and this program reads %d", n, now),
			fmt.Sprintf("install a newer ablate, or write version: %d if the study needs nothing newer", now))
	}
}

func (r *reader) text(v cue.Value, path string) string {
	t, err := v.String()
	switch {
	case v.Err() != nil: // an error of CUE, reported once with its message
		r.doubts = append(r.doubts, v.Err())
	case err != nil:
		r.m.add(r.place(v), path, text(v)+" is not a string", "")
	}
	return t
}

// partial reads a base or a set. prefix is its path in the study, path its path in a trial.
func (r *reader) partial(v cue.Value, prefix, path string) partial {
	p := newPartial()
	r.into(p, v, prefix, path)
	for group, c := range alternatives {
		var given []string
		for _, m := range c.members {
			if v.LookupPath(cue.ParsePath(group + "." + m)).Exists() {
				given = append(given, m)
			}
		}
		if len(given) > 1 {
			r.m.add(r.place(v.LookupPath(cue.ParsePath(group))), prefix+"."+group, "has both "+strings.Join(given, " and "), "a trial has one of them")
		}
	}
	r.adopt(p)
	return p
}

func (r *reader) into(p partial, v cue.Value, prefix, path string) {
	if slotAt(path) != nil || slotOf(path) != nil { // of --set
		r.foreign(p, v, prefix, path)
		return
	}
	want := "what a trial holds"
	if path != "" {
		want = "a struct with " + strings.Join(r.groups[path], ", ")
	}
	for _, f := range r.fields(v, join(prefix, path), want, r.groups[path]...) {
		at := join(path, f.name)
		if r.dormant[at] {
			r.m.add(r.named(f.value), join(prefix, at), noEngines, declareEngines)
			continue
		}
		if !contains(r.groups[path], f.name) {
			r.m.add(r.named(f.value), join(prefix, at), "a trial has no such field", r.fieldHint(f.name, path))
			continue
		}
		if l, ok := r.byPath[at]; ok {
			value, _ := r.scalar(l, f.value, join(prefix, at))
			p.put(at, entry{value: value, at: r.place(f.value), path: join(prefix, at)})
			continue
		}
		if slotAt(at) != nil {
			r.foreign(p, f.value, prefix, at)
			continue
		}
		if slices.ContainsFunc(r.required, func(l *leaf) bool { return l.group() == at }) {
			p.places[at] = r.named(f.value)
		}
		if contains(alternatives[path].members, f.name) {
			p.chosen[path], p.places[at] = f.name, r.named(f.value)
		}
		r.into(p, f.value, prefix, at)
	}
}

// scalar reads a value of the axis, or adds a mistake and returns false.
func (r *reader) scalar(l *leaf, v cue.Value, path string) (any, bool) {
	if d, ok := v.Default(); !ok || !d.IsConcrete() || v.Err() != nil {
		if w := r.real.LookupPath(v.Path()); w.Err() == nil && w.IsConcrete() {
			v = w // it refers to a value of the schema, which the loosened schema lacks
		}
	}
	if r.broken(v) {
		r.doubts = append(r.doubts, v.Err())
		return nil, false
	}
	value, msg, hint := l.check(v)
	if msg != "" {
		r.m.add(r.place(v), path, msg, hint)
		return nil, false
	}
	if l.Unit == "path" {
		r.names(l, value.(string), r.place(v), path)
	}
	return value, true
}

// names records a file that the study names.
func (r *reader) names(l *leaf, file string, at where, path string) {
	if ext := strings.ToLower(filepath.Ext(file)); under(l.Path, "prompts") && !contains(promptFiles, ext) {
		r.m.add(at, path, fmt.Sprintf("%q is not a file of prompts", file), "its name ends in "+strings.Join(promptFiles, ", "))
	}
	r.files = append(r.files, File{r.absolute(file), l.Path, &Error{File: at.file, Line: at.line, Column: at.column, Path: path}})
}

// promptFiles are how the names of files of prompts end.
var promptFiles = []string{".txt", ".jsonl", ".tsv"}

// broken reports whether CUE itself has an error for a value, which is reported elsewhere.
func (r *reader) broken(v cue.Value) bool {
	return v.Kind() == cue.BottomKind && v.IncompleteKind() == cue.BottomKind
}

// fieldHint returns the hint for an unknown field of a trial.
func (r *reader) fieldHint(name, path string) string {
	hint := didYouMean(name, r.groups[path])
	if n := Nearest(name, r.paths()); n != "" && strings.HasPrefix(hint, "allowed") {
		hint = fmt.Sprintf("did you mean %s?", n)
	}
	return hint
}

// paths returns the paths of all axes.
func (r *reader) paths() []string {
	var out []string
	for _, l := range r.leaves {
		out = append(out, l.Path)
	}
	return out
}

// arm is an arm as the user wrote it.
type arm struct {
	name  string // OUTER/INNER
	path  string // path in the study
	at    where
	set   partial
	axes  []axis
	where []cue.Value // at most one
	seeds []Seed      // nil: those of the outer arm, or of the study
	inner []*arm

	control bool
	pick    *Pick // nil: that of the outer arm
	seedsAt where // position of seeds or pick
}

// axis is one axis of an arm: a swept parameter, or several that change together.
type axis struct {
	leaves []*leaf
	paths  []string // paths in the study
	at     []where
	named  []where
	steps  [][]entry // by step, the values of the leaves
}

var (
	armName = regexp.MustCompile(`^[^\[\]@/,\s\p{C}]([^\[\]@/,\p{C}]*[^\[\]@/,\s\p{C}])?$`)
	armHint = "a name contains none of [ ] @ / , and neither begins nor ends with a space"
	armHas  = []string{"set", "sweep", "zip", "where", "arms", "seeds", "control", "pick"}
)

// arms reads the arms at a path of the study. all has the study's seeds.
func (r *reader) arms(v cue.Value, at, outer string, all map[Seed]bool) []*arm {
	var out []*arm
	list := r.fields(v, at, "named arms")
	if len(list) == 0 && v.IncompleteKind() == cue.StructKind {
		r.m.add(r.place(v), at, "it is empty", "leave arms out to run "+map[bool]string{true: "the base alone", false: "this arm alone"}[outer == ""])
	}
	for _, f := range list {
		a := &arm{name: outer + f.name, path: at + "." + label(f.name), at: r.named(f.value), set: newPartial()}
		if !armName.MatchString(f.name) {
			r.m.add(a.at, a.path, fmt.Sprintf("%q is not a valid name of an arm", f.name), armHint)
		}
		adopts := false
		for _, g := range r.fields(f.value, a.path, "an arm, with set and sweep", armHas...) {
			path := a.path + "." + g.name
			switch g.name {
			case "set":
				a.set = r.partial(g.value, path, "")
			case "sweep":
				lists, own := r.lists(g.value, path)
				adopts = adopts || own
				for _, l := range lists {
					x := axis{leaves: []*leaf{l.leaf}, paths: []string{l.path}, at: []where{l.at}, named: []where{l.named}}
					seen := map[any]bool{}
					for i, e := range l.values {
						if seen[e.value] {
							r.m.add(e.at, fmt.Sprintf("%s[%d]", l.path, i), FormatValue(e.value)+" is repeated in the sweep", "leave one of them out")
						}
						seen[e.value] = true
						x.steps = append(x.steps, []entry{e})
					}
					a.axes = append(a.axes, x)
				}
			case "zip":
				lists, own := r.lists(g.value, path)
				adopts = adopts || own
				a.axes = append(a.axes, r.zip(lists, path, r.place(g.value))...)
			case "where":
				if r.whereNames(g.value, path, "") {
					a.where = []cue.Value{g.value}
				}
			case "arms":
				a.inner = r.arms(g.value, path, a.name+"/", all)
			case "seeds":
				a.seeds, a.seedsAt = r.seedsOf(g.value, path, all), r.place(g.value)
			case "control":
				var err error
				if a.control, err = g.value.Bool(); err != nil && !r.broken(g.value) {
					r.m.add(r.place(g.value), path, text(g.value)+" is neither true nor false", "write control: true, or leave it out")
				}
			case "pick":
				a.pick, a.seedsAt = r.pick(g.value, path, all), r.place(g.value)
			default:
				r.m.add(r.named(g.value), path, "an arm has no such field", didYouMean(g.name, armHas))
			}
		}
		if adopts {
			a.set.put(programEngine, entry{value: StableDiffusion, at: a.at, path: a.path + ".set." + programEngine, name: a.at})
		}
		out = append(out, a)
	}
	return out
}

// list is a list of values of an axis as the user wrote it.
type list struct {
	leaf   *leaf
	path   string
	at     where
	named  where
	values []entry
}

// lists reads a sweep or a zip, and says whether it has checkpoints of Stable Diffusion.
func (r *reader) lists(v cue.Value, path string) (out []list, adopts bool) {
	for _, f := range r.fields(v, path, "axes with their values") {
		at := path + "." + label(f.name)
		l, ok := r.byPath[f.name]
		if s := slotOf(f.name); s != nil && !ok && r.declared { // it may be one of an engine that the trial does not name
			l, ok = &leaf{Axis: Axis{Path: f.name}, slot: s, place: -1, record: -1}, true
		}
		if r.dormant[f.name] || !ok && slotOf(f.name) != nil {
			r.m.add(r.named(f.value), at, noEngines, declareEngines)
			continue
		}
		if !ok {
			hint := didYouMean(f.name, r.paths())
			if strings.HasPrefix(hint, "allowed") {
				hint = "an axis is the dotted path of a trial's scalar, as in \"finetune.beta\""
			}
			if members := r.groups[f.name]; len(members) > 0 {
				hint = fmt.Sprintf("it is a group: name one of its scalars, such as %s.%s", f.name, members[0])
			}
			r.m.add(r.named(f.value), at, "unknown axis", hint)
			continue
		}
		values, err := f.value.List()
		if err != nil {
			if !r.broken(f.value) {
				r.m.add(r.place(f.value), at, text(f.value)+" is not a list of values", "write \""+f.name+"\": [VALUE, …]")
			}
			continue
		}
		s := list{leaf: l, path: at, at: r.place(f.value), named: r.named(f.value)}
		for i := 0; values.Next(); i++ {
			r.alive()
			path := fmt.Sprintf("%s[%d]", at, i)
			if l.slot != nil {
				e := r.raw(values.Value(), at)
				if e.name = s.named; e.value != nil {
					s.values = append(s.values, e)
				}
			} else if value, ok := r.scalar(l, values.Value(), path); ok {
				s.values = append(s.values, entry{value: value, at: r.place(values.Value()), path: path})
			}
		}
		if n, err := f.value.Len().Int64(); err == nil && n == 0 {
			r.m.add(s.at, at, "the list is empty", "give it a value, or leave it out")
		}
		adopts = r.adoptList(&s) || adopts
		out = append(out, s)
	}
	return out, adopts
}

// zip combines lists into one axis.
func (r *reader) zip(lists []list, path string, at where) []axis {
	if len(lists) == 0 {
		return nil
	}
	if len(lists) == 1 {
		r.m.add(at, path, "has only one axis", "name two or more, or write sweep")
		return nil
	}
	var x axis
	for _, l := range lists {
		if len(l.values) != len(lists[0].values) {
			r.m.add(l.at, l.path, fmt.Sprintf("has %s, and %s has %d", plural(len(l.values), "value"), lists[0].leaf.Path, len(lists[0].values)),
				"coupled axes change together: give both the same number of values")
			return nil
		}
		x.leaves, x.paths, x.at, x.named = append(x.leaves, l.leaf), append(x.paths, l.path), append(x.at, l.at), append(x.named, l.named)
	}
	seen := map[string]bool{}
	for i := range lists[0].values {
		var step []entry
		key := ""
		for _, l := range lists {
			step = append(step, l.values[i])
			key += line(l.values[i].value) + "\n"
		}
		if seen[key] {
			r.m.add(step[0].at, fmt.Sprintf("%s[%d]", x.paths[0], i), "this step is repeated in the zip", "leave one of them out")
		}
		seen[key] = true
		x.steps = append(x.steps, step)
	}
	return []axis{x}
}

// whereNames checks the names of a where's fields, because a where with an unknown parameter
// would never exclude a point.
func (r *reader) whereNames(v cue.Value, prefix, path string) bool {
	if r.broken(v) {
		return true // CUE reports it, or where excludes the point
	}
	if v.IncompleteKind() != cue.StructKind {
		r.m.add(r.place(v), join(prefix, path), text(v)+" is not a struct", "where is a partial trial, as in where: finetune: beta: >0")
		return false
	}
	it, err := v.Fields(cue.Optional(true))
	if err != nil {
		return true
	}
	good := true
	for it.Next() {
		name := it.Selector().Unquoted()
		at := join(path, name)
		if !contains(r.groups[path], name) {
			r.m.add(r.named(it.Value()), join(prefix, at), "a trial has no such field", r.fieldHint(name, path))
			good = false
		} else if _, group := r.groups[at]; group {
			good = r.whereNames(it.Value(), prefix, at) && good
		}
	}
	return good
}

func (r *reader) seeds(v cue.Value, at string) []Seed {
	list, err := v.List()
	if err != nil {
		if !r.broken(v) {
			r.m.add(r.place(v), at, text(v)+" is not a list of seeds", "write seeds: [1, 2]")
		}
		return nil
	}
	var out []Seed
	seen := map[Seed]bool{}
	i := 0
	for ; list.Next(); i++ {
		r.alive()
		path := fmt.Sprintf("%s[%d]", at, i)
		s, ok := r.seed(list.Value(), path)
		if !ok {
			continue
		}
		if seen[s] {
			r.m.add(r.place(list.Value()), path, fmt.Sprintf("seed %s is repeated", s), "seeds are replicates: all must differ")
		}
		seen[s] = true
		out = append(out, s)
	}
	if i == 0 {
		r.m.add(r.place(v), at, "it is empty", "write seeds: [1, 2]")
	}
	return out
}

func (r *reader) seed(v cue.Value, path string) (Seed, bool) {
	number := func(v cue.Value, path string) (int64, bool) {
		n, err := v.Int64()
		if err != nil || n < 0 {
			must := "a whole number >=0"
			if v.Kind() == cue.IntKind && err != nil {
				must += " and below 2^63"
			}
			r.m.add(r.place(v), path, text(v)+" is not a seed; must be "+must, "")
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

// flags parses --set path=value, and returns false where there are no flags.
func (r *reader) flags(list []string) (partial, bool) {
	p := newPartial()
	for _, s := range list {
		at := where{file: "--set " + s}
		path, value, ok := strings.Cut(s, "=")
		path = strings.TrimSpace(path)
		l, known := r.byPath[path]
		s := slotOf(path)
		if (r.dormant[path] || s != nil) && !r.declared {
			r.m.add(at, path, noEngines, declareEngines)
			continue
		}
		if s != nil && r.groups[path] == nil && ok {
			v := r.ctx.CompileString(value)
			if v.Err() != nil || v.Kind() == cue.BottomKind {
				v = r.ctx.Encode(value)
			}
			e := entry{at: at, path: path, name: at, text: strings.TrimSpace(value), flag: true}
			var msg string
			if e.value, msg = plainValue(v); msg != "" {
				r.m.add(at, path, msg, "")
			}
			p.put(path, e)
			continue
		}
		if _, group := r.groups[path]; ok && (group || slotAt(path) != nil) && path != "" {
			// A group is read like a base, with mistakes at the flag.
			v := r.ctx.CompileString(value)
			if err := v.Err(); err != nil {
				r.m.add(at, path, fmt.Sprintf("%q is not a value in CUE", value), "")
				continue
			}
			file := r.file
			r.file = at.file
			r.into(p, v, "", path)
			r.file = file
			for group, c := range alternatives {
				for _, m := range c.members {
					if join(group, m) == path {
						p.chosen[group], p.places[path] = m, at
					}
				}
			}
			continue
		}
		switch {
		case !ok:
			r.m.add(at, "", "must be path=value", "as in --set finetune.beta=0.1")
			continue
		case !known:
			hint := didYouMean(path, r.paths())
			if strings.HasPrefix(hint, "allowed") {
				hint = "a path is that of a trial's scalar, as in finetune.beta"
			}
			r.m.add(at, path, "unknown parameter", hint)
			continue
		}
		v := r.ctx.CompileString(value)
		if l.Kind == Name && (v.Err() != nil || v.Kind() != cue.StringKind) {
			v = r.ctx.Encode(value)
		}
		if v.Err() != nil {
			r.m.add(at, path, fmt.Sprintf("%q is not a value in CUE", value), "")
			continue
		}
		got, msg, hint := l.check(v)
		if msg != "" {
			r.m.add(at, path, msg, hint)
			continue
		}
		if l.Unit == "path" {
			r.names(l, got.(string), at, path)
		}
		p.put(path, entry{value: got, at: at, path: path})
	}
	r.adopt(p)
	return p, len(list) > 0
}

// The message and hint for a field of engines in a study that declares none.
const (
	noEngines      = "only a study with engines has it, and this one declares none"
	declareEngines = `write engines: NAME: {command: ["engines/NAME"], source: ["engines/NAME"]}`
)

// label returns a field's name as it is written in a path.
func label(name string) string {
	if ast.IsValidIdent(name) {
		return name
	}
	return fmt.Sprintf("%q", name)
}
