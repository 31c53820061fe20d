package engine

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"ablate/models/checkpoint"
)

// check returns an error if the outputs of a task are not whole.
func (t Task) check(dir string) error {
	out := filepath.Join(dir, outFolder)
	switch t.Verb {
	case Load:
		_, err := ReadCheckpoint(filepath.Join(out, "checkpoint"))
		return err
	case Sample:
		return t.checkImages(filepath.Join(out, "images"))
	case Train:
		return t.checkTraining(out)
	case Score:
		_, err := ReadScores(filepath.Join(out, "scores"), t.Inputs[ImagesRole].Rows, t.Spec.Columns)
		return err
	case Embed:
		_, err := ReadFeatures(filepath.Join(out, "features"), t.rows())
		return err
	}
	return fmt.Errorf("unknown verb %q", t.Verb)
}

// rows returns the rows of the task's only input with rows.
func (t Task) rows() []Row {
	for _, role := range []string{ImagesRole, TextsRole, PromptsRole} {
		if rows := t.Inputs[role].Rows; rows != nil {
			return rows
		}
	}
	return nil
}

// readRows reads the rows of an output, which must be those of the input in their order.
func readRows(dir string, want []Row, each func(r OutputRow) error) error {
	n := 0
	name := filepath.Join(dir, rowsFile)
	err := lines(name, func(_ int, line []byte) error {
		var r OutputRow
		if err := json.Unmarshal(line, &r); err != nil {
			return err
		}
		switch {
		case n >= len(want):
			return fmt.Errorf("index %d: the input has %d rows only", r.Index, len(want))
		case r.Index != want[n].Index:
			return fmt.Errorf("index %d; must be %d: an output has the rows of the input, all and in their order", r.Index, want[n].Index)
		}
		n++
		return each(r)
	})
	if err == nil && n < len(want) {
		err = fmt.Errorf("%s: it has %d rows, and the input %d: the row of index %d is missing", rowsFile, n, len(want), want[n].Index)
	}
	if err != nil {
		return fmt.Errorf("out/%s: %w", filepath.Base(dir), err)
	}
	return nil
}

// A Picture is a row of sampled images.
type Picture struct {
	File      string // relative to the folder of the artifact's role; empty where the row failed
	Truncated bool
	Error     string
}

// checkImages checks sampled images: one whole PNG for each prompt, all of one size.
func (t Task) checkImages(dir string) error {
	var width, height int
	return readRows(dir, t.rows(), func(r OutputRow) error {
		if r.Error != "" {
			return nil
		}
		if r.File == "" || !filepath.IsLocal(r.File) {
			return fmt.Errorf("index %d: file is %q; must be a path below the folder", r.Index, r.File)
		}
		w, h, err := checkPNG(filepath.Join(dir, filepath.FromSlash(r.File)))
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", r.File, err)
		case width != 0 && (w != width || h != height):
			return fmt.Errorf("%s: it has %d×%d pixels, and earlier ones %d×%d", r.File, w, h, width, height)
		}
		width, height = w, h
		return nil
	})
}

