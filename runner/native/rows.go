package native

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"

	"ablate/models/checkpoint"
	"ablate/models/sampler"
	"ablate/models/train"
	"ablate/runner/engine"
	"ablate/runner/engine/kit"
	"ablate/runner/stage"
	"ablate/runner/world"
)

// prompts writes rows as a list of prompts.
func prompts(t *kit.Task, name string, rows []engine.Row) (dir string, err error) {
	list := make([]stage.Prompt, len(rows))
	for i, r := range rows {
		list[i] = stage.Prompt{Prompt: r.Prompt, Seed: max(r.Seed, 1)} // images have no seed
	}
	if dir, err = t.Scratch(name + " prompts"); err != nil {
		return "", err
	}
	return dir, stage.WritePrompts(dir, list)
}

// images writes the pictures of rows as images of a set, and returns their bytes, too.
func images(t *kit.Task, name string, rows []engine.Row) (dir string, all []uint8, err error) {
	for _, r := range rows {
		b, err := readPicture(r.File)
		if err != nil {
			return "", nil, &kit.End{Status: engine.Failed, Class: engine.Data, Err: fmt.Errorf("row %d: %w", r.Index, err)}
		}
		all = append(all, b...)
	}
	if dir, err = t.Scratch(name + " images"); err != nil {
		return "", nil, err
	}
	return dir, all, stage.WriteImages(dir, []stage.ImageSet{{Images: all}})
}

// readPicture reads a picture, uint8[Size, Size, Channels].
func readPicture(name string) ([]uint8, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	img, err := png.Decode(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	at := img.Bounds()
	if at.Dx() != world.Size || at.Dy() != world.Size {
		return nil, fmt.Errorf("%s has %d×%d pixels; images of the shapes world have %d×%d", name, at.Dx(), at.Dy(), world.Size, world.Size)
	}
	return bytesOf(img), nil
}

// bytesOf returns three bytes for each pixel of an image, row by row. What is transparent has the
// colours that the file says.
func bytesOf(img image.Image) []uint8 {
	at := img.Bounds()
	out := make([]uint8, 0, 3*at.Dx()*at.Dy())
	for y := at.Min.Y; y < at.Max.Y; y++ {
		for x := at.Min.X; x < at.Max.X; x++ {
			c := color.NRGBAModel.Convert(img.At(x, y)).(color.NRGBA)
			out = append(out, c.R, c.G, c.B)
		}
	}
	return out
}

func writePicture(name string, img image.Image) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(png.Encode(f, img), f.Close())
}

// drawBatch is the number of images that are drawn at a time, the default of a study.
const drawBatch = 256

func (n *native) sample(ctx context.Context, t *kit.Task) error {
	o := sampler.Options{Batch: drawBatch}
	if err := t.Decode(&o); err != nil {
		return err
	}
	rows, err := t.Rows(engine.PromptsRole)
	if err != nil {
		return err
	}
	inputs, err := model(t, engine.CheckpointRole)
	if err != nil {
		return err
	}
	dir, err := t.Out(engine.ImagesRole)
	if err != nil {
		return err
	}
	good, out := readable(rows)
	if len(good) > 0 {
		if inputs[stage.PromptsInput], err = prompts(t, "drawn", good); err != nil {
			return err
		}
		drawn, err := n.run(ctx, t, stage.Draw, stage.DrawParams{Sampler: o, Images: len(good), Models: 1}, inputs, train.Resume{})
		if err != nil {
			return err
		}
		set, err := stage.Only(stage.ReadImages(drawn))
		if err != nil {
			return err
		}
		if err := each(out, func(i int, r *engine.OutputRow) error {
			r.File = fmt.Sprintf("%d.png", r.Index)
			return writePicture(filepath.Join(dir, r.File), world.Picture(set.Images, i))
		}); err != nil {
			return err
		}
	}
	if len(t.Emit) > 0 { // "noise" is all that the description promises
		noise := make([]float32, len(rows)*world.Pixels)
		for i, r := range rows {
			stage.Noise(stage.Draw, r.Seed, 0, noise[i*world.Pixels:(i+1)*world.Pixels])
		}
		if err := checkpoint.WriteFile(filepath.Join(t.Dir, "emit", "noise.safetensors"),
			map[string]checkpoint.Tensor{"noise": checkpoint.Floats(noise, len(rows), world.Size, world.Size, world.Channels)}); err != nil {
			return err
		}
	}
	return kit.WriteRows(t, engine.ImagesRole, out)
}

