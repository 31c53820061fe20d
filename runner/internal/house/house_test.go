package house

import (
	"cmp"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	module = "ablate"
	root   = "../../.."
)

// A source is one Go file of the repository, whatever its build tags.
type source struct {
	path    string // from the repository's root
	pkg     string // its folder
	name    string // in its package clause
	doc     string
	imports []string
}

func (s source) test() bool { return strings.HasSuffix(s.path, "_test.go") }

// sources parses every Go file below the root.
func sources(t *testing.T) []source {
	t.Helper()
	var list []source
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if n := d.Name(); p != root && (n[0] == '.' || n == "testdata" || n == "vendor") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(p, ".go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), p, nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		list = append(list, parsed(t, p, f))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(list) < 50 {
		t.Fatalf("only %d Go files found: is this the repository's root?", len(list))
	}
	return list
}

func parsed(t *testing.T, p string, f *ast.File) source {
	t.Helper()
	rel, err := filepath.Rel(root, p)
	if err != nil {
		t.Fatal(err)
	}
	rel = filepath.ToSlash(rel)
	s := source{path: rel, pkg: path.Dir(rel), name: f.Name.Name, doc: f.Doc.Text()}
	for _, i := range f.Imports {
		name, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		s.imports = append(s.imports, name)
	}
	return s
}

// within reports whether an import path or folder is dir or lies below it.
func within(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }

// room returns the part of the repository to which a folder belongs.
func room(dir string) string {
	for _, r := range []string{"runner", "reports", "analysis", "models", "experiments/language", "experiments/schema", "docs"} {
		if within(dir, r) {
			return r
		}
	}
	return "" // main.go
}

// allowed lists the rooms that each room may import besides itself; see ARCHITECTURE.md,
// "What may import what".
var allowed = map[string][]string{
	"":                     {"runner"},
	"runner":               {"reports", "analysis", "models", "experiments/language", "experiments/schema", "docs"},
	"reports":              {"analysis"},
	"analysis":             {},
	"models":               {},
	"experiments/language": {"experiments/schema"},
	"experiments/schema":   {},
	"docs":                 {},
}

// owners lists modules that only one part of the repository may import.
var owners = []struct{ imported, owner string }{
	{"cuelang.org/go", "experiments/language"},
	{"github.com/gomlx", "models"},
	{"github.com/apache/arrow", "analysis/table"},
	{"gonum.org/v1/plot", "reports/figure"},
	{"github.com/rs/zerolog", "runner"},
	{"github.com/spf13/cobra", "runner/cli"},
	{"golang.org/x/term", "runner/cli"},
}

// layers orders the packages of runner, the command line first. A package may import only
// packages of later layers.
var layers = [][]string{
	{"runner/cli"},
	{"runner/report", "runner/export", "runner/native", "runner/checkup", "runner/worker", "runner/status", "runner/cluster", "runner/verify", "runner/sample"},
	{"runner/people"},
	{"runner/result"},
	{"runner/project"},
	{"runner/device", "runner/sandbox", "runner/selection", "runner/module", "runner/plan", "runner/run"},
	{"runner/lookup"},
	{"runner/failure"},
	{"runner/layout"},
	{"runner/stage", "runner/store", "runner/dag", "runner/imported"},
	{"runner/engine/kit"},
	{"runner/engine"},
	{"runner/launch"},
	{"runner/resource"},
	{"runner/hub", "runner/hub/hubtest", "runner/labels"},
	{"runner/rows"},
	{"runner/world", "runner/phrase", "runner/program"},
}

// layer returns the index of a package of runner in layers, and -1 for other packages,
// such as the command of a benchmark, which may import all layers.
func layer(pkg string) int {
	return slices.IndexFunc(layers, func(list []string) bool { return slices.Contains(list, pkg) })
}

// Only runner/world may import the shapes world, and all other packages use it through
// runner/world. Benchmarks are an exception, because they measure models and not studies.
const shapes = module + "/models/shapes"

var knowsShapes = []string{"models/shapes", "runner/world", "models/bench"}

// broken returns the rule that an import breaks, "" if there is none.
func broken(pkg, imported string) string {
	if imported == shapes && !slices.Contains(knowsShapes, pkg) {
		return "only these packages may import the shapes world: " + strings.Join(knowsShapes, ", ") + "; others use runner/world"
	}
	for _, o := range owners {
		if within(imported, o.imported) && !within(pkg, o.owner) {
			return "only " + o.owner + " imports " + o.imported
		}
	}
	ours, is := strings.CutPrefix(imported, module+"/")
	if !is {
		return ""
	}
	from, to := room(pkg), room(ours)
	if mine, theirs := layer(pkg), layer(ours); theirs >= 0 && theirs <= mine {
		return pkg + " does not import " + ours + ": it is in an earlier or the same layer"
	}
	if pkg == "runner/cli" && to == "models" {
		return "runner/cli only parses and prints: put code that uses models into other packages, such as runner/device"
	}
	if from == to || slices.Contains(allowed[from], to) {
		return ""
	}
	return cmp.Or(from, "main") + " does not import " + cmp.Or(to, ours)
}

