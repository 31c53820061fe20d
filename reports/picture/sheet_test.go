package picture_test

import (
	"errors"
	"image"
	"image/color"
	"strings"
	"testing"

	"ablate/reports/picture"
)

var (
	red   = color.RGBA{0xff, 0, 0, 0xff}
	blue  = color.RGBA{0, 0, 0xff, 0xff}
	white = color.RGBA{0xff, 0xff, 0xff, 0xff}
)

// filled returns a picture of one colour, whose first pixel is blue.
func filled(w, h int, c color.RGBA) image.Image {
	img := image.NewRGBA(image.Rect(5, 7, 5+w, 7+h)) // of bounds that do not begin at 0
	for y := range h {
		for x := range w {
			img.SetRGBA(5+x, 7+y, c)
		}
	}
	img.SetRGBA(5, 7, blue)
	return img
}

// count returns the number of pixels of a colour, and the smallest rectangle around them.
func count(img *image.RGBA, c color.RGBA) (n int, around image.Rectangle) {
	for y := range img.Bounds().Dy() {
		for x := range img.Bounds().Dx() {
			if img.RGBAAt(x, y) == c {
				n++
				around = around.Union(image.Rect(x, y, x+1, y+1))
			}
		}
	}
	return n, around
}

// TestSheet: each picture is in its cell. Small ones are enlarged to 128 pixels by a whole factor, in
// which each pixel is a square; large ones are scaled down to 256.
func TestSheet(t *testing.T) {
	colours := [2][3]color.RGBA{}
	for i := range colours {
		for k := range colours[i] {
			colours[i][k] = color.RGBA{uint8(100 + 10*i), uint8(200 + 10*k), 0, 0xff}
		}
	}
	for _, c := range []struct{ w, h, side, inW, inH int }{
		{16, 16, 128, 128, 128}, {48, 48, 128, 96, 96}, {16, 8, 128, 128, 64}, {200, 100, 200, 200, 100}, {1024, 512, 256, 256, 128},
	} {
		s := picture.Sheet{Title: "title", Columns: []string{"seed 1", "seed 2", "seed 3"}, Rows: []picture.Row{{Above: "a red cat", Name: "trained"}, {Name: "pretrained"}},
			Picture: func(i, k int) (image.Image, error) {
				if i == 1 && k == 2 {
					return nil, nil
				}
				return filled(c.w, c.h, colours[i][k]), nil
			}}
		img, err := s.Draw()
		if err != nil {
			t.Fatal(err)
		}
		_, first := count(img, colours[0][0])
		for i := range colours {
			for k, x := range colours[i] {
				n, at := count(img, x)
				if i == 1 && k == 2 {
					if n > 0 {
						t.Errorf("%d×%d: a missing picture has %d pixels", c.w, c.h, n)
					}
					continue
				}
				want := first.Add(image.Pt(k*(c.side+4), i*(c.side+4)))
				if at != want || at.Dx() != c.inW || at.Dy() != c.inH {
					t.Errorf("%d×%d: picture %d, %d is at %v, want %v of %d×%d", c.w, c.h, i, k, at, want, c.inW, c.inH)
				}
			}
		}
		if factor := c.inW / c.w; factor > 1 {
			if n, at := count(img, blue); n != 5*factor*factor || at.Min != first.Min {
				t.Errorf("%d×%d: %d blue pixels from %v, want squares of %d from %v", c.w, c.h, n, at.Min, factor, first.Min)
			}
		}
	}
}

// TestSheetTexts: texts change the sheet where they are, and long ones leave the pictures alone.
func TestSheetTexts(t *testing.T) {
	draw := func(title, above, name string) *image.RGBA {
		t.Helper()
		img, err := picture.Sheet{Title: title, Columns: []string{"seed 1"}, Rows: []picture.Row{{above, name}},
			Picture: func(int, int) (image.Image, error) { return filled(16, 16, red), nil }}.Draw()
		if err != nil {
			t.Fatal(err)
		}
		return img
	}
	short := draw("title", "a cat", "trained")
	if short.Bounds().Dx() != 480 || short.RGBAAt(0, 0) != white {
		t.Errorf("a sheet of one picture is %v", short.Bounds())
	}
	_, at := count(short, red)
	blank := draw("title", "", "trained")
	if d := short.Bounds().Dy() - blank.Bounds().Dy(); d != 27 {
		t.Errorf("a line of text takes %d pixels, want 27", d)
	}
	if same := draw("title", "a dog", "trained"); same.Bounds() != short.Bounds() || string(same.Pix) == string(short.Pix) {
		t.Error("another text above the row does not show")
	}
	for _, text := range []string{strings.Repeat("a word ", 500), strings.Repeat("W", 60_000)} {
		long := draw("title", text, "trained")
		n, _ := count(long, red)
		if want := at.Dx()*at.Dy() - 64; n != want || long.Bounds().Dx() != 480 || long.Bounds().Dy() > short.Bounds().Dy()+2*19 {
			t.Errorf("a long text: %d red pixels, want %d; %v", n, want, long.Bounds())
		}
	}
}

// TestSheetOfMany: a sheet of many pictures has smaller cells, and one without pictures is a sheet, too.
func TestSheetOfMany(t *testing.T) {
	one := filled(72, 72, red)
	s := picture.Sheet{Columns: make([]string, 32), Rows: make([]picture.Row, 64), Picture: func(int, int) (image.Image, error) { return one, nil }}
	img, err := s.Draw()
	if err != nil {
		t.Fatal(err)
	}
	if b := img.Bounds(); b.Dx()*b.Dy() > 24<<20 {
		t.Errorf("the sheet has %v", b)
	}
	s = picture.Sheet{Columns: []string{"a"}, Rows: make([]picture.Row, 1), Picture: func(int, int) (image.Image, error) { return nil, nil }}
	if _, err := s.Draw(); err != nil {
		t.Error(err)
	}
	broken := errors.New("broken")
	s.Picture = func(int, int) (image.Image, error) { return nil, broken }
	if _, err := s.Draw(); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
}
