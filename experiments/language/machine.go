package language

import (
	"errors"
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

// machineFields are the fields of #Resources, with what they allow.
var machineFields = map[string]string{
	"cpus":      "a whole number from 1 to 4096",
	"gpus":      "a whole number from 0 to 64",
	"memory":    `a size such as "8GiB" or "500MB"`,
	"gpuMemory": `a size such as "20GiB"`,
	"time":      `a time such as "6h" or "1h30m"`,
}

// machine reads the file of the site, if there is one. stages are the names of stages; without
// them all names are taken.
func (r *reader) machine(ctx *cue.Context, root string, stages []string) (list []Resources) {
	name := filepath.Join(root, MachineFile)
	src, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		r.m.add(where{file: r.name(name)}, "", err.Error(), "")
		return nil
	}
	v := ctx.CompileBytes(src, cue.Filename(name))
	if err := v.Validate(); err != nil {
		r.cue(err)
		return nil
	}
	for _, f := range r.fields(v, MachineFile, "the needs of stages") {
		if f.name != "resources" {
			r.m.add(r.place(f.value), f.name, "the file has no such field", "write resources: STAGE: {cpus: 4}")
			continue
		}
		for _, stage := range r.fields(f.value, f.name, "a struct of stages, as in resources: finetune: cpus: 4") {
			list = append(list, r.resources(stage, stages))
		}
	}
	return list
}

// resources reads the needs of a stage.
func (r *reader) resources(stage field, stages []string) Resources {
	at, path := r.place(stage.value), join("resources", stage.name)
	out := Resources{Stage: stage.name, Where: &Error{File: at.file, Line: at.line, Column: at.column, Path: path}}
	if len(stages) > 0 && !slices.Contains(stages, stage.name) {
		r.m.add(at, path, "unknown stage", didYouMean(stage.name, stages))
	}
	known := []string{"cpus", "gpus", "memory", "gpuMemory", "time"}
	for _, f := range r.fields(stage.value, path, "a struct, as in {cpus: 4}") {
		allowed, ok := machineFields[f.name]
		if !ok {
			r.m.add(r.place(f.value), join(path, f.name), "resources have no such field", didYouMean(f.name, known))
			continue
		}
		limit := r.grammar.resources.LookupPath(cue.MakePath(cue.Str(f.name).Optional()))
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
		}
	}
	return out
}

// whole returns a value that is known to be a small whole number.
func whole(v cue.Value) *int {
	n, _ := v.Int64()
	k := int(n)
	return &k
}