// TestImports: only test files may break the rules of imports, and even they may not
// import the shapes world.
func TestImports(t *testing.T) {
	for _, s := range sources(t) {
		for _, imported := range s.imports {
			if s.test() && imported != shapes {
				continue
			}
			if rule := broken(s.pkg, imported); rule != "" {
				t.Errorf("%s imports %s: %s", s.path, imported, rule)
			}
		}
	}
}

// TestBroken checks each rule with an import that breaks it and one that does not.
func TestBroken(t *testing.T) {
	for _, c := range []struct {
		pkg, imported string
		ok            bool
	}{
		{".", "ablate/runner/cli", true}, {".", "ablate/models/dit", false},
		{"runner/world", "ablate/models/shapes", true}, {"models/bench", "ablate/models/shapes", true},
		{"runner/stage", "ablate/models/shapes", false}, {"models/finetune", "ablate/models/shapes", false},
		{"runner/stage", "ablate/runner/world", true}, {"runner/world", "ablate/runner/stage", false},
		{"runner/stage", "ablate/models/dit", true}, {"models/dit", "ablate/runner/stage", false},
		{"reports/page", "ablate/analysis/table", true}, {"analysis/table", "ablate/reports/page", false},
		{"reports/page", "ablate/models/shapes", false}, {"reports/page", "ablate/experiments/language", false},
		{"models/dit", "ablate/models/nn", true}, {"models/dit", "ablate/analysis/stats", false},
		{"analysis/compare", "ablate/analysis/stats", true}, {"analysis/compare", "ablate/models/shapes", false},
		{"experiments/language", "ablate/experiments/schema", true}, {"experiments/language", "ablate/analysis/table", false},
		{"experiments/language", "cuelang.org/go/cue", true}, {"runner/cli", "cuelang.org/go/cue", false},
		{"models/nn", "github.com/gomlx/gomlx/pkg/core/graph", true}, {"runner/stage", "github.com/gomlx/go-xla/pkg/pjrt", false},
		{"analysis/table", "github.com/apache/arrow/go/v17/arrow", true}, {"analysis/compare", "github.com/apache/arrow/go/v17/arrow", false},
		{"reports/figure", "gonum.org/v1/plot/vg", true}, {"reports/page", "gonum.org/v1/plot", false},
		{"runner/cli", "ablate/runner/report", true}, {"runner/report", "ablate/runner/cli", false},
		{"runner/report", "ablate/runner/result", true}, {"runner/result", "ablate/runner/report", false},
		{"runner/report", "ablate/runner/export", false}, {"runner/layout", "ablate/runner/project", false},
		{"runner/project", "ablate/runner/layout", true}, {"runner/layout", "ablate/runner/phrase", true},
		{"runner/run", "ablate/runner/lookup", true}, {"runner/lookup", "ablate/runner/run", false}, {"runner/plan", "ablate/runner/run", false},
		{"runner/lookup", "ablate/runner/layout", true}, {"runner/layout", "ablate/runner/lookup", false}, {"runner/layout", "ablate/runner/stage", true},
		{"runner/stage", "ablate/runner/store", false}, {"runner/store", "ablate/runner/layout", false},
		{"runner/cli", "ablate/models/backend", false}, {"runner/device", "ablate/models/backend", true},
		{"runner/cli", "golang.org/x/term", true}, {"runner/device", "golang.org/x/term", false},
		{"analysis/stats", "gonum.org/v1/gonum/stat", true}, {"models/train", "github.com/rs/zerolog", false},
	} {
		if rule := broken(c.pkg, c.imported); (rule == "") != c.ok {
			t.Errorf("%s imports %s: rule %q, allowed %v", c.pkg, c.imported, rule, c.ok)
		}
	}
}

// TestPackages: every package has exactly one package comment, and no name such as
// "util".
func TestPackages(t *testing.T) {
	docs := map[string]int{}
	for _, s := range sources(t) {
		if s.test() {
			continue
		}
		begins := "Package " + s.name + " "
		if s.name == "main" {
			begins = "" // of a command: any sentence
		}
		n := docs[s.pkg]
		if s.doc != "" && strings.HasPrefix(s.doc, begins) {
			n++
		}
		docs[s.pkg] = n
		for _, vague := range []string{"util", "utils", "common", "helpers", "types", "misc", "base"} {
			if s.name == vague {
				t.Errorf("%s: the package name %s is too vague", s.path, s.name)
			}
		}
	}
	for _, pkg := range slices.Sorted(maps.Keys(docs)) {
		if docs[pkg] != 1 {
			t.Errorf("%s has %d package comments, want 1", pkg, docs[pkg])
		}
	}
}

// TestLayers: every package of runner is in a layer, so that the rules apply to it.
func TestLayers(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range sources(t) {
		if s.test() || !within(s.path, "runner") || s.name == "main" || within(s.path, "runner/internal") {
			continue
		}
		seen[s.pkg] = true
		if layer(s.pkg) < 0 {
			t.Errorf("%s has no layer: give it one", s.pkg)
		}
	}
	for _, list := range layers {
		for _, pkg := range list {
			if !seen[pkg] {
				t.Errorf("there is no package %s", pkg)
			}
		}
	}
}
