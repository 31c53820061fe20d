package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"ablate/runner/stage"
)

// All knowledge about kinds of stages is in their Defs in runner/stage. These tests check
// it by the following rules:
//
//  1. In runner/stage a kind's constant is used in the kind's own row alone.
//  2. In runner/layout, which builds the chain of a trial, it may be an argument of a
//     call: that is how the layout says which action it adds; and in runner/native, which
//     runs stages for other programs, likewise.
//  3. Nowhere else is the constant of a kind used: whoever needs to know something of a
//     stage asks its row.
//  4. Under runner a string that reads like a kind is something else, which is listed
//     below; in models, which know nothing of stages, no switch, map or list has two.
//
// Reports and analysis read tables, in which stages and metrics are values of columns, and
// may compare with them. Tests may name kinds.

// callers are the packages that may name kinds: to add actions, and to run them.
var callers = []string{"runner/layout", "runner/native"}

// namesakes lists, by file, the strings that read like a kind of stage and mean something
// else.
var namesakes = map[string]map[string]string{
	"runner/stage/def.go":           {"embedder": "input", "reward": "input", "prompts": "input"},
	"runner/stage/artifact.go":      {"embedder": "folder of an artifact", "reward": "folder of an artifact"},
	"runner/stage/assess.go":        {"reward": "prefix of metrics", "embedder": "prefix of metrics"},
	"runner/stage/prompts.go":       {"assess": "list of prompts", "finetune": "list of prompts", "fidelity": "list of prompts", "diversity": "set of real images"},
	"runner/stage/diversity.go":     {"diversity": "metric"},
	"runner/stage/finetune.go":      {"oracle": "what scores images"},
	"runner/result/metrics.go":      {"embedder": "metric", "diversity": "metric", "distance": "metric", "reward": "metric", "fidelity": "metric", "score": "unit"},
	"runner/result/samples.go":      {"embedder": "column", "fidelity": "set of images", "score": "unit"},
	"runner/result/labels.go":       {"label": "column"},
	"runner/result/reliability.go":  {"score": "column"},
	"runner/result/trials.go":       {"embedder": "metric", "score": "unit"},
	"runner/internal/kept/kept.go":  {"finetune": "stage of a curve"},
	"runner/imported/guess.go":      {"score": "part of a metric's name", "reward": "part of a metric's name", "distance": "part of a metric's name"},
	"runner/layout/trial.go":        {"finetune": "section of a trial"},
	"runner/engine/engine.go":       {"score": "verb", "distance": "verb", "prompts": "role", "reward": "scorer"},
	"runner/native/describe.go":     {"score": "column"},
	"runner/native/finetune.go":     {"score": "column"},
	"runner/cli/cmd_sample.go":      {"prompts": "flag"},
	"runner/cli/cmd_label.go":       {"prompts": "flag"},
	"runner/people/comparison.go":   {"fidelity": "question"},
	"runner/labels/own.go":          {"label": "column"},
	"runner/cli/cmd_labelimport.go": {"prompts": "line of a summary"},
	"runner/layout/chain.go": {"pretrain": "role", "embedder": "role", "label": "role", "reward": "role", "assess": "role", "finetune": "role",
		"fidelity": "role", "diversity": "role", "distance": "role"},
}

// A use is where a file names a kind.
type use struct {
	line int
	word string   // the constant's name, or the string
	path []string // of the syntax around it, the innermost first: "call", "row", "case", …
}

// kindConstants maps the names of the constants to kinds, as runner/stage declares them.
func kindConstants(t *testing.T) map[string]string {
	t.Helper()
	names := map[string]string{}
	files, err := filepath.Glob(filepath.Join(root, "runner", "stage", "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.CONST {
				continue
			}
			for _, s := range g.Specs {
				v := s.(*ast.ValueSpec)
				if id, ok := v.Type.(*ast.Ident); ok && id.Name == "Kind" {
					names[v.Names[0].Name] = literal(v.Values[0])
				}
			}
		}
	}
	return names
}

