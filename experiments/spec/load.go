package spec

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/build"
	"cuelang.org/go/cue/cuecontext"
	cueerrors "cuelang.org/go/cue/errors"
	"cuelang.org/go/cue/load"
	"cuelang.org/go/cue/token"

	"ablate/experiments/schema"
)

// Load reads the study in a folder, or in one file, checks it and expands it to
// its trials. A mistake of the study, or of o.Set, is an *Errors with every
// mistake that was found; other errors name the folder.
//
// The schema that the study imports is the program's own, whatever copy of it
// lies in the study's module, and no registry is asked for anything.
func Load(path string, o Options) (s *Study, err error) {
	defer func() { // CUE's evaluator may panic on what nobody has written before
		if p := recover(); p != nil {
			s, err = nil, fmt.Errorf("study %s: cannot be evaluated (%v): simplify it, or report this", path, p)
		}
	}()
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("study %s: there is no such folder or file", path)
	} else if err != nil {
		return nil, fmt.Errorf("study %s: %w", path, err)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("study %s: %w", path, err)
	}
	dir, arg := abs, "."
	if !info.IsDir() {
		dir, arg = filepath.Dir(abs), filepath.Base(abs)
	}
	root, err := moduleRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("study %s: %w", path, err)
	}
	ctx := cuecontext.New()
	g, err := compile(ctx)
	if err != nil {
		return nil, err
	}
	overlay, schemaDir, err := overlay(root)
	if err != nil {
		return nil, fmt.Errorf("study %s: %w", path, err)
	}
	r := &reader{grammar: g, schemaDir: schemaDir, m: &mistakes{}}
	if r.cwd, err = os.Getwd(); err != nil {
		return nil, fmt.Errorf("study %s: %w", path, err)
	}
	r.file = r.name(abs)
	insts := load.Instances([]string{arg}, &load.Config{
		Dir: dir, ModuleRoot: root, Overlay: overlay, Env: append(os.Environ(), "CUE_REGISTRY=none"),
	})
	v, ok := r.build(ctx, insts)
	if !ok {
		return nil, r.m.err()
	}
	s = &Study{Name: studyName(root, dir), Root: root, Dir: dir, Version: schema.Version}
	r.study(v, s, o)
	if err := r.m.err(); err != nil {
		return nil, err
	}
	return s, nil
}

// moduleRoot finds the folder that holds cue.mod, at or above dir.
func moduleRoot(dir string) (string, error) {
	for at := dir; ; at = filepath.Dir(at) {
		if info, err := os.Stat(filepath.Join(at, "cue.mod")); err == nil && info.IsDir() {
			return at, nil
		}
		if at == filepath.Dir(at) {
			return "", errors.New(`it lies in no CUE module: put a file cue.mod/module.cue with 'module: "example.com/studies"' and 'language: version: "v0.17.0"' beside your studies`)
		}
	}
}

func studyName(root, dir string) string {
	rel, err := filepath.Rel(root, dir)
	if err != nil || rel == "." {
		return filepath.Base(root)
	}
	return filepath.ToSlash(rel)
}

// moduleLine finds the module's path in module.cue.
var moduleLine = regexp.MustCompile(`(?m)^\s*module:\s*"([^"@]*)`)

// overlay puts the loosened schema where the study's import finds it, in the
// place of every file that lies there, and returns that folder.
func overlay(root string) (map[string]load.Source, string, error) {
	loose, err := loosened()
	if err != nil {
		return nil, "", fmt.Errorf("schema: %w", err)
	}
	text, err := os.ReadFile(filepath.Join(root, "cue.mod", "module.cue"))
	if err != nil {
		return nil, "", fmt.Errorf("its module: %w", err)
	}
	dir := filepath.Join(root, "cue.mod", "pkg", filepath.FromSlash(schema.ImportPath))
	domain, name, _ := strings.Cut(schema.ImportPath, "/")
	if m := moduleLine.FindSubmatch(text); m != nil && string(m[1]) == domain {
		dir = filepath.Join(root, name) // this repository's own module
	}
	out := map[string]load.Source{}
	if list, err := filepath.Glob(filepath.Join(dir, "*.cue")); err == nil {
		for _, f := range list {
			out[f] = load.FromString("package schema\n")
		}
	}
	out[filepath.Join(dir, "study.cue")] = load.FromBytes(loose)
	return out, dir, nil
}

