package figure

import (
	"bytes"
	"fmt"
	"html"
	"image/color"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// SVG returns the figure as SVG with selectable text, on a white background.
func (f Figure) SVG() ([]byte, error) { return f.lay(wide).svg() }

func (d drawing) svg() ([]byte, error) {
	c := vgsvg.New(d.width, d.height)
	d.onto(draw.New(c))
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		return nil, fmt.Errorf("figure: %w", err)
	}
	return svgText.ReplaceAllFunc(b.Bytes(), func(text []byte) []byte {
		m := svgText.FindSubmatch(text)
		size, err := strconv.ParseFloat(string(m[4]), 64)
		if err != nil {
			return text
		}
		s := small
		s.Font.Size = vg.Length(size)
		width := s.Width(html.UnescapeString(string(m[5])))
		return fmt.Appendf(nil, `%s textLength="%.4g" lengthAdjust="spacingAndGlyphs"%s, Arial, Helvetica, sans-serif%s`, m[1], width.Points(), m[2], m[3])
	}), nil
}

// svgText matches a text of an SVG. Readers that lack its font use another one. The text
// gets its length as an attribute, so that it then still fits the layout.
var svgText = regexp.MustCompile(`(<text [^>]*?)(\s+style="font-family:Liberation Sans)(;[^>]*font-size:([\d.]+)px[^>]*>([^<]+)</text>)`)

// A View is a figure in one layout, for a page that it is part of.
type View struct {
	SVG    string // an SVG element without a background, in the colours of the page
	Narrow bool   // the layout is for windows in which the other layout is too small to read
	Marks  []Mark
}

// Views returns the figure in each layout. alt is the text alternative for readers who
// cannot see the figure.
func (f Figure) Views(alt string) ([]View, error) {
	var out []View
	for _, l := range []layout{wide, narrow} {
		d := f.lay(l)
		svg, err := d.svg()
		if err != nil {
			return nil, err
		}
		out = append(out, View{SVG: inline(string(svg), alt), Narrow: l == narrow, Marks: d.marks.place(d.width, d.height)})
	}
	return out, nil
}

var (
	svgHead   = regexp.MustCompile(`(?s)^.*?<svg [^>]*?viewBox="([^"]*)"[^>]*>`)
	svgColour = regexp.MustCompile(`#([0-9A-F]{6})\b`)
	svgFont   = regexp.MustCompile(`\s+style="font-family:[^;]*;font-variant:normal;font-weight:normal;font-style:normal;`)
)

// inline converts an SVG to an element of a page. Its colours become CSS custom
// properties, whose values on a dark page [Dark] returns, and its background is removed.
func inline(svg, alt string) string {
	_, rest, _ := strings.Cut(svg, "\n<g ") // the header ends before the first group
	box := svgHead.FindStringSubmatch(svg)[1]
	group, rest, _ := strings.Cut(rest, "\n")
	_, rest, _ = strings.Cut(rest, "\n") // the first element is the background
	rest = svgFont.ReplaceAllString(rest, ` style="`)
	rest = svgColour.ReplaceAllString(rest, "var(--f$1,#$1)")
	return fmt.Sprintf(`<svg role="img" aria-label="%s" viewBox="%s" font-family="Liberation Sans, Arial, Helvetica, sans-serif" style="fill:var(--f000000,#000000)"><g %s`+"\n%s", html.EscapeString(alt), box, group, strings.TrimSpace(rest))
}

// Dark returns the CSS declarations that give figures the colours of a dark page.
func Dark() string {
	var list []string
	add := func(light, dark color.RGBA) {
		list = append(list, fmt.Sprintf("--f%02X%02X%02X:#%02x%02x%02x", light.R, light.G, light.B, dark.R, dark.G, dark.B))
	}
	for i, c := range palette {
		add(c, night[i])
		add(faintOf(c), mix(night[i], 1, paper, 3))
		add(inkOf(c), mix(night[i], 3, white, 2))
	}
	add(grey, color.RGBA{0xb0, 0xb0, 0xb0, 0xff})
	add(faint, color.RGBA{0x40, 0x40, 0x40, 0xff})
	add(shade, color.RGBA{0x26, 0x26, 0x26, 0xff})
	add(white, paper)
	slices.Sort(list)
	return strings.Join(slices.Compact(list), ";")
}

// paper is the background colour of a dark page.
var paper = color.RGBA{0x16, 0x16, 0x16, 0xff}

// night is the palette for a dark page.
var night = []color.RGBA{
	{0x4c, 0x9b, 0xe8, 0xff}, {0xf0, 0x7b, 0x3f, 0xff}, {0x2f, 0xc4, 0x95, 0xff}, {0xdd, 0x94, 0xbf, 0xff},
	{0xec, 0xec, 0xec, 0xff}, {0xf0, 0xb4, 0x29, 0xff}, {0x9a, 0xd8, 0xff, 0xff},
}

// mix returns a mixture of two colours by parts.
func mix(c color.RGBA, parts int, d color.RGBA, others int) color.RGBA {
	of := func(x, y uint8) uint8 { return uint8((parts*int(x) + others*int(y)) / (parts + others)) }
	return color.RGBA{of(c.R, d.R), of(c.G, d.G), of(c.B, d.B), 0xff}
}
