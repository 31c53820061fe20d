package gate_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ablate/analysis/compare"
	"ablate/analysis/gate"
	"ablate/reports/format"
)

// TestREADMEs checks that the tables in the READMEs of the studies have the numbers of the
// baselines, to the last digit. Unseen alignment is left out, because its number of images
// differs between seeds and a baseline has only the smallest.
func TestREADMEs(t *testing.T) {
	files, err := filepath.Glob("../../experiments/baselines/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal("no baselines", err)
	}
	columns := map[string]string{"alignment ↑": "alignment", "recall ↑": "fidelity.recall", "Fréchet ↓": "fidelity.frechet"}
	for _, file := range files {
		study := strings.TrimSuffix(filepath.Base(file), ".json")
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		base, err := gate.Read(b)
		if err != nil {
			t.Fatal(file, err)
		}
		readme, err := os.ReadFile(filepath.Join("../../experiments", study, "README.md"))
		if err != nil {
			t.Fatal(err)
		}
		_, rest, ok := strings.Cut(string(readme), "| arm | alignment ↑ |")
		if !ok {
			t.Fatalf("%s: its README has no table", study)
		}
		lines := strings.Split("| arm | alignment ↑ |"+rest, "\n")
		head := strings.Split(lines[0], "|")
		rows := map[string][]string{}
		for _, line := range lines[2:] {
			cells := strings.Split(line, "|")
			if len(cells) < 3 {
				break
			}
			name, _, _ := strings.Cut(strings.TrimSpace(cells[1]), " (")
			rows[name] = cells
		}
		compared := 0
		tab, err := compare.Ablation(base.Trials(), nil, compare.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range tab.Rows {
			cells, ok := rows[r.Label]
			if !ok {
				t.Errorf("%s: the README has no row %q", study, r.Label)
				continue
			}
			for i, h := range head {
				c, ok := r.Cells[columns[strings.TrimSpace(h)]]
				if !ok {
					continue
				}
				want := format.Cell(tab.Digits(columns[strings.TrimSpace(h)]), c)
				if got := strings.TrimSpace(cells[i]); !strings.HasPrefix(got, want) {
					t.Errorf("%s, %s, %s: the README has %q, the baseline %q", study, r.Label, strings.TrimSpace(h), got, want)
				}
				compared++
			}
		}
		if compared < 10 {
			t.Errorf("%s: %d values compared", study, compared)
		}
	}
}

// TestFrontPage checks that the table of README.md at the root has the numbers of that of
// lee2023.
func TestFrontPage(t *testing.T) {
	tables := func(path string) map[string][]string {
		b, err := os.ReadFile(filepath.Join("../..", path))
		if err != nil {
			t.Fatal(err)
		}
		rows := map[string][]string{} // cells of all tables, by their first
		for line := range strings.Lines(string(b)) {
			cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
			for i := range cells {
				cells[i] = strings.TrimSpace(cells[i])
			}
			rows[cells[0]] = append(rows[cells[0]], cells[1:]...)
		}
		return rows
	}
	front, study := tables("README.md"), tables("experiments/lee2023/README.md")
	for _, row := range []string{"pretrained", "no unlabelled", "no pretraining", "all data", "weights all one", "pretraining only"} {
		if len(front[row]) != 4 {
			t.Errorf("README.md: row %q has %q", row, front[row])
		}
		for _, cell := range front[row] {
			found := cell == "(reference)"
			for _, c := range study[row] {
				level, _, _ := strings.Cut(c, " [")
				found = found || cell == c || cell == level
			}
			if !found {
				t.Errorf("README.md, %s: %q is not in experiments/lee2023/README.md", row, cell)
			}
		}
	}
}