// reader reads one study and gathers its mistakes.
type reader struct {
	*grammar
	m         *mistakes
	file      string // the study, for mistakes without a place
	cwd       string
	schemaDir string
}

// name is a file as the user would name it: relative where that is shorter.
func (r *reader) name(file string) string {
	if rel, err := filepath.Rel(r.cwd, file); err == nil && len(rel) < len(file) {
		return rel
	}
	return file
}

// own reports whether a position lies in what the user wrote.
func (r *reader) own(p token.Pos) bool {
	return p.IsValid() && p.Filename() != "" && filepath.Dir(p.Filename()) != r.schemaDir && filepath.Ext(p.Filename()) == ".cue" && filepath.IsAbs(p.Filename())
}

func (r *reader) at(p token.Pos) where {
	return where{r.name(p.Filename()), p.Line(), p.Column()}
}

// build evaluates what was loaded; false if there are mistakes.
func (r *reader) build(ctx *cue.Context, insts []*build.Instance) (cue.Value, bool) {
	if len(insts) != 1 {
		r.m.add(where{file: r.file}, "", fmt.Sprintf("%d packages where a study is one", len(insts)), "name one file of it, or put each into a folder of its own")
		return cue.Value{}, false
	}
	if err := insts[0].Err; err != nil {
		r.cue(err)
		return cue.Value{}, false
	}
	v := ctx.BuildInstance(insts[0])
	if err := v.Validate(); err != nil {
		r.cue(err)
		return cue.Value{}, false
	}
	return v, true
}

var (
	multiple  = regexp.MustCompile(`found packages ("?)(\w+)"? \(([^)]*)\) and "?(\w+)"? \(([^)]*)\)`)
	noPackage = regexp.MustCompile(`(?i)no (cue files|files|packages|instances)|build constraints exclude`)
)

// cue turns errors of CUE into mistakes, the user's own position first.
func (r *reader) cue(err error) {
	for _, e := range cueerrors.Errors(err) {
		at := where{file: r.file}
		for _, p := range append([]token.Pos{e.Position()}, e.InputPositions()...) {
			if r.own(p) {
				at = r.at(p)
				break
			}
		}
		format, args := e.Msg()
		msg := strings.Join(strings.Fields(fmt.Sprintf(format, args...)), " ")
		hint := ""
		switch {
		case multiple.MatchString(e.Error()):
			msg, hint = "the folder holds two packages: "+multiple.FindString(e.Error()), "a study is one package: name one file, or put each into a folder of its own"
		case noPackage.MatchString(e.Error()):
			msg, hint = "there is no CUE package here", `a study is a folder with a .cue file that begins with "package NAME"`
		case strings.Contains(e.Error(), "cannot find package") || strings.Contains(e.Error(), "import failed") || strings.Contains(e.Error(), "no dependency") || strings.Contains(e.Error(), "cannot find module"):
			hint = "import " + schema.ImportPath + ", a package of this module, or one of CUE's own"
		}
		r.m.add(at, strings.Join(e.Path(), "."), msg, hint)
	}
}

// hashSet names what --set changes, for the folder of results.
func hashSet(p partial) string {
	sum := sha256.Sum256([]byte(strings.Join(p.lines(), "\n")))
	return hex.EncodeToString(sum[:4])
}

// fields lists a struct's regular fields; a mistake if v is none.
func (r *reader) fields(v cue.Value, path string, want string) []field {
	it, err := v.Fields()
	if err != nil || v.IncompleteKind() != cue.StructKind {
		r.m.add(r.place(v), path, fmt.Sprintf("%s is no struct; must be %s", text(v), want), "")
		return nil
	}
	var out []field
	for it.Next() {
		out = append(out, field{it.Selector().Unquoted(), it.Value()})
	}
	return out
}

type field struct {
	name  string
	value cue.Value
}

// names are the fields' names.
func names(list []field) []string {
	var out []string
	for _, f := range list {
		out = append(out, f.name)
	}
	return out
}

func contains(list []string, s string) bool { return slices.Contains(list, s) }
