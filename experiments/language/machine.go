package language

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"cuelang.org/go/cue"
)

// MachineFile is the name of the file, beside cue.mod, that describes what stages need of the
// machines of a site.
const MachineFile = "machine.cue"

// Resources are what the file says that a stage needs. They are part of no trial.
type Resources struct {
	Stage string

	CPUs, GPUs              *int   // nil where they are left out
	Memory, GPUMemory, Time string // such as 8GiB and 6h; empty where they are left out

	Where *Error // file, line, column and path, without a message
}

// EngineResources are what an engine's verb needs.
type EngineResources struct {
	Engine, Verb string
	Resources           // without a stage
	Grace        string // time to save the state when the program is asked to stop, such as 3m; empty where it is left out
}

// EngineGPUs returns the number of GPUs that a verb of an engine needs, by the study or the file of the site;
// 0 if neither says.
func (s *Study) EngineGPUs(engine, verb string) (n int) {
	lists := [][]EngineResources{s.EngineResources}
	for _, m := range s.MachineEngines {
		lists = append(lists, m.Resources)
	}
	for _, list := range lists {
		for _, r := range list {
			if r.Engine == engine && r.Verb == verb && r.GPUs != nil {
				n = *r.GPUs
			}
		}
	}
	return n
}

// MachineEngine is what the file of the site changes of an engine. It is part of no trial.
type MachineEngine struct {
	Name      string
	Command   []string          // in the place of the study's; nil where it is left out
	Env       map[string]string // variables that the program is given
	Kill      []string          // command that ends what the program started elsewhere
	Resources []EngineResources
	Where     *Error // file, line, column and path, without a message
}

// machineFields are the fields of #Resources, with what they allow.
var machineFields = map[string]string{
	"cpus":      "a whole number from 1 to 4096",
	"gpus":      "a whole number from 0 to 64",
	"memory":    `a size such as "8GiB" or "500MB"`,
	"gpuMemory": `a size such as "20GiB"`,
	"time":      `a time such as "6h" or "1h30m"`,
	"grace":     `a time such as "3m"`,
}

// machine reads the file of the site, if there is one. stages are the names of stages; without
// them all names are taken.
func (r *reader) machine(ctx *cue.Context, root string, stages []string) (list []Resources, engines []MachineEngine) {
	name := filepath.Join(root, MachineFile)
	src, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		r.m.add(where{file: r.name(name)}, "", err.Error(), "")
		return nil, nil
	}
	v := ctx.CompileBytes(src, cue.Filename(name))
	if err := v.Validate(); err != nil {
		r.cue(err)
		return nil, nil
	}
	for _, f := range r.fields(v, MachineFile, "the needs of stages") {
		switch f.name {
		case "resources":
			for _, stage := range r.fields(f.value, f.name, "a struct of stages, as in resources: finetune: cpus: 4") {
				path := join("resources", stage.name)
				if len(stages) > 0 && !slices.Contains(stages, stage.name) {
					r.m.add(r.place(stage.value), path, "unknown stage", didYouMean(stage.name, stages))
				}
				res, _ := r.resources(stage, path, false)
				list = append(list, res)
			}
		case "engines":
			for _, e := range r.fields(f.value, f.name, "a struct of engines, as in engines: diffusers: command: [\"apptainer\", \"run\", \"diffusers.sif\"]") {
				engines = append(engines, r.machineEngine(e))
			}
		default:
			r.m.add(r.place(f.value), f.name, "the file has no such field", "write resources: STAGE: {cpus: 4}")
		}
	}
	return list, engines
}

// machineEngine reads what the file of the site changes of an engine. The engine may be one of
// another study.
func (r *reader) machineEngine(f field) MachineEngine {
	at, path := r.named(f.value), join("engines", label(f.name))
	out := MachineEngine{Name: f.name, Where: &Error{File: at.file, Line: at.line, Column: at.column, Path: path}}
	if !engineName.MatchString(f.name) {
		r.m.add(at, path, fmt.Sprintf("%q is not a valid name of an engine", f.name), "a name has lower-case letters, digits and -, and begins with a letter")
	}
	known := []string{"command", "env", "kill", "resources"}
	for _, g := range r.fields(f.value, path, "a struct with command, env, kill or resources", known...) {
		at := join(path, g.name)
		switch g.name {
		case "command":
			out.Command = r.strings(g.value, at, `write command: ["apptainer", "run", "diffusers.sif"]`)
		case "env":
			out.Env = map[string]string{}
			for _, h := range r.fields(g.value, at, `a struct of strings, as in {HF_HOME: "/scratch/hf"}`) {
				out.Env[h.name] = r.text(h.value, join(at, h.name))
			}
		case "kill":
			out.Kill = r.strings(g.value, at, `write kill: ["docker", "kill", "{action}"]`)
		case "resources":
			out.Resources = r.verbNeeds(g.value, at, f.name)
		default:
			r.m.add(r.named(g.value), at, "engines have no such field here", didYouMean(g.name, known))
		}
	}
	return out
}

// resources reads the needs of a stage, or of an engine's verb with the time to save its state.
func (r *reader) resources(stage field, path string, engine bool) (out Resources, grace string) {
	at := r.place(stage.value)
	out = Resources{Stage: stage.name, Where: &Error{File: at.file, Line: at.line, Column: at.column, Path: path}}
	known, limits := []string{"cpus", "gpus", "memory", "gpuMemory", "time"}, r.grammar.resources
	if engine {
		known, limits = append(known, "grace"), r.grammar.engineResources
	}
	for _, f := range r.fields(stage.value, path, "a struct, as in {cpus: 4}") {
		allowed := machineFields[f.name]
		if !slices.Contains(known, f.name) {
			r.m.add(r.place(f.value), join(path, f.name), "resources have no such field", didYouMean(f.name, known))
			continue
		}
		limit := limits.LookupPath(cue.MakePath(cue.Str(f.name).Optional()))
		if err := f.value.Unify(limit).Validate(cue.Concrete(true)); err != nil {
			r.m.add(r.place(f.value), join(path, f.name), text(f.value)+" is not valid", "must be "+allowed)
			continue
		}
		switch f.name {
		case "cpus":
			out.CPUs = whole(f.value)
		case "gpus":
			out.GPUs = whole(f.value)
		case "memory":
			out.Memory, _ = f.value.String()
		case "gpuMemory":
			out.GPUMemory, _ = f.value.String()
		case "time":
			out.Time, _ = f.value.String()
		case "grace":
			grace, _ = f.value.String()
		}
	}
	return out, grace
}

// whole returns a value that is known to be a small whole number.
func whole(v cue.Value) *int {
	n, _ := v.Int64()
	k := int(n)
	return &k
}
