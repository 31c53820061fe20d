package language

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"cuelang.org/go/cue"
)

// verbs are what an engine can do in a study.
var verbs = []string{"load", "sample", "train", "score", "embed"}

var (
	engineName  = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)
	imageDigest = regexp.MustCompile(`^[^@]+@sha256:[0-9a-f]{64}$`)
)

// engines reads the engines of a study, asks each what it can do, and makes the grammar that of
// the study.
func (r *reader) engines(s *Study, v cue.Value, list []field, o Options) {
	var all cue.Value
	for _, f := range list {
		if f.name == "engines" {
			all = f.value
		}
	}
	own := r.adopts(v, o.Set)
	if !all.Exists() && !own {
		r.extend(nil, false)
		return
	}
	before := len(r.m.list)
	defer func() {
		if s.Engines == nil && len(r.m.list) == before {
			r.m.add(r.place(all), "engines", "it is empty", "leave it out, or declare an engine")
		}
	}()
	ask := func(e Engine, at where) {
		r.alive()
		p, err := o.Describe(s, e)
		r.alive()
		if err != nil {
			r.m.add(at, e.Where.Path, err.Error(), "")
		}
		e.Program = p
		s.Engines = append(s.Engines, e)
	}
	var declared []field
	if all.Exists() {
		declared = r.fields(all, "engines", `named engines, as in diffusers: {command: ["engines/diffusers"], source: ["engines"]}`)
	}
	for _, f := range declared {
		before := len(r.m.list)
		e := r.engine(f)
		own = own && e.Name != StableDiffusion
		switch {
		case len(r.m.list) > before:
		case o.Describe == nil:
			r.m.add(r.named(f.value), e.Where.Path, "engines cannot be asked here what they can do", "vet, plan and run ask them")
		default:
			ask(e, r.named(f.value))
			continue
		}
		s.Engines = append(s.Engines, e)
	}
	if own && o.Describe != nil {
		ask(stableDiffusion(r.file), where{file: r.file})
	}
	r.extend(s.Engines, true)
}

// newEngine returns an engine of which a study says nothing but its name.
func newEngine(name string) Engine {
	return Engine{Name: name, Identity: Identity{"key", "warn", "record"}, Sandbox: "none"}
}

// engine reads an engine.
func (r *reader) engine(f field) Engine {
	at, path := r.named(f.value), join("engines", label(f.name))
	e := newEngine(f.name)
	e.Where = &Error{File: at.file, Line: at.line, Column: at.column, Path: path}
	if !engineName.MatchString(f.name) {
		r.m.add(at, path, fmt.Sprintf("%q is not a valid name of an engine", f.name), "a name has lower-case letters, digits and -, and begins with a letter")
	}
	known := []string{"command", "source", "container", "identity", "sandbox", "network", "read"}
	list := r.fields(f.value, path, "an engine, with command and source", known...)
	for _, g := range list {
		at := path + "." + g.name
		switch g.name {
		case "command":
			e.Command = r.strings(g.value, at, `write command: ["engines/python", "engines/diffusers.py"]`)
		case "source":
			e.Source = r.strings(g.value, at, `write source: ["engines/*.py", "requirements.txt"]`)
		case "container":
			e.Container = r.text(g.value, at)
			if e.Container != "" && !imageDigest.MatchString(e.Container) {
				r.m.add(r.place(g.value), at, text(g.value)+" names no digest, and what a tag names may change", "write IMAGE@sha256: and the digest's 64 hexadecimal digits")
			}
		case "identity":
			parts := map[string]*string{"source": &e.Identity.Source, "environment": &e.Identity.Environment, "hardware": &e.Identity.Hardware}
			names := []string{"source", "environment", "hardware"}
			for _, h := range r.fields(g.value, at, "a struct with source, environment and hardware", names...) {
				if to, ok := parts[h.name]; ok {
					allowed := []string{"key", "warn", "record"}
					if h.name == "hardware" { // it is not known before a task has run
						allowed = allowed[1:]
					}
					*to = r.oneOf(h.value, at+"."+h.name, allowed...)
				} else {
					r.m.add(r.named(h.value), at+"."+h.name, "identity has no such field", didYouMean(h.name, names))
				}
			}
		case "sandbox":
			e.Sandbox = r.oneOf(g.value, at, "none", "declared")
		case "network":
			e.Network = r.strings(g.value, at, `write network: ["load"]`)
			for _, v := range e.Network {
				if !slices.Contains(verbs, v) {
					r.m.add(r.place(g.value), at, fmt.Sprintf("%q is not a verb", v), didYouMean(v, verbs))
				}
			}
		case "read":
			e.Read = r.strings(g.value, at, `write read: ["models/clip", "/data/models"]`)
		default:
			r.m.add(r.named(g.value), at, "an engine has no such field", didYouMean(g.name, known))
		}
	}
	if e.Container != "" && e.Source != nil {
		r.m.add(at, path, "has both source and container", "leave out source: the digest of the container identifies the program")
	}
	if !slices.Contains(names(list), "command") && !r.broken(f.value) {
		r.m.add(at, path, "has no command", `write command: ["engines/python", "engines/diffusers.py"]`)
	}
	return e
}

