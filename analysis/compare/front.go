package compare

import (
	"crypto/sha256"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"ablate/analysis/stats"
)

// Front is the Pareto front of two metrics, more of both being better. Controls
// that no method could have are not on it.
type Front struct {
	X      string       `json:"x"`
	Y      string       `json:"y"`
	Over   string       `json:"over"` // what the bootstrap drew: OverSeeds or OverPrompts
	Seeds  int          `json:"seeds"`
	Points []FrontPoint `json:"points"`
	// Hypervolume is the area that the rows dominate above (0, 0).
	Hypervolume Bounded `json:"hypervolume"`
}

// FrontPoint is a row beside the front.
type FrontPoint struct {
	Label string `json:"label"`
	On    bool   `json:"on"`
	// Membership is the share of bootstrap draws in which no row dominates this one.
	Membership float64 `json:"membership"`
	// Behind is how much both figures would have to gain for no row to dominate it.
	Behind Bounded `json:"behind"`
}

// Bounded is a figure with its 95% bootstrap interval.
type Bounded struct {
	Value float64 `json:"value"`
	Bounds
}

// front finds the Pareto front of the rows that have both figures for the same
// seeds, and on the same numbers of samples where a figure depends on them. From
// three seeds on whole seeds are drawn, all rows' alike, and deviations are
// stretched by √(n/(n-1)), for the plain bootstrap of few values is too narrow
// by that; of crossed seeds pretraining and feedback are drawn apart (Owen
// 2007). With fewer seeds, prompts are drawn.
func (b *builder) front(x, y string) {
	if b.columns[x] == nil || b.columns[y] == nil {
		return
	}
	f := &Front{X: x, Y: y}
	var rows []Row
	var seeds []string
	first := -1
	for i, r := range b.t.Rows {
		cx, okX := r.Cells[x]
		cy, okY := r.Cells[y]
		if !okX || !okY || r.SameAs != "" || r.Control || !slices.Equal(cx.Seeds, cy.Seeds) {
			continue
		}
		if seeds == nil {
			seeds = cx.Seeds
			f.Seeds = cx.N
		}
		if !slices.Equal(cx.Seeds, seeds) || b.apart(first, i, x, y) {
			continue
		}
		if first < 0 {
			first = i
		}
		rows = append(rows, r)
		f.Points = append(f.Points, FrontPoint{Label: r.Label})
	}
	if len(rows) < 2 {
		return
	}
	means := make([]stats.Point, len(rows))
	for i, r := range rows {
		means[i] = stats.Point{X: r.Cells[x].Mean, Y: r.Cells[y].Mean}
	}
	draw, over := b.drawFront(rows, x, y, f.Seeds)
	f.Over = over
	n := float64(b.o.Resamples)
	behind := make([][]float64, len(rows))
	var area []float64
	for k := range b.o.Resamples {
		points := draw(k)
		on := stats.Front(points)
		for i, d := range stats.BehindFront(points) {
			behind[i] = append(behind[i], d)
			if on[i] {
				f.Points[i].Membership += 1 / n
			}
		}
		area = append(area, stats.Hypervolume(points, stats.Point{}))
	}
	on, d := stats.Front(means), stats.BehindFront(means)
	for i := range f.Points {
		f.Points[i].On = on[i]
		f.Points[i].Membership = math.Round(f.Points[i].Membership*n) / n
		f.Points[i].Behind = bounded(d[i], behind[i])
	}
	f.Hypervolume = bounded(stats.Hypervolume(means, stats.Point{}), area)
	b.t.Front = f
}

func bounded(value float64, draws []float64) Bounded {
	i := stats.PercentileOf(draws, level)
	return Bounded{value, Bounds{i.Low, i.High}}
}

// drawFront returns what draws the rows' points once more.
func (b *builder) drawFront(rows []Row, x, y string, seeds int) (func(k int) []stats.Point, string) {
	if seeds < 3 {
		return func(k int) []stats.Point {
			out := make([]stats.Point, len(rows))
			for i, r := range rows {
				out[i] = stats.Point{X: r.Cells[x].Mean}
				var c []stats.Clustered
				for _, id := range r.Trials {
					if s := b.images.of(id, y); !s.Empty() {
						c = append(c, s)
					}
				}
				if out[i].Y = b.draws()[k].Mean(c); math.IsNaN(out[i].Y) {
					out[i].Y = r.Cells[y].Mean
				}
			}
			return out
		}, OverPrompts
	}
	pretraining, feedback := parts(rows[0].Cells[x].Seeds, seeds)
	h := sha256.New()
	for _, r := range rows {
		h.Write([]byte(r.Label + "\x00"))
	}
	r := rand.New(rand.NewChaCha8([32]byte(h.Sum(nil))))
	stretch := math.Sqrt(float64(seeds) / float64(seeds-1))
	return func(int) []stats.Point {
		weights := drawSeeds(r, pretraining, feedback)
		out := make([]stats.Point, len(rows))
		for i, row := range rows {
			cx, cy := row.Cells[x], row.Cells[y]
			var dx, dy float64
			for s, w := range weights {
				dx += w * (cx.Values[s] - cx.Mean)
				dy += w * (cy.Values[s] - cy.Mean)
			}
			out[i] = stats.Point{X: cx.Mean + stretch*dx, Y: cy.Mean + stretch*dy}
		}
		return out
	}, OverSeeds
}

// parts numbers the parts of the seeds that are drawn: of crossed seeds both, of
// independent ones the first, with nil for the second.
func parts(names []string, independent int) (pretraining, feedback []int) {
	number := func(of func(string) string) []int {
		index := map[string]int{}
		out := make([]int, len(names))
		for i, name := range names {
			k, ok := index[of(name)]
			if !ok {
				k = len(index)
				index[of(name)] = k
			}
			out[i] = k
		}
		return out
	}
	pretraining = number(func(name string) string {
		p, _, _ := strings.Cut(name, ".")
		return p
	})
	if independent == len(names) {
		return pretraining, nil
	}
	return pretraining, number(func(name string) string { return name[strings.IndexByte(name, '.')+1:] })
}

// drawSeeds draws weights of the runs, which add up to 1: those of a run are its
// pretraining's times its feedback's. A draw without any run is drawn again.
func drawSeeds(r *rand.Rand, pretraining, feedback []int) []float64 {
	draw := func(of []int) []float64 {
		n := slices.Max(of) + 1
		w := make([]float64, n)
		for range n {
			w[r.IntN(n)]++
		}
		return w
	}
	weights := make([]float64, len(pretraining))
	for {
		var sum float64
		p, f := draw(pretraining), []float64(nil)
		if feedback != nil {
			f = draw(feedback)
		}
		for i, k := range pretraining {
			weights[i] = p[k]
			if f != nil {
				weights[i] *= f[feedback[i]]
			}
			sum += weights[i]
		}
		if sum > 0 {
			for i := range weights {
				weights[i] /= sum
			}
			return weights
		}
	}
}