// checkPNG returns the size of a picture. It must be a whole PNG with 8 bits each of red,
// green and blue; the sums of its chunks are compared, its pixels are not decoded.
func checkPNG(name string) (width, height int, err error) {
	f, err := openRegular(name)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	var head [8]byte
	if _, err := io.ReadFull(f, head[:]); err != nil || string(head[:]) != "\x89PNG\r\n\x1a\n" {
		return 0, 0, errors.New("it is not a PNG file")
	}
	for first := true; ; first = false {
		if _, err := io.ReadFull(f, head[:]); err != nil {
			return 0, 0, errors.New("the file ends within the picture")
		}
		n, kind := binary.BigEndian.Uint32(head[:4]), string(head[4:])
		if n > 1<<30 || first && (kind != "IHDR" || n != 13) {
			return 0, 0, errors.New("it is not a valid PNG file")
		}
		sum := crc32.NewIEEE()
		_, _ = sum.Write(head[4:])
		var b bytes.Buffer
		to := io.Writer(sum)
		if first {
			to = io.MultiWriter(sum, &b)
		}
		if _, err := io.CopyN(to, f, int64(n)); err != nil {
			return 0, 0, errors.New("the file ends within the picture")
		}
		var crc [4]byte
		if _, err := io.ReadFull(f, crc[:]); err != nil || binary.BigEndian.Uint32(crc[:]) != sum.Sum32() {
			return 0, 0, errors.New("its bytes are damaged: a checksum is wrong")
		}
		if first {
			h := b.Bytes()
			width, height = int(binary.BigEndian.Uint32(h)), int(binary.BigEndian.Uint32(h[4:]))
			if h[8] != 8 || h[9] != 2 {
				return 0, 0, fmt.Errorf("it has %d bits and colour type %d; must be 8 bits of red, green and blue (type 2, mode RGB)", h[8], h[9])
			}
			if width < 1 || height < 1 || width > mostSide || height > mostSide {
				return 0, 0, fmt.Errorf("it has %d×%d pixels; a side has 1 to %d", width, height, mostSide)
			}
		}
		if kind == "IEND" {
			return width, height, nil
		}
	}
}

// ReadPictures reads the rows of sampled images.
func ReadPictures(dir string, want []Row) ([]Picture, error) {
	out := make([]Picture, 0, len(want))
	index := map[int]int{}
	for i, r := range want {
		index[r.Index] = i
		out = append(out, Picture{Error: "no picture"})
	}
	err := lines(filepath.Join(dir, rowsFile), func(_ int, line []byte) error {
		var r OutputRow
		if err := json.Unmarshal(line, &r); err != nil {
			return err
		}
		i, ok := index[r.Index]
		if !ok {
			return fmt.Errorf("index %d is not one of the prompts", r.Index)
		}
		out[i] = Picture{r.File, r.Truncated, r.Error}
		return nil
	})
	return out, err
}

// A Value is what score gives an image.
type Value struct {
	Number  float64
	Verdict string // of a column of kind "verdict": "good", "bad" or "skip"
	Error   string // why there is no value
}

// ReadScores reads scores: by column, one value for each row.
func ReadScores(dir string, want []Row, columns map[string]Column) (map[string][]Value, error) {
	out := map[string][]Value{}
	at := map[int]int{}
	for i, r := range want {
		at[r.Index] = i
	}
	for name := range columns {
		out[name] = make([]Value, len(want))
	}
	err := readRows(dir, want, func(r OutputRow) error {
		i := at[r.Index]
		if r.Error != "" {
			for name := range columns {
				out[name][i].Error = r.Error
			}
			return nil
		}
		for name := range r.Values {
			if _, ok := columns[name]; !ok {
				return fmt.Errorf("index %d: unknown column %q; the description has %s", r.Index, name, strings.Join(slices.Sorted(maps.Keys(columns)), ", "))
			}
		}
		for name, c := range columns {
			raw, ok := r.Values[name]
			if !ok {
				return fmt.Errorf("index %d: column %s is missing", r.Index, name)
			}
			v, err := valueIn(c, raw)
			if err != nil {
				return fmt.Errorf("index %d: column %s: %w", r.Index, name, err)
			}
			out[name][i] = v
		}
		return nil
	})
	return out, err
}

