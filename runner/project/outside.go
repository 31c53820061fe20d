package project

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"

	"ablate/experiments/language"
	"ablate/runner/engine"
	"ablate/runner/layout"
	"ablate/runner/stage"
)

// outside returns what the graph of the study depends on beside it.
func (p Project) outside(ctx context.Context) layout.Outside {
	return layout.Outside{
		Checkpoint: func(dir string) (string, error) {
			d, err := stage.DigestCheckpoint(ctx, dir)
			if err != nil {
				return "", fmt.Errorf("model.checkpoint.path: %w", err)
			}
			return d, nil
		},
		Prompts: stage.DigestPrompts,
		Folder: func(dir string) (string, int, error) {
			f, err := engine.Folder(ctx, p.engines(), dir)
			if err != nil {
				return "", 0, err
			}
			return f.Digest(), len(f.Pictures()), nil
		},
		Engine: func(name, verb string) (layout.Called, error) { return p.called(ctx, name, verb) },
		Stamp: func(record string) (string, error) {
			return engine.Stamp(ctx, filepath.Join(p.engines(), record))
		},
	}
}

// engines returns the folder of the store with engines and what this machine knows of their files.
func (p Project) engines() string { return filepath.Join(p.Store.Dir(), "engines") }

// called returns a verb of an engine. SaveEngines writes its description into the store.
func (p Project) called(ctx context.Context, name, verb string) (c layout.Called, err error) {
	i := slices.IndexFunc(p.Study.Engines, func(e language.Engine) bool { return e.Name == name })
	if i < 0 {
		return c, fmt.Errorf("the study declares no engine %q", name)
	}
	declared := p.Study.Engines[i]
	e := engine.Of(p.Study, declared)
	d, err := e.Describe(ctx, engine.Cache())
	if err != nil {
		return c, err
	}
	v := d.Verbs[verb]
	if v == nil {
		return c, fmt.Errorf("engine %s has no %s", name, verb)
	}
	command, err := json.Marshal(declared.Command)
	if err != nil {
		return c, err
	}
	c.Engine, c.Command, c.Revision = name, string(command), v.Revision
	if v.World == "key" {
		c.GPUs = p.Study.EngineGPUs(name, verb)
	}
	c.Shard, c.Together, c.Keeps, c.Columns = v.Shard, v.Rows == "together", v.Keeps, v.Columns
	if declared.Identity.Source == "key" {
		if c.Source = declared.Container; c.Source != "" {
			c.Container = true
		} else if c.Source, err = e.For(v).SourceDigest(ctx); err != nil {
			return c, err
		}
	}
	if declared.Identity.Environment == "key" {
		c.Environment = d.Environment.Digest()
	}
	c.Program, err = (&engine.Spec{Engine: *e, Description: d}).ID()
	return c, err
}

// SaveEngines writes the engines of the study into the store, where the processes that compute
// their tasks find them.
func (p Project) SaveEngines(ctx context.Context) error {
	for _, declared := range p.Study.Engines {
		e := engine.Of(p.Study, declared)
		d, err := e.Describe(ctx, engine.Cache())
		if err != nil {
			return err
		}
		if err := (&engine.Spec{Engine: *e, Description: d}).Save(p.engines()); err != nil {
			return p.Store.Diagnose(err)
		}
	}
	return nil
}
