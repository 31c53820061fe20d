package figure

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf16"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// streams returns the streams of a PDF and the dictionaries that describe them.
func streams(t *testing.T, file []byte) (dictionaries []string, data [][]byte) {
	t.Helper()
	for _, m := range regexp.MustCompile(`(?s)<<([^>]*/Length \d+[^>]*)>>\s*stream\r?\n(.*?)\r?\nendstream`).FindAllSubmatch(file, -1) {
		b := m[2]
		if r, err := zlib.NewReader(bytes.NewReader(b)); err == nil {
			if b, err = io.ReadAll(r); err != nil {
				t.Fatal(err)
			}
		}
		dictionaries, data = append(dictionaries, string(m[1])), append(data, b)
	}
	return dictionaries, data
}

// truetype returns the tables of a font, and the outlines of its glyphs as bytes.
func truetype(t *testing.T, font []byte) (tables map[string][]byte, glyphs [][]byte) {
	t.Helper()
	tables = map[string][]byte{}
	u16 := func(b []byte) int { return int(binary.BigEndian.Uint16(b)) }
	u32 := func(b []byte) int { return int(binary.BigEndian.Uint32(b)) }
	for i := range u16(font[4:]) {
		e := font[12+16*i:]
		tables[string(e[:4])] = font[u32(e[8:]) : u32(e[8:])+u32(e[12:])]
	}
	at := func(i int) int {
		if u16(tables["head"][50:]) == 0 {
			return 2 * u16(tables["loca"][2*i:])
		}
		return u32(tables["loca"][4*i:])
	}
	for i := range u16(tables["maxp"][4:]) {
		glyphs = append(glyphs, tables["glyf"][at(i):at(i+1)])
	}
	return tables, glyphs
}

// TestPDFText: text of any script is stored as text. The embedded font has exactly the
// glyphs of that text, with the outlines of the whole font.
func TestPDFText(t *testing.T) {
	lines := []string{"less √KL − 1 (β)", "\\", "\U0001F600", "arm 箱", "àǠȀ"}
	face := small.Handler.Cache().Lookup(small.Font, small.Font.Size)
	file, err := Figure{func(layout) drawing {
		return drawing{200, 100, func(c draw.Canvas) {
			for i, l := range lines {
				c.FillText(small, vg.Point{X: 10, Y: vg.Length(20 * (i + 1))}, l)
			}
		}, &marks{}}
	}}.PDF()
	if err != nil {
		t.Fatal(err)
	}
	dictionaries, data := streams(t, file)
	var content, fontFile, places []byte
	for i, b := range data {
		switch {
		case strings.Contains(dictionaries[i], "/Length1"):
			fontFile = b
		case len(b) == 2<<16:
			places = b
		case bytes.Contains(b, []byte(" Tj ")):
			content = b
		}
	}
	if fontFile == nil || places == nil || content == nil {
		t.Fatalf("the file lacks a font, the places of its glyphs or a page: %q", dictionaries)
	}
	used := map[rune]bool{}
	for _, l := range lines {
		l = strings.ReplaceAll(l, "\U0001F600", "\ufffd")
		var want []byte
		for _, r := range l {
			used[r] = true
			want = binary.BigEndian.AppendUint16(want, utf16.Encode([]rune{r})[0])
		}
		want = regexp.MustCompile(`[\\()]`).ReplaceAll(want, []byte(`\$0`))
		if !bytes.Contains(content, append(append([]byte("("), want...), ") Tj"...)) {
			t.Errorf("%q is not text of the page:\n%q", l, content)
		}
	}

	var whole bytes.Buffer
	if _, err := face.Face.WriteSourceTo(nil, &whole); err != nil {
		t.Fatal(err)
	}
	_, all := truetype(t, whole.Bytes())
	_, cut := truetype(t, fontFile)
	composite := 0
	for r := range used {
		place := int(binary.BigEndian.Uint16(places[2*r:]))
		from, err := face.Face.GlyphIndex(nil, r)
		if err != nil || place >= len(cut) {
			t.Fatalf("%q: place %d of %d, %v", r, place, len(cut), err)
		}
		outline := all[from]
		if len(outline) > 1 && int16(binary.BigEndian.Uint16(outline)) < 0 {
			composite++ // its parts have other numbers
			continue
		}
		if got := bytes.TrimRight(cut[place], "\x00"); !bytes.Equal(got, bytes.TrimRight(outline, "\x00")) {
			t.Errorf("%q is drawn by another outline than in the whole font", r)
		}
	}
	// Beside the glyphs of the text there are the box of what is missing, and the parts of
	// composite glyphs: a letter and an accent each.
	if n := len(used) + 1 + 2*composite; len(cut) > n {
		t.Errorf("the font has %d glyphs, and the text uses %d at most", len(cut), n)
	}
	if len(file) > 20e3 {
		t.Errorf("the file has %d bytes", len(file))
	}
}

// TestPDFArc: an arc is close enough to a circle that the eye sees no difference.
func TestPDFArc(t *testing.T) {
	c := newPDF(100, 100)
	var p vg.Path
	p.Move(vg.Point{X: 60, Y: 50})
	p.Arc(vg.Point{X: 50, Y: 50}, 10, 0, 2*math.Pi)
	c.Fill(p)
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	_, data := streams(t, b.Bytes())
	number := `(-?[\d.]+) `
	curves := regexp.MustCompile(strings.Repeat(number, 6)+`c\n`).FindAllStringSubmatch(string(data[0]), -1)
	if len(curves) != 4 {
		t.Fatalf("the circle has %d curves, want 4:\n%s", len(curves), data[0])
	}
	from := [2]float64{60, 50}
	for _, c := range curves {
		var v [6]float64
		for i := range v {
			var err error
			if v[i], err = strconv.ParseFloat(c[i+1], 64); err != nil {
				t.Fatal(err)
			}
		}
		for _, s := range []float64{.25, .5, .75, 1} {
			at := func(k int) float64 {
				r := 1 - s
				return r*r*r*from[k] + 3*r*r*s*v[k] + 3*r*s*s*v[2+k] + s*s*s*v[4+k]
			}
			// The middle has the same place from the top as from the foot.
			if r := math.Hypot(at(0)-50, at(1)-50); math.Abs(r-10) > .02 {
				t.Errorf("a point of the circle is %g from its middle, want 10", r)
			}
		}
		from = [2]float64{v[4], v[5]}
	}
}
