package figure

import (
	"image/color"
	"math"
	"regexp"
	"strings"
	"testing"

	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"ablate/analysis/compare"
)

// contrast is that of two colours (WCAG 2.2, relative luminance).
func contrast(a, b color.RGBA) float64 {
	luminance := func(c color.RGBA) float64 {
		of := func(x uint8) float64 {
			if s := float64(x) / 255; s > .04045 {
				return math.Pow((s+.055)/1.055, 2.4)
			}
			return float64(x) / 255 / 12.92
		}
		return .2126*of(c.R) + .7152*of(c.G) + .0722*of(c.B)
	}
	x, y := luminance(a), luminance(b)
	return (max(x, y) + .05) / (min(x, y) + .05)
}

// TestDark: on a dark page every colour of a figure is replaced, so that texts are
// readable and points differ from the background.
func TestDark(t *testing.T) {
	dark := map[string]color.RGBA{}
	for _, m := range regexp.MustCompile(`--f([0-9A-F]{6}):#(..)(..)(..)`).FindAllStringSubmatch(Dark(), -1) {
		var c [3]uint8
		for i := range c {
			for _, digit := range m[i+2] {
				c[i] = 16*c[i] + uint8(strings.IndexRune("0123456789abcdef", digit))
			}
		}
		dark[m[1]] = color.RGBA{c[0], c[1], c[2], 255}
	}
	hex := func(c color.RGBA) string {
		const digits = "0123456789ABCDEF"
		var s []byte
		for _, x := range []uint8{c.R, c.G, c.B} {
			s = append(s, digits[x/16], digits[x%16])
		}
		return string(s)
	}
	least := map[string]float64{hex(grey): 4.5}
	for _, c := range palette {
		least[hex(inkOf(c))] = 4.5
		if least[hex(c)] == 0 {
			least[hex(c)] = 3
		}
	}
	for c, want := range least {
		got, ok := dark[c]
		if !ok {
			t.Errorf("#%s has no dark colour", c)
		} else if x := contrast(got, paper); x < want {
			t.Errorf("#%s on a dark page has a contrast of %.1f, want %g", c, x, want)
		}
	}
	if dark[hex(white)] != paper {
		t.Errorf("hollow points are filled with %v, and the page is %v", dark[hex(white)], paper)
	}

	tab := &compare.Table{Reference: "a"}
	for i := range 2 * len(palette) {
		cell := compare.Cell{Mean: .05 * float64(i), Low: .05*float64(i) - .01, High: .05*float64(i) + .01, Interval: compare.OverSeeds, Seeds: []string{"1"}, Values: []float64{.05 * float64(i)}}
		tab.Rows = append(tab.Rows, compare.Row{Arm: string(rune('a' + i)), Label: string(rune('a' + i)), Cells: map[string]compare.Cell{"x": cell, "y": cell}})
	}
	f, ok := Front(tab, "x", "y")
	if !ok {
		t.Fatal("there is no front")
	}
	views, err := f.Views(`"alt" & <more>`)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range views {
		if !strings.HasPrefix(v.SVG, `<svg role="img" aria-label="&#34;alt&#34; &amp; &lt;more&gt;"`) || strings.Count(v.SVG, "<g ") != strings.Count(v.SVG, "</g>") || !strings.HasSuffix(v.SVG, "</svg>") {
			t.Errorf("the drawing is no element: %.200s … %s", v.SVG, v.SVG[len(v.SVG)-50:])
		}
		for _, m := range regexp.MustCompile(`(.{12})#([0-9A-Fa-f]{3,6})\b`).FindAllStringSubmatch(v.SVG, -1) {
			if _, ok := dark[m[2]]; !ok {
				t.Errorf("#%s has no dark colour", m[2])
			}
			if !strings.HasSuffix(m[1], "(--f"+m[2]+",") {
				t.Errorf("a colour is fixed: %s", m[0])
			}
		}
		if strings.Contains(v.SVG, "fill:var(--fFFFFFF,#FFFFFF)\" />\n<text") {
			t.Error("the drawing has a background")
		}
	}
}

