package figure

import (
	"maps"
	"math"
	"slices"

	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// room has the areas of a figure that limit where names can be placed: never over full
// boxes, and preferably not over busy ones.
type room struct {
	within  box
	full    []box // names and means
	busy    []box // seeds, intervals and lines
	leaders []box // lines that lead from names to their points
}

// beside is the largest distance, in points, at which a name clearly belongs to its
// point.
const beside = 14

// place finds the best place for the name of a point: close to the point, on few busy
// boxes, and with a leader line that crosses nothing. If far is false, it returns only a
// place beside the point that covers almost no busy box, or false.
func (r *room) place(at vg.Point, width, height vg.Length, far bool) (box, bool) {
	var best box
	least := math.Inf(1)
	most := vg.Length(beside)
	if far {
		most = max(r.within.x1-r.within.x0, r.within.y1-r.within.y0)
	}
	for d := vg.Length(7); d <= most && float64(d) < least; d += 4 {
		const directions = 32
		for k := range directions {
			sin, cos := math.Sincos(2 * math.Pi * float64(k) / directions)
			// The centre of a box whose edge has the distance d from the point in a
			// direction.
			x := at.X + vg.Length(cos)*(d+width/2)
			y := at.Y + vg.Length(sin)*(d+height/2)
			b := box{x - width/2, y - height/2, x + width/2, y + height/2}
			if b.x0 < r.within.x0 || b.x1 > r.within.x1 || b.y0 < r.within.y0 || b.y1 > r.within.y1 || slices.ContainsFunc(r.full, b.overlaps) {
				continue
			}
			cost := float64(d) + 60*overlaps(b, r.leaders)
			on := overlaps(b, r.busy)
			if !far && on > 4 {
				continue
			}
			cost += 5 * on
			if end, ok := b.leader(at); ok {
				for _, s := range along([]vg.Point{at, end})[1:] {
					cost += 8*overlaps(s, r.full) + 4*overlaps(s, r.leaders)
				}
			}
			if cost < least {
				best, least = b, cost
			}
		}
	}
	if math.IsInf(least, 1) {
		return box{}, false
	}
	r.full = append(r.full, best)
	if end, ok := best.leader(at); ok {
		r.leaders = append(r.leaders, along([]vg.Point{at, end})...)
	}
	return best, true
}

// leader returns the end of the line from a point to its name, false if no line is
// needed.
func (a box) leader(from vg.Point) (vg.Point, bool) {
	end := vg.Point{X: min(max(from.X, a.x0), a.x1), Y: min(max(from.Y, a.y0), a.y1)}
	return end, math.Hypot(float64(end.X-from.X), float64(end.Y-from.Y)) > beside
}

func overlaps(b box, with []box) float64 {
	n := 0.
	for _, o := range with {
		if b.overlaps(o) {
			n++
		}
	}
	return n
}

// along returns boxes that cover a line.
func along(line []vg.Point) []box {
	const size = 4
	var out []box
	for i := 1; i < len(line); i++ {
		a, d := line[i-1], line[i].Sub(line[i-1])
		n := max(1, math.Ceil(math.Hypot(float64(d.X), float64(d.Y))/size))
		for k := range int(n) {
			out = append(out, around(a.Add(d.Scale(vg.Length((float64(k)+.5)/n))), size))
		}
	}
	return out
}

// names returns the places of names. Rows in focus come first. Any other row gets a name
// if there is room for it beside the point, and for its seeds and intervals beside the
// other names. Without a name, its seeds and intervals are drawn faintly.
func (f *front) names(r *room, to func(plotter.XY) vg.Point) map[int]box {
	out := map[int]box{}
	few := len(f.points) <= fewRows
	for _, p := range f.points {
		if p.focus || few {
			r.busy = append(r.busy, p.covers(to)...)
		}
	}
	for _, focus := range []bool{true, false} {
		for i, p := range f.points {
			if p.focus != focus {
				continue
			}
			own := p.covers(to)
			far := focus || few
			if !far && slices.ContainsFunc(own, func(b box) bool { return overlaps(b, slices.Collect(maps.Values(out))) > 0 }) {
				continue
			}
			before := r.busy
			if !far {
				r.busy = append(r.busy, own...)
			}
			b, ok := r.place(to(p.mean()), small.Width(p.name), small.Height(p.name), far)
			if !ok {
				r.busy = before
				continue
			}
			out[i] = b
		}
	}
	return out
}

// covers returns boxes that a point's seeds and intervals cover.
func (p point) covers(to func(plotter.XY) vg.Point) []box {
	var out []box
	p.seeds(func(x, y float64) { out = append(out, around(to(plotter.XY{X: x, Y: y}), 4)) })
	if p.y.Tested() {
		out = append(out, along([]vg.Point{to(plotter.XY{X: p.x.Mean, Y: p.y.Low}), to(plotter.XY{X: p.x.Mean, Y: p.y.High})})...)
	}
	if p.x.Tested() {
		out = append(out, along([]vg.Point{to(plotter.XY{X: p.x.Low, Y: p.y.Mean}), to(plotter.XY{X: p.x.High, Y: p.y.Mean})})...)
	}
	return out
}

// fewRows is the largest number of rows that may all have names far from their points.
const fewRows = 10