// score gives each image the verdict of the world's judge, and the cosine of its embedding and
// that of its prompt.
func (n *native) score(ctx context.Context, t *kit.Task) error {
	rows, err := t.Rows(engine.ImagesRole)
	if err != nil {
		return err
	}
	good, out := readable(rows)
	if len(good) == 0 {
		return kit.WriteRows(t, "scores", out)
	}
	list, err := prompts(t, "scored", good)
	if err != nil {
		return err
	}
	set, all, err := images(t, "scored", good)
	if err != nil {
		return err
	}
	judged, err := n.run(ctx, t, stage.Judge, stage.JudgeParams{Images: len(good)}, map[string]string{stage.ImagesInput: set, stage.PromptsInput: list}, train.Resume{})
	if err != nil {
		return err
	}
	verdicts, err := stage.Only(stage.ReadVerdictsOf(judged, len(good)))
	if err != nil {
		return err
	}
	texts := make([]string, len(good))
	for i, r := range good {
		texts[i] = r.Prompt
	}
	x, y, width, err := n.features(ctx, t, all, texts)
	if err != nil {
		return err
	}
	if err := each(out, func(i int, r *engine.OutputRow) error {
		var cosine float64 // the embeddings have unit length
		for j := i * width; j < (i+1)*width; j++ {
			cosine += float64(x[j]) * float64(y[j])
		}
		r.Values = map[string]json.RawMessage{correctColumn: fmt.Appendf(nil, "%q", verdicts.Labels[i]), cosineColumn: fmt.Appendf(nil, "%v", float32(cosine))}
		return nil
	}); err != nil {
		return err
	}
	return kit.WriteRows(t, "scores", out)
}

// features returns embeddings by the embedder that the parameters name.
func (n *native) features(ctx context.Context, t *kit.Task, images []uint8, prompts []string) (ofImages, ofPrompts []float32, width int, err error) {
	var w weights
	if err := t.Decode(&w); err != nil {
		return nil, nil, 0, err
	}
	to, err := t.Scratch("random weights")
	if err != nil {
		return nil, nil, 0, err
	}
	dir, err := w.dir(to)
	if err != nil {
		return nil, nil, 0, err
	}
	if _, err := stage.CheckCheckpoint(ctx, dir, true); err != nil {
		return nil, nil, 0, kit.Refuse("folder: %w", err)
	}
	if err := n.computes(t); err != nil {
		return nil, nil, 0, err
	}
	return n.env.Features(dir, images, prompts)
}

// embed computes embeddings of unit length of images or prompts.
func (n *native) embed(ctx context.Context, t *kit.Task) error {
	role, x, width := engine.ImagesRole, []float32(nil), 0
	var out []engine.OutputRow
	if t.Input(role) != "" {
		rows, err := t.Rows(role)
		if err != nil {
			return err
		}
		for _, r := range rows {
			out = append(out, engine.OutputRow{Index: r.Index})
		}
		_, all, err := images(t, "embedded", rows)
		if err != nil {
			return err
		}
		if x, _, width, err = n.features(ctx, t, all, nil); err != nil {
			return err
		}
	} else {
		rows, err := t.Rows(engine.TextsRole)
		if err != nil {
			return err
		}
		var good []engine.Row
		good, out = readable(rows)
		texts := make([]string, len(good))
		for i, r := range good {
			texts[i] = r.Prompt
		}
		var read []float32
		if _, read, width, err = n.features(ctx, t, nil, texts); err != nil {
			return err
		}
		x = make([]float32, len(rows)*width) // 0 where a prompt was not read
		i := 0
		for k, r := range out {
			if r.Error == "" {
				copy(x[k*width:(k+1)*width], read[i*width:])
				i++
			}
		}
	}
	dir, err := t.Out("features")
	if err != nil {
		return err
	}
	if err := checkpoint.WriteFile(filepath.Join(dir, "features.safetensors"), map[string]checkpoint.Tensor{"features": checkpoint.Floats(x, len(out), width)}); err != nil {
		return err
	}
	return kit.WriteRows(t, "features", out)
}
