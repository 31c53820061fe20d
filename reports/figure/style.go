// Package figure draws a study's figures with gonum/plot and writes them as SVG, PNG and
// PDF. All figures have one style. Colour-blind readers can distinguish the colours
// (Okabe & Ito 2008), and every arm also has its own glyph, so that the figures can be
// read in greyscale. Text in SVG and PDF is selectable text. Equal data give equal bytes.
package figure

import (
	"bytes"
	"cmp"
	"fmt"
	"image/color"
	"math"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"

	"ablate/reports/format"
)

// palette is the palette of Okabe & Ito without yellow, which is too light for lines.
var palette = []color.RGBA{
	{0x00, 0x72, 0xb2, 0xff}, {0xd5, 0x5e, 0x00, 0xff}, {0x00, 0x9e, 0x73, 0xff}, {0xcc, 0x79, 0xa7, 0xff},
	{0x00, 0x00, 0x00, 0xff}, {0xe6, 0x9f, 0x00, 0xff}, {0x56, 0xb4, 0xe9, 0xff},
}

var glyphs = []draw.GlyphDrawer{
	draw.CircleGlyph{}, draw.SquareGlyph{}, draw.TriangleGlyph{}, draw.PyramidGlyph{}, draw.BoxGlyph{}, draw.RingGlyph{}, draw.CrossGlyph{},
}

var (
	grey  = color.RGBA{0x70, 0x70, 0x70, 0xff}
	faint = color.RGBA{0xdd, 0xdd, 0xdd, 0xff}
	shade = color.RGBA{0xf0, 0xf0, 0xf0, 0xff} // behind data
	white = color.RGBA{0xff, 0xff, 0xff, 0xff}
)

// faintOf returns a colour mixed with three parts of white. It is opaque, because PDF and
// SVG readers draw transparent colours differently.
func faintOf(c color.RGBA) color.RGBA {
	mix := func(x uint8) uint8 { return uint8((int(x) + 3*255) / 4) }
	return color.RGBA{mix(c.R), mix(c.G), mix(c.B), 0xff}
}

// inkOf returns a colour that is dark enough for text on white, with a contrast of at
// least 4.5 to 1 (WCAG 2.2, 1.4.3). The colours of the palette are for lines and may be
// lighter.
func inkOf(c color.RGBA) color.RGBA {
	mix := func(x uint8) uint8 { return uint8(3 * int(x) / 5) }
	return color.RGBA{mix(c.R), mix(c.G), mix(c.B), 0xff}
}

func arm(i int) (color.RGBA, draw.GlyphDrawer) {
	// Rows beyond the size of the palette repeat its colours with other glyphs.
	return palette[i%len(palette)], glyphs[(i+i/len(palette))%len(glyphs)]
}

// A Figure is a picture in two layouts.
type Figure struct{ lay func(layout) drawing }

// layout is the kind of page for which a figure is laid out.
type layout int

const (
	wide   layout = iota // paper and wide windows
	narrow               // a telephone
)

func (l layout) width() vg.Length {
	if l == narrow {
		return 9 * vg.Centimeter
	}
	return 15 * vg.Centimeter
}

// drawing is a figure in one layout. Drawing it also records its marks.
type drawing struct {
	width, height vg.Length
	draw          func(draw.Canvas)
	marks         *marks
}

// plotted returns the drawing of one plot.
func plotted(p *plot.Plot, width, height vg.Length, m *marks) drawing {
	return drawing{width, height, p.Draw, m}
}

func (d drawing) onto(c draw.Canvas) {
	c.SetColor(white)
	c.Fill(c.Rectangle.Path())
	d.marks.list = nil
	d.draw(c)
}

func newPlot(x, y string) *plot.Plot {
	p := plot.New()
	p.BackgroundColor = nil // the drawing has a background already
	p.X.Label.Text, p.Y.Label.Text = x, y
	for _, f := range []*font.Font{&p.X.Label.TextStyle.Font, &p.Y.Label.TextStyle.Font, &p.X.Tick.Label.Font, &p.Y.Tick.Label.Font, &p.Title.TextStyle.Font, &p.Legend.TextStyle.Font} {
		f.Variant, f.Size = "Sans", 10
	}
	p.X.Padding, p.Y.Padding = 4, 4
	p.X.Tick.Marker, p.Y.Tick.Marker = ticks{}, ticks{}
	return p
}

// PNG returns the figure as PNG with 144 dots per inch.
func (f Figure) PNG() ([]byte, error) {
	d := f.lay(wide)
	c := vgimg.NewWith(vgimg.UseWH(d.width, d.height), vgimg.UseDPI(144))
	d.onto(draw.New(c))
	var b bytes.Buffer
	if _, err := (vgimg.PngCanvas{Canvas: c}).WriteTo(&b); err != nil {
		return nil, fmt.Errorf("figure: %w", err)
	}
	return b.Bytes(), nil
}

// ticks places ticks at multiples of 1, 2 or 5 times a power of ten: four to eight of
// them, or two to most if most is set.
type ticks struct{ most float64 }

// Ticks implements plot.Ticker.
func (t ticks) Ticks(low, high float64) []plot.Tick {
	if !(high > low) || math.IsInf(high-low, 0) {
		return []plot.Tick{{Value: low, Label: strconv.FormatFloat(low, 'g', 4, 64)}}
	}
	most := cmp.Or(t.most, 8)
	power := math.Floor(math.Log10((high - low) / most))
	step := math.Pow(10, power)
	for _, m := range []float64{2, 5, 10} {
		if (high-low)/step > most {
			step = m * math.Pow(10, power)
		}
	}
	decimals := max(0, int(-math.Floor(math.Log10(step)+1e-9)))
	var out []plot.Tick
	for k := math.Ceil(low/step - 1e-9); k*step <= high+1e-9*step; k++ {
		out = append(out, plot.Tick{Value: k * step, Label: format.Fixed(k*step, decimals)})
	}
	return out
}
