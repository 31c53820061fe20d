package cli

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"ablate/analysis/compare"
	"ablate/analysis/table"
	"ablate/reports/text"
	"ablate/runner/result"
)

// dictionary lists the columns of a table in Markdown. Numbers of samples are left out where
// a column before them explains them.
func dictionary(t *testing.T, name string, tab *table.Table) string {
	t.Helper()
	kinds := map[table.Kind]string{table.String: "text", table.Float: "real", table.Int: "whole", table.Bool: "bool", table.Time: "time"}
	var b strings.Builder
	b.WriteString("| column | type | unit | meaning |\n|---|---|---|---|\n")
	cell := strings.NewReplacer("|", `\|`, "<", "&lt;", "*", `\*`, "_", `\_`)
	for _, c := range tab.Columns {
		if metric, is := strings.CutSuffix(c.Name, ".n"); is && tab.Column(metric) != nil {
			continue
		}
		if c.Doc == "" {
			t.Errorf("%s: the column %s has no description", name, c.Name)
		}
		doc := c.Doc
		var more []string
		if c.Better != "" {
			more = append(more, c.Better+" is better")
		}
		if c.Depends != "" {
			more = append(more, "depends on the number of samples")
		}
		if more != nil {
			doc += " (" + strings.Join(more, ", ") + ")"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", c.Name, kinds[c.Kind], cell.Replace(c.Unit), cell.Replace(doc))
	}
	return b.String()
}

// TestDataPage: the tables of docs/data.md are those that the files describe themselves.
func TestDataPage(t *testing.T) {
	const name = "../../docs/data.md"
	page, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	r := tables(t)
	want := string(page)
	write := func(section string, tab *table.Table) {
		t.Helper()
		mark := regexp.MustCompile(`(?s)(<!-- ` + section + ` -->\n).*?(<!-- end -->)`)
		if !mark.MatchString(want) {
			t.Errorf("%s has no section %s", name, section)
		}
		want = mark.ReplaceAllStringFunc(want, func(s string) string {
			m := mark.FindStringSubmatch(s)
			return m[1] + dictionary(t, section, tab) + m[2]
		})
	}
	write("table", text.Long(&compare.Table{Rows: []compare.Row{{Arm: "a", Label: "a", Point: []compare.Value{{Axis: "NAME", Value: "x"}}}}}))
	write("prompts", text.Prompts(&compare.Table{}, &compare.Exchanges{}))
	for _, section := range result.Names {
		write(section, r.Named(section))
	}
	golden(t, name, []byte(want))
}

// Snippets are the Python programs of docs/data.md.
func Snippets() ([]string, error) {
	page, err := os.ReadFile("../../docs/data.md")
	var out []string
	for _, m := range regexp.MustCompile("(?s)```python\n(.*?)```").FindAllSubmatch(page, -1) {
		out = append(out, string(m[1]))
	}
	return out, err
}
