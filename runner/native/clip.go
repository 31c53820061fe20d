package native

import (
	"context"
	"encoding/json"
	"fmt"
	"image"
	_ "image/jpeg" // pictures of a reference may have this form
	"math"
	"os"
	"path/filepath"

	"ablate/models/checkpoint"
	"ablate/models/clip"
	"ablate/runner/engine"
	"ablate/runner/engine/kit"
)

// This file has the verbs score and embed of the engine of Stable Diffusion: those of the engine of
// CLIP in Python, with its parameters, for models in the layout of transformers' CLIPModel.

const scoreSchema = `{"type": "object", "properties": {
  "model": {"type": "string", "description": "a CLIPModel: a folder, from that of cue.mod or below $ABLATE_MODELS, a repository in the Hugging Face cache, or tiny-clip: a random model for tests. The study must name it, for it gives a column its meaning"},
  "batch": {"type": "integer", "minimum": 1, "default": 32, "description": "images at a time; changes the last bits only", "x-unit": "images", "x-identity": "record"}}}`

const embedSchema = `{"type": "object", "properties": {
  "network": {"type": "string", "enum": ["clip"], "default": "clip", "description": "whose features"},
  "model": {"type": "string", "description": "its folder or repository"},
  "batch": {"type": "integer", "minimum": 1, "default": 32, "description": "rows at a time; changes the last bits only", "x-unit": "rows", "x-identity": "record"}}}`

// An encoding has the parameters of score and embed.
type encoding struct {
	Network string `json:"network"`
	Model   string `json:"model"`
	Batch   int    `json:"batch"`
}

// encoder returns the parameters of a task, and its model, which stays for the next task.
func (d *diffusion) encoder(t *kit.Task) (p encoding, m *clip.Model, err error) {
	if err := t.Decode(&p); err != nil {
		return p, nil, err
	}
	var dir string
	if p.Model == tinyCLIP {
		if dir, err = t.Scratch(tinyCLIP); err == nil {
			err = clip.WriteRandom(dir, 1)
		}
	} else if dir, err = found(p.Model, "config.json"); err != nil {
		err = kit.Refuse("model: %w", err)
	}
	if err != nil || d.clip != nil && d.clipName == p.Model {
		return p, d.clip, err
	}
	if err := d.computes(t); err != nil {
		return p, nil, err
	}
	if d.clip != nil {
		d.clip.Free()
		d.clip = nil
	}
	if d.clip, err = clip.Load(d.b, dir); err != nil {
		return p, nil, kit.Refuse("model: %w", err)
	}
	d.clipName = p.Model
	return p, d.clip, nil
}

// pixelsOf reads a picture.
func pixelsOf(name string) (clip.Image, error) {
	f, err := os.Open(name)
	if err != nil {
		return clip.Image{}, err
	}
	defer f.Close()
	img, _, err := image.Decode(f)
	if err != nil {
		return clip.Image{}, &kit.End{Status: engine.Failed, Class: engine.Data, Err: fmt.Errorf("%s: %w", name, err)}
	}
	return clip.Image{Height: img.Bounds().Dy(), Width: img.Bounds().Dx(), RGB: bytesOf(img)}, nil
}

// score gives each image the cosine of its features and those of its prompt, and what PickScore
// (Kirstain et al. 2023) and HPSv2 (Wu et al. 2023) make of it.
func (d *diffusion) score(_ context.Context, t *kit.Task) error {
	rows, err := t.Rows(engine.ImagesRole)
	if err != nil {
		return err
	}
	p, m, err := d.encoder(t)
	if err != nil {
		return err
	}
	prompts := make([]string, len(rows))
	for i, r := range rows {
		prompts[i] = r.Prompt
	}
	x, err := m.Images(len(rows), p.Batch, func(i int) (clip.Image, error) { return pixelsOf(rows[i].File) })
	if err != nil {
		return err
	}
	y, err := m.Texts(prompts, p.Batch)
	if err != nil {
		return err
	}
	out := make([]engine.OutputRow, len(rows))
	width := m.Config.Projection
	for i, r := range rows {
		var xy, xx, yy float64
		for j := i * width; j < (i+1)*width; j++ {
			a, b := float64(x[j]), float64(y[j])
			xy, xx, yy = xy+a*b, xx+a*a, yy+b*b
		}
		cosine := xy / math.Sqrt(xx*yy)
		out[i] = engine.OutputRow{Index: r.Index, Values: map[string]json.RawMessage{
			cosineColumn: fmt.Appendf(nil, "%v", cosine), "pickscore": fmt.Appendf(nil, "%v", cosine*m.Scale), "hpsv2": fmt.Appendf(nil, "%v", cosine)}}
	}
	return kit.WriteRows(t, "scores", out)
}

// embed computes features of images or of texts.
func (d *diffusion) embed(_ context.Context, t *kit.Task) error {
	role := engine.ImagesRole
	if t.Input(role) == "" {
		role = engine.TextsRole
	}
	rows, err := t.Rows(role)
	if err != nil {
		return err
	}
	p, m, err := d.encoder(t)
	if err != nil {
		return err
	}
	var x []float32
	if role == engine.ImagesRole {
		x, err = m.Images(len(rows), p.Batch, func(i int) (clip.Image, error) { return pixelsOf(rows[i].File) })
	} else {
		prompts := make([]string, len(rows))
		for i, r := range rows {
			prompts[i] = r.Prompt
		}
		x, err = m.Texts(prompts, p.Batch)
	}
	if err != nil {
		return err
	}
	out := make([]engine.OutputRow, len(rows))
	for i, r := range rows {
		out[i].Index = r.Index
	}
	dir, err := t.Out("features")
	if err != nil {
		return err
	}
	if err := checkpoint.WriteFile(filepath.Join(dir, "features.safetensors"), map[string]checkpoint.Tensor{"features": checkpoint.Floats(x, len(rows), m.Config.Projection)}); err != nil {
		return err
	}
	return kit.WriteRows(t, "features", out)
}
