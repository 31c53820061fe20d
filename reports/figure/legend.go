package figure

import (
	"fmt"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// small is the style of text within a figure.
var small = draw.TextStyle{Color: grey, Font: font.Font{Variant: "Sans", Size: 9}, Handler: plot.DefaultTextHandler}

// widest returns the width of the widest label.
func widest(labels []string) vg.Length {
	var w vg.Length
	for _, l := range labels {
		w = max(w, small.Width(l))
	}
	return w
}

// fit returns a label, shortened if it is wider than width.
func fit(label string, width vg.Length) string {
	if small.Width(label) <= width {
		return label
	}
	cut := []rune(label)
	for len(cut) > 1 && small.Width(string(cut)+"…") > width {
		cut = cut[:len(cut)-1]
	}
	return string(cut) + "…"
}

// legend is a list of row names outside of the plot, to its right or below it.
type legend struct {
	rows   []int // by label, the row whose colour and glyph it has
	labels []string
	more   int    // number of rows that are not drawn
	note   string // note on data without a colour
	below  bool   // below the plot in both layouts, not only in the narrow one
}

const legendLine = 13 // points

func (l *legend) add(row int, label string) {
	l.rows, l.labels = append(l.rows, row), append(l.labels, label)
}

// lines returns the labels, shortened to the width of a layout, and a line on rows that
// are left out.
func (l *legend) lines(at layout) []string {
	most := at.width() - 3*vg.Centimeter
	if l.right(at) {
		most = at.width() * 2 / 5
	}
	var out []string
	for _, label := range l.labels {
		out = append(out, fit(label, most))
	}
	if l.more > 0 {
		out = append(out, left(l.more, "row"))
	}
	if l.note != "" {
		out = append(out, fit(l.note, at.width()-20))
	}
	return out
}

// left returns a sentence on how many things are not drawn, empty if n is 0.
func left(n int, what string) string {
	switch n {
	case 0:
		return ""
	case 1:
		return "1 more " + what + " is not drawn"
	}
	return fmt.Sprintf("%d more %ss are not drawn", n, what)
}

// right reports whether the legend is to the right of the plot.
func (l *legend) right(at layout) bool { return at == wide && !l.below }

// figure returns the drawing of a plot of a height, with its legend.
func (l *legend) figure(height vg.Length, m *marks, draws func(draw.Canvas), at layout) drawing {
	lines := l.lines(at)
	room := legendLine * vg.Length(len(lines))
	d := drawing{width: at.width(), height: height + room + 6, marks: m}
	if l.right(at) {
		d.height = max(height, 2*vg.Centimeter+room)
	}
	d.draw = func(c draw.Canvas) {
		switch {
		case len(lines) == 0:
			draws(c)
		case l.right(at):
			side := widest(lines) + 26
			draws(draw.Crop(c, 0, -side, 0, 0))
			l.draw(c, vg.Point{X: c.Max.X - side + 12, Y: c.Max.Y - 4}, lines)
		default:
			draws(draw.Crop(c, 0, 0, room+6, 0))
			l.draw(c, vg.Point{X: c.Min.X + 10, Y: c.Min.Y + room}, lines)
		}
	}
	return d
}

// draw draws the legend with its upper left corner at a point.
func (l *legend) draw(c draw.Canvas, corner vg.Point, lines []string) {
	for k, label := range lines {
		at := corner.Sub(vg.Point{Y: legendLine * (vg.Length(k) + .5)})
		s := small
		s.YAlign = draw.YCenter
		if k < len(l.rows) {
			col, glyph := arm(l.rows[k])
			c.DrawGlyphNoClip(draw.GlyphStyle{Color: col, Radius: 3, Shape: glyph}, at)
			s.Color = inkOf(col)
		}
		c.FillText(s, at.Add(vg.Point{X: 8}), label)
	}
}
