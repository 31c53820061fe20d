package imported

import (
	"fmt"

	"ablate/analysis/stats"
)

// run is a run while its files are being read.
type run struct {
	arm   string
	seed  stats.Seed
	point bool // the seed has a point: it is two numbers such as 1.2, or one that pandas wrote as 3.0
	axes  []string
	at    place
	cells []cell        // by metric
	local map[int]int32 // the run's own numbers of prompts

	pictures map[int]picture // by prompt
}

// picture is the file of a picture, as a row of a file names it.
type picture struct {
	path string
	at   place
}

// cell has the values of a metric of a run: one value for the whole run, or sums of
// samples by prompt.
type cell struct {
	at      place
	whole   bool
	invalid bool // the value of the whole run is not finite
	value   float64
	n       int64
	samples []sum // sums by the run's own number of a prompt
	split   bool
}

func (r *run) set(axis int, text string) {
	for len(r.axes) <= axis {
		r.axes = append(r.axes, "")
	}
	r.axes[axis] = text
}

func (r *run) axis(i int) string {
	if i < len(r.axes) {
		return r.axes[i]
	}
	return ""
}

// row identifies the row of the ablation table to which a run belongs.
func (r *run) row() string { return fmt.Sprintf("%q%q", r.arm, r.axes) }

func (r *run) key() string { return fmt.Sprint(r.row(), r.seed, r.point) }

// cell returns the cell of a metric, which it makes if needed.
func (r *run) cell(metric int) *cell {
	for len(r.cells) <= metric {
		r.cells = append(r.cells, cell{})
	}
	return &r.cells[metric]
}

// result returns the value of a cell and its number of samples. ok is false if there is
// no finite value.
func (l *cell) result() (x float64, n int64, ok bool) {
	if l.whole {
		return l.value, l.n, !l.invalid
	}
	var all sum
	for _, s := range l.samples {
		all.merge(s)
	}
	if all.n == 0 {
		return 0, 0, false
	}
	return all.value() / float64(all.n), all.n, true
}