// literal is the value of a string literal, "" of any other expression.
func literal(e ast.Expr) string {
	l, ok := e.(*ast.BasicLit)
	if !ok || l.Kind != token.STRING {
		return ""
	}
	s, err := strconv.Unquote(l.Value)
	if err != nil {
		return ""
	}
	return s
}

// kindUses finds the constants of kinds in a file, and the strings that read like kinds.
// Tags of fields and the declarations of the constants are left out.
func kindUses(fset *token.FileSet, f *ast.File, inStage bool, constants map[string]string) (names, strs []use) {
	kinds := map[string]bool{}
	for _, k := range constants {
		kinds[k] = true
	}
	var around []ast.Node
	ast.Inspect(f, func(n ast.Node) bool {
		if n == nil {
			around = around[:len(around)-1]
			return true
		}
		switch n := n.(type) {
		case *ast.ValueSpec:
			if id, ok := n.Type.(*ast.Ident); ok && id.Name == "Kind" && inStage {
				return false
			}
		case *ast.Field:
			n.Tag = nil
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && x.Name == "stage" && constants[n.Sel.Name] != "" && !inStage {
				names = append(names, use{fset.Position(n.Pos()).Line, n.Sel.Name, syntax(around, n)})
			}
		case *ast.Ident:
			if inStage && constants[n.Name] != "" && !selected(around, n) {
				names = append(names, use{fset.Position(n.Pos()).Line, n.Name, syntax(around, n)})
			}
		case *ast.BasicLit:
			if kinds[literal(n)] {
				strs = append(strs, use{fset.Position(n.Pos()).Line, literal(n), syntax(around, n)})
			}
		}
		around = append(around, n)
		return true
	})
	return names, strs
}

// selected reports whether an identifier is a field, a method or another package's name.
func selected(around []ast.Node, id *ast.Ident) bool {
	switch p := around[len(around)-1].(type) {
	case *ast.SelectorExpr:
		return p.Sel == id
	case *ast.KeyValueExpr: // of a struct; the key of a map is a use
		list, _ := around[len(around)-2].(*ast.CompositeLit)
		if list != nil {
			if _, isMap := list.Type.(*ast.MapType); isMap {
				return false
			}
		}
		return p.Key == id
	case *ast.Field, *ast.TypeSpec:
		return true
	}
	return false
}

// syntax names the expressions and statements around a node, the innermost first.
func syntax(around []ast.Node, n ast.Node) []string {
	var out []string
	for i := len(around) - 1; i >= 0; i-- {
		switch p := around[i].(type) {
		case *ast.CallExpr:
			if p.Fun != n {
				out = append(out, "call")
			}
		case *ast.CompositeLit:
			name := "list"
			if id, ok := p.Type.(*ast.Ident); ok && id.Name == "Def" {
				name = "row"
			}
			out = append(out, name)
		case *ast.KeyValueExpr:
			if id, ok := p.Key.(*ast.Ident); ok {
				out = append(out, id.Name+":")
			}
		case *ast.CaseClause, *ast.SwitchStmt:
			out = append(out, "switch")
		case *ast.BinaryExpr:
			out = append(out, p.Op.String())
		case *ast.BlockStmt, *ast.FuncDecl:
			return out
		}
		n = around[i]
	}
	return out
}

// brokenKinds lists the rules above that a file breaks.
func brokenKinds(file string, f *ast.File, fset *token.FileSet, constants map[string]string) []string {
	pkg := path.Dir(file)
	names, strs := kindUses(fset, f, pkg == "runner/stage", constants)
	var out []string
	report := func(u use, text string) {
		out = append(out, file+":"+strconv.Itoa(u.line)+": "+u.word+": "+text)
	}
	for _, u := range names {
		switch {
		case pkg == "runner/stage" && (len(u.path) < 2 || u.path[0] != "Kind:" || u.path[1] != "row"):
			report(u, "in runner/stage the constant of a kind is used in its own row alone")
		case slices.Contains(callers, pkg) && (len(u.path) == 0 || u.path[0] != "call"):
			report(u, pkg+" names a kind as an argument of a call alone")
		case pkg != "runner/stage" && !slices.Contains(callers, pkg):
			report(u, "ask the stage's row (stage.Kind.Def) for what depends on the stage")
		}
	}
	if within(file, "models") {
		together := map[string]bool{}
		for _, u := range strs {
			if slices.Contains(u.path, "switch") || slices.Contains(u.path, "list") {
				together[u.word] = true
			}
		}
		if len(together) > 1 {
			out = append(out, file+": a switch, map or list of stages: models know nothing of stages")
		}
		return out
	}
	for _, u := range strs {
		if _, ok := namesakes[file][u.word]; within(file, "runner") && !ok {
			report(u, "a string that reads like a kind of stage: ask the stage's row, or list what else it is in namesakes")
		}
	}
	return out
}