// TestFrontLine: no front is drawn below a point that is better in both metrics.
func TestFrontLine(t *testing.T) {
	at := func(x, y float64) point { return point{x: compare.Cell{Mean: x}, y: compare.Cell{Mean: y}} }
	steps := plotter.XYs{{X: 1, Y: 9}, {X: 4, Y: 6}, {X: 8, Y: 2}}
	for name, c := range map[string]struct {
		other []point
		want  [][2]plotter.XY
	}{
		"nothing beyond it": {nil, [][2]plotter.XY{{{X: 1, Y: 9}, {X: 1, Y: 6}}, {{X: 1, Y: 6}, {X: 4, Y: 6}}, {{X: 4, Y: 6}, {X: 4, Y: 2}}, {{X: 4, Y: 2}, {X: 8, Y: 2}}}},
		"a point behind it": {[]point{at(3, 5)}, [][2]plotter.XY{{{X: 1, Y: 9}, {X: 1, Y: 6}}, {{X: 1, Y: 6}, {X: 4, Y: 6}}, {{X: 4, Y: 6}, {X: 4, Y: 2}}, {{X: 4, Y: 2}, {X: 8, Y: 2}}}},
		"one between steps": {[]point{at(6, 4)}, [][2]plotter.XY{{{X: 1, Y: 9}, {X: 1, Y: 6}}, {{X: 1, Y: 6}, {X: 4, Y: 6}}, {{X: 4, Y: 6}, {X: 4, Y: 4}}, {{X: 6, Y: 2}, {X: 8, Y: 2}}}},
		"one over a member": {[]point{at(5, 7)}, [][2]plotter.XY{{{X: 1, Y: 9}, {X: 1, Y: 7}}, {{X: 5, Y: 2}, {X: 8, Y: 2}}}},
		"one over them all": {[]point{at(10, 10)}, nil},
	} {
		f := front{steps: steps, points: append([]point{at(1, 9), at(4, 6), at(8, 2)}, c.other...)}
		got := f.line()
		if len(got) != len(c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
			continue
		}
		for i := range got {
			if got[i] != c.want[i] {
				t.Errorf("%s: %v, want %v", name, got, c.want)
			}
		}
	}
}

// TestPlaces: the areas of points that lie apart, close together and upon one another do
// not overlap and lie within the drawing; those of points apart contain their point.
func TestPlaces(t *testing.T) {
	m := &marks{}
	add := func(x, y vg.Length) { m.add(vg.Point{X: x, Y: y}, Mark{Row: len(m.list)}) }
	for i := range 20 {
		add(150, 100) // one point
		add(300+vg.Length(i%5), 150+vg.Length(i/5))
		add(0, vg.Length(10*i)) // along the edge
	}
	add(30, 150)
	apart := len(m.list) - 1
	out := m.place(400, 200)
	for i, a := range out {
		if a.Left < 0 || a.Top < 0 || a.Left+a.Width > 100+1e-9 || a.Top+a.Height > 100+1e-9 {
			t.Errorf("area %d leaves the drawing: %+v", i, a)
		}
		if a.Width*4 < leastSide-1e-9 || a.Height*2 < leastSide-1e-9 {
			t.Errorf("area %d is too small: %+v", i, a)
		}
		if math.Hypot(4*(a.Left+a.Width/2-a.X), 2*(a.Top+a.Height/2-a.Y)) > 30 {
			t.Errorf("area %d is far from its point: %+v", i, a)
		}
		for j, b := range out[:i] {
			const e = 1e-9
			if a.Left+e < b.Left+b.Width && b.Left+e < a.Left+a.Width && a.Top+e < b.Top+b.Height && b.Top+e < a.Top+a.Height {
				t.Errorf("areas %d and %d overlap: %+v %+v", i, j, a, b)
			}
		}
	}
	if a := out[apart]; math.Abs(a.Width*4-mostSide) > 1e-9 || math.Abs(a.Left+a.Width/2-a.X) > 1e-9 || math.Abs(a.Top+a.Height/2-a.Y) > 1e-9 {
		t.Errorf("a point that lies apart has the area %+v", a)
	}
}

// TestFit: only labels that are too wide are cut.
func TestFit(t *testing.T) {
	if got := fit("all data", 100); got != "all data" {
		t.Errorf("%q", got)
	}
	got := fit(strings.Repeat("wide ", 20), 100)
	if s := draw.TextStyle(small); !strings.HasSuffix(got, "…") || s.Width(got) > 100 || s.Width(got) < 85 {
		t.Errorf("%q is %v wide, want 100 at most", got, s.Width(got))
	}
}
