package figure

import (
	"fmt"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// small is the text of what stands in a figure.
var small = draw.TextStyle{Color: grey, Font: font.Font{Variant: "Sans", Size: 9}, Handler: plot.DefaultTextHandler}

// widest is the width of the widest of some labels.
func widest(labels []string) vg.Length {
	var w vg.Length
	for _, l := range labels {
		w = max(w, small.Width(l))
	}
	return w
}

// legend names rows right of the data, where it covers nothing.
type legend struct {
	rows   []int
	labels []string
	more   int // rows beyond those that are drawn
}

const legendLine = 13 // points

func (l *legend) add(row int, label string) {
	l.rows, l.labels = append(l.rows, row), append(l.labels, label)
}

// lines are the labels, and what is left out.
func (l *legend) lines() []string {
	if l.more == 0 {
		return l.labels
	}
	return append(l.labels[:len(l.labels):len(l.labels)], fmt.Sprintf("%d more rows are not drawn", l.more))
}

// figure is a plot beside its legend, as large as both take.
func (l *legend) figure(p *plot.Plot, height vg.Length) Figure {
	p.Add(l)
	n := vg.Length(len(l.lines()))
	return Figure{plot: p, width: max(15*vg.Centimeter, 11*vg.Centimeter+widest(l.lines())), height: max(height, 2*vg.Centimeter+legendLine*n)}
}

// GlyphBoxes keeps room for the legend.
func (l *legend) GlyphBoxes(*plot.Plot) []plot.GlyphBox {
	return []plot.GlyphBox{{X: 1, Y: .5, Rectangle: vg.Rectangle{Max: vg.Point{X: widest(l.lines()) + 26}}}}
}

// Plot draws the legend.
func (l *legend) Plot(c draw.Canvas, _ *plot.Plot) {
	for k, label := range l.lines() {
		at := vg.Point{X: c.Max.X + 16, Y: c.Max.Y - legendLine*(vg.Length(k)+.5)}
		s := small
		s.YAlign = draw.YCenter
		if k < len(l.rows) {
			col, glyph := arm(l.rows[k])
			c.SetColor(col) // not by Canvas.DrawGlyph, which leaves out what lies beyond the data
			glyph.DrawGlyph(&c, draw.GlyphStyle{Color: col, Radius: 3, Shape: glyph}, at)
			s.Color = inkOf(col)
		}
		c.FillText(s, at.Add(vg.Point{X: 8}), label)
	}
}
