// Package page writes a study's report: one folder with index.html that opens
// from disk with no server and no network, or one file. Equal results give
// equal bytes, outside the block that says what ran.
package page

import (
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"image"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/renameio/v2"

	"ablate/analysis/compare"
	"ablate/analysis/table"
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
	Exchanges  *compare.Exchanges // by prompt; nil where nothing is known by prompt
	Failures   []string           // what has no result, and why
	Parameters []Parameters       // of each row of the table
	Methods    []string           // paragraphs
	Against    *compare.Diff      // with another study, or this one at another time
	Provenance Provenance
	Imported   bool // the runs were computed elsewhere: there are no parameters and failures of them, and no verdicts on pictures
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

// write writes a file of a folder that nobody reads yet.
func write(path string, b []byte) error { return os.WriteFile(path, b, 0o666) }
