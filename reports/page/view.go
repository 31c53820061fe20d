package page

import (
	"bytes"
	"cmp"
	"fmt"
	"html/template"
	"slices"
	"strconv"
	"strings"

	"ablate/analysis/compare"
	"ablate/analysis/table"
	"ablate/reports/figure"
	"ablate/reports/format"
)

// view is what the template sees.
type view struct {
	Report
	CSS        template.CSS
	JS         template.JS
	Data       template.JS // pictures and prompts; empty if they are in a file beside the page
	Unpictured string      // sentence on the rows that have no pictures; empty if all have
	Sizes      string      // sentences on the sizes of pictures of any size
	Capped     string
	Answer     []string
	// Ablation is the table of levels, Differences the table of differences.
	Ablation, Differences grid
	Again                 download // link to the data of Ablation, for other tables with the same data
	ByPrompt              download
	Arrow                 []string // Arrow files in the parent folder of the page
	all                   []shown
	listed                map[string]bool // trials whose anchor is on the page already
}

// place writes a file to a place where the page finds it, and returns its URL.
type place func(name, kind string, b []byte) (template.URL, error)

func (r Report) view(place place) (*view, error) {
	v := &view{Report: r, Answer: answer(r.Table)}
	var err error
	if v.all, err = v.figures(place); err != nil {
		return nil, err
	}
	v.Ablation, v.Differences = v.ablation(), v.differences()
	if err := v.downloads(place); err != nil {
		return nil, err
	}
	for _, name := range []string{"report", "figures"} {
		css, err := assets.ReadFile(name + ".css")
		if err != nil {
			return nil, err
		}
		js, err := assets.ReadFile(name + ".js")
		if err != nil {
			return nil, err
		}
		v.CSS, v.JS = v.CSS+template.CSS(css), v.JS+template.JS(js)
	}
	// Only on a screen: printed figures are light.
	v.CSS += template.CSS("@media screen and (prefers-color-scheme: dark) { :root { " + figure.Dark() + " } }\n")
	return v, nil
}

func (v *view) html() ([]byte, error) {
	t, err := template.New("report.html").Funcs(functions).ParseFS(assets, "*.html")
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	v.listed = map[string]bool{}
	var b bytes.Buffer
	if err := t.Execute(&b, v); err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	return b.Bytes(), nil
}

// Pictured reports whether the page has a section of pictures. It has one for every study
// that is not imported, even if all pictures are missing.
func (v *view) Pictured() bool { return !v.Imported || v.Samples.Rows() > 0 }

// Noise reports whether images of one prompt and seed begin with the same noise in all rows.
func (v *view) Noise() bool {
	return !v.Imported && !slices.ContainsFunc(v.Table.Notes, func(n compare.Note) bool { return n.Kind == compare.ByPrompt })
}

// Numbers reports whether the gold of some rows gives numbers, and not verdicts.
func (v *view) Numbers() bool { return v.Samples.Column("gold") != nil }

// Judges reports whether judges beside the gold have judged the images.
func (v *view) Judges() bool {
	return slices.ContainsFunc(v.Samples.Columns, func(c *table.Column) bool { return strings.HasPrefix(c.Name, "judge.") })
}

// Paired returns what two compared images have in common.
func (v *view) Paired() string {
	switch {
	case v.Imported:
		return "seed"
	case v.Noise():
		return "seed, prompt and noise"
	}
	return "seed and prompt"
}

// summary returns a row's alignment and fidelity in a line.
func summary(t *compare.Table, r compare.Row) string {
	if r.Stopped != nil {
		return format.Stopped(*r.Stopped)
	}
	var parts []string
	for _, m := range t.Metrics {
		if c, ok := r.Cells[m.Name]; ok && (m.Name == "alignment" || m.Name == "proxy" || m.Name == "fidelity.recall") {
			parts = append(parts, m.Label+" "+format.Cell(m.Digits, c))
		}
	}
	if parts == nil {
		return "no result"
	}
	return strings.Join(parts, ", ")
}

// trialOf returns the id of a row's trial of a seed, or "".
func trialOf(r compare.Row, seed string) string {
	if i := slices.Index(r.Seeds, seed); i >= 0 {
		return r.Trials[i]
	}
	return ""
}

// Base returns the row of the pretrained model if there is exactly one. Its alignment by
// category shows where the other rows start.
func (v *view) Base() *compare.Row {
	if i := slices.IndexFunc(v.Table.Rows, func(r compare.Row) bool { return r.Label == v.Table.Pretrained }); i >= 0 {
		return &v.Table.Rows[i]
	}
	return nil
}

// Particular returns the indices of the notes about single values.
func (v *view) Particular() []int {
	var out []int
	for i, n := range v.Table.Notes {
		if n.Single() {
			out = append(out, i)
		}
	}
	return out
}

// General returns the notes about the whole table.
func (v *view) General() []string {
	var out []string
	for _, s := range []string{format.Levels(v.Table), format.Significance(v.Table)} {
		if s != "" {
			out = append(out, s)
		}
	}
	for _, n := range v.Table.Notes {
		if !n.Single() {
			out = append(out, format.Note(n))
		}
	}
	return slices.Concat(out, format.Detect(v.Table), format.Resolving(v.Table))
}

// MetricLabel returns the name of a metric for readers.
func (v *view) MetricLabel(name string) string {
	for _, m := range v.Table.Metrics {
		if m.Name == name {
			return m.Label
		}
	}
	return name
}

// Changed returns the parameters of row i that differ from those of the reference, with
// both values.
func (v *view) Changed(i int) []string {
	reference := v.index(v.Table.Reference)
	if i == reference || reference < 0 || reference >= len(v.Parameters) {
		return nil
	}
	var paths []string
	values := [2]map[string]string{{}, {}}
	for k, p := range []Parameters{v.Parameters[reference], v.Parameters[i]} {
		for _, l := range p.Lines {
			path, value, _ := strings.Cut(l, " ")
			if values[k][path] = value; !slices.Contains(paths, path) {
				paths = append(paths, path)
			}
		}
	}
	slices.Sort(paths)
	var out []string
	for _, path := range paths {
		theirs, mine := values[0][path], values[1][path]
		if theirs != mine {
			out = append(out, path+" "+cmp.Or(theirs, "(unused)")+" → "+cmp.Or(mine, "(unused)"))
		}
	}
	return out
}

// First reports whether a trial is listed for the first time. Two rows may share a trial,
// but an anchor must be unique.
func (v *view) First(t Trial) bool {
	first := !v.listed[t.ID]
	v.listed[t.ID] = true
	return first
}

var functions = template.FuncMap{
	"num":        format.Number,
	"compact":    format.Compact,
	"p":          func(p *float64) string { return format.P(*p) },
	"pValue":     format.P,
	"diff":       format.Diff,
	"changes":    format.Changes,
	"effect":     format.Effect,
	"note":       format.Note,
	"incomplete": format.Incomplete,
	"uncrossed":  format.Uncrossed,
	"inc":        func(i int) int { return i + 1 },
	"category": func(m compare.Metric) bool {
		_, ok := m.Category()
		return ok
	},
	"arrow":   format.Arrow,
	"cell":    func(r compare.Row, metric string) *compare.Cell { return at(r.Cells, metric) },
	"minutes": func(s float64) string { return strconv.FormatFloat(s/60, 'f', 1, 64) },
}

func at[V any](m map[string]V, metric string) *V {
	if c, ok := m[metric]; ok {
		return &c
	}
	return nil
}
