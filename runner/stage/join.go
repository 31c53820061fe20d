package stage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"ablate/models/checkpoint"
)

// Join is the stage that makes one artifact of those of the parts of a list: of images,
// scores or features by an engine.
const Join Kind = "join"

var joinDef = define(runJoin, Def{
	Kind: Join, Revision: 1,
	Inputs: []Input{{Name: PartInput, Many: true}},
	Files:  optional(required(picturesFile, "images/**", columnsFile, featuresFile)...),
})

// PartInput is the name of the inputs of [Join].
const PartInput = "part"

// A Part is a part of a list: Rows of them, beginning at From. The zero Part is the whole list.
type Part struct {
	From int `json:"from,omitempty"`
	Rows int `json:"rows,omitempty"`
}

// of returns the rows of a part.
func of[R any](p Part, rows []R) ([]R, error) {
	if p == (Part{}) {
		return rows, nil
	}
	if p.From < 0 || p.Rows < 0 || p.From+p.Rows > len(rows) {
		return nil, p.outside(len(rows))
	}
	return rows[p.From : p.From+p.Rows], nil
}

// outside is the error of a part that a list of n rows does not have.
func (p Part) outside(n int) error {
	return fmt.Errorf("rows %d to %d of a list of %d: this is a bug of the program that sends the task", p.From, p.From+p.Rows, n)
}

// Parts returns the parts of at most most rows of a list of n, and the whole list if there is only one.
func Parts(n, most int) []Part {
	if n <= most {
		return []Part{{}}
	}
	var out []Part
	for from := 0; from < n; from += most {
		out = append(out, Part{from, min(most, n-from)})
	}
	return out
}

func runJoin(_ context.Context, _ *Env, t Task, _ NoParams, _ Progress) error {
	var parts []string
	for k := 0; t.has(Numbered(PartInput, k)); k++ {
		parts = append(parts, t.in(Numbered(PartInput, k)))
	}
	for _, of := range []struct {
		file string
		join func(out string, parts []string) error
	}{{picturesFile, joinPictures}, {columnsFile, joinColumns}, {featuresFile, joinFeatures}} {
		if _, err := os.Lstat(filepath.Join(parts[0], of.file)); err == nil {
			return of.join(t.Out, parts)
		}
	}
	return errors.New("join: the parts have nothing that can be joined: this is a bug of the program that sends the task")
}

// joinSets appends the sets of parts, which must have the same steps.
func joinSets[S any](parts []string, read func(dir string) ([]S, error), add func(to *S, s S) error) ([]S, error) {
	var out []S
	for k, dir := range parts {
		sets, err := read(dir)
		if err != nil {
			return nil, err
		}
		if k == 0 {
			out = sets
			continue
		}
		if len(sets) != len(out) {
			return nil, fmt.Errorf("join: part %d has %d sets, and the first %d", k, len(sets), len(out))
		}
		for i, s := range sets {
			if err := add(&out[i], s); err != nil {
				return nil, fmt.Errorf("join: part %d: %w", k, err)
			}
		}
	}
	return out, nil
}

// joinPictures links the files, or copies them where the file system has no links.
func joinPictures(out string, parts []string) error {
	if err := os.Mkdir(filepath.Join(out, "images"), 0o777); err != nil {
		return err
	}
	link := func(dir string) ([]PictureSet, error) {
		sets, err := ReadPictures(dir)
		for _, s := range sets {
			for _, p := range s.Pictures {
				if err == nil && p.File != "" {
					err = linkFile(filepath.Join(dir, filepath.FromSlash(p.File)), filepath.Join(out, filepath.FromSlash(p.File)))
				}
			}
		}
		return sets, err
	}
	sets, err := joinSets(parts, link, func(to *PictureSet, s PictureSet) error {
		if s.Step != to.Step || s.From != to.From+len(to.Pictures) {
			return fmt.Errorf("it has rows of step %d from %d; must be step %d from %d", s.Step, s.From, to.Step, to.From+len(to.Pictures))
		}
		to.Pictures = append(to.Pictures, s.Pictures...)
		return nil
	})
	if err != nil {
		return err
	}
	return checkpoint.WriteJSON(filepath.Join(out, picturesFile), sets)
}

// linkFile makes a file that has the content of another one, which is never written again.
func linkFile(from, to string) error {
	err := os.Link(from, to)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil {
			return err
		}
		err = os.Link(from, to)
	}
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o666)
}

func joinColumns(out string, parts []string) error {
	sets, err := joinSets(parts, readColumns, func(to *ColumnSet, s ColumnSet) error {
		for name, x := range to.Columns {
			y := s.Columns[name]
			if y == nil {
				return fmt.Errorf("it has no column %s", name)
			}
			x.Labels, x.Scores, x.Read = append(x.Labels, y.Labels...), append(x.Scores, y.Scores...), append(x.Read, y.Read...)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return checkpoint.WriteJSON(filepath.Join(out, columnsFile), sets)
}

func joinFeatures(out string, parts []string) error {
	all, dimension := map[string][]float32{}, 0
	for k, dir := range parts {
		tensors, err := checkpoint.ReadFile(filepath.Join(dir, featuresFile))
		if err != nil {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(tensors)) {
			x := tensors[name]
			data, err := x.Float32()
			switch {
			case err != nil:
				return err
			case len(x.Shape) != 2 || dimension != 0 && x.Shape[1] != dimension:
				return fmt.Errorf("join: part %d has features %v, and earlier ones have %d numbers", k, x.Shape, dimension)
			}
			all[name], dimension = append(all[name], data...), x.Shape[1]
		}
	}
	tensors := make(map[string]checkpoint.Tensor, len(all))
	for name, data := range all {
		tensors[name] = checkpoint.Floats(data, len(data)/max(1, dimension), dimension)
	}
	return checkpoint.WriteFile(filepath.Join(out, featuresFile), tensors)
}