// strings reads a list of strings that is not empty.
func (r *reader) strings(v cue.Value, path, want string) (out []string) {
	list, err := v.List()
	if err != nil {
		if !r.broken(v) {
			r.m.add(r.place(v), path, text(v)+" is not a list of strings", want)
		}
		return nil
	}
	for i := 0; list.Next(); i++ {
		s := r.text(list.Value(), fmt.Sprintf("%s[%d]", path, i))
		if t, err := list.Value().String(); err == nil && t == "" {
			r.m.add(r.place(list.Value()), fmt.Sprintf("%s[%d]", path, i), "it is empty", want)
		}
		out = append(out, s)
	}
	if out == nil {
		r.m.add(r.place(v), path, "it is empty", want)
	}
	return out
}

// oneOf reads one of some words.
func (r *reader) oneOf(v cue.Value, path string, words ...string) string {
	s := r.text(v, path)
	if s != "" && !slices.Contains(words, s) {
		quoted := make([]string, len(words))
		for i, w := range words {
			quoted[i] = fmt.Sprintf("%q", w)
		}
		hint := ""
		if n := Nearest(s, words); n != "" {
			hint = fmt.Sprintf("did you mean %q?", n)
		}
		r.m.add(r.place(v), path, text(v)+" is not one of "+strings.Join(quoted, ", "), hint)
	}
	return s
}

// overlap reads a number of prompts.
func (r *reader) overlap(v cue.Value) int {
	n, err := v.Int64()
	if err != nil && r.broken(v) {
		r.doubts = append(r.doubts, v.Err())
	} else if err != nil || n < 0 || n > 1<<31-1 {
		r.m.add(r.place(v), "overlap", text(v)+" is not a number of prompts", "write a whole number from 0 up")
	}
	return int(n)
}

// needs reads what the verbs of the study's engines need of machines.
func (r *reader) needs(v cue.Value, s *Study) (out []EngineResources) {
	var known []string
	for _, e := range s.Engines {
		known = append(known, e.Name)
	}
	for _, e := range r.fields(v, "resources", "a struct of engines and verbs, as in resources: diffusers: train: gpus: 4") {
		path := join("resources", label(e.name))
		if !slices.Contains(known, e.name) {
			hint := declareEngines
			if known != nil {
				hint = didYouMean(e.name, known)
			}
			r.m.add(r.named(e.value), path, "the study has no such engine", hint)
			continue
		}
		out = append(out, r.verbNeeds(e.value, path, e.name)...)
	}
	return out
}

// verbNeeds reads what an engine's verbs need.
func (r *reader) verbNeeds(v cue.Value, path, engine string) (out []EngineResources) {
	for _, f := range r.fields(v, path, "a struct of verbs, as in train: gpus: 4") {
		at := join(path, f.name)
		if !slices.Contains(verbs, f.name) {
			r.m.add(r.named(f.value), at, "engines have no such verb", didYouMean(f.name, verbs))
			continue
		}
		res, grace := r.resources(f, at, true)
		res.Stage = ""
		out = append(out, EngineResources{Engine: engine, Verb: f.name, Resources: res, Grace: grace})
	}
	return out
}
