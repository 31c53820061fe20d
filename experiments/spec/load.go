package spec

import (
	"bytes"
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
	r := &reader{m: &mistakes{}, file: path, alive: o.Alive}
	if r.alive == nil {
		r.alive = func() {}
	}
	s, err = r.load(path, o)
	if err == nil {
		err = r.m.err()
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// load reads a study; its mistakes are in r.m.
func (r *reader) load(path string, o Options) (*Study, error) {
	fail := func(err error) (*Study, error) { return nil, fmt.Errorf("study %s: %w", path, err) }
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		r.m.add(where{file: path}, "", "there is no such folder or file", beside(path))
		return nil, nil
	} else if err != nil {
		return fail(err)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return fail(err)
	}
	if r.cwd, err = os.Getwd(); err != nil {
		return fail(err)
	}
	r.file = r.name(abs)
	dir, args := abs, []string{"."}
	if !info.IsDir() {
		dir, args = filepath.Dir(abs), []string{filepath.Base(abs)}
	}
	root := moduleRoot(dir)
	if root == "" {
		r.m.add(where{file: r.file}, "", "it lies in no CUE module: no folder at or above it holds cue.mod", "'ablate init DIR' makes a module with an example study")
		return nil, nil
	}
	s := &Study{Root: root, Dir: dir, Version: schema.Version}
	if info.IsDir() && !importable(root, dir) {
		if args, err = packageFiles(dir); err != nil {
			return fail(err)
		}
	}
	named := abs
	if !info.IsDir() && alone(abs) {
		named = dir // the file is the package
	}
	s.Name, s.Path = studyName(root, named)
	r.dir = dir
	ctx := cuecontext.New()
	if r.grammar, err = compile(ctx); err != nil {
		return fail(err)
	}
	vendored, differs, err := overlay(root)
	if err != nil {
		return fail(err)
	}
	if differs {
		s.Notes = append(s.Notes, "the module's copy of the schema ("+r.name(vendored.dir)+") differs from this program's own, which is used: 'ablate init' there renews it")
	}
	r.schemaDir = vendored.dir
	// The study is evaluated twice: as it is, which alone knows what it stands
	// for, and with a schema that allows everything, so that every mistake can be
	// found where CUE's first one would hide the others.
	build := func(overlay map[string]load.Source) (cue.Value, error) {
		defer r.alive()
		insts := load.Instances(args, &load.Config{
			Dir: dir, ModuleRoot: root, Overlay: overlay, Env: append(os.Environ(), "CUE_REGISTRY=none"),
		})
		if len(insts) != 1 {
			return cue.Value{}, fmt.Errorf("%d packages where a study is one", len(insts))
		}
		if err := insts[0].Err; err != nil {
			return cue.Value{}, err
		}
		v := ctx.BuildInstance(insts[0])
		return v, v.Validate()
	}
	r.alive()
	v, err := build(vendored.loose)
	if err != nil {
		r.cue(err)
		if !v.LookupPath(cue.ParsePath("seeds")).Exists() {
			return nil, nil
		}
	}
	strict := error(nil)
	r.real, strict = build(vendored.real)
	r.study(v, s, o)
	s.Files = r.files
	for _, err := range append(r.doubts, strict) {
		if err != nil && len(r.m.list) == 0 {
			r.cue(err) // CUE knows something that nothing here looks for
		}
	}
	return s, nil
}

// beside names the nearest of what lies where a path should be.
func beside(path string) string {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return "name a folder or file of a CUE package"
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() || filepath.Ext(e.Name()) == ".cue" {
			names = append(names, e.Name())
		}
	}
	if n := nearest(filepath.Base(path), names); n != "" {
		return fmt.Sprintf("did you mean %s?", filepath.Join(filepath.Dir(path), n))
	}
	return "name a folder or file of a CUE package"
}

// moduleRoot finds the folder that holds cue.mod, at or above dir; "" if none does.
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

// importable reports whether CUE takes a folder's path for the path of a package.
// That of one with a space, an umlaut or a bracket is none, and CUE then complains
// of something else.
func importable(root, dir string) bool {
	rel, err := filepath.Rel(root, dir)
	return err != nil || rel == "." || plainPath.MatchString(filepath.ToSlash(rel))
}

var plainPath = regexp.MustCompile(`^[A-Za-z0-9_~+-][A-Za-z0-9_.~+-]*(/[A-Za-z0-9_~+-][A-Za-z0-9_.~+-]*)*$`)

// packageFiles are the files of a folder that make its package: those that CUE
// takes when it is given the folder.
func packageFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, d := range entries {
		name := d.Name()
		if filepath.Ext(name) == ".cue" && !d.IsDir() && !strings.HasSuffix(name, "_tool.cue") && !strings.HasSuffix(name, "_test.cue") && name[0] != '_' && name[0] != '.' {
			files = append(files, name)
		}
	}
	if files == nil {
		files = []string{"."} // CUE says that there is none
	}
	return files, nil
}

// alone reports whether a file is the only one of its folder that can be part of a
// package.
func alone(file string) bool {
	entries, err := os.ReadDir(filepath.Dir(file))
	return err == nil && !slices.ContainsFunc(entries, func(d fs.DirEntry) bool {
		return filepath.Ext(d.Name()) == ".cue" && d.Name() != filepath.Base(file)
	})
}

