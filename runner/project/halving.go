package project

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"

	"ablate/experiments/language"
)

// Halved is how far the rows of a study with early stopping have come.
type Halved struct {
	Halving language.Halving `json:"halving"`           // the declaration by which they were stopped
	Class   string           `json:"class,omitempty"`   // class of backend whose results decided; empty while nothing is decided
	Passed  map[string]int   `json:"passed,omitempty"`  // number of rungs at which a row went on; a row that is absent has passed none
	Stopped map[string]int   `json:"stopped,omitempty"` // by row that was stopped, after how many steps
}

// same reports whether rows were stopped by a declaration.
func (h *Halved) same(d *language.Halving) bool {
	return d != nil && h.Halving.By == d.By && h.Halving.Keep == d.Keep && slices.Equal(h.Halving.At, d.At)
}

// Decided returns an error if rows were stopped by the results of another class of backend: a table
// of this class would have rows that its own results have not chosen.
func (p Project) Decided(class string) error {
	h := p.Rounds.Halved
	if h == nil || h.Class == "" || h.Class == class {
		return nil
	}
	return fmt.Errorf("study %s: rows were stopped early by their results from %s, and this run computes on %s: give --backend %s to continue, or copy the study under another name to run it on %s", p.Study.Name, h.Class, class, h.Class, class)
}

// check returns an error for a state that no study can have.
func (h *Halved) check() error {
	for row, at := range h.Stopped {
		if i := slices.Index(h.Halving.At, at); i < 0 || i != h.Passed[row] {
			return fmt.Errorf("row %q has stopped after %d steps, having passed %d of the rungs %v", row, at, h.Passed[row], h.Halving.At)
		}
	}
	for row, n := range h.Passed {
		if n < 0 || n > len(h.Halving.At) {
			return fmt.Errorf("row %q has passed %d of the rungs %v", row, n, h.Halving.At)
		}
	}
	return nil
}

// cut limits the fine-tuning of a view to the rung that its row has to reach next, or at
// which it has stopped.
func (h *Halved) cut(v *language.View) {
	if v.Rungs == nil {
		return
	}
	row := v.Row()
	passed := h.Passed[row]
	_, stopped := h.Stopped[row]
	if !stopped && passed >= len(v.Rungs) {
		return
	}
	v.Rungs, v.Cut, v.Stopped = v.Rungs[:min(passed+1, len(v.Rungs))], true, stopped
}

// A Score is the score of a row at a rung.
type Score struct {
	Known bool    // it is Value; otherwise some of its trials have not reached the rung
	Value float64 // mean over the study's seeds; -Inf if a trial failed on its way, which makes the row the last
}

// Halve returns the project in which rows that may stop have been stopped, or go on, by
// their scores at each rung. It decides a rung when it knows the scores of all rows that
// have to reach it. All decisions follow from the scores, whatever was decided before; those of rungs
// whose scores it does not know stay as they are. Halve
// also returns the rows that the project newly lets go on and stops. It returns false if
// the project already has all decisions. It writes nothing.
func (p Project) Halve(class string, score func(v language.View, rung int) (Score, error)) (next Project, on, stopped []string, more bool, err error) {
	h := p.Study.Halving
	if h == nil {
		return p, nil, nil, false, nil
	}
	before := p.Rounds.Halved
	if before == nil {
		before = &Halved{}
	}
	to := Rounds{Halved: &Halved{Halving: *h, Class: class, Passed: map[string]int{}, Stopped: map[string]int{}}}
	going := p.halvable()
	for k, at := range h.At {
		var in []*contender
		for _, c := range going {
			if len(c.view.Rungs) > k {
				in = append(in, c)
			}
		}
		known := true
		for _, c := range in {
			s, err := score(c.view, k)
			if err != nil {
				return p, nil, nil, false, err
			}
			c.score, known = s.Value, known && s.Known
		}
		// Where no row has a score, the failure is not of single rows, and decides nothing.
		if !known || !slices.ContainsFunc(in, func(c *contender) bool { return !math.IsInf(c.score, -1) }) {
			for _, c := range going {
				for _, row := range c.rows {
					if n := before.Passed[row]; n > k {
						to.Halved.Passed[row] = n
					}
					if at, ok := before.Stopped[row]; ok && before.Passed[row] >= k {
						to.Halved.Stopped[row] = at
					}
				}
			}
			break
		}
		ranked := slices.Clone(in)
		slices.SortStableFunc(ranked, func(a, b *contender) int { return cmp.Compare(b.score, a.score) })
		for i, c := range ranked {
			for _, row := range c.rows {
				if c.out = i >= keeps(h.Keep, len(in)); c.out {
					to.Halved.Stopped[row] = at
				} else {
					to.Halved.Passed[row] = k + 1
				}
			}
		}
		going = slices.DeleteFunc(going, func(c *contender) bool { return c.out })
	}
	if maps.Equal(before.Passed, to.Halved.Passed) && maps.Equal(before.Stopped, to.Halved.Stopped) {
		return p, nil, nil, false, nil
	}
	for _, c := range p.halvable() {
		for _, row := range c.rows {
			if _, was := before.Stopped[row]; to.Halved.Passed[row] > before.Passed[row] {
				on = append(on, row)
			} else if _, is := to.Halved.Stopped[row]; is && !was {
				stopped = append(stopped, row)
			}
		}
	}
	return p.at(to), on, stopped, true, nil
}

