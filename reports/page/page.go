// Package page writes a study's report: one folder with index.html that opens
// from disk with no server and no network, or one file. Equal results give
// equal bytes, outside the block that says what ran.
package page

import (
	"bytes"
	"cmp"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"image"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/google/renameio/v2"

	"ablate/analysis/compare"
	"ablate/analysis/table"
	"ablate/reports/figure"
	"ablate/reports/format"
)

//go:embed *.html *.css *.js
var assets embed.FS

// Report is everything that a report shows.
type Report struct {
	Name, Title, Question string
	Seeds                 []string
	Table                 *compare.Table
	Samples, Curves       *table.Table
	Trials, Reliability   *table.Table // nil shows nothing of rewards and of best of n
	ProbeImages           int          // that a probe of a fine-tuning draws; 0 says nothing of them
	// Image is an evaluation image of a trial; nil where there is none.
	Image      func(trial, set string, index int) (image.Image, error)
	Exchanges  *compare.Exchanges // by prompt; nil where images are not known one by one
	Failures   []string           // what has no result, and why
	Parameters []Parameters       // of each row of the table
	Methods    []string           // paragraphs
	Against    *compare.Diff      // with another study, or this one at another time
	Provenance Provenance
	Imported   bool // the runs were computed elsewhere: there are no pictures, parameters and failures of them
}

// Parameters are what a row's trials were made of.
type Parameters struct {
	Label  string
	Lines  []string // "path value"
	Trials []Trial
}

// Trial is a view and the id of its trial.
type Trial struct{ View, ID string }

// Anchor is what a link to the trial ends in.
func (t Trial) Anchor() string { return "trial-" + short(t.ID) }

// Provenance says what ran. It is the only part that may differ between two
// reports of the same results.
type Provenance struct {
	Command   string   // that reproduces the report
	Versions  []string // of the programs that ran, each once
	Devices   []string
	CPUs      []string
	Attempts  int
	Seconds   float64  // of all attempts together
	Artifacts []string // "view stage id"
}

// prompts shown of each seed.
const prompts = 100

// Write writes the report, in the place of what dir has, and returns the path of
// its index.html.
func Write(dir string, r Report) (string, error) {
	arrow, err := filepath.Glob(filepath.Join(filepath.Dir(filepath.Clean(dir)), "*.arrow"))
	if err != nil {
		return "", err
	}
	err = replaceFolder(dir, func(dir string) error {
		if err := os.Mkdir(filepath.Join(dir, "figures"), 0o777); err != nil {
			return err
		}
		if err := os.Mkdir(filepath.Join(dir, "data"), 0o777); err != nil {
			return err
		}
		v, err := r.view(func(name, _ string, b []byte) (template.URL, error) {
			return template.URL(name), write(filepath.Join(dir, filepath.FromSlash(name)), b)
		})
		if err != nil {
			return err
		}
		for _, path := range arrow {
			v.Arrow = append(v.Arrow, filepath.Base(path))
		}
		g, err := v.gallery(dir, prompts)
		if err != nil {
			return err
		}
		js, err := g.script()
		if err != nil {
			return err
		}
		if err := write(filepath.Join(dir, "data", "page.js"), js); err != nil {
			return err
		}
		html, err := v.html()
		if err != nil {
			return err
		}
		return write(filepath.Join(dir, "index.html"), html)
	})
	return filepath.Join(dir, "index.html"), err
}

// Single returns the report as one file of at most most bytes: where the
// pictures do not fit, fewer prompts are shown, and the page says so. It is an
// error where it doesn't fit without pictures.
func Single(r Report, most int) ([]byte, error) {
	v, err := r.view(func(_, kind string, b []byte) (template.URL, error) {
		return template.URL("data:" + kind + ";base64," + base64.StdEncoding.EncodeToString(b)), nil
	})
	if err != nil {
		return nil, err
	}
	whole := 0 // prompts a seed, were there no cap
	for n := prompts; ; n /= 2 {
		g, err := v.gallery("", n)
		if err != nil {
			return nil, err
		}
		if n == prompts {
			whole = g.most()
		} else {
			v.Capped = fmt.Sprintf("This file is capped at %.1f MB: it shows %d prompts a seed of the %d that the report in a folder shows.", float64(most)/1e6, g.most(), whole)
		}
		js, err := g.script()
		if err != nil {
			return nil, err
		}
		v.Data = template.JS(js)
		html, err := v.html()
		if err != nil {
			return nil, err
		}
		if len(html) <= most {
			return html, nil
		}
		if n == 0 {
			return nil, fmt.Errorf("report: without any picture it is %.1f MB, more than the %.1f allowed", float64(len(html))/1e6, float64(most)/1e6)
		}
	}
}

