package engine

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

//go:embed python/*.py python/requirements.*
var python embed.FS

// kit is the file that every engine in Python is written with.
const kit = "ablate_engine.py"

// templates are the files of engines that Write writes, by name.
var templates = map[string][]string{
	"python":       {"template.py"},
	"diffusers":    {"diffusers_engine.py", "tiny_models.py", "requirements.txt", "requirements.lock"},
	"clip":         {"clip_engine.py", "tiny_models.py", "requirements.txt", "requirements.lock"},
	"verdict":      {"verdict_engine.py"},
	"lora-script":  {"lora_script_engine.py", "requirements.txt", "requirements.lock"},
	"simpletuner":  {"simpletuner_engine.py"},
	"flow-factory": {"flowfactory_engine.py"},
}

// Templates returns the names of the engines that Write writes.
func Templates() []string { return slices.Sorted(maps.Keys(templates)) }

// unwritten returns how to write the program that the command names, as the end of an error, if
// it is missing and has the name of an engine that ships.
func (e *Engine) unwritten() string {
	for _, arg := range e.Command {
		for name, files := range templates {
			if path := filepath.Join(e.Root, arg); filepath.Base(arg) == programOf(files[0]) && !exists(path) {
				return fmt.Sprintf("; 'ablate init --engine %s %s' writes %s", name, filepath.Dir(path), filepath.Base(arg))
			}
		}
	}
	return ""
}

// uninstalled returns how to make the environment of Python in which the program of the command lies,
// as the end of an error, if a list of packages is beside the engine's files or the environment.
func (e *Engine) uninstalled() string {
	python := e.Command[0]
	if !filepath.IsAbs(python) {
		python = filepath.Join(e.Root, python)
	}
	bin := filepath.Dir(python)
	if filepath.Base(bin) != "bin" || !strings.HasPrefix(filepath.Base(python), "python") {
		return ""
	}
	env := filepath.Dir(bin)
	made := fmt.Sprintf("; 'python3 -m venv %s' and '%s", env, filepath.Join(bin, "pip"))
	for _, beside := range append(e.argv(0)[1:], env) {
		lock, list := filepath.Join(filepath.Dir(beside), "requirements.lock"), filepath.Join(filepath.Dir(beside), "requirements.txt")
		switch {
		case !filepath.IsAbs(beside): // an option
		case exists(lock):
			return made + " install --require-hashes -r " + lock + "' make it"
		case exists(list):
			return made + " install -r " + list + "' make it"
		}
	}
	return ""
}

// programOf returns the name under which a file of a template is written.
func programOf(file string) string { return strings.Replace(file, "template", "engine", 1) }

// Write writes an engine of a name and the kit into a folder, and returns the path of its
// program. A program that is there already stays, and is an error; the kit is written again.
func Write(dir, name string) (program string, err error) {
	files, ok := templates[name]
	if !ok {
		return "", fmt.Errorf("unknown engine %q; must be one of %s", name, strings.Join(Templates(), ", "))
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return "", err
	}
	for i, file := range files {
		data, err := python.ReadFile("python/" + file)
		if err != nil {
			return "", err
		}
		path := filepath.Join(dir, programOf(file))
		if i == 0 {
			program = path
		}
		switch err := writeNew(path, data); {
		case errors.Is(err, fs.ErrExist) && i > 0: // the packages of several engines are the same
		case errors.Is(err, fs.ErrExist):
			return "", fmt.Errorf("%s is there already: name another folder", path)
		case err != nil:
			return "", err
		}
	}
	data, err := python.ReadFile("python/" + kit)
	if err != nil {
		return "", err
	}
	return program, os.WriteFile(filepath.Join(dir, kit), data, 0o666)
}

// writeNew writes a file that must not exist.
func writeNew(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}
