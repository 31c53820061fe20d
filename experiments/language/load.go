package language

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
	"cuelang.org/go/cue/cuecontext"
	cueerrors "cuelang.org/go/cue/errors"
	"cuelang.org/go/cue/load"
	"cuelang.org/go/cue/token"

	"ablate/experiments/schema"
)

// Load reads the study in a folder or in one file, checks it and expands it to its trials.
// Mistakes of the study or of o.Set give an *Errors with every mistake that was found; other
// errors name the folder.
//
// The schema is always the program's own, even if the study's module has another copy, and no
// CUE registry is used.
func Load(path string, o Options) (s *Study, err error) {
	defer func() { // CUE's evaluator may panic on unusual input
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

// load reads a study. Its mistakes are in r.m.
func (r *reader) load(path string, o Options) (*Study, error) {
	fail := func(err error) (*Study, error) { return nil, fmt.Errorf("study %s: %w", path, err) }
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		r.m.add(where{file: path}, "", "there is no such folder or file", beside(path))
		return nil, nil
	} else if err != nil {
		return fail(err)
	}
	if info.Mode().IsRegular() && filepath.Ext(path) != ".cue" {
		r.m.add(where{file: path}, "", "it is not a CUE file", "a study is a folder, or a file that ends in .cue")
		return nil, nil
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return fail(err)
	}
	if r.cwd, err = os.Getwd(); err != nil {
		return fail(err)
	}
	r.file = r.name(abs)
	dir, file := abs, ""
	if !info.IsDir() {
		dir, file = filepath.Dir(abs), filepath.Base(abs)
	}
	root := moduleRoot(dir)
	switch {
	case root == "":
		r.m.add(where{file: r.file}, "", "it is not in a CUE module: no folder at or above it contains cue.mod", "'ablate init DIR' makes a module with an example study")
		return nil, nil
	case !info.IsDir() && !info.Mode().IsRegular():
		r.m.add(where{file: r.file}, "", "it is neither a file nor a folder", "name a folder or file of a CUE package")
		return nil, nil
	case strings.Contains(filepath.Base(abs), ":"):
		r.m.add(where{file: r.file}, "", fmt.Sprintf("CUE cannot read a file or folder with a colon in its name, such as %q", filepath.Base(abs)), "rename it: all other characters are allowed")
		return nil, nil
	}
	s := &Study{Root: root, Dir: dir, Version: schema.Version}
	named := abs
	if !info.IsDir() && alone(abs) {
		named = dir // the file is the whole package
	}
	s.Declared, s.Path = studyName(root, named)
	s.Name = s.Declared
	r.dir = dir
	ctx := cuecontext.New()
	if r.grammar, err = compile(ctx); err != nil {
		return fail(err)
	}
	m, err := openModule(root)
	if err != nil {
		return fail(err)
	}
	if m.differs {
		s.Notes = append(s.Notes, "the module's copy of the schema ("+r.name(m.schemaDir)+") differs from this program's, which is used instead: run 'ablate init' there to update it")
	}
	r.schemaDir = m.schemaDir
	s.Machine, s.MachineEngines = r.machine(ctx, root, o.Stages)
	// The study is evaluated twice: under the schema, which alone gives the right values, and
	// under one that allows everything, so that all mistakes are found where CUE would stop at
	// the first.
	build := func(overlay map[string]load.Source) (cue.Value, error) {
		defer r.alive()
		return m.build(ctx, dir, file, overlay)
	}
	r.alive()
	v, err := build(m.loose)
	if err != nil {
		r.cue(err)
		if !v.LookupPath(cue.ParsePath("seeds")).Exists() {
			return nil, nil
		}
	}
	strict := error(nil)
	r.real, strict = build(m.strict)
	if v.LookupPath(cue.ParsePath("from")).Exists() { // the study is an #Imported
		switch {
		case strict != nil:
			r.cue(strict)
		case len(o.Set) > 0:
			r.m.add(where{file: r.file}, "", "--set cannot change a study of imported results", "leave --set out")
		default:
			r.imported(r.real, s)
		}
		return s, nil
	}
	r.study(v, s, o)
	s.Files, s.Tagged = r.files, r.tagged
	for _, err := range append(r.doubts, strict) {
		if err != nil && len(r.m.list) == 0 {
			r.cue(err) // CUE found an error that is not checked here
		}
	}
	return s, nil
}

// beside returns a hint with the nearest existing name in the folder of a missing path.
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
	if n := Nearest(filepath.Base(path), names); n != "" {
		return fmt.Sprintf("did you mean %s?", filepath.Join(filepath.Dir(path), n))
	}
	return "name a folder or file of a CUE package"
}

