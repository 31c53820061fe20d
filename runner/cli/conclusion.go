package cli

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"ablate/runner/lookup"
	"ablate/runner/program"
	"ablate/runner/project"
	"ablate/runner/result"
	"ablate/runner/run"
)

// conclusion is the record, in the study's folder of results, of the last run that made
// tables and report. If nothing has changed since, the next run makes none: it prints the same
// again. Reading ten thousand results and comparing them takes minutes.
type conclusion struct {
	Format string            `json:"format"`
	Of     string            `json:"of"`    // digest of everything from which tables, report and Text were made
	Files  map[string]string `json:"files"` // tables and report, and how they look, by path in the folder
	Text   string            `json:"text"`  // what the run printed
}

const conclusionFormat = "ablate conclusion 1"

func conclusionFile(p project.Project) string { return filepath.Join(p.Dir, "conclusion.json") }

// of returns a digest of everything from which a run makes tables and report, and prints:
// program, study, results, failures, attempts, flags, and the width of the terminal.
func (g *globals) of(p project.Project, class string, found *lookup.Found, o runOptions) (string, error) {
	h := sha256.New()
	study, err := p.Study.Digest()
	if err != nil {
		return "", err
	}
	rounds, err := json.Marshal(p.Rounds)
	if err != nil {
		return "", err
	}
	width, _ := terminal(g.stdout)
	fmt.Fprintf(h, "%s\n%x\n%q\n%s\n%s\n%d %v %q\n", program.Identity(), study, p.Set, rounds, class, width, o.json, o.until)
	for _, a := range p.Graph.Actions {
		id := found.ID(a)
		h.Write(a.Name[:])
		h.Write(id[:])
		if f, ok := found.Failed[a]; ok {
			fmt.Fprintf(h, "%q %q", f.Class, f.Error)
		}
	}
	journals, err := filepath.Glob(filepath.Join(p.Dir, "events", "*"))
	if err != nil {
		return "", err
	}
	for _, name := range journals {
		if info, err := os.Stat(name); err == nil && info.Size() > 0 {
			fmt.Fprintf(h, "%q %d\n", filepath.Base(name), info.Size())
		}
	}
	return fmt.Sprintf("%x", h.Sum(nil)), nil
}

// results are the files that a conclusion is about.
func results() []string {
	files := []string{filepath.Join("report", "index.html")}
	for _, name := range result.Names {
		files = append(files, name+".arrow")
	}
	return files
}

// looks returns how a file looks: whoever writes it changes that.
func looks(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d bytes of %d", info.Size(), info.ModTime().UnixNano()), nil
}

// record records what a run printed.
func (g *globals) record(p project.Project, class string, found *lookup.Found, o runOptions, text string) error {
	c := conclusion{Format: conclusionFormat, Files: map[string]string{}, Text: text}
	var err error
	if c.Of, err = g.of(p, class, found, o); err != nil {
		return err
	}
	for _, name := range results() {
		if c.Files[name], err = looks(filepath.Join(p.Dir, name)); err != nil {
			return err
		}
	}
	data, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return renameio.WriteFile(conclusionFile(p), append(data, '\n'), 0o666)
}

// repeat prints again what the last run printed, and returns true, if nothing has changed
// since.
func (g *globals) repeat(p project.Project, class string, found *lookup.Found, out *run.Outcome, o runOptions) (bool, error) {
	data, err := os.ReadFile(conclusionFile(p))
	if err != nil {
		return false, nil
	}
	var c conclusion
	if json.Unmarshal(data, &c) != nil || c.Format != conclusionFormat {
		return false, nil
	}
	for _, name := range results() {
		if now, err := looks(filepath.Join(p.Dir, name)); err != nil || now != c.Files[name] {
			return false, nil
		}
	}
	of, err := g.of(p, class, found, o)
	if err != nil || of != c.Of {
		return false, err
	}
	_, err = g.stdout.Write([]byte(c.Text))
	return true, errors.Join(failed(p, out.Failures), err)
}
