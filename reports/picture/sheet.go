package picture

import (
	"image"
	"image/color"
	"strings"

	"golang.org/x/image/draw"
	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
)

// A Sheet is a contact sheet: rows of pictures with names, in columns with heads.
type Sheet struct {
	Title   string
	Columns []string
	Rows    []Row
	// Picture returns the picture of a row and a column; nil if there is none. It is called when the
	// picture is drawn, because all of them may not fit into the memory.
	Picture func(row, column int) (image.Image, error)
}

// A Row is a row of a sheet.
type Row struct {
	Above string // text above the row; may be empty
	Name  string // text before its pictures
}

// Sizes of a sheet in pixels.
const (
	mostCell  = 256      // side of a cell, at most
	leastCell = 64       // and at least, if there are many
	smallCell = 128      // side of a cell of smaller pictures, which are enlarged to it
	mostArea  = 24 << 20 // of all cells, if they are larger than leastCell
	gap       = 4        // between pictures
	space     = 8        // above the text of a row
	margin    = 12
	textSize  = 14
	lineStep  = 19  // from a line of text to the next
	leastText = 480 // width that texts may have at least
	mostLines = 3   // of a text; what does not fit ends with …
)

var (
	ink    = color.RGBA{0x20, 0x20, 0x20, 0xff}
	grey   = color.RGBA{0x70, 0x70, 0x70, 0xff}
	absent = color.RGBA{0xe8, 0xe8, 0xe8, 0xff} // in the place of a picture that is missing
)

// Draw draws the sheet. Pictures larger than a cell are scaled down, and small ones are enlarged by a
// whole factor, so that each of their pixels can be seen. The size of a cell follows the first picture.
func (s Sheet) Draw() (*image.RGBA, error) {
	face, err := newFace()
	if err != nil {
		return nil, err
	}
	defer face.Close()
	first, err := s.first()
	if err != nil {
		return nil, err
	}
	cell := s.cell(first)
	names := 0
	for _, r := range s.Rows {
		names = max(names, font.MeasureString(face, r.Name).Ceil())
	}
	left := margin + names + margin
	width := max(left+len(s.Columns)*(cell+gap)-gap+margin, leastText)
	title := lines(face, s.Title, width-2*margin)
	above := make([][]string, len(s.Rows))
	height := margin + lineStep*(len(title)+1) + gap
	for i, r := range s.Rows {
		above[i] = lines(face, r.Above, width-2*margin)
		height += lineStep*len(above[i]) + cell + gap
		if len(above[i]) > 0 {
			height += space
		}
	}
	out := image.NewRGBA(image.Rect(0, 0, width, height+margin))
	draw.Draw(out, out.Bounds(), image.White, image.Point{}, draw.Src)
	p := pen{out, face, margin}
	for _, l := range title {
		p.line(margin, l, ink)
	}
	for k, head := range s.Columns {
		p.at(left+k*(cell+gap), fitted(face, head, cell), grey)
	}
	p.y += lineStep + gap
	for i, r := range s.Rows {
		if len(above[i]) > 0 {
			p.y += space
		}
		for _, l := range above[i] {
			p.line(margin, l, ink)
		}
		p.at(margin, r.Name, grey)
		for k := range s.Columns {
			at := image.Rect(left+k*(cell+gap), p.y, left+k*(cell+gap)+cell, p.y+cell)
			img, err := s.Picture(i, k)
			if err != nil {
				return nil, err
			}
			if img == nil {
				draw.Draw(out, at, image.NewUniform(absent), image.Point{}, draw.Src)
				p.at(at.Min.X+gap, fitted(face, "no picture", cell-2*gap), grey)
				continue
			}
			img = enlarged(Scaled(img, cell), cell)
			b := img.Bounds()
			draw.Draw(out, at.Add(image.Pt((cell-b.Dx())/2, (cell-b.Dy())/2)), img, b.Min, draw.Over)
		}
		p.y += cell + gap
	}
	return out, nil
}

// first returns the first picture that is there; nil if there is none.
func (s Sheet) first() (image.Image, error) {
	for i := range s.Rows {
		for k := range s.Columns {
			if img, err := s.Picture(i, k); img != nil || err != nil {
				return img, err
			}
		}
	}
	return nil, nil
}

// cell returns the side of a cell.
func (s Sheet) cell(first image.Image) int {
	side := smallCell
	if first != nil {
		side = min(max(longer(first), smallCell), mostCell)
	}
	for side > leastCell && len(s.Rows)*len(s.Columns)*side*side > mostArea {
		side /= 2
	}
	return max(side, leastCell)
}

// newFace returns the Go font, which has the letters of European languages.
func newFace() (font.Face, error) {
	f, err := opentype.Parse(goregular.TTF)
	if err != nil {
		return nil, err
	}
	return opentype.NewFace(f, &opentype.FaceOptions{Size: textSize, DPI: 72, Hinting: font.HintingFull})
}

// A pen writes text on a picture.
type pen struct {
	on   draw.Image
	face font.Face
	y    int // top of the next line
}

// at writes a text and stays in its line.
func (p *pen) at(x int, text string, c color.Color) {
	d := font.Drawer{Dst: p.on, Src: image.NewUniform(c), Face: p.face, Dot: fixed.P(x, p.y+textSize)}
	d.DrawString(text)
}

// line writes a line.
func (p *pen) line(x int, text string, c color.Color) {
	p.at(x, text, c)
	p.y += lineStep
}

// lines breaks a text into lines of a width.
func lines(face font.Face, text string, width int) (out []string) {
	words := strings.Fields(text)
	for len(words) > 0 {
		n := 1
		for n < len(words) && fits(face, strings.Join(words[:n+1], " "), width) {
			n++
		}
		if len(out) == mostLines-1 {
			n = len(words)
		}
		out = append(out, fitted(face, strings.Join(words[:n], " "), width))
		words = words[n:]
	}
	return out
}

func fits(face font.Face, text string, width int) bool {
	return font.MeasureString(face, text).Ceil() <= width
}

// fitted returns a text that is cut to a width.
func fitted(face font.Face, text string, width int) string {
	if fits(face, text, width) {
		return text
	}
	letters := []rune(text)
	for n := min(len(letters)-1, width); n > 0; n-- { // a letter has at least a pixel
		if cut := string(letters[:n]) + "…"; fits(face, cut, width) {
			return cut
		}
	}
	return ""
}
