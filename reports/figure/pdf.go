package figure

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"io"
	"math"
	"strings"
	"time"
	"unicode"

	"codeberg.org/go-pdf/fpdf"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// PDF returns the figure as PDF. Its text is selectable, and it embeds only the glyphs of
// the font that it uses. Its dates are the Unix epoch, so that equal figures give equal
// bytes.
func (f Figure) PDF() ([]byte, error) {
	d := f.lay(wide)
	c := newPDF(d.width, d.height)
	d.onto(draw.New(c))
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		return nil, fmt.Errorf("figure: %w", err)
	}
	return b.Bytes(), nil
}

// pdf is a vg.Canvas of one page. The canvas of gonum (vg/vgpdf) embeds whole fonts, and
// writes UTF-8 into fonts with one byte per character, so that only ASCII is shown
// correctly. fpdf reduces its Unicode fonts to the glyphs in use.
type pdf struct {
	doc    *fpdf.Fpdf
	width  vg.Length
	height vg.Length
	stroke []vg.Length // line widths of the pushed states
	fonts  map[string]bool
}

func newPDF(width, height vg.Length) *pdf {
	c := &pdf{doc: fpdf.NewCustom(&fpdf.InitType{UnitStr: "pt", Size: fpdf.SizeType{Wd: width.Points(), Ht: height.Points()}}),
		width: width, height: height, stroke: make([]vg.Length, 1), fonts: map[string]bool{}}
	c.doc.SetCreationDate(time.Unix(0, 0).UTC())
	c.doc.SetModificationDate(time.Unix(0, 0).UTC())
	c.doc.SetCatalogSort(true)
	c.doc.SetMargins(0, 0, 0)
	c.doc.SetAutoPageBreak(false, 0)
	c.doc.AddPage()
	c.doc.TransformBegin()
	// In vg, y grows upwards from the bottom of the page.
	c.Translate(vg.Point{Y: height})
	c.Scale(1, -1)
	vg.Initialize(c)
	return c
}

// Size implements vg.CanvasSizer.
func (c *pdf) Size() (w, h vg.Length) { return c.width, c.height }

// SetLineWidth implements vg.Canvas.
func (c *pdf) SetLineWidth(w vg.Length) {
	c.stroke[len(c.stroke)-1] = w
	c.doc.SetLineWidth(w.Points())
}

// SetLineDash implements vg.Canvas.
func (c *pdf) SetLineDash(pattern []vg.Length, offset vg.Length) {
	dashes := make([]float64, len(pattern))
	for i, d := range pattern {
		dashes[i] = d.Points()
	}
	c.doc.SetDashPattern(dashes, offset.Points())
}

// SetColor implements vg.Canvas. All colours of figures are opaque.
func (c *pdf) SetColor(col color.Color) {
	if col == nil {
		col = color.Black
	}
	rgb := color.NRGBAModel.Convert(col).(color.NRGBA)
	r, g, b := int(rgb.R), int(rgb.G), int(rgb.B)
	c.doc.SetFillColor(r, g, b)
	c.doc.SetDrawColor(r, g, b)
	c.doc.SetTextColor(r, g, b)
}

// Rotate implements vg.Canvas.
func (c *pdf) Rotate(rad float64) { c.doc.TransformRotate(-rad*180/math.Pi, 0, 0) }

// Translate implements vg.Canvas.
func (c *pdf) Translate(p vg.Point) { c.doc.TransformTranslate(p.X.Points(), p.Y.Points()) }

// Scale implements vg.Canvas.
func (c *pdf) Scale(x, y float64) { c.doc.TransformScale(100*x, 100*y, 0, 0) }

// Push implements vg.Canvas.
func (c *pdf) Push() {
	c.stroke = append(c.stroke, c.stroke[len(c.stroke)-1])
	c.doc.TransformBegin()
}

// Pop implements vg.Canvas.
func (c *pdf) Pop() {
	c.doc.TransformEnd()
	c.stroke = c.stroke[:len(c.stroke)-1]
}

// Stroke implements vg.Canvas.
func (c *pdf) Stroke(p vg.Path) {
	if c.stroke[len(c.stroke)-1] > 0 {
		c.path(p, "D")
	}
}

// Fill implements vg.Canvas.
func (c *pdf) Fill(p vg.Path) { c.path(p, "F") }

func (c *pdf) path(p vg.Path, style string) {
	for _, s := range p {
		x, y := s.Pos.X.Points(), s.Pos.Y.Points()
		switch s.Type {
		case vg.MoveComp:
			c.doc.MoveTo(x, y)
		case vg.LineComp:
			c.doc.LineTo(x, y)
		case vg.CurveComp:
			at := func(p vg.Point) (x, y float64) { return p.X.Points(), p.Y.Points() }
			ax, ay := at(s.Control[0])
			if len(s.Control) == 1 {
				c.doc.CurveTo(ax, ay, x, y)
				continue
			}
			bx, by := at(s.Control[1])
			c.doc.CurveBezierCubicTo(ax, ay, bx, by, x, y)
		case vg.ArcComp:
			c.arc(s)
		case vg.CloseComp:
			c.doc.ClosePath()
		}
	}
	c.doc.DrawPath(style)
}

// arc appends an arc to the path as cubic curves of at most a quarter of a circle. The
// error of each is less than 0.03% of the radius.
func (c *pdf) arc(s vg.PathComp) {
	r := s.Radius.Points()
	n := math.Ceil(math.Abs(s.Angle) / (math.Pi / 2))
	step := s.Angle / n
	k := 4. / 3 * math.Tan(step/4) * r
	at := func(angle float64) (x, y, dx, dy float64) {
		sin, cos := math.Sincos(angle)
		return s.Pos.X.Points() + r*cos, s.Pos.Y.Points() + r*sin, -k * sin, k * cos
	}
	x, y, dx, dy := at(s.Start)
	c.doc.LineTo(x, y)
	for i := range int(n) {
		nx, ny, ndx, ndy := at(s.Start + float64(i+1)*step)
		c.doc.CurveBezierCubicTo(x+dx, y+dy, nx-ndx, ny-ndy, nx, ny)
		x, y, dx, dy = nx, ny, ndx, ndy
	}
}

// FillString implements vg.Canvas. fpdf supports only characters up to U+FFFF; others are
// written as U+FFFD.
func (c *pdf) FillString(f font.Face, at vg.Point, text string) {
	if f.Font.Size == 0 {
		return
	}
	name := f.Name()
	if !c.fonts[name] {
		c.fonts[name] = true
		var b bytes.Buffer
		if _, err := f.Face.WriteSourceTo(nil, &b); err != nil {
			c.doc.SetError(err)
			return
		}
		c.doc.AddUTF8FontFromBytes(name, "", b.Bytes())
	}
	c.doc.SetFont(name, "", f.Font.Size.Points())
	text = strings.Map(func(r rune) rune {
		if r > math.MaxUint16 {
			return unicode.ReplacementChar
		}
		return r
	}, text)
	c.Push()
	defer c.Pop()
	c.Translate(at)
	c.Scale(1, -1)
	c.doc.Text(0, 0, text)
}

// DrawImage implements vg.Canvas. It panics, because no figure draws an image.
func (c *pdf) DrawImage(vg.Rectangle, image.Image) { panic("figure: no figure draws an image") }

// WriteTo ends the document and writes it. Nothing can be drawn afterwards.
func (c *pdf) WriteTo(w io.Writer) (int64, error) {
	c.doc.TransformEnd()
	var b bytes.Buffer
	if err := c.doc.Output(&b); err != nil {
		return 0, err
	}
	return b.WriteTo(w)
}
