package language

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"cuelang.org/go/cue"
)

// StableDiffusion is the engine of this program for checkpoints of Stable Diffusion 1 and 2. A study
// that names it need not declare it. A study also names it by such a checkpoint's folder as
// model.checkpoint, which is the same as model.program with this engine and the folder as its name.
const StableDiffusion = "stable-diffusion"

// stableDiffusion returns the engine, for a study in a file.
func stableDiffusion(file string) Engine {
	e := newEngine(StableDiffusion)
	e.Command, e.Where = []string{"ablate", "engine", StableDiffusion}, &Error{File: file, Path: "engines." + StableDiffusion}
	return e
}

// Paths of the two ways to name a checkpoint.
const (
	checkpointPath = "model.checkpoint.path"
	programEngine  = "model.program.engine"
	programName    = "model.program.params.name"
)

// pipeline reports whether a folder has a checkpoint of Stable Diffusion, and not of the shapes world.
// A folder that cannot be read has none: the stage adopt says why it cannot.
func (r *reader) pipeline(dir string) bool {
	f, err := os.Open(filepath.Join(r.absolute(dir), "model_index.json"))
	if err != nil {
		return false
	}
	defer f.Close()
	var index struct {
		UNet any `json:"unet"`
	}
	return json.NewDecoder(io.LimitReader(f, 1<<20)).Decode(&index) == nil && index.UNet != nil
}

// absolute returns the path of a file that the study names.
func (r *reader) absolute(file string) string {
	if filepath.IsAbs(file) {
		return file
	}
	return filepath.Join(r.dir, file)
}

// adopts reports whether a study or a flag names the engine, or such a checkpoint.
func (r *reader) adopts(study cue.Value, flags []string) (found bool) {
	look := func(path string, v cue.Value) bool {
		if s, err := v.String(); err == nil {
			found = found || strings.HasSuffix(path, checkpointPath) && r.pipeline(s) || strings.HasSuffix(path, ".engine") && s == StableDiffusion
		}
		return !found
	}
	walk := func(at string, v cue.Value) {
		v.Walk(func(v cue.Value) bool {
			path := at
			for _, s := range v.Path().Selectors() {
				if s.LabelType() == cue.StringLabel {
					path += "." + s.Unquoted()
				}
			}
			return look(path, v)
		}, nil)
	}
	walk("", study)
	for _, flag := range flags {
		path, value, _ := strings.Cut(flag, "=")
		path = strings.TrimSpace(path)
		look(path, r.ctx.Encode(value))
		walk(path, r.ctx.CompileString(value))
	}
	return found
}

// adopt makes a checkpoint of Stable Diffusion the model of an engine.
func (r *reader) adopt(p partial) {
	e := p.values[checkpointPath]
	if dir, ok := e.value.(string); ok && r.pipeline(dir) {
		delete(p.values, checkpointPath)
		engine := e
		engine.value, engine.name = StableDiffusion, e.at
		p.put(programEngine, engine)
		p.put(programName, r.program(e))
	}
}

// program returns the name of a checkpoint's folder for the engine, which begins at the module's root.
func (r *reader) program(e entry) entry {
	dir := e.value.(string)
	for i, f := range r.files {
		if f.Axis == checkpointPath && f.Path == r.absolute(dir) {
			r.files[i].Axis = programName
		}
	}
	e.name, e.text = e.at, fmt.Sprintf("%q", dir)
	if !filepath.IsAbs(dir) {
		if rel, err := filepath.Rel(r.root, r.absolute(dir)); err == nil {
			dir = filepath.ToSlash(rel)
		}
	}
	e.value = dir
	return e
}

// adoptList does the same for a list of folders that an arm sweeps, and reports whether it did.
func (r *reader) adoptList(l *list) bool {
	if l.leaf.Path != checkpointPath {
		return false
	}
	n := 0
	for _, e := range l.values {
		if r.pipeline(e.value.(string)) {
			n++
		}
	}
	switch name := r.byPath[programName]; {
	case n == 0 || name == nil: // without a parameter of this name the engine could not be asked, which was reported
		return false
	case n < len(l.values):
		r.m.add(l.at, l.path, "has checkpoints of Stable Diffusion and of the shapes world, which have other parameters", "make an arm of each")
		return false
	default:
		l.leaf = name
	}
	for i, e := range l.values {
		l.values[i] = r.program(e)
	}
	return true
}