func TestStagesAreRows(t *testing.T) {
	constants := kindConstants(t)
	var kinds []string
	for _, k := range stage.Kinds() {
		kinds = append(kinds, string(k))
	}
	if got := slices.Sorted(maps.Values(constants)); !slices.Equal(got, slices.Sorted(slices.Values(kinds))) {
		t.Errorf("the constants are %q, the table has %q", got, kinds)
	}
	for _, s := range sources(t) {
		if s.test() || !within(s.path, "runner") && !within(s.path, "models") {
			continue
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, filepath.Join(root, filepath.FromSlash(s.path)), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range brokenKinds(s.path, f, fset, constants) {
			t.Error(text)
		}
	}
}

// The rules themselves, each with a file that breaks it and one that does not.
func TestBrokenKinds(t *testing.T) {
	constants := kindConstants(t)
	for _, c := range []struct {
		file, code string
		ok         bool
	}{
		{"runner/plan/x.go", `var order = []stage.Kind{stage.Pretrain, stage.Score}`, false},
		{"runner/plan/x.go", `func f(k stage.Kind) bool { return k == stage.Score }`, false},
		{"runner/plan/x.go", `func f(k stage.Kind) bool { return k == "score" }`, false},
		{"runner/plan/x.go", `func f(k stage.Kind) bool { return k.Def().Trains }`, true},
		{callers[0] + "/x.go", `func f() { g.add(stage.Score, stage.NoParams{}) }`, true},
		{callers[0] + "/x.go", `func f() { if k == stage.Score {} }`, false},
		{callers[0] + "/x.go", `func f() { switch k { case stage.Score: } }`, false},
		{callers[0] + "/x.go", `var m = map[stage.Kind]int{stage.Score: 1}`, false},
		{"runner/stage/x.go", `var d = define(run, Def{Kind: Score, Revision: 1})`, true},
		{"runner/stage/x.go", `func f(t Task) bool { return t.Kind == Score }`, false},
		{"runner/stage/x.go", `var revision = map[Kind]int{Score: 1}`, false},
		{"runner/stage/x.go", `func f(t Task) { random.Stream(1, "finetune", "path noise", 0) }`, false},
		{"models/backend/x.go", `func f(s string) bool { switch s { case "pretrain", "finetune": return true }; return false }`, false},
		{"models/backend/x.go", `var trains = map[string]bool{"pretrain": true, "finetune": true}`, false},
		{"models/nn/x.go", `const prediction = "sample"`, true},
	} {
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, c.file, "package x\n"+c.code, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := brokenKinds(c.file, f, fset, constants); (len(got) == 0) != c.ok {
			t.Errorf("%s, %s: rules %q, allowed %v", c.file, c.code, got, c.ok)
		}
	}
}

// TestNamesakes: every word of the list is still there.
func TestNamesakes(t *testing.T) {
	constants := kindConstants(t)
	for file, words := range namesakes {
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, filepath.Join(root, filepath.FromSlash(file)), nil, 0)
		if err != nil {
			t.Error(err)
			continue
		}
		_, strs := kindUses(fset, f, strings.HasPrefix(file, "runner/stage/"), constants)
		for word := range words {
			if !slices.ContainsFunc(strs, func(u use) bool { return u.word == word }) {
				t.Errorf("%s has no %q", file, word)
			}
		}
	}
}
