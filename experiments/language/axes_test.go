package language

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/cue/format"
	"github.com/google/go-cmp/cmp"
)

// TestAxesFile checks that the generated list of axes for editors has the scalars of a trial,
// with their types. UPDATE=1 writes the file.
func TestAxesFile(t *testing.T) {
	g, err := compile(cuecontext.New())
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("// Code generated from #Partial by UPDATE=1 go test ./experiments/language; DO NOT EDIT.\n\n")
	b.WriteString("package schema\n\n// #Axes are the lists that sweep and zip take: every scalar of a trial, by its\n// dotted path.\n#Axes: {\n")
	for _, l := range g.leaves {
		f, ok := l.constraint.Source().(*ast.Field)
		if !ok {
			t.Fatalf("%s: no source", l.Path)
		}
		src, err := format.Node(f.Value)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "\t%q?: [...(%s)]\n", l.Path, strings.Join(strings.Fields(string(src)), " "))
	}
	b.WriteString("\n\t// The parameters of engines, as they describe them.\n")
	for _, o := range g.open {
		fmt.Fprintf(&b, "\t[=~%q]: [...]\n", "^"+strings.ReplaceAll(o.path, ".", `\.`)+`\..`)
	}
	b.WriteString("}\n")
	want, err := format.Source([]byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	const name = "../schema/axes.cue"
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(name, want, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("axes.cue is not what the trial's schema gives (-want +got):\n%s\nUPDATE=1 go test ./experiments/language writes it", d)
	}
}
