package result

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"ablate/runner/lookup"
	"ablate/runner/program"
	"ablate/runner/project"
	"ablate/runner/store"
)

// conclusion is the record, in the study's folder of results, of the last run that made
// tables and report. If nothing has changed since, the next run makes none: it prints the same
// again. Reading ten thousand results and comparing them takes minutes.
type conclusion struct {
	Format string `json:"format"`
	Of     string `json:"of"`    // result of ConclusionOf
	Looks  string `json:"looks"` // of what the run wrote; see store.Looks
	Text   string `json:"text"`  // what the run printed
}

const conclusionFormat = "ablate conclusion 2"

func conclusionFile(p project.Project) string { return filepath.Join(p.Dir, "conclusion.json") }

// ConclusionOf returns a digest of everything from which a run makes tables and report:
// program, study, results, failures and attempts. how is what else decides what it prints.
func ConclusionOf(p project.Project, class string, found *lookup.Found, how string) (string, error) {
	h := sha256.New()
	study, err := p.Study.Digest()
	if err != nil {
		return "", err
	}
	rounds, err := json.Marshal(p.Rounds)
	if err != nil {
		return "", err
	}
	fmt.Fprintf(h, "%s\n%x\n%q\n%s\n%s\n%s\n", program.Identity(), study, p.Set, rounds, class, how)
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

// written returns how the files look that a run writes at its end.
func written(p project.Project) (string, error) {
	files := []string{filepath.Join(p.Dir, "roots"), filepath.Join(p.Dir, "report", "index.html")}
	for _, name := range Names {
		files = append(files, filepath.Join(p.Dir, name+".arrow"))
	}
	sum, err := store.Looks(files...)
	return fmt.Sprintf("%x", sum), err
}

// Conclude records what a run printed. of is the result of ConclusionOf.
func Conclude(p project.Project, of, text string) error {
	now, err := written(p)
	if err != nil {
		return err
	}
	data, err := json.Marshal(conclusion{conclusionFormat, of, now, text})
	if err != nil {
		return err
	}
	return renameio.WriteFile(conclusionFile(p), append(data, '\n'), 0o666)
}

// Concluded returns what the last run printed, if it was of the same and what it wrote is
// still there. A record that cannot be read counts as none.
func Concluded(p project.Project, of string) (text string, ok bool) {
	data, err := os.ReadFile(conclusionFile(p))
	if err != nil {
		return "", false
	}
	var c conclusion
	if json.Unmarshal(data, &c) != nil || c.Format != conclusionFormat || c.Of != of {
		return "", false
	}
	now, err := written(p)
	return c.Text, err == nil && now == c.Looks
}
