package checkpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Weights are the tensors of a component of a checkpoint, which are in one safetensors file or
// in several with an index. The files are mapped into memory: a tensor's bytes are read from the
// disk when they are used, and must not be used after Close.
type Weights struct {
	dir   string
	index string             // name of the index; empty where there is one file
	files map[string]*mapped // by their names
	of    map[string]*mapped // by tensor
}

// A mapped is a safetensors file in memory.
type mapped struct {
	name    string
	data    []byte
	tensors map[string]Tensor
}

// stems are the names of files with weights, before the extension: those of diffusers and of
// transformers.
var stems = []string{"diffusion_pytorch_model", "model"}

// OpenWeights opens the weights of a component's folder. Where it has files of several types of
// numbers, those of 32 bits are used, and otherwise those of the variant fp16 or bf16. Files of
// pickles are refused, because reading one may run any program.
func OpenWeights(dir string) (*Weights, error) {
	w := &Weights{dir: dir, files: map[string]*mapped{}, of: map[string]*mapped{}}
	if err := w.open(); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

func (w *Weights) open() error {
	list, err := os.ReadDir(w.dir)
	if err != nil {
		return err
	}
	have := map[string]bool{}
	var pickle string
	for _, f := range list {
		have[f.Name()] = true
		if ext := filepath.Ext(f.Name()); ext == ".bin" || ext == ".ckpt" || ext == ".pt" || ext == ".pth" {
			pickle = f.Name()
		}
	}
	for _, variant := range []string{"", ".fp16", ".bf16"} {
		for _, stem := range stems {
			if file := stem + variant + ".safetensors"; have[file] {
				return w.whole(file)
			}
			for _, index := range []string{stem + ".safetensors.index" + variant + ".json", stem + variant + ".safetensors.index.json"} {
				if have[index] {
					return w.sharded(index)
				}
			}
		}
	}
	if pickle != "" {
		return fmt.Errorf("%s has %s and no safetensors file: reading a pickle may run any program; convert it where you trust it: in Python, load the model with diffusers or transformers and call save_pretrained(DIR, safe_serialization=True)", w.dir, pickle)
	}
	return fmt.Errorf("%s has no weights: there must be %s.safetensors or %s.safetensors, or an index of several files", w.dir, stems[0], stems[1])
}

// whole adds all tensors of a file.
func (w *Weights) whole(file string) error {
	m, err := w.file(file)
	if err != nil {
		return err
	}
	for name := range m.tensors {
		w.of[name] = m
	}
	return nil
}

// sharded adds the tensors of an index.
func (w *Weights) sharded(index string) error {
	var list struct {
		Map map[string]string `json:"weight_map"`
	}
	path := filepath.Join(w.dir, index)
	w.index = index
	if err := ReadJSON(path, &list, false); err != nil {
		return err
	}
	if len(list.Map) == 0 {
		return fmt.Errorf("%s: weight_map names no tensor", path)
	}
	for _, name := range slices.Sorted(maps.Keys(list.Map)) {
		file := list.Map[name]
		if !filepath.IsLocal(file) || filepath.Base(file) != file {
			return fmt.Errorf("%s: tensor %q is said to be in %q, which is not a file beside the index", path, name, file)
		}
		m, err := w.file(file)
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: tensor %q is said to be in %s: %w", path, name, file, err)
		}
		if err != nil {
			return err
		}
		if _, ok := m.tensors[name]; !ok {
			return fmt.Errorf("%s: tensor %q is said to be in %s, which does not have it", path, name, file)
		}
		w.of[name] = m
	}
	return nil
}

// file maps a file, once.
func (w *Weights) file(name string) (*mapped, error) {
	if m := w.files[name]; m != nil {
		return m, nil
	}
	path := filepath.Join(w.dir, name)
	f, size, err := OpenRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if size == 0 {
		return nil, fmt.Errorf("%s is empty", path)
	}
	m := &mapped{name: name}
	if m.data, err = unix.Mmap(int(f.Fd()), 0, int(size), unix.PROT_READ, unix.MAP_PRIVATE); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	w.files[name] = m
	if m.tensors, err = Decode(m.data); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// Close unmaps the files.
func (w *Weights) Close() error {
	var errs []error
	for _, m := range w.files {
		errs = append(errs, unix.Munmap(m.data))
	}
	w.files, w.of = nil, nil
	return errors.Join(errs...)
}

// Files returns the names of the files that are read, in order, with that of the index.
func (w *Weights) Files() []string {
	names := slices.Collect(maps.Keys(w.files))
	if w.index != "" {
		names = append(names, w.index)
	}
	slices.Sort(names)
	return names
}

// Names returns the names of the tensors in order.
func (w *Weights) Names() []string { return slices.Sorted(maps.Keys(w.of)) }

// Find returns the tensor that has the first of some names which is there, with that name.
func (w *Weights) Find(names ...string) (string, Tensor, error) {
	for _, name := range names {
		if m := w.of[name]; m != nil {
			return name, m.tensors[name], nil
		}
	}
	return "", Tensor{}, fmt.Errorf("%s: tensor %s is missing", w.dir, strings.Join(names, " or "))
}

// File returns the path of the file that has a tensor.
func (w *Weights) File(tensor string) string {
	if m := w.of[tensor]; m != nil {
		return filepath.Join(w.dir, m.name)
	}
	return w.dir
}
