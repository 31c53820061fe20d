package language

import (
	"maps"
	"path/filepath"
	"regexp"
	"slices"

	"cuelang.org/go/cue"
)

// Imported is the source of a study's results that other tools computed, and how they are read.
type Imported struct {
	Files      []string          `json:"files"` // absolute paths
	Format     string            `json:"format"`
	Columns    map[string]string `json:"columns"`
	Axes       []string          `json:"axes"`
	Only       []string          `json:"only"`
	Ignore     []string          `json:"ignore"`
	Arms       map[string]string `json:"arms"`
	Unfinished bool              `json:"unfinished"`
	Pattern    string            `json:"pattern"`
	File       string            `json:"file"`
	Metrics    map[string]ImportedMetric
}

// ImportedMetric is a study's description of a metric.
type ImportedMetric struct {
	Range  string `json:"range"`
	Better string `json:"better"`
	Unit   string `json:"unit"`
	Doc    string `json:"doc"`
}

// imported reads a study of imported results, which the schema has already checked.
func (r *reader) imported(v cue.Value, s *Study) {
	var in struct {
		Title, Question string
		From            Imported
		Metrics         map[string]ImportedMetric
		Compare         struct {
			Reference, Prompts string
			Primary            []string
			Contrasts          []struct{ A, B string }
			Detect             map[string]float64
		}
		Gate map[string]struct {
			Absolute, Relative *float64
			Seeds              *int
		}
	}
	if err := v.Validate(cue.Concrete(true)); err != nil {
		r.cue(err)
		return
	}
	if err := v.Decode(&in); err != nil {
		r.cue(err)
		return
	}
	if _, err := regexp.Compile(in.From.Pattern); err != nil {
		r.m.add(r.place(v.LookupPath(cue.ParsePath("from.pattern"))), "from.pattern", err.Error(), `write one as in pattern: "(?P<arm>[a-z]+)_s(?P<seed>[0-9]+)"`)
	}
	s.Title, s.Question, s.Imported = in.Title, in.Question, &in.From
	if s.Title == "" {
		s.Title = s.Name
	}
	s.Imported.Metrics = in.Metrics
	for i, f := range s.Imported.Files {
		if !filepath.IsAbs(f) {
			s.Imported.Files[i] = filepath.Join(s.Dir, f)
		}
	}
	c := in.Compare
	s.Reference, s.Prompts, s.Primary, s.Detect = c.Reference, c.Prompts, c.Primary, c.Detect
	for _, x := range c.Contrasts {
		s.Contrasts = append(s.Contrasts, [2]string{x.A, x.B})
	}
	for _, name := range slices.Sorted(maps.Keys(in.Gate)) {
		g := Gate{Metric: name, Absolute: in.Gate[name].Absolute, Relative: in.Gate[name].Relative, Seeds: 1}
		if g.Absolute != nil && g.Relative != nil {
			r.m.add(r.place(v.LookupPath(cue.MakePath(cue.Str("gate"), cue.Str(name)))), "gate."+name, "both absolute and relative are given", "keep one")
		}
		if n := in.Gate[name].Seeds; n != nil {
			g.Seeds = *n
		}
		s.Gate = append(s.Gate, g)
	}
}
