// Package page writes the HTML report of a study, as a folder with index.html or as one
// file. The report opens from disk, without a server or a network. Equal results give
// equal bytes, except for the section on which programs and machines ran.
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

// Report is the contents of a report.
type Report struct {
	Name, Title, Question string
	Seeds                 []string
	Table                 *compare.Table
	Samples, Curves       *table.Table
	Trials, Reliability   *table.Table // if nil, the report has no figures of rewards and of best of n
	ProbeImages           int          // number of images that a probe of a fine-tuning draws; 0 if it is not known
	// Image returns an evaluation image of a trial, nil if there is none.
	Image      func(trial, set string, index int) (image.Image, error)
	Exchanges  *compare.Exchanges // what rows win and lose by prompt; nil if it is not known
	People     []People           // comparisons of rows by people
	Failures   []string           // trials without a result, and the reasons
	Parameters []Parameters       // parameters of each row of the table
	Methods    []string           // paragraphs on methods
	Against    *compare.Diff      // comparison with another study or with earlier results; may be nil
	Provenance Provenance
	// Photographs says that pictures are of any size and content, as engines draw them.
	Photographs bool
	Engines     []Engine // programs that computed results of the study; nil if there are none
	Judge       string   // the gold, where it is an engine's: "column correct of engine geneval"

	Imported bool // the runs are imported: they have no parameters and failures, and their pictures no verdicts
}

// People is what people have said of the images of two rows.
type People struct {
	Title           string
	Done, Of        int // answers, and how many there will be
	Raters, Prompts int
	Rows            []PeopleRow
	Notes           []string // on the raters' agreement
}

// PeopleRow has the answers to a question on a group of prompts.
type PeopleRow struct {
	Question, Group    string
	Prompts            int
	Wins, Ties, Losses int
	Share, Low, High   string
}

// Engine is a program that computed results of the study.
type Engine struct {
	Name        string   // in the study
	Program     string   // the program's own name and version
	Verbs       []string // what the study uses it for, each with its revision
	Sources     []string // short digests of the files that made the results
	Environment string   // "Python 3.11.7, 12 packages"
	Packages    []string // "NAME==VERSION"
	Notes       []string // footnotes
}

// Parameters are the parameters of a row's trials.
type Parameters struct {
	Label  string
	Lines  []string // "path value"
	Trials []Trial
}

// Trial is the name of a view and the id of its trial.
type Trial struct{ View, ID string }

// Anchor returns the fragment of a link to the trial.
func (t Trial) Anchor() string { return "trial-" + short(t.ID) }

// Provenance describes which programs and machines ran. It is the only part that may
// differ between two reports of the same results.
type Provenance struct {
	Command   string   // command line that reproduces the report
	Versions  []string // versions of the programs that ran, each once
	Devices   []string
	CPUs      []string
	Attempts  int
	Seconds   float64  // duration of all attempts together
	Artifacts []string // "view stage id"
}

// prompts is the number of prompts of each seed that are shown.
const prompts = 100

// Write writes the report as the folder dir, which it replaces, and returns the path of
// index.html.
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

// Single returns the report as one HTML file of at most most bytes. If the pictures do
// not fit, it shows fewer prompts and says so. It returns an error if the report does not
// fit even without pictures.
func Single(r Report, most int) ([]byte, error) {
	v, err := r.view(func(_, kind string, b []byte) (template.URL, error) {
		return template.URL("data:" + kind + ";base64," + base64.StdEncoding.EncodeToString(b)), nil
	})
	if err != nil {
		return nil, err
	}
	whole := 0 // number of prompts per seed without the limit
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

// Figures writes all figures of the report into dir as SVG, PNG and PDF, and returns the
// names of the files.
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

// write writes a file. It need not be atomic, because nobody reads the new folder yet.
func write(path string, b []byte) error { return os.WriteFile(path, b, 0o666) }
