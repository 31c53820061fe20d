package kept_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ablate/analysis/gate"
	"ablate/analysis/table"
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

// TestBaselines: the baselines have the values of the results of their studies.
func TestBaselines(t *testing.T) {
	all := studies(t)
	files, err := filepath.Glob(filepath.Join(experiments, "baselines", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatal("no baseline", err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		got, err := gate.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		r := all[strings.TrimSuffix(filepath.Base(file), ".json")]
		if r == nil {
			t.Fatalf("%s is of a study without results", file)
		}
		want, err := r.Baseline()
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want.Rows, got.Rows); d != "" {
			t.Errorf("%s is not of the results (-want +got):\n%s", file, d)
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

// TestWrite: tables that were written are read again.
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

// quoted matches an estimate with its interval in a sentence of a README.
var quoted = regexp.MustCompile(`([+−]?\d*\.\d+) \[([+−]?\d*\.\d+), ([+−]?\d*\.\d+)\]`)

// TestQuoted: each estimate with an interval that the README of a study quotes is an
// estimate of the study, with the same digits, or its negation ("less by .033 [.020,
// .048]").
func TestQuoted(t *testing.T) {
	for name, r := range studies(t) {
		b, err := os.ReadFile(filepath.Join(experiments, name, "README.md"))
		if err != nil {
			t.Fatal(err)
		}
		before, rest, _ := strings.Cut(string(b), "<!-- table -->\n")
		_, after, _ := strings.Cut(rest, "<!-- end -->\n")
		all := text.Long(r.Ablation)
		estimate, low, high := all.Column("estimate"), all.Column("low"), all.Column("high")
		lowest, highest := all.Column("corrected.low"), all.Column("corrected.high")
		// written returns the estimates of the study and their intervals as texts with 1
		// to 4 decimals.
		written := map[[3]string]bool{}
		for i := range all.Rows() {
			for _, interval := range [][2]*table.Column{{low, high}, {lowest, highest}} {
				if !estimate.Has(i) || !interval[0].Has(i) {
					continue
				}
				x, a, b := estimate.Floats[i], interval[0].Floats[i], interval[1].Floats[i]
				for digits := 1; digits <= 4; digits++ {
					written[[3]string{decimal(x, digits), decimal(a, digits), decimal(b, digits)}] = true
					written[[3]string{decimal(-x, digits), decimal(-b, digits), decimal(-a, digits)}] = true
				}
			}
		}
		n := 0
		for _, m := range quoted.FindAllStringSubmatch(before+after, -1) {
			var q [3]string
			for k, s := range m[1:] {
				_, decimals, _ := strings.Cut(s, ".")
				x, err := strconv.ParseFloat(strings.NewReplacer("−", "-", "+", "").Replace(s), 64)
				if err != nil {
					t.Fatal(err)
				}
				q[k] = decimal(x, len(decimals))
			}
			if n++; !written[q] {
				t.Errorf("%s: the README quotes %s, which no line of its table has ('ablate table --csv')", name, m[0])
			}
		}
		t.Logf("%s: %d estimates quoted", name, n)
	}
}

// decimal formats a number with some decimals, without a minus sign before zero.
func decimal(x float64, digits int) string {
	s := strconv.FormatFloat(x, 'f', digits, 64)
	if strings.Trim(s, "-0.") == "" {
		return strings.TrimPrefix(s, "-")
	}
	return s
}