// studyName is a study's name: where its package or file lies below the module's
// root. Its path from there is the same, but for a study at the root itself, which
// has the root's name.
func studyName(root, study string) (name, path string) {
	rel, err := filepath.Rel(root, study)
	if err != nil || rel == "." {
		return filepath.Base(root), "."
	}
	return filepath.ToSlash(rel), rel
}

// moduleLine finds the module's path in module.cue.
var moduleLine = regexp.MustCompile(`(?m)^\s*module:\s*"([^"@]*)`)

// overlays put the program's own schema where the study's import finds it, in
// the place of every file that lies there.
type overlays struct {
	dir         string // of the schema in the study's module
	real, loose map[string]load.Source
}

// overlay lays out the schema for a module, and says whether the copy that lies
// there is another.
func overlay(root string) (o overlays, differs bool, err error) {
	text, err := os.ReadFile(filepath.Join(root, "cue.mod", "module.cue"))
	if err != nil {
		return o, false, fmt.Errorf("its module: %w", err)
	}
	o = overlays{dir: filepath.Join(root, "cue.mod", "pkg", filepath.FromSlash(schema.ImportPath)), real: map[string]load.Source{}, loose: map[string]load.Source{}}
	domain, name, _ := strings.Cut(schema.ImportPath, "/")
	own := false
	if m := moduleLine.FindSubmatch(text); m != nil && string(m[1]) == domain {
		o.dir, own = filepath.Join(root, name), true // this repository's own module
	}
	vendored := map[string]bool{}
	// Not by a pattern: the module's own path may hold what means something to one.
	err = filepath.WalkDir(o.dir, func(f string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(f) != ".cue" {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		vendored[f] = true
		empty := load.FromString("package " + filepath.Base(filepath.Dir(f)) + "\n")
		o.real[f], o.loose[f] = empty, empty
		return nil
	})
	if err != nil {
		return o, false, fmt.Errorf("the module's copy of the schema: %w", err)
	}
	names, err := schema.Names()
	if err != nil {
		return o, false, fmt.Errorf("schema: %w", err)
	}
	for _, name := range names {
		src, err := schema.Files.ReadFile(name)
		if err != nil {
			return o, false, fmt.Errorf("schema: %w", err)
		}
		at := filepath.Join(o.dir, filepath.FromSlash(name))
		if old, err := os.ReadFile(at); len(vendored) > 0 && !own && (err != nil || !bytes.Equal(old, src)) {
			differs = true
		}
		delete(vendored, at)
		o.real[at], o.loose[at] = load.FromBytes(src), load.FromBytes(src)
		if !strings.Contains(name, "/") {
			open, err := loosened(name, src)
			if err != nil {
				return o, false, fmt.Errorf("schema: %w", err)
			}
			o.loose[at] = load.FromBytes(open)
		}
	}
	return o, differs || !own && len(vendored) > 0, nil
}

// reader reads one study and gathers its mistakes.
type reader struct {
	*grammar
	m         *mistakes
	real      cue.Value // the study under the schema itself
	file      string    // the study, for mistakes without a place
	cwd       string
	dir       string // the study's own folder
	schemaDir string
	files     []File
	alive     func()
	doubts    []error // of structs that could not be read in full
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
	return p.IsValid() && p.Filename() != "" && !strings.HasPrefix(p.Filename(), r.schemaDir+string(filepath.Separator)) && filepath.Ext(p.Filename()) == ".cue" && filepath.IsAbs(p.Filename())
}

func (r *reader) at(p token.Pos) where {
	return where{r.name(p.Filename()), p.Line(), p.Column()}
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
		// Why an import failed is in the error below, with the same place.
		if cause := cueerrors.Error(nil); strings.HasSuffix(msg, "import failed") && errors.As(errors.Unwrap(e), &cause) {
			format, args := cause.Msg()
			msg = strings.Join(strings.Fields(fmt.Sprintf(format, args...)), " ")
		}
		switch {
		case multiple.MatchString(e.Error()):
			msg, hint = "the folder holds two packages: "+multiple.FindString(e.Error()), "a study is one package: name one file, or put each into a folder of its own"
		case strings.HasPrefix(msg, "reference ") && strings.HasSuffix(msg, " not found"):
			hint = "define it in this package, import it, or quote it if it is a string"
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

// fields lists a struct's regular fields; a mistake if v is none. Of a struct in
// which CUE finds an error, only the known fields can be had.
func (r *reader) fields(v cue.Value, path string, want string, known ...string) []field {
	var out []field
	if err := v.Err(); err != nil {
		r.doubts = append(r.doubts, err)
		for _, name := range known {
			if f := v.LookupPath(cue.MakePath(cue.Str(name))); f.Exists() {
				out = append(out, field{name, f})
			}
		}
		return out
	}
	it, err := v.Fields()
	if err != nil || v.IncompleteKind() != cue.StructKind {
		r.m.add(r.place(v), path, fmt.Sprintf("%s is no struct; must be %s", text(v), want), "")
		return nil
	}
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
