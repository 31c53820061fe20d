package kept_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ablate/analysis/gate"
	"ablate/experiments/language"
	"ablate/reports/text"
	"ablate/runner/internal/kept"
	"ablate/runner/project"
	"ablate/runner/result"
)

const experiments = "../../../experiments"

// studies are the results of the studies that are kept, by name.
func studies(t *testing.T) map[string]*result.Result {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(experiments, "*", "results"))
	if err != nil || len(dirs) == 0 {
		t.Fatal("no study has its results", err)
	}
	out := map[string]*result.Result{}
	for _, dir := range dirs {
		s, err := language.Load(filepath.Dir(dir), language.Options{})
		if err != nil {
			t.Fatal(err)
		}
		tables, err := kept.Read(dir)
		if err != nil {
			t.Fatal(err)
		}
		r := &result.Result{Project: project.Project{Study: s}, Tables: tables}
		if err := r.Compare(); err != nil {
			t.Fatalf("%s: %v", s.Name, err)
		}
		out[s.Name] = r
	}
	return out
}

// TestREADMEs: the tables in the READMEs of the studies are those of their results.
// UPDATE=1 writes them.
func TestREADMEs(t *testing.T) {
	for name, r := range studies(t) {
		path := filepath.Join(experiments, name, "README.md")
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		const first, last = "<!-- table -->\n", "<!-- end -->\n"
		before, rest, ok := strings.Cut(string(b), first)
		_, after, ok2 := strings.Cut(rest, last)
		if !ok || !ok2 {
			t.Fatalf("%s: it has no lines %q and %q around its table", path, strings.TrimSpace(first), strings.TrimSpace(last))
		}
		var table bytes.Buffer
		if err := text.Markdown(&table, r.Ablation); err != nil {
			t.Fatal(err)
		}
		want := before + first + table.String() + last + after
		if os.Getenv("UPDATE") != "" {
			if err := os.WriteFile(path, []byte(want), 0o666); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if d := cmp.Diff(want, string(b)); d != "" {
			t.Errorf("%s is not what its results give (-want +got):\n%s\nUPDATE=1 go test ./runner/internal/kept writes it", path, d)
		}
	}
}

// TestBaselines: the baselines of the studies have the values of their results.
func TestBaselines(t *testing.T) {
	for name, r := range studies(t) {
		b, err := os.ReadFile(filepath.Join(experiments, "baselines", name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		got, err := gate.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		want, err := r.Baseline()
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want.Rows, got.Rows); d != "" {
			t.Errorf("baselines/%s.json is not of the results (-want +got):\n%s", name, d)
		}
	}
}

// TestTerminal: the table of the largest studies fits two screens of 100 columns.
func TestTerminal(t *testing.T) {
	for name, r := range studies(t) {
		var b bytes.Buffer
		if err := text.Head(&b, r.Project.Study.Title, r.Project.Study.Question, 100); err != nil {
			t.Fatal(err)
		}
		if err := text.Short(&b, r.Ablation, 100); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
		t.Logf("%s: %d rows, %d lines", name, len(r.Ablation.Rows), len(lines))
		for _, l := range lines {
			if n := len([]rune(l)); n > 100 {
				t.Errorf("%s: a line of %d columns: %s", name, n, l)
			}
		}
		if most := 21 + len(r.Ablation.Rows); len(lines) > most {
			t.Errorf("%s: %d lines for %d rows, more than %d:\n%s", name, len(lines), len(r.Ablation.Rows), most, &b)
		}
	}
}

// TestWrite: what is kept is read again.
func TestWrite(t *testing.T) {
	for name, r := range studies(t) {
		dir := t.TempDir()
		if err := kept.Write(dir, r.Tables); err != nil {
			t.Fatal(err)
		}
		again, err := kept.Read(dir)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(r.Tables, again); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}