// Figures writes every figure of the report into dir as SVG, PNG and PDF, and
// returns their names.
func Figures(dir string, r Report) ([]string, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	var names []string
	for _, f := range r.drawn() {
		for ext, make := range map[string]func() ([]byte, error){".svg": f.figure.SVG, ".png": f.figure.PNG, ".pdf": f.figure.PDF} {
			b, err := make()
			if err == nil {
				err = renameio.WriteFile(filepath.Join(dir, f.Name+ext), b, 0o666)
			}
			if err != nil {
				return nil, err
			}
			names = append(names, f.Name+ext)
		}
	}
	slices.Sort(names)
	return names, nil
}

// view is what the template sees.
type view struct {
	Report
	CSS    template.CSS
	JS     template.JS
	Data   template.JS // of the pictures and prompts; empty: it is in a file beside the page
	Capped string
	Answer []string
	// Ablation and Differences are the tables of levels and of differences.
	Ablation, Differences grid
	Again                 download // the data of Ablation, for other tables made of them
	ByPrompt              download
	Arrow                 []string // files of tables that lie in the folder above the page's
	all                   []shown
	listed                map[string]bool // trials that have their anchor
}

// place puts a file where the page finds it, and returns its address.
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
	// On paper figures are light.
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

// write writes a file of a folder that nobody reads yet.
func write(path string, b []byte) error { return os.WriteFile(path, b, 0o666) }

// summary is a row's alignment and fidelity in a line.
func summary(t *compare.Table, r compare.Row) string {
	var parts []string
	for _, m := range t.Metrics {
		if c, ok := r.Cells[m.Name]; ok && (m.Name == "alignment" || m.Name == "proxy" || m.Name == "fidelity.recall") {
			parts = append(parts, m.Label+" "+format.Cell(m.Name, c))
		}
	}
	if parts == nil {
		return "no result"
	}
	return strings.Join(parts, ", ")
}

// trialOf is a row's trial of a seed, or "".
func trialOf(r compare.Row, seed string) string {
	if i := slices.Index(r.Seeds, seed); i >= 0 {
		return r.Trials[i]
	}
	return ""
}

// Base is the row of the pretrained model, if the study has just one: its alignment by
// category says what the others start from.
func (v *view) Base() *compare.Row {
	if i := slices.IndexFunc(v.Table.Rows, func(r compare.Row) bool { return r.Label == v.Table.Pretrained }); i >= 0 {
		return &v.Table.Rows[i]
	}
	return nil
}

// Particular are the notes that say something of one value or row: their indices.
func (v *view) Particular() []int {
	of := map[int]bool{}
	add := func(notes []int) {
		for _, n := range notes {
			if !general(v.Table.Notes[n]) {
				of[n] = true
			}
		}
	}
	for _, r := range v.Table.Rows {
		for _, c := range r.Cells {
			add(c.Notes)
		}
		for _, d := range r.Differences {
			add(d.Notes)
		}
	}
	for _, c := range v.Table.Contrasts {
		for _, d := range c.Differences {
			add(d.Notes)
		}
	}
	return slices.Sorted(maps.Keys(of))
}

// General are the notes on the whole table.
func (v *view) General() []string {
	var out []string
	for _, s := range []string{format.Levels(v.Table), format.Significance(v.Table)} {
		if s != "" {
			out = append(out, s)
		}
	}
	of := v.Particular()
	for i, n := range v.Table.Notes {
		if !slices.Contains(of, i) {
			out = append(out, format.Note(n))
		}
	}
	return slices.Concat(out, format.Detect(v.Table), format.Resolving(v.Table))
}

// MetricLabel is what readers call a metric.
func (v *view) MetricLabel(name string) string {
	for _, m := range v.Table.Metrics {
		if m.Name == name {
			return m.Label
		}
	}
	return name
}

// Changed are the parameters of row i that are other than the reference's, with both
// values.
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

// First reports whether a trial is listed for the first time: two rows may share
// it, and an anchor stands once.
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
	"inc":        func(i int) int { return i + 1 },
	"category": func(m compare.Metric) bool {
		switch m.Name {
		case "alignment.count", "alignment.colour", "alignment.background", "alignment.combination":
			return true
		}
		return false
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
