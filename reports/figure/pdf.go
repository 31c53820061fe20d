package figure

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"

	"golang.org/x/image/font/sfnt"
	"golang.org/x/image/math/fixed"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgpdf"
)

var pdfDate = regexp.MustCompile(`\(D:\d{14}`)

// PDF is the figure as PDF, its fonts embedded. The dates of its making are
// those of the epoch, so that equal figures are equal bytes.
func (f Figure) PDF() ([]byte, error) {
	c := pdf{vgpdf.New(f.width, f.height)}
	f.onto(draw.New(c))
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		return nil, fmt.Errorf("figure: %w", err)
	}
	return pdfDate.ReplaceAll(b.Bytes(), []byte("(D:19700101000000")), nil
}

// pdf is vgpdf's canvas for texts of any script. That one writes UTF-8 into
// fonts of one byte a character, in which all but ASCII comes out as something
// else: such a text is drawn as the outlines of its glyphs.
type pdf struct{ *vgpdf.Canvas }

// FillString is vg.Canvas's.
func (c pdf) FillString(f font.Face, at vg.Point, text string) {
	if !strings.ContainsFunc(text, func(r rune) bool { return r > 0x7e }) {
		c.Canvas.FillString(f, at, text)
		return
	}
	var buf sfnt.Buffer
	size := fixed.Int26_6(f.Font.Size.Points() * 64)
	length := func(x fixed.Int26_6) vg.Length { return vg.Points(float64(x) / 64) }
	for _, r := range text {
		// A glyph that the font lacks is its box, number 0; one without an outline
		// leaves its room.
		glyph, err := f.Face.GlyphIndex(&buf, r)
		if err != nil {
			glyph = 0
		}
		outline, err := f.Face.LoadGlyph(&buf, glyph, size, nil)
		if err == nil && len(outline) > 0 {
			c.Fill(path(outline, func(p fixed.Point26_6) vg.Point { return at.Add(vg.Point{X: length(p.X), Y: -length(p.Y)}) }))
		}
		if advance, err := f.Face.GlyphAdvance(&buf, glyph, size, 0); err == nil {
			at.X += length(advance)
		}
	}
}

// path is a glyph's outline, its points placed by at.
func path(outline sfnt.Segments, at func(fixed.Point26_6) vg.Point) vg.Path {
	var p vg.Path
	for i, s := range outline {
		switch s.Op {
		case sfnt.SegmentOpMoveTo:
			if i > 0 {
				p.Close()
			}
			p.Move(at(s.Args[0]))
		case sfnt.SegmentOpLineTo:
			p.Line(at(s.Args[0]))
		case sfnt.SegmentOpQuadTo:
			p.QuadTo(at(s.Args[0]), at(s.Args[1]))
		case sfnt.SegmentOpCubeTo:
			p.CubeTo(at(s.Args[0]), at(s.Args[1]), at(s.Args[2]))
		}
	}
	p.Close()
	return p
}
