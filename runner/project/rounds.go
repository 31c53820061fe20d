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
	"ablate/runner/store"
)

// Rounds is the state of a study that runs in rounds. In such a study, results decide
// what runs next: its looks (tests after given numbers of seeds) ask for more seeds, and
// its picks choose a point of a sweep. In a study with early stopping, they decide which rows
// go on with their fine-tuning.
type Rounds struct {
	Looks  []int             `json:"looks,omitempty"`  // looks of the study at the last round
	Seeds  map[string]int    `json:"seeds,omitempty"`  // number of seeds asked for, by row; a row that is absent has the seeds of the first look
	Picks  map[string]string `json:"picks,omitempty"`  // chosen row, by arm
	Halved *Halved           `json:"halved,omitempty"` // early stopping; nil where the study declares none
}

// Goal is the goal for which a run adds seeds.
type Goal string

const (
	Nothing     Goal = "" // the run adds no seeds
	Significant Goal = "significant"
	Precise     Goal = "precise"
)

const (
	roundsFile = "rounds.json"
	mostRounds = 64 << 20
)

// rounds limits the views of a study that runs in rounds to those that results have asked
// for so far.
func (p Project) rounds() (Project, error) {
	p.all = p.Study
	if !p.Rounded() {
		return p, nil
	}
	name := filepath.Join(p.Dir, roundsFile)
	r, err := readRounds(name)
	if err != nil {
		return p, fmt.Errorf("%s: %w: move it away, and the study starts again at its first look", name, err)
	}
	if err := r.fit(p.Study); err != nil {
		return p, err
	}
	return p.at(r), nil
}

// RoundsLook returns how the file with the state of the rounds looks; zero if the file does not exist.
// It changes whenever the state does.
func (p Project) RoundsLook() [16]byte {
	look, _ := store.Looks(filepath.Join(p.Dir, roundsFile)) // zero if it cannot be read
	return look
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
		return errors.New("it has more than one object")
	}
	for _, n := range r.Seeds {
		if !slices.Contains(r.Looks, n) {
			return fmt.Errorf("%d seeds are not among its looks", n)
		}
	}
	if r.Halved != nil {
		return r.Halved.check()
	}
	return nil
}

// fit returns an error if the study's looks have changed after results were tested. The
// looks at which they were tested, and the last look, must stay: the error rate of the
// tests depends on them.
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
	return fmt.Errorf("study %s: compare.looks was %v when the results were looked at, up to %d seeds, and is %v now: the looks up to that number and the last one must stay, or the rate of false alarms rises. Restore them, or copy the study under another name", s.Name, r.Looks, taken, s.Looks)
}

// at returns the project with the views that r asks for.
func (p Project) at(r Rounds) Project {
	study := *p.all
	study.Views = nil
	picks := map[string]*language.Pick{}
	for _, a := range study.Arms {
		picks[a.Name] = a.Pick
	}
	seen := map[string]int{} // number of seeds by row
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
	if study.Halving == nil {
		r.Halved = nil
	} else {
		// Another declaration has other rungs or survivors: the decisions begin again.
		if r.Halved == nil || !r.Halved.same(study.Halving) {
			r.Halved = &Halved{Halving: *study.Halving}
		}
		for i := range study.Views {
			r.Halved.cut(&study.Views[i])
		}
	}
	p.Study, p.Rounds = &study, r
	return p
}

func (r Rounds) seeds(s *language.Study, row string) int {
	if n, ok := r.Seeds[row]; ok {
		return n
	}
	return s.Looks[0]
}

// includes reports whether r has all decisions of o.
func (r Rounds) includes(o Rounds) bool {
	if !slices.Equal(r.Looks, o.Looks) || !maps.Equal(r.Picks, o.Picks) {
		return false
	}
	for row, n := range o.Seeds {
		if r.Seeds[row] < n {
			return false
		}
	}
	switch {
	case o.Halved == nil || r.Halved == nil:
		return o.Halved == r.Halved
	case !r.Halved.same(&o.Halved.Halving) || r.Halved.Class != o.Halved.Class:
		return false
	}
	for row, n := range o.Halved.Passed {
		if r.Halved.Passed[row] < n {
			return false
		}
	}
	for row, at := range o.Halved.Stopped {
		if r.Halved.Stopped[row] != at {
			return false
		}
	}
	return true
}

// Rounded reports whether the study runs in rounds.
func (p Project) Rounded() bool {
	return p.Study.Looks != nil || p.Study.Halving != nil || slices.ContainsFunc(p.Study.Arms, func(a language.Arm) bool { return a.Pick != nil })
}

// Whole returns the project with the views of all rounds.
func (p Project) Whole() Project {
	p.Study = p.all
	return p
}

// Next returns the project with the views that its results ask for: those of chosen
// points, and, if there is a goal, the seeds of the next look for each row that is not
// settled. It also returns these rows. It returns false if the results ask for nothing
// more. It writes nothing.
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
		// The reference needs all seeds of the rows that are compared with it.
		for _, n := range next.Seeds {
			next.Seeds[t.Reference] = max(next.Seeds[t.Reference], n)
		}
	}
	if len(rows) == 0 && maps.Equal(next.Picks, p.Rounds.Picks) {
		return p, nil, false
	}
	return p.at(next), rows, true
}

// Expected returns the expected number of views of the study when all comparisons are
// settled and all points are chosen.
func (p Project) Expected(t *compare.Table) float64 {
	byRow := t.Expected()
	// The reference needs as many seeds as the row with the most.
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

// SaveRounds writes the state of a claimed project's rounds into its folder of results.
// It must be called before the views run. A state that another run has written meanwhile, and that
// has all of p's decisions, stays.
func (p Project) SaveRounds() error {
	if there, err := readRounds(filepath.Join(p.Dir, roundsFile)); err == nil && there.includes(p.Rounds) {
		return nil
	}
	data, err := json.MarshalIndent(p.Rounds, "", "  ")
	if err == nil {
		err = renameio.WriteFile(filepath.Join(p.Dir, roundsFile), append(data, '\n'), 0o666, renameio.WithTempDir(p.Dir))
	}
	if err != nil {
		return p.Store.Diagnose(err)
	}
	return nil
}
