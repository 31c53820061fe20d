package project

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/renameio/v2"

	"ablate/analysis/compare"
	"ablate/experiments/language"
)

// Rounds is how far a study has gone that runs in rounds, for what runs next depends on
// results: the seeds that its looks have asked for, and the points that were chosen.
type Rounds struct {
	Looks []int             `json:"looks,omitempty"` // those of the study when it was last looked at
	Seeds map[string]int    `json:"seeds,omitempty"` // asked for by row; those of the first look where a row is absent
	Picks map[string]string `json:"picks,omitempty"` // by arm, the row that was chosen
}

// Goal is what a run adds seeds for.
type Goal string

const (
	Nothing     Goal = "" // it adds none
	Significant Goal = "significant"
	Precise     Goal = "precise"
)

const (
	roundsFile = "rounds.json"
	mostRounds = 64 << 20
)

// rounds limits a study that runs in rounds to the views that have been asked for.
func (p Project) rounds() (Project, error) {
	p.all = p.Study
	if !p.Rounded() {
		return p, nil
	}
	name := filepath.Join(p.Dir, roundsFile)
	r, err := readRounds(name)
	if err != nil {
		return p, fmt.Errorf("%s: %w: move it away, and the study begins at its first look again", name, err)
	}
	if err := r.fit(p.Study); err != nil {
		return p, err
	}
	return p.at(r), nil
}

func readRounds(name string) (Rounds, error) {
	var r Rounds
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	} else if err != nil {
		return r, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, mostRounds))
	if err != nil {
		return r, err
	}
	return r, r.decode(data)
}

func (r *Rounds) decode(data []byte) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(r); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is more than one object")
	}
	for _, n := range r.Seeds {
		if !slices.Contains(r.Looks, n) {
			return fmt.Errorf("%d seeds are not among its looks", n)
		}
	}
	return nil
}

// fit returns the mistake of a study whose looks have changed after data were looked at:
// those that were taken, and the last, decide how much of the error is spent.
func (r Rounds) fit(s *language.Study) error {
	taken := 0
	for _, n := range r.Seeds {
		taken = max(taken, n)
	}
	if taken == 0 || slices.Equal(r.Looks, s.Looks) {
		return nil
	}
	if at := slices.Index(r.Looks, taken) + 1; s.Looks != nil && at <= len(s.Looks) && slices.Equal(r.Looks[:at], s.Looks[:at]) && r.Looks[len(r.Looks)-1] == s.Looks[len(s.Looks)-1] {
		return nil
	}
	return fmt.Errorf("study %s: compare.looks was %v when the results were looked at, up to %d seeds, and is %v now: looks that were taken and the last one stay as they are, or false alarms rise. Put them back, or copy the study under another name", s.Name, r.Looks, taken, s.Looks)
}

// at is the project with the views that some rounds have asked for.
func (p Project) at(r Rounds) Project {
	study := *p.all
	study.Views = nil
	picks := map[string]*language.Pick{}
	for _, a := range study.Arms {
		picks[a.Name] = a.Pick
	}
	seen := map[string]int{} // seeds by row
	for _, v := range p.all.Views {
		row := v.Row()
		if pick := picks[v.Arm]; pick != nil {
			if !slices.Contains(pick.On, v.Trial.Seed) && r.Picks[v.Arm] != row {
				continue
			}
		} else if study.Looks != nil {
			if seen[row]++; seen[row] > r.seeds(&study, row) {
				continue
			}
		}
		study.Views = append(study.Views, v)
	}
	r.Looks = study.Looks
	p.Study, p.Rounds = &study, r
	return p
}

func (r Rounds) seeds(s *language.Study, row string) int {
	if n, ok := r.Seeds[row]; ok {
		return n
	}
	return s.Looks[0]
}

// Rounded reports whether the study runs in rounds.
func (p Project) Rounded() bool {
	return p.Study.Looks != nil || slices.ContainsFunc(p.Study.Arms, func(a language.Arm) bool { return a.Pick != nil })
}

// Whole is the project with every view that its rounds may come to.
func (p Project) Whole() Project {
	p.Study = p.all
	return p
}

// Next returns the project with the views that its results ask for: of the points that
// were chosen, and, for a goal, of the seeds of the next look for each row that is not
// settled. It also returns those rows, and reports false where nothing more is asked for.
// It writes nothing.
func (p Project) Next(t *compare.Table, goal Goal) (Project, []string, bool) {
	next := Rounds{Seeds: maps.Clone(p.Rounds.Seeds), Picks: maps.Clone(t.Chosen)}
	var rows []string
	if goal != Nothing {
		var precise map[string]float64
		if goal == Precise {
			precise = p.Study.Precise
		}
		if next.Seeds == nil {
			next.Seeds = map[string]int{}
		}
		for _, row := range t.Unsettled(precise) {
			have := p.Rounds.seeds(p.Study, row)
			if i := slices.Index(p.Study.Looks, have); i >= 0 && i+1 < len(p.Study.Looks) && row != t.Reference {
				next.Seeds[row] = p.Study.Looks[i+1]
				rows = append(rows, row)
			}
		}
		// The reference goes as far as any row that is compared with it.
		for _, n := range next.Seeds {
			next.Seeds[t.Reference] = max(next.Seeds[t.Reference], n)
		}
	}
	if len(rows) == 0 && maps.Equal(next.Picks, p.Rounds.Picks) {
		return p, nil, false
	}
	return p.at(next), rows, true
}

// Expected is the number of views that the study is expected to come to: where it goes on
// until its comparisons are settled, and the chosen points of its arms.
func (p Project) Expected(t *compare.Table) float64 {
	byRow := t.Expected()
	// The reference goes as far as any row.
	var longest float64
	for _, n := range byRow {
		longest = max(longest, n)
	}
	var sum float64
	for _, a := range p.all.Arms {
		for _, point := range a.Points {
			row := language.View{Arm: a.Name, Point: point.Axes}.Row()
			switch n, ok := byRow[row]; {
			case a.Pick != nil:
				sum += float64(len(a.Pick.On))
			case ok:
				sum += n
			case p.Study.Looks != nil && row == t.Reference:
				sum += longest
			default:
				sum += float64(len(a.Seeds))
			}
		}
		if a.Pick != nil {
			sum += float64(len(a.Pick.Report))
		}
	}
	return sum
}

// SaveRounds writes down what a claimed project's rounds have asked for, before it runs.
func (p Project) SaveRounds() error {
	data, err := json.MarshalIndent(p.Rounds, "", "  ")
	if err == nil {
		err = renameio.WriteFile(filepath.Join(p.Dir, roundsFile), append(data, '\n'), 0o666, renameio.WithTempDir(p.Dir))
	}
	if err != nil {
		return p.Store.Diagnose(err)
	}
	return nil
}