// alone reports whether a file is the only file of a package in its folder. The file of the
// site is no part of a package.
func alone(file string) bool {
	entries, err := os.ReadDir(filepath.Dir(file))
	return err == nil && !slices.ContainsFunc(entries, func(d fs.DirEntry) bool {
		return filepath.Ext(d.Name()) == ".cue" && d.Name() != filepath.Base(file) && d.Name() != MachineFile
	})
}

// studyName returns a study's name, the path of its package or file below the module's root,
// and its path from there. A study at the root itself has the root's name and the path ".".
func studyName(root, study string) (name, path string) {
	rel, err := filepath.Rel(root, study)
	if err != nil || rel == "." {
		return filepath.Base(root), "."
	}
	path = rel
	if rel[0] == '-' { // otherwise a command would parse it as a flag
		path = "." + string(filepath.Separator) + rel
	}
	return filepath.ToSlash(rel), path
}

// reader reads one study and collects its mistakes.
type reader struct {
	*grammar
	m         *mistakes
	real      cue.Value // the study under the program's schema
	file      string    // the study, for mistakes without a position
	cwd       string
	dir       string // the study's own folder
	root      string // of the module
	schemaDir string
	files     []File
	tagged    []Tagged
	byTag     bool     // the study has engines, whose prompts may have any categories
	judged    []string // metrics of the study's judges
	alive     func()
	doubts    []error // errors of CUE in structs that could not be read in full
}

// name returns a path as the user would write it: relative where that is shorter.
func (r *reader) name(file string) string {
	if rel, err := filepath.Rel(r.cwd, file); err == nil && len(rel) < len(file) {
		return rel
	}
	return file
}

// own reports whether a position is in a file of the user.
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

// cue converts errors of CUE into mistakes, at the user's own position where there is one.
func (r *reader) cue(err error) {
	if no := (*refusal)(nil); errors.As(err, &no) {
		at := where{file: r.name(no.file)}
		if no.pos.IsValid() {
			at = r.at(no.pos)
		}
		r.m.add(at, no.about, no.msg, no.hint)
		return
	}
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
		// The reason why an import failed is in the wrapped error, with the same position.
		if cause := cueerrors.Error(nil); strings.HasSuffix(msg, "import failed") && errors.As(errors.Unwrap(e), &cause) {
			format, args := cause.Msg()
			msg = strings.Join(strings.Fields(fmt.Sprintf(format, args...)), " ")
		}
		if strings.HasPrefix(msg, "@") { // CUE's message is the attribute's name
			if cause := cueerrors.Error(nil); errors.As(errors.Unwrap(e), &cause) {
				format, args := cause.Msg()
				msg += ": " + fmt.Sprintf(format, args...)
			}
			hint = "a study embeds files of its own folder and of the folders in it: copy the file there, and name it as in @embed(file=prompts.json)"
		}
		switch {
		case multiple.MatchString(e.Error()):
			msg, hint = "the folder has two packages: "+multiple.FindString(e.Error()), "a study is one package: name one file, or put each into a folder of its own"
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

// hashSet returns a hash of the changes by --set, for the name of the folder of results.
func hashSet(p partial) string {
	sum := sha256.Sum256([]byte(strings.Join(p.lines(), "\n")))
	return hex.EncodeToString(sum[:4])
}

// fields returns a struct's regular fields, and adds a mistake if v is not a struct. Of a
// struct in which CUE finds an error, it returns only known fields.
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
		r.m.add(r.place(v), path, fmt.Sprintf("%s is not a struct; must be %s", text(v), want), "")
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

// names returns the names of fields.
func names(list []field) []string {
	var out []string
	for _, f := range list {
		out = append(out, f.name)
	}
	return out
}

func contains(list []string, s string) bool { return slices.Contains(list, s) }
