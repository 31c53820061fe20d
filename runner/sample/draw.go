package sample

import (
	"context"
	"encoding/json"
	"fmt"
	"image/png"
	"os"
	"path/filepath"
	"strconv"

	"ablate/runner/failure"
	"ablate/runner/launch"
	"ablate/runner/resource"
	"ablate/runner/run"
	"ablate/runner/stage"
	"ablate/runner/world"
)

// A Machine computes the drawing.
type Machine struct {
	Worker run.Worker
	Grant  resource.Grant // what the worker has of the machine
	Need   resource.Need
	CPU    string // name of the processor
}

// Draw draws the images and writes them. It writes nothing before all are drawn. If an engine fails for
// some rows, these have no file and an Error.
func (d *Drawing) Draw(ctx context.Context, m Machine, progress func(done, total int)) (*Document, error) {
	tmp, err := os.MkdirTemp("", "ablate-sample-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	prompts := filepath.Join(tmp, "rows", "files") // ID/files, as the store has artifacts
	if err := os.MkdirAll(prompts, 0o777); err != nil {
		return nil, err
	}
	if err := stage.WritePrompts(prompts, d.rows()); err != nil {
		return nil, err
	}
	n, total := d.images(), len(d.models)*d.images()
	all := make([][]drawn, len(d.models))
	for k, x := range d.models {
		progress(k*n, total)
		dir := filepath.Join(tmp, strconv.Itoa(k), "files")
		if err := d.run(ctx, m, x, prompts, dir, func(done int) { progress(k*n+min(done, n), total) }); err != nil {
			return nil, fmt.Errorf("%s, %s: %w", d.v, x.Name, d.p.Store.Diagnose(failure.Declassify(err)))
		}
		if all[k], err = read(dir, n); err != nil {
			return nil, err
		}
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return d.write(all)
}

// run lets a worker draw with a model into a folder.
func (d *Drawing) run(ctx context.Context, m Machine, x model, prompts, dir string, progress func(done int)) error {
	params, err := json.Marshal(d.action.Params)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	t := launch.Task{Action: "sample", Stage: string(d.action.Kind), Params: params, Inputs: map[string]string{stage.PromptsInput: prompts}, Out: dir}
	for name, folder := range x.inputs {
		t.Inputs[name] = folder
	}
	if !d.native {
		run.ForEngine(&t, d.p.Store, m.Need, m.CPU, 1)
	}
	_, err = m.Worker.Do(ctx, t, m.Grant, t.Stage, func(p launch.Progress) { progress(p.Step) })
	return err
}

// drawn is a picture that a model has drawn.
type drawn struct {
	path      string // of a PNG file; empty if there is none
	truncated bool   // the text encoder has not read the whole prompt
	err       string // why there is none
}

// read returns the n pictures that a task has drawn into a folder. It writes those of the shapes world
// as files.
func read(dir string, n int) ([]drawn, error) {
	out := make([]drawn, n)
	if stage.HasPictures(dir) {
		set, err := stage.Only(stage.ReadPictures(dir))
		if err == nil && len(set.Pictures) != n {
			err = fmt.Errorf("%d pictures were drawn, and %d were asked for", len(set.Pictures), n)
		}
		if err != nil {
			return nil, err
		}
		for i, p := range set.Pictures {
			out[i] = drawn{truncated: p.Truncated, err: p.Error}
			if p.File != "" {
				out[i].path = filepath.Join(dir, filepath.FromSlash(p.File))
			}
		}
		return out, nil
	}
	set, err := stage.Only(stage.ReadImages(dir))
	if err == nil && len(set.Images) != n*world.Pixels {
		err = fmt.Errorf("%d images were drawn, and %d were asked for", len(set.Images)/world.Pixels, n)
	}
	if err != nil {
		return nil, err
	}
	for i := range out {
		out[i].path = filepath.Join(dir, strconv.Itoa(i)+".png")
		f, err := os.Create(out[i].path)
		if err != nil {
			return nil, err
		}
		if err := png.Encode(f, world.Picture(set.Images, i)); err != nil {
			_ = f.Close()
			return nil, err
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
	return out, nil
}