// valueIn reads a value of a column.
func valueIn(c Column, raw json.RawMessage) (v Value, err error) {
	if c.Kind == "verdict" {
		if json.Unmarshal(raw, &v.Verdict) != nil || !slices.Contains([]string{"good", "bad", "skip"}, v.Verdict) {
			return v, fmt.Errorf("%s; must be \"good\", \"bad\" or \"skip\"", short(raw))
		}
		return v, nil
	}
	// Python writes NaN and Infinity, which are no JSON, so that the line could not be read;
	// a number that is too large is infinite.
	v.Number, err = strconv.ParseFloat(string(raw), 64)
	if err != nil || math.IsInf(v.Number, 0) || math.IsNaN(v.Number) {
		return v, fmt.Errorf("%s; must be a finite number", short(raw))
	}
	if c.Range != nil && (v.Number < c.Range[0] || v.Number > c.Range[1]) {
		return v, fmt.Errorf("%s; the description promises values from %v to %v", short(raw), c.Range[0], c.Range[1])
	}
	return v, nil
}

// Features are what embed gives rows.
type Features struct {
	Values    []float32 // float32[rows, Dimension]; those of rows that failed mean nothing
	Dimension int
	Errors    []string // by row, why it has none; empty if it has
}

// ReadFeatures reads the features of rows.
func ReadFeatures(dir string, want []Row) (x Features, err error) {
	x.Errors = make([]string, len(want))
	at := map[int]int{}
	for i, r := range want {
		at[r.Index] = i
	}
	if err := readRows(dir, want, func(r OutputRow) error { x.Errors[at[r.Index]] = r.Error; return nil }); err != nil {
		return x, err
	}
	tensors, err := checkpoint.ReadFile(filepath.Join(dir, "features.safetensors"))
	if err != nil {
		return x, fmt.Errorf("out/features: %w", err)
	}
	f, ok := tensors["features"]
	if !ok || f.DType != "F32" || len(f.Shape) != 2 || f.Shape[0] != len(want) {
		return x, fmt.Errorf("out/features: features.safetensors must have a tensor \"features\", float32[%d, d]; it has %s %v", len(want), f.DType, f.Shape)
	}
	x.Dimension = f.Shape[1]
	if x.Values, err = f.Float32(); err != nil {
		return x, err
	}
	for i, v := range x.Values {
		if f := float64(v); (math.IsNaN(f) || math.IsInf(f, 0)) && x.Errors[i/x.Dimension] == "" {
			return x, fmt.Errorf("out/features: row %d has the value %v; features are finite", i/x.Dimension, v)
		}
	}
	return x, nil
}

// A Checkpoint is the file checkpoint.json of a checkpoint folder. The engine writes it, and may
// add fields of its own.
type Checkpoint struct {
	Format   string         `json:"format"`             // name of the format, such as "diffusers-lora"
	Base     *string        `json:"base,omitzero"`      // id of the checkpoint on which it is based; absent or null if there is none
	Replaces []string       `json:"replaces,omitempty"` // whole components that it replaces
	Root     string         `json:"root,omitempty"`     // of load: absolute folder of the model that the checkpoint stands for
	Files    []string       `json:"files,omitempty"`    // of load: the model's files, relative to root
	Facts    map[string]any `json:"facts,omitempty"`    // properties of the model, such as the shape of its latents
}

// ReadCheckpoint reads checkpoint.json in a folder.
func ReadCheckpoint(dir string) (*Checkpoint, error) {
	at := "out/" + filepath.Base(dir) + "/checkpoint.json"
	data, err := readSmall(filepath.Join(dir, "checkpoint.json"), 64<<20)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is missing: it names the format of the checkpoint", at)
	} else if err != nil {
		return nil, fmt.Errorf("%s: %w", at, err)
	}
	c := &Checkpoint{}
	if err := json.Unmarshal(data, c); err != nil {
		return nil, fmt.Errorf("%s: %w", at, err)
	}
	if !nameable(c.Format) {
		return nil, fmt.Errorf("%s: format is %q; must be a name, such as \"diffusers\"", at, c.Format)
	}
	if c.Root != "" && len(c.Files) == 0 {
		return nil, fmt.Errorf("%s: root is %q, and files are missing: they list the files of the model, by which results are identified", at, c.Root)
	}
	if len(c.Files) > 0 && !filepath.IsAbs(c.Root) {
		return nil, fmt.Errorf("%s: root is %q; must be the absolute path of the model's folder", at, c.Root)
	}
	for _, name := range c.Files {
		switch info, err := os.Stat(filepath.Join(c.Root, name)); {
		case !filepath.IsLocal(name):
			return nil, fmt.Errorf("%s: files: %q must be a path below root", at, name)
		case err != nil:
			return nil, fmt.Errorf("%s: files: %w", at, err)
		case !info.Mode().IsRegular():
			return nil, fmt.Errorf("%s: files: %s is not a regular file", at, filepath.Join(c.Root, name))
		}
	}
	return c, nil
}

