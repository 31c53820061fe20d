package figure

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"ablate/analysis/compare"
	"ablate/analysis/stats"
	"ablate/analysis/table"
	"ablate/reports/format"
)

// A Reward has the data of reliability.arrow on a row's learned reward, pooled over
// seeds.
type Reward struct {
	Row  int   // first row of the ablation table that learned it
	Rows []int // all rows that learned it
	Bins []stats.Bin
	N    int // number of images over all seeds
}

// name returns the name of a reward, which consists of the rows that learned it.
func (r Reward) name(t *compare.Table) string {
	s := name(t.Rows[r.Row])
	if more := len(r.Rows) - 1; more > 0 {
		s += fmt.Sprintf(" and %d more", more)
	}
	return s
}

// mostRewards is the largest number of rewards that are drawn: the whiskers of more would
// cover each other.
const mostRewards = 6

// Rewards returns the learned rewards in reliability.arrow, each once and with all rows
// that have it.
func Rewards(t *compare.Table, reliability *table.Table) []Reward {
	if reliability == nil {
		return nil
	}
	trial, bin, n := reliability.Column("trial"), reliability.Column("bin"), reliability.Column("n")
	low, high, score, labelled := reliability.Column("low"), reliability.Column("high"), reliability.Column("score"), reliability.Column("labelled")
	rows := map[string][]int{}
	for i := range reliability.Rows() {
		rows[trial.Strings[i]] = append(rows[trial.Strings[i]], i)
	}
	var out []Reward
	seen := map[string]int{} // index of a reward, by its bins
	for r, row := range t.Rows {
		bins := map[int64]stats.Bin{}
		last := int64(-1)
		for _, id := range row.Trials {
			for _, i := range rows[id] {
				b := bins[bin.Ints[i]]
				b.Low, b.High = low.Floats[i], high.Floats[i]
				b.N += int(n.Ints[i])
				if n.Ints[i] > 0 {
					b.Score += float64(n.Ints[i]) * score.Floats[i]
					b.Good += float64(n.Ints[i]) * labelled.Floats[i]
				}
				bins[bin.Ints[i]] = b
				last = max(last, bin.Ints[i])
			}
		}
		reward := Reward{Row: r, Rows: []int{r}}
		var all []float64
		for k := int64(0); k <= last; k++ {
			b := bins[k]
			if b.N > 0 {
				b.Score /= float64(b.N)
				b.Good /= float64(b.N)
			}
			reward.Bins = append(reward.Bins, b)
			reward.N += b.N
			all = append(all, float64(b.N), b.Score, b.Good)
		}
		if reward.N == 0 || row.SameAs != "" {
			continue
		}
		if first, ok := seen[key(all)]; ok {
			out[first].Rows = append(out[first].Rows, r)
			continue
		}
		seen[key(all)] = len(out)
		out = append(out, reward)
	}
	return out
}

// key returns a string that is different for different lists of numbers.
func key(v []float64) string {
	var b []byte
	for _, x := range v {
		b = binary.BigEndian.AppendUint64(b, math.Float64bits(x))
	}
	return string(b)
}

// Reliability draws the share of images labelled good against the mean score, one point
// per bin of the score, with its 95% Wilson interval for independent images. On the
// diagonal the score equals the probability of the label good. At most six rewards are
// drawn, those of rows in focus first. Reliability returns false if no reward was
// learned.
func Reliability(t *compare.Table, rewards []Reward) (Figure, bool) {
	if len(rewards) == 0 {
		return Figure{}, false
	}
	in := focus(t)
	var rows []int
	for _, r := range rewards {
		rows = append(rows, r.Row)
		for _, i := range r.Rows {
			if in[i] {
				in[r.Row] = true // the row with whose name the reward is drawn
			}
		}
	}
	rows = firstOf(rows, in, mostRewards)
	d := &reliability{t: t, marks: &marks{}}
	l := legend{more: len(rewards) - len(rows)}
	for _, r := range rewards {
		if slices.Contains(rows, r.Row) {
			d.rewards = append(d.rewards, r)
			l.add(r.Row, r.name(t))
		}
	}
	return Figure{func(at layout) drawing {
		p := newPlot("score of the reward", "share labelled good")
		p.Add(d)
		return l.figure(10*vg.Centimeter, d.marks, p.Draw, at)
	}}, true
}

type reliability struct {
	t       *compare.Table
	rewards []Reward
	marks   *marks
}

// DataRange implements plot.DataRanger.
func (*reliability) DataRange() (xmin, xmax, ymin, ymax float64) { return 0, 1, 0, 1 }

// Plot implements plot.Plotter. It draws the diagonal, then a line through each reward's
// bins.
func (d *reliability) Plot(canvas draw.Canvas, p *plot.Plot) {
	tx, ty := p.Transforms(&canvas)
	canvas.StrokeLine2(draw.LineStyle{Color: grey, Width: .8, Dashes: []vg.Length{4, 3}}, tx(0), ty(0), tx(1), ty(1))
	for k, r := range d.rewards {
		col, glyph := arm(r.Row)
		beside := vg.Length(1.6 * (float64(k) - float64(len(d.rewards)-1)/2)) // whiskers at the same score are side by side
		var line []vg.Point
		for _, b := range r.Bins {
			if b.N == 0 {
				continue
			}
			i := stats.Wilson(int(math.Round(b.Good*float64(b.N))), b.N, .95)
			x := tx(b.Score) + beside
			canvas.StrokeLine2(draw.LineStyle{Color: col, Width: 1}, x, ty(i.Low), x, ty(i.High))
			line = append(line, vg.Point{X: x, Y: ty(b.Good)})
			d.marks.add(vg.Point{X: x, Y: ty(b.Good)}, Mark{Row: r.Row, Series: r.Row, Name: r.name(d.t),
				Values: fmt.Sprintf("score %s, %s labelled good [%s, %s], %d images", format.Number(0, b.Score), format.Number(0, b.Good), format.Number(0, i.Low), format.Number(0, i.High), b.N)})
		}
		canvas.StrokeLines(draw.LineStyle{Color: faintOf(col), Width: 1.2}, line)
		for _, q := range line {
			canvas.DrawGlyph(draw.GlyphStyle{Color: col, Radius: 3.2, Shape: glyph}, q)
		}
	}
}
