package page

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"ablate/analysis/compare"
	"ablate/analysis/table"
	"ablate/reports/format"
)

// TestAgainst: the page has the numbers of the comparison that 'ablate diff' prints.
func TestAgainst(t *testing.T) {
	trials := func(trial, model string, shift float64) *table.Table {
		out := &table.Table{}
		col := func(c table.Column) *table.Column { out.Columns = append(out.Columns, &c); return &c }
		arm, view, id, m := col(table.Column{Name: "arm", Kind: table.String}), col(table.Column{Name: "view", Kind: table.String}), col(table.Column{Name: "trial", Kind: table.String}), col(table.Column{Name: compare.Model, Kind: table.String})
		p, f := col(table.Column{Name: "seed.pretraining", Kind: table.Int}), col(table.Column{Name: "seed.feedback", Kind: table.Int})
		a, r := col(table.Column{Name: "alignment", Kind: table.Float, Better: "higher", Range: table.Share}), col(table.Column{Name: "fidelity.frechet", Kind: table.Float, Better: "lower", Range: table.Positive})
		for i, name := range []string{"base", "<b>tuned"} {
			for s := range int64(4) {
				arm.Strings, view.Strings, id.Strings = append(arm.Strings, name), append(view.Strings, fmt.Sprint(name, "@", s)), append(id.Strings, fmt.Sprint(trial, name, s))
				m.Strings = append(m.Strings, fmt.Sprint(model, s))
				p.Ints, f.Ints = append(p.Ints, s), append(f.Ints, s)
				x := .5 + .03*float64((s*3+int64(i))%4) + shift*float64(i+1)
				a.Floats, r.Floats = append(a.Floats, x), append(r.Floats, 10*x)
			}
		}
		return out
	}
	for _, model := range []string{"m", "other"} {
		d, err := compare.NewDiff(compare.Side{Name: "mine", Trials: trials("x", "m", .1)}, compare.Side{Name: "yours", Trials: trials("y", model, .002)}, compare.Options{})
		if err != nil {
			t.Fatal(err)
		}
		r := Report{Name: "mine", Table: &compare.Table{}, Against: d, Imported: true}
		r.Samples = &table.Table{}
		v := &view{Report: r}
		lines := append(v.Compared(true), v.Compared(false)...)
		if len(lines) != 4 || len(d.Rows) != 2 {
			t.Fatalf("%d lines of %d rows", len(lines), len(d.Rows))
		}
		html, err := v.html()
		if err != nil {
			t.Fatal(err)
		}
		if dir := os.Getenv("ABLATE_FIGURES"); dir != "" {
			if err := os.WriteFile(dir+"/against-"+model+".html", html, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		if strings.Contains(string(html), "<b>tuned") {
			t.Error("a name injects markup")
		}
		for _, row := range d.Rows {
			for _, m := range d.Metrics {
				x := row.Values[m.Name]
				want := format.Compact(m.Digits, x.Difference.Cell)
				if x.Difference.Significant {
					want += " *"
				}
				found := false
				for _, l := range lines {
					if l.Row == row.Row && strings.HasPrefix(l.Metric, m.Label) {
						found = l.A == format.Number(m.Digits, x.A.Mean) && l.B == format.Number(m.Digits, x.B.Mean) && l.Difference == want && *l.Value == x.Difference.Mean &&
							(x.Difference.PCorrected == nil || l.Corrected == format.P(*x.Difference.PCorrected))
					}
				}
				if !found || !strings.Contains(string(html), strings.ReplaceAll(want, "+", "&#43;")) {
					t.Errorf("%s, %s: the page lacks %s: %+v", row.Row, m.Name, want, lines)
				}
			}
		}
		for _, s := range format.Diff(d) {
			first, _, _ := strings.Cut(s, ":")
			if first, _, _ = strings.Cut(first, "“"); !strings.Contains(string(html), strings.ReplaceAll(first, "'", "&#39;")) {
				t.Errorf("the page does not say %q", s)
			}
		}
	}
}
