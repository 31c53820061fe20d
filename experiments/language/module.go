package language

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/build"
	cueerrors "cuelang.org/go/cue/errors"
	"cuelang.org/go/cue/inject/embed"
	"cuelang.org/go/cue/load"
	"cuelang.org/go/cue/token"

	"ablate/experiments/schema"
)

// moduleRoot returns the folder that contains cue.mod, at or above dir, or "" if there is none.
func moduleRoot(dir string) string {
	for at := dir; ; at = filepath.Dir(at) {
		if info, err := os.Stat(filepath.Join(at, "cue.mod")); err == nil && info.IsDir() {
			return at
		}
		if at == filepath.Dir(at) {
			return ""
		}
	}
}

// moduleLine matches the module's path in module.cue.
var moduleLine = regexp.MustCompile(`(?m)^\s*module:\s*"([^"@]*)`)

// A module is the CUE module of a study. Overlays put the program's schema at the path of the
// study's import, and replace every other file there.
type module struct {
	root, path    string // folder; module path without a version
	schemaDir     string // folder of the schema in the module
	strict, loose map[string]load.Source
	differs       bool // the module's copy of the schema differs from the program's
}

func openModule(root string) (*module, error) {
	text, err := os.ReadFile(filepath.Join(root, "cue.mod", "module.cue"))
	if err != nil {
		return nil, fmt.Errorf("its module: %w", err)
	}
	m := &module{root: root, schemaDir: filepath.Join(root, "cue.mod", "pkg", filepath.FromSlash(schema.ImportPath)),
		strict: map[string]load.Source{}, loose: map[string]load.Source{}}
	if name := moduleLine.FindSubmatch(text); name != nil {
		m.path = string(name[1])
	}
	domain, name, _ := strings.Cut(schema.ImportPath, "/")
	own := m.path == domain
	if own { // this repository's own module
		m.schemaDir = filepath.Join(root, name)
	}
	vendored := map[string][]byte{}
	if err := vendoredFiles(m.schemaDir, vendored, true); err != nil {
		return nil, fmt.Errorf("its copy of the schema: %w", err)
	}
	for file := range vendored {
		empty := load.FromString("package " + filepath.Base(filepath.Dir(file)) + "\n")
		m.strict[file], m.loose[file] = empty, empty
	}
	names, err := schema.Names()
	if err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	same := 0
	for _, name := range names {
		src, err := schema.Files.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("schema: %w", err)
		}
		at := filepath.Join(m.schemaDir, filepath.FromSlash(name))
		if bytes.Equal(vendored[at], src) {
			same++
		}
		m.strict[at], m.loose[at] = load.FromBytes(src), load.FromBytes(src)
		if !strings.Contains(name, "/") {
			open, err := loosened(name, src)
			if err != nil {
				return nil, fmt.Errorf("schema: %w", err)
			}
			m.loose[at] = load.FromBytes(open)
		}
	}
	m.differs = !own && len(vendored) > 0 && (same < len(names) || same < len(vendored))
	return m, nil
}

