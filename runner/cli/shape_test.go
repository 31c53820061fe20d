package cli

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// TestShape: every command has the same three parts: newX declares it, xOptions has
// its flags, and runX runs it. newX has no logic: its functions are one statement.
func TestShape(t *testing.T) {
	names, err := filepath.Glob("cmd_*.go")
	if err != nil {
		t.Fatal(err)
	}
	if len(names) < 10 {
		t.Fatalf("only the files %q have commands", names)
	}
	for _, name := range names {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		has := map[string]bool{}
		var commands []*ast.FuncDecl
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				has[d.Name.Name] = true
				if strings.HasPrefix(d.Name.Name, "new") && d.Recv == nil {
					commands = append(commands, d)
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					if s, is := s.(*ast.TypeSpec); is {
						has[s.Name.Name] = true
					}
				}
			}
		}
		for _, c := range commands {
			command := strings.TrimPrefix(c.Name.Name, "new")
			options := strings.ToLower(command) + "Options"
			if name != "cmd_hidden.go" && (name != "cmd_"+strings.ToLower(command)+".go" || !has["run"+command] || !has[options] || !has["addFlags"]) {
				t.Errorf("%s: %s lacks run%s, or %s with addFlags, or its own file", name, c.Name.Name, command, options)
			}
			ast.Inspect(c, func(n ast.Node) bool {
				if lit, is := n.(*ast.FuncLit); is && len(lit.Body.List) != 1 {
					t.Errorf("%s: a function in %s has %d statements, want 1", name, c.Name.Name, len(lit.Body.List))
				}
				return true
			})
		}
	}
}
