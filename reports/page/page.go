// Package page writes a study's report: one folder with index.html that opens
// from disk with no server and no network. Equal results give equal bytes,
// outside the block that says what ran.
package page

import (
	"bytes"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"ablate/analysis/compare"
	"ablate/analysis/table"
	"ablate/reports/figure"
)

//go:embed report.html report.css report.js
var assets embed.FS

// Report is everything that a report shows.
type Report struct {
	Name, Title, Question string
	Seeds                 []string
	Table                 *compare.Table
	Samples, Curves       *table.Table
	// Image is an evaluation image of a trial; nil where there is none.
	Image func(trial, set string, index int) (image.Image, error)
	// Real is an image of the reference set, with its imperfect caption.
	Real       func(index int) (image.Image, string, error)
	Notes      []string     // statements that every reader needs
	Parameters []Parameters // of each row
	Methods    []string     // paragraphs
	Provenance Provenance
}

// Parameters are what a row's trials were made of.
type Parameters struct {
	Label  string
	Lines  []string // "path value"
	Trials []string // "view  id"
}

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

// grid sizes: prompts shown, and seeds whose images are shown.
const gridRows = 12

// Write writes the report into dir and returns the path of its index.html.
func Write(dir string, r Report) (string, error) {
	if err := os.MkdirAll(filepath.Join(dir, "figures"), 0o777); err != nil {
		return "", err
	}
	v := view{Report: r}
	for _, f := range []struct {
		name, caption string
		make          func() (figure.Figure, bool, error)
	}{
		{"front", "Alignment against fidelity. " + intervalText(r.Table) + " Small glyphs: the seeds.", func() (figure.Figure, bool, error) {
			return figure.Front(r.Table, "fidelity.recall", "alignment"), true, nil
		}},
		{"categories", "Alignment by category. " + intervalText(r.Table), func() (figure.Figure, bool, error) {
			return figure.Categories(r.Table), true, nil
		}},
		{"finetune-loss", "Fine-tuning: loss, mean since the point before; a line a seed.", func() (figure.Figure, bool, error) {
			return figure.Curves(r.Table, r.Curves, "finetune", "loss")
		}},
		{"finetune-ess", "Fine-tuning: effective sample size of the weights in a batch. Soft weights leave bad images in.", func() (figure.Figure, bool, error) {
			return figure.Curves(r.Table, r.Curves, "finetune", "effective sample size")
		}},
		{"pretrain-loss", "Pretraining: loss; a line a seed, shared by all arms.", func() (figure.Figure, bool, error) {
			return figure.Curves(r.Table, r.Curves, "pretrain", "loss")
		}},
		{"reward-loss", "Reward: loss.", func() (figure.Figure, bool, error) {
			return figure.Curves(r.Table, r.Curves, "reward", "loss")
		}},
	} {
		fig, ok, err := f.make()
		if err != nil {
			return "", err
		}
		if !ok {
			continue
		}
		svg, err := fig.SVG()
		if err != nil {
			return "", err
		}
		png, err := fig.PNG()
		if err != nil {
			return "", err
		}
		if err := errors.Join(write(filepath.Join(dir, "figures", f.name+".svg"), svg), write(filepath.Join(dir, "figures", f.name+".png"), png)); err != nil {
			return "", err
		}
		v.Figures = append(v.Figures, shown{Name: f.name, Caption: f.caption})
	}
	grids, err := r.grids()
	if err != nil {
		return "", err
	}
	v.Grids = grids
	css, err := assets.ReadFile("report.css")
	if err != nil {
		return "", err
	}
	js, err := assets.ReadFile("report.js")
	if err != nil {
		return "", err
	}
	v.CSS, v.JS = template.CSS(css), template.JS(js)
	t, err := template.New("report.html").Funcs(functions).ParseFS(assets, "report.html")
	if err != nil {
		return "", fmt.Errorf("report: %w", err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, v); err != nil {
		return "", fmt.Errorf("report: %w", err)
	}
	index := filepath.Join(dir, "index.html")
	return index, write(index, b.Bytes())
}

// write writes a file, whole or not at all.
func write(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Chmod(0o666), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// intervalText says what the bars of a figure are.
func intervalText(t *compare.Table) string {
	for _, r := range t.Rows {
		switch r.Cells["alignment"].Interval {
		case compare.OverSeeds:
			return "Bars: 95% over seeds."
		case compare.OverPrompts:
			return "Bars: 95% over prompts, for these seeds only."
		}
	}
	return ""
}

// view is what the template sees.
type view struct {
	Report
	CSS     template.CSS
	JS      template.JS
	Figures []shown
	Grids   []grid
}

type shown struct{ Name, Caption string }

// grid is one seed's images: the same prompts and initial noise across rows.
type grid struct {
	Seed    string
	Columns []string
	Rows    []gridRow
}

type gridRow struct {
	Prompt, Category string
	Unseen           bool
	Cells            []gridCell
}

type gridCell struct {
	Image         template.URL
	Verdict, Read string
}

// Base is the row that fine-tunes nothing, if the study has one: its alignment
// by category says what the others start from.
func (v view) Base() *compare.Row {
	for i, p := range v.Parameters {
		for _, l := range p.Lines {
			if l == `finetune.method "none"` && i < len(v.Table.Rows) {
				return &v.Table.Rows[i]
			}
		}
	}
	return nil
}

// grids lays out the sample grids: of each seed the first prompts of every
// category, seen and unseen in turn.
func (r Report) grids() ([]grid, error) {
	rows := map[string][]int{} // rows of samples by trial
	trial, set := r.Samples.Column("trial"), r.Samples.Column("set")
	for i := range r.Samples.Rows() {
		if set.Strings[i] == "alignment" {
			rows[trial.Strings[i]] = append(rows[trial.Strings[i]], i)
		}
	}
	var out []grid
	for s, name := range r.Seeds {
		g := grid{Seed: name}
		var ids []string
		for _, row := range r.Table.Rows {
			if row.SameAs == "" && s < len(row.Trials) && len(rows[row.Trials[s]]) > 0 {
				g.Columns, ids = append(g.Columns, row.Label), append(ids, row.Trials[s])
			}
		}
		if len(ids) == 0 {
			continue
		}
		for _, k := range r.choose(rows[ids[0]]) {
			at := rows[ids[0]][k]
			line := gridRow{Prompt: r.Samples.Column("prompt").Strings[at], Category: r.Samples.Column("category").Strings[at], Unseen: !r.Samples.Column("seen").Bools[at]}
			for _, id := range ids {
				if k >= len(rows[id]) {
					line.Cells = append(line.Cells, gridCell{})
					continue
				}
				i := rows[id][k]
				img, err := r.Image(id, "alignment", int(r.Samples.Column("index").Ints[i]))
				if err != nil {
					return nil, err
				}
				url, err := dataURL(img)
				if err != nil {
					return nil, err
				}
				line.Cells = append(line.Cells, gridCell{url, r.Samples.Column("verdict").Strings[i], r.Samples.Column("read").Strings[i]})
			}
			g.Rows = append(g.Rows, line)
		}
		out = append(out, g)
	}
	return out, nil
}

// choose picks rows of samples for a grid: in the order of drawing, as many of
// each category, a prompt once.
func (r Report) choose(rows []int) []int {
	var out []int
	count, seen := map[string]int{}, map[string]bool{}
	for k, i := range rows {
		c, p := r.Samples.Column("category").Strings[i], r.Samples.Column("prompt").Strings[i]
		limit := gridRows / 6
		if c == "combination" {
			limit = gridRows / 2
		}
		if count[c] < limit && !seen[p] {
			count[c]++
			seen[p] = true
			out = append(out, k)
		}
	}
	return out
}

func dataURL(img image.Image) (template.URL, error) {
	if img == nil {
		return "", nil
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		return "", fmt.Errorf("report: image: %w", err)
	}
	return template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(b.Bytes())), nil
}

func decimals(metric string) int {
	if strings.HasPrefix(metric, "fidelity.frechet") {
		return 1
	}
	return 3
}

var functions = template.FuncMap{
	"num": func(metric string, v float64) string { return strconv.FormatFloat(v, 'f', decimals(metric), 64) },
	"signed": func(metric string, v float64) string {
		s := strconv.FormatFloat(v, 'f', decimals(metric), 64)
		if v >= 0 {
			return "+" + s
		}
		return strings.Replace(s, "-", "−", 1)
	},
	"inc": func(i int) int { return i + 1 },
	"values": func(metric string, v []float64) string {
		var list []string
		for _, x := range v {
			list = append(list, strconv.FormatFloat(x, 'f', decimals(metric), 64))
		}
		return strings.Join(list, "  ")
	},
	"category": func(m compare.Metric) bool {
		switch m.Name {
		case "alignment.count", "alignment.colour", "alignment.background", "alignment.combination":
			return true
		}
		return false
	},
	"arrow": func(better string) string { return map[string]string{"higher": "↑", "lower": "↓"}[better] },
	"cell":  func(r compare.Row, metric string) *compare.Cell { return at(r.Cells, metric) },
	"diff":  func(r compare.Row, metric string) *compare.Difference { return at(r.Differences, metric) },
	"floor": func(t *compare.Table, metric string) *compare.Cell {
		for _, r := range t.Rows {
			if c := at(r.Cells, metric); c != nil {
				return c
			}
		}
		return nil
	},
	"minutes": func(s float64) string { return strconv.FormatFloat(s/60, 'f', 1, 64) },
}

func at[V any](m map[string]V, metric string) *V {
	if c, ok := m[metric]; ok {
		return &c
	}
	return nil
}