// checkTraining checks a trained checkpoint, its curve, and the checkpoints on the way.
func (t Task) checkTraining(out string) error {
	folders := []string{"checkpoint"}
	for _, step := range t.Keep {
		folders = append(folders, fmt.Sprintf("steps/%d", step))
	}
	for _, folder := range folders {
		c, err := ReadCheckpoint(filepath.Join(out, filepath.FromSlash(folder)))
		if err != nil {
			return err
		}
		if len(c.Files) > 0 {
			return fmt.Errorf("out/%s/checkpoint.json: root and files belong to load: a training writes its checkpoint into the folder", folder)
		}
		if base, ok := t.Inputs[BaseRole]; ok && c.Base != nil && *c.Base != base.ID {
			return fmt.Errorf("out/%s/checkpoint.json: base is %q, and the input base is %q", folder, *c.Base, base.ID)
		}
		if t.Spec != nil && c.Format != t.Spec.Format && !slices.Contains(t.Spec.Formats, c.Format) {
			return fmt.Errorf("out/%s/checkpoint.json: format is %q, and the description promises %q", folder, c.Format, slices.Concat([]string{t.Spec.Format}, t.Spec.Formats))
		}
	}
	_, err := ReadCurve(filepath.Join(out, "curves"))
	return err
}

// ReadCurve reads the curve of a training: for each step, its metrics by name.
func ReadCurve(dir string) ([]CurvePoint, error) {
	var out []CurvePoint
	err := lines(filepath.Join(dir, rowsFile), func(_ int, line []byte) error {
		var m map[string]float64
		if err := json.Unmarshal(line, &m); err != nil {
			return fmt.Errorf("%w (a line has numbers only, as in {\"step\": 1, \"loss\": 0.5})", err)
		}
		step, ok := m["step"]
		if !ok || step < 1 || step != math.Trunc(step) {
			return fmt.Errorf("step is %v; must be a whole number from 1", step)
		}
		if n := len(out); n > 0 && int(step) <= out[n-1].Step {
			return fmt.Errorf("step %v comes after step %d: each step has one line, in their order", step, out[n-1].Step)
		}
		for name, v := range m {
			if math.IsNaN(v) || math.IsInf(v, 0) || !nameable(name) {
				return fmt.Errorf("%q is %v; a metric has a name and a finite number", short([]byte(name)), v)
			}
		}
		delete(m, "step")
		out = append(out, CurvePoint{int(step), m})
		return nil
	})
	if err == nil && len(out) == 0 {
		err = fmt.Errorf("%s is empty: a training writes a line for every step", rowsFile)
	}
	if err != nil {
		return nil, fmt.Errorf("out/curves: %w", err)
	}
	return out, nil
}

// A CurvePoint has the metrics of a step.
type CurvePoint struct {
	Step    int
	Metrics map[string]float64
}

// eachRow calls each with the rows of an output that have not failed.
func eachRow(dir string, each func(OutputRow) error) error {
	return lines(filepath.Join(dir, rowsFile), func(_ int, line []byte) error {
		var r OutputRow
		if err := json.Unmarshal(line, &r); err != nil || r.Error != "" {
			return err
		}
		return each(r)
	})
}
