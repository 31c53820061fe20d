package figure

import (
	"bytes"
	"compress/zlib"
	"io"
	"regexp"
	"strings"
	"testing"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// content is what the streams of a PDF draw; those of fonts, which hold zero
// bytes, are left out.
func content(t *testing.T, file []byte) string {
	t.Helper()
	var out strings.Builder
	for _, m := range regexp.MustCompile(`(?s)stream\r?\n(.*?)endstream`).FindAllSubmatch(file, -1) {
		r, err := zlib.NewReader(bytes.NewReader(m[1]))
		if err != nil {
			continue
		}
		if b, err := io.ReadAll(r); err == nil && !bytes.Contains(b, []byte{0}) {
			out.Write(b)
		}
	}
	return out.String()
}

// TestPDFText: ASCII is text; anything else is outlines, and no text of
// bytes that a reader would take for other characters.
func TestPDFText(t *testing.T) {
	drawn := func(text string) string {
		b, err := Figure{width: 100, height: 40, draws: func(c draw.Canvas) {
			s := small
			c.FillText(s, vg.Point{X: 10, Y: 20}, text)
		}}.PDF()
		if err != nil {
			t.Fatal(err)
		}
		return content(t, b)
	}
	curve := regexp.MustCompile(`(?m)[\d.-]+ [\d.-]+ [\d.-]+ [\d.-]+ [\d.-]+ [\d.-]+ c$`)
	if plain := drawn("less all data"); !strings.Contains(plain, "(less all data)Tj") || curve.MatchString(plain) {
		t.Errorf("ASCII is not drawn as text:\n%s", plain)
	}
	for _, text := range []string{"Fréchet", "√KL − 1", "β = 0.5", "arm 箱"} {
		got := drawn(text)
		if strings.Contains(got, "Tj") || len(got) < 500 || strings.Count(got, " m\n") < 2 {
			t.Errorf("%q is not drawn as outlines:\n%.300s", text, got)
		}
	}
}
