package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// literals calls f with every string literal of a source, struct tags included.
func literals(t *testing.T, s source, f func(text string, line int)) {
	t.Helper()
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, filepath.Join(root, s.path), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
			if text, err := strconv.Unquote(l.Value); err == nil {
				f(text, set.Position(l.Pos()).Line)
			}
		}
		return true
	})
}

// named finds the methods of fine-tuning: in the file of each, the name that it returns.
func named(t *testing.T, all []source) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, s := range all {
		if s.pkg != "models/finetune" || s.test() {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, s.path), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Recv == nil || f.Name.Name != "Name" || len(f.Body.List) != 1 {
				continue
			}
			r, ok := f.Body.List[0].(*ast.ReturnStmt)
			if !ok {
				continue
			}
			l, ok := r.Results[0].(*ast.BasicLit)
			if !ok {
				continue
			}
			name, err := strconv.Unquote(l.Value)
			if err != nil {
				t.Fatal(err)
			}
			if other, twice := files[name]; twice {
				t.Errorf("%s and %s are both %q", other, s.path, name)
			}
			files[name] = s.path
		}
	}
	return files
}

// TestMethodsHaveOneFile: a method of fine-tuning is one file. Elsewhere in the code that
// runs it, its name is neither compared with nor part of a parameter's path: what differs
// between methods is in their types.
func TestMethodsHaveOneFile(t *testing.T) {
	all := sources(t)
	files := named(t, all)
	if len(files) < 13 {
		t.Fatalf("only the methods %v were found", files)
	}
	for name, file := range files {
		if want := strings.ReplaceAll(name, "-", "_") + ".go"; path.Base(file) != want {
			t.Errorf("%s is in %s, want a file %s of its own", name, file, want)
		}
		path := regexp.MustCompile(`\b` + regexp.QuoteMeta(name) + `\.`)
		for _, s := range all {
			if s.test() || s.path == file || !within(s.pkg, "models/finetune") && !within(s.pkg, "runner") {
				continue
			}
			literals(t, s, func(text string, line int) {
				if text == name || path.MatchString(text) {
					t.Errorf("%s:%d names the method %q: move what is its own to %s", s.path, line, name, file)
				}
			})
		}
	}
}
