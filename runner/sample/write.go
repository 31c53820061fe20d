package sample

import (
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"ablate/reports/picture"
)

// Format is the name and version of the schema of a [Document].
const Format = "ablate.sample/1"

// A Document lists what was drawn, by which model.
type Document struct {
	Format  string  `json:"format"`  // name and version of the schema of this object, "ablate.sample/1"
	Study   string  `json:"study"`   // name of the study
	View    string  `json:"view"`    // row and seed of the trial, "ROW@SEED"
	Trial   string  `json:"trial"`   // id of the trial
	Backend string  `json:"backend"` // class of backend of the results
	Folder  string  `json:"folder"`  // path of the folder that was written
	Sheet   string  `json:"sheet"`   // contact sheet, a file in the folder
	Models  []Model `json:"models"`  // that have drawn, in the order of the sheet's rows
	Images  []Image `json:"images"`
}

// Schema returns the format.
func (d *Document) Schema() string { return d.Format }

// A Model has drawn images.
type Model struct {
	Name  string `json:"name"`            // "trained", "step" and the step of a checkpoint, or "pretrained"
	Step  int    `json:"step,omitempty"`  // of the fine-tuning, after which the checkpoint was kept; absent for the last one
	Base  string `json:"base"`            // id of the artifact of the pretrained, adopted or loaded model
	Tuned string `json:"tuned,omitempty"` // id of the artifact of the fine-tuning
}

// An Image is a picture that a model has drawn.
type Image struct {
	File      string `json:"file,omitempty"`      // in the folder; absent if an engine has drawn none
	Prompt    string `json:"prompt"`              // text of the prompt
	Negative  string `json:"negative,omitempty"`  // what the image should not show
	Seed      int64  `json:"seed"`                // seed of the initial noise
	Model     string `json:"model"`               // name of the model
	Truncated bool   `json:"truncated,omitempty"` // the text encoder has not read the whole prompt
	Error     string `json:"error,omitempty"`     // why there is no file
}

// Names of the files beside the pictures.
const (
	sheetFile = "sheet.png"
	listFile  = "samples.json"
)

// checkFiles returns an error if a file would be replaced that must not be.
func (d *Drawing) checkFiles() error {
	if info, err := os.Stat(d.o.Out); err == nil && !info.IsDir() {
		return fmt.Errorf("%s is a file: give a folder", d.o.Out)
	}
	names := []string{sheetFile, listFile}
	for _, m := range d.models {
		for row := range d.images() {
			names = append(names, d.file(m, row))
		}
	}
	for _, name := range names {
		path := filepath.Join(d.o.Out, name)
		if _, err := os.Lstat(path); err == nil && !d.o.Force {
			return fmt.Errorf("%s exists: give another folder, or --force to replace files", path)
		} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// file returns the name of the picture of a row, such as "2-a-red-cat-seed7-trained.png". Pictures of
// the same prompt and noise are beside each other in the order of names.
func (d *Drawing) file(m model, row int) string {
	prompt, seed := row/d.o.N, d.o.Seed+int64(row%d.o.N)
	digits := func(most int64) int { return len(strconv.FormatInt(most, 10)) }
	return fmt.Sprintf("%0*d-%s-seed%0*d-%s.png", digits(int64(len(d.o.Prompts))), prompt+1, slug(d.o.Prompts[prompt].Text),
		digits(d.o.Seed+int64(d.o.N)-1), seed, m.Name)
}

// slug returns the beginning of a prompt as a part of a file's name.
func slug(prompt string) string {
	const most = 40 // bytes
	s := strings.Join(strings.FieldsFunc(strings.ToLower(prompt), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }), "-")
	for len(s) > most {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	if s = strings.Trim(s, "-"); s == "" {
		return "prompt"
	}
	return s
}

// write writes what the models have drawn, the list of it last.
func (d *Drawing) write(all [][]drawn) (*Document, error) {
	if err := os.MkdirAll(d.o.Out, 0o777); err != nil {
		return nil, err
	}
	doc := &Document{Format: Format, Study: d.p.Study.Name, View: d.v.String(), Trial: d.v.Trial.ID().String(), Backend: d.class, Folder: d.o.Out, Sheet: sheetFile}
	for _, m := range d.models {
		doc.Models = append(doc.Models, m.Model)
	}
	for row, p := range d.rows() {
		for k, m := range d.models {
			x := Image{Prompt: p.Prompt, Negative: p.Negative, Seed: p.Seed, Model: m.Name, Truncated: all[k][row].truncated, Error: all[k][row].err}
			if from := all[k][row].path; from != "" {
				x.File = d.file(m, row)
				if err := d.create(x.File, func(w io.Writer) error { return copyFile(w, from) }); err != nil {
					return nil, err
				}
			}
			doc.Images = append(doc.Images, x)
		}
	}
	sheet, err := d.sheet(all).Draw()
	if err != nil {
		return nil, err
	}
	if err := d.create(sheetFile, func(w io.Writer) error { return png.Encode(w, sheet) }); err != nil {
		return nil, err
	}
	return doc, d.create(listFile, func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		return e.Encode(doc)
	})
}

// create writes a file of the folder. It replaces one only by force, and writes through no link.
func (d *Drawing) create(name string, write func(w io.Writer) error) error {
	path := filepath.Join(d.o.Out, name)
	if d.o.Force {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	if err := write(f); err != nil {
		_ = f.Close()
		return fmt.Errorf("%s: %w", path, err)
	}
	return f.Close()
}

func copyFile(w io.Writer, from string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}

// What a contact sheet shows at most, so that viewers can open it.
const (
	mostColumns = 32
	mostPrompts = 32
)

// Shown returns how many prompts, and images of each, are on the contact sheet, and whether that is all.
func (d *Drawing) Shown() (prompts, images int, all bool) {
	prompts, images = min(len(d.o.Prompts), mostPrompts), min(d.o.N, mostColumns)
	return prompts, images, prompts*images == d.images()
}

// sheet returns the contact sheet: a row for each prompt and model, a column for each noise.
func (d *Drawing) sheet(all [][]drawn) picture.Sheet {
	prompts, images, _ := d.Shown()
	s := picture.Sheet{Title: fmt.Sprintf("%s of study %s", d.v, d.p.Study.Name)}
	for k := range images {
		s.Columns = append(s.Columns, fmt.Sprintf("seed %d", d.o.Seed+int64(k)))
	}
	for _, p := range d.o.Prompts[:prompts] {
		for k, m := range d.models {
			r := picture.Row{Name: m.Name}
			if k == 0 {
				r.Above = p.Text
			}
			s.Rows = append(s.Rows, r)
		}
	}
	s.Picture = func(row, column int) (image.Image, error) {
		path := all[row%len(d.models)][row/len(d.models)*d.o.N+column].path
		if path == "" {
			return nil, nil
		}
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return png.Decode(f)
	}
	return s
}