// keeps returns how many of n rows go on. A product that is whole but for rounding is whole.
func keeps(share float64, n int) int {
	return max(1, int(math.Ceil(share*float64(n)-1e-9)))
}

// A contender is a row that may stop, or several rows that differ in their evaluation at most, which
// stop together: they share their training.
type contender struct {
	rows  []string
	view  language.View // the first
	score float64
	out   bool
}

// halvable returns the rows of the study that may stop, in its order.
func (p Project) halvable() (out []*contender) {
	byTraining := map[string]*contender{}
	for _, v := range p.all.Views {
		if v.Rungs == nil || v.Trial.Seed != p.all.Seeds[0] {
			continue
		}
		training := v.Trial.Content.Training()
		if byTraining[training] == nil {
			byTraining[training] = &contender{view: v}
			out = append(out, byTraining[training])
		}
		if c := byTraining[training]; !slices.Contains(c.rows, v.Row()) {
			c.rows = append(c.rows, v.Row())
		}
	}
	return out
}

// Parts returns the study's work with early stopping, as far as it is not decided: the
// project in which all rows that may still stop reach the next rung, those in which all reach
// the rungs after it, and the last, in which none stops. shares has, for each part but the
// last, the expected share of these rows that goes on to the next part.
func (p Project) Parts() (parts []Project, shares []float64) {
	h, decided := p.Rounds.Halved, 0
	for _, n := range h.Passed {
		decided = max(decided, n)
	}
	for _, at := range h.Stopped {
		decided = max(decided, slices.Index(h.Halving.At, at)+1)
	}
	going := slices.DeleteFunc(p.halvable(), func(c *contender) bool {
		_, stopped := h.Stopped[c.rows[0]]
		return stopped
	})
	share := 1.
	for k := decided; k <= len(h.Halving.At); k++ {
		to := &Halved{Halving: h.Halving, Passed: map[string]int{}, Stopped: h.Stopped}
		in := 0
		for row := range h.Stopped {
			to.Passed[row] = h.Passed[row]
		}
		for _, c := range going {
			for _, row := range c.rows {
				to.Passed[row] = k
			}
			if len(c.view.Rungs) > k {
				in++
			}
		}
		parts = append(parts, p.at(Rounds{Halved: to}))
		if k == len(h.Halving.At) {
			break
		}
		if n := int(math.Round(share * float64(in))); n > 0 {
			share *= float64(keeps(h.Halving.Keep, n)) / float64(n)
		}
		shares = append(shares, share)
	}
	return parts, shares
}

// Finishing returns how many trials of the project run to the end of their fine-tuning, as
// far as that is decided. For each trial of which it is not, open has the number of rungs on the
// way to that end.
func (p Project) Finishing() (ends int, open []int) {
	rungs := map[language.ID]int{}
	for _, v := range p.all.Views {
		rungs[v.Trial.ID()] = len(v.Rungs)
	}
	seen := map[language.ID]bool{}
	for _, v := range p.Study.Views {
		switch id := v.Trial.ID(); {
		case seen[id]:
		case !v.Cut:
			seen[id] = true
			ends++
		case !v.Stopped:
			seen[id] = true
			open = append(open, rungs[id])
		}
	}
	return ends, open
}