// vendoredFiles reads the CUE files in a folder and, with deeper, in its subfolders.
func vendoredFiles(dir string, files map[string][]byte, deeper bool) error {
	list, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	for _, e := range list {
		name := filepath.Join(dir, e.Name())
		info, err := os.Stat(name)
		switch {
		case err != nil: // a broken link
		case info.IsDir() && deeper:
			if err := vendoredFiles(name, files, false); err != nil {
				return err
			}
		case info.Mode().IsRegular() && filepath.Ext(name) == ".cue":
			if files[name], err = os.ReadFile(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// build evaluates the package in dir, or one file of it, with an overlay.
//
// A package is given to CUE by its files, because CUE otherwise requires that the names of the
// folders above a package are valid in an import path. A study's folder may have any name.
func (m *module) build(ctx *cue.Context, dir, file string, overlay map[string]load.Source) (cue.Value, error) {
	config := load.Config{Dir: dir, ModuleRoot: m.root, Overlay: overlay, Env: append(os.Environ(), "CUE_REGISTRY=none")}
	var err error
	args := []string{"cue:"} // declares the type of the files, whatever their names are
	if file != "" {
		args = append(args, file)
	} else {
		only := config
		only.SkipImports = true
		if only.Overlay, err = m.quiet(dir, overlay); err != nil {
			return cue.Value{}, err
		}
		inst, err := one(load.Instances([]string{"."}, &only))
		if err != nil {
			return cue.Value{}, err
		}
		for _, f := range inst.BuildFiles {
			args = append(args, f.Filename)
		}
	}
	inst, err := one(load.Instances(args, &config))
	if err != nil {
		return cue.Value{}, err
	}
	// CUE does not set these for a package that is given by its files, and needs them to embed
	// files.
	inst.Module, inst.Root = m.path, m.root
	if err := m.embeds(inst, map[*build.Instance]bool{}); err != nil {
		return cue.Value{}, err
	}
	v := ctx.BuildInstance(inst)
	return v, v.Validate()
}

// quiet hides devices, pipes and broken links in a package's folder and those above, because
// CUE reads all files there, and reading some of these never ends.
func (m *module) quiet(dir string, overlay map[string]load.Source) (map[string]load.Source, error) {
	overlay = maps.Clone(overlay)
	for at := dir; ; at = filepath.Dir(at) {
		list, err := os.ReadDir(at)
		if err != nil {
			return nil, err
		}
		for _, e := range list {
			name := filepath.Join(at, e.Name())
			info, err := os.Stat(name)
			if err == nil && (info.IsDir() || info.Mode().IsRegular()) {
				continue
			}
			if filepath.Ext(name) == ".cue" && at == dir {
				return nil, &refusal{file: name, msg: "it is not a regular file", hint: "leave it out of the study's folder"}
			}
			overlay[name] = load.FromString("")
		}
		if at == m.root {
			return overlay, nil
		}
	}
}

func one(insts []*build.Instance) (*build.Instance, error) {
	if len(insts) != 1 {
		return nil, fmt.Errorf("there are %d packages, and a study is one package", len(insts))
	}
	if err := insts[0].Err; err != nil {
		return nil, err
	}
	return insts[0], nil
}

// refusal is the error for a file that a study names and must not read.
type refusal struct {
	file      string
	pos       token.Pos // may be invalid
	about     string
	msg, hint string
}

func (r *refusal) Error() string { return r.file + ": " + r.msg }

// embeds returns an error if the study embeds files outside the module. CUE itself refuses
// paths that leave the module, but follows links.
func (m *module) embeds(inst *build.Instance, seen map[*build.Instance]bool) error {
	if seen[inst] {
		return nil
	}
	seen[inst] = true
	root, err := filepath.EvalSymlinks(m.root)
	if err != nil {
		return err
	}
	for _, f := range inst.Files {
		list, err := embed.EmbeddedPaths(filepath.Base(f.Filename), f)
		if err != nil {
			return cueerrors.Wrapf(err, err.Position(), "@embed") // keeps CUE's message
		}
		dir := filepath.Dir(f.Filename)
		if len(list) > 0 && strings.ContainsAny(dir, `\:`) {
			return &refusal{f.Filename, list[0].Attribute.Pos, "@embed", fmt.Sprintf("CUE cannot embed files below a folder with a backslash or a colon in its name, as in %q", dir), "rename the folder"}
		}
		for _, e := range list {
			names, err := e.FindAll(os.DirFS(dir))
			if err != nil {
				continue // CUE reports this error
			}
			for _, name := range names {
				no := &refusal{file: f.Filename, pos: e.Attribute.Pos, about: "@embed"}
				target, err := filepath.EvalSymlinks(filepath.Join(dir, filepath.FromSlash(name)))
				if err != nil {
					continue
				}
				if rel, err := filepath.Rel(root, target); err != nil || !filepath.IsLocal(rel) {
					no.msg, no.hint = fmt.Sprintf("%s points to %s, which is outside of the module", name, target), "a study embeds files of its own module: copy the file into it"
					return no
				}
				if info, err := os.Stat(target); err == nil && !info.Mode().IsRegular() && !info.IsDir() {
					no.msg, no.hint = name+" is neither a file nor a folder", "a study embeds regular files"
					return no
				}
			}
		}
	}
	for _, in := range inst.Imports {
		if err := m.embeds(in, seen); err != nil {
			return err
		}
	}
	return nil
}
