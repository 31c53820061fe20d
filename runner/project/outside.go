package project

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"ablate/experiments/language"
	"ablate/runner/engine"
	"ablate/runner/layout"
	"ablate/runner/stage"
)

// outside returns what the graph of the study depends on beside it.
func (p Project) outside(ctx context.Context, files promptFiles, folder pictureFolders) layout.Outside {
	return layout.Outside{
		Checkpoint: func(dir string) (string, error) {
			d, err := stage.DigestCheckpoint(ctx, dir)
			if err != nil {
				return "", fmt.Errorf("model.checkpoint.path: %w", err)
			}
			return d, nil
		},
		Prompts: func(path string) (string, error) {
			list, err := files(path)
			if err != nil {
				return "", err
			}
			return stage.DigestPrompts(list)
		},
		Folder: func(dir string) (string, int, error) {
			f, err := folder(dir)
			if f == nil || err != nil {
				return "missing", 1, err
			}
			return f.Digest(), len(f.Pictures()), nil
		},
		Engine: func(name, verb string) (layout.Called, error) { return p.called(ctx, name, verb) },
		Stamp: func(record string) (string, error) {
			return engine.Stamp(ctx, filepath.Join(p.engines(), record))
		},
	}
}

// A Lack is a folder that a study names for pictures, and that has none yet.
type Lack struct {
	Axis string `json:"axis"` // the parameter that names it
	Path string `json:"path"`
	Why  string `json:"why"`
}

// pictureFolders reads a folder of pictures; nil if it has none and the project is a draft.
type pictureFolders func(dir string) (*engine.Files, error)

// folders returns a function that reads folders of pictures. Those that a draft lacks are added to
// lacks, each once.
func (p Project) folders(ctx context.Context, lacks *[]Lack) pictureFolders {
	return func(dir string) (*engine.Files, error) {
		files, err := engine.Folder(ctx, p.engines(), dir)
		var none *engine.NoPicturesError
		if !p.Draft || !errors.As(err, &none) {
			return files, err
		}
		for _, f := range p.Study.Files {
			if lack := (Lack{f.Axis, dir, none.Why}); f.Path == dir && !slices.Contains(*lacks, lack) {
				*lacks = append(*lacks, lack)
			}
		}
		return nil, nil
	}
}

// engines returns the folder of the store with engines and what this machine knows of their files.
func (p Project) engines() string { return filepath.Join(p.Store.Dir(), "engines") }

// A Described engine is one of the study with what it says of itself, corrected by what probes found.
type Described struct {
	*engine.Spec
	Declared language.Engine
	Verdicts *engine.Verdicts
	source   string // digest of its files, or of its container
}

// Describe returns an engine of the study.
func (p Project) Describe(ctx context.Context, name string) (d Described, err error) {
	i := slices.IndexFunc(p.Study.Engines, func(e language.Engine) bool { return e.Name == name })
	if i < 0 {
		return d, fmt.Errorf("the study declares no engine %q", name)
	}
	d.Declared = p.Study.Engines[i]
	d.Spec = &engine.Spec{Engine: *engine.Of(p.Study, d.Declared)}
	if d.Description, err = d.Engine.Describe(ctx, engine.Cache()); err != nil {
		return d, err
	}
	if d.source, err = d.Engine.Identity(ctx, d.Description); err != nil {
		return d, err
	}
	if d.Verdicts, err = engine.ReadVerdicts(p.engines(), d.source, d.Description.Environment.Digest()); err != nil {
		return d, err
	}
	d.Verdicts.Correct(d.Description)
	return d, nil
}

// SaveVerdict keeps what a probe of an engine found on some hardware.
func (p Project) SaveVerdict(d Described, hardware string, v *engine.Verdict) error {
	return p.Store.Diagnose(d.Verdicts.Save(p.engines(), d.source, d.Description.Environment.Digest(), hardware, v))
}

// called returns a verb of an engine. SaveEngines writes its description into the store.
func (p Project) called(ctx context.Context, name, verb string) (c layout.Called, err error) {
	d, err := p.Describe(ctx, name)
	if err != nil {
		return c, err
	}
	v := d.Description.Verbs[verb]
	if v == nil {
		return c, fmt.Errorf("engine %s has no %s", name, verb)
	}
	command, err := json.Marshal(d.Declared.Command)
	if err != nil {
		return c, err
	}
	c.Engine, c.Command, c.Revision = name, string(command), v.Revision
	if v.World == "key" {
		c.GPUs = p.Study.EngineGPUs(name, verb)
	}
	c.Shard, c.Together, c.Keeps, c.Calls, c.Serves, c.Columns = v.Shard, v.Rows == "together", v.Keeps, v.Calls, v.Serve, v.Columns
	if d.Declared.Identity.Source == "key" {
		if c.Source, err = d.Engine.For(v).Identity(ctx, d.Description); err != nil {
			return c, err
		}
	}
	if d.Declared.Identity.Environment == "key" {
		c.Environment = d.Description.Environment.Digest()
	}
	c.Program, err = d.ID()
	return c, err
}

// SaveEngines writes the engines of the study into the store, where the processes that compute
// their tasks find them.
func (p Project) SaveEngines(ctx context.Context) error {
	for _, declared := range p.Study.Engines {
		d, err := p.Describe(ctx, declared.Name)
		if err != nil {
			return err
		}
		if err := d.Save(p.engines()); err != nil {
			return p.Store.Diagnose(err)
		}
	}
	return nil
}
