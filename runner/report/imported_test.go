package report

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"ablate/experiments/language"
	"ablate/runner/project"
	"ablate/runner/result"
)

// TestImported: the page of results with pictures has one for each run and prompt, scaled
// down, with the run's means below it; one that cannot be read is left out, with a warning.
func TestImported(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, b []byte) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	img := image.NewGray(image.Rect(0, 0, 640, 320))
	for i := range img.Pix {
		img.Pix[i] = 200
	}
	var asPNG, asJPEG bytes.Buffer
	if err := png.Encode(&asPNG, img); err != nil {
		t.Fatal(err)
	}
	if err := jpeg.Encode(&asJPEG, img, nil); err != nil {
		t.Fatal(err)
	}
	file("a.png", asPNG.Bytes())
	file("b.jpg", asJPEG.Bytes())
	file("broken.png", asPNG.Bytes()[:100])
	file("text.png", []byte("no picture"))
	rows := file("r.csv", []byte("arm,seed,prompt,category,aligned,clip,image\nbase,1,a cat,x,1,.25,a.png\nbase,1,a cat,x,0,.5,\nbase,1,a dog,x,1,.3,b.jpg\nbase,2,a cat,x,1,.3,text.png\nbase,2,a dog,x,1,.3,broken.png\nmore,1,a cat,x,1,.3,b.jpg\nmore,2,a cat,x,1,.3,\n"))
	s := &language.Study{Name: "s", Path: "s", Reference: "base", Imported: &language.Imported{Files: []string{rows}}}
	r, _, err := result.Import(t.Context(), project.Project{Study: s})
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	ctx := zerolog.New(&log).WithContext(t.Context())
	rep := New(ctx, r)
	if rep.Exchanges == nil || rep.Exchanges.Metric != "aligned" {
		t.Errorf("exchanges %+v", rep.Exchanges)
	}
	// Prompts are in the order of their texts; each run that has pictures has a row for each.
	trial, read := rep.Samples.Column("trial").Strings, rep.Samples.Column("read").Strings
	if len(trial) != 6 || read[0] != "aligned 0.5, clip 0.375" || read[1] != "aligned 1, clip 0.3" {
		t.Fatalf("rows %d, read %q", len(trial), read)
	}
	for i, want := range []string{"640x320", "640x320", "", "", "640x320", ""} {
		img, err := rep.Image(trial[i], result.Alignment, i%2)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if img != nil {
			got = strings.Trim(img.Bounds().Size().String(), "()")
			got = strings.Replace(got, ",", "x", 1)
			if c := color.NRGBAModel.Convert(img.At(100, 100)).(color.NRGBA); c.R < 190 || c.R > 210 {
				t.Errorf("picture %d is of another colour: %v", i, c)
			}
		}
		if got != want {
			t.Errorf("picture %d is %q, want %q", i, got, want)
		}
	}
	if n := strings.Count(log.String(), "cannot be read"); n != 2 || !strings.Contains(log.String(), "text.png") {
		t.Errorf("%d warnings: %s", n, &log)
	}
}

// TestDecode: a small file that claims to be a huge picture is not decoded.
func TestDecode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.gif")
	gif := append([]byte("GIF89a"), 0xff, 0xff, 0xff, 0xff, 0, 0, 0)
	if err := os.WriteFile(path, gif, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := decode(path); err == nil || !strings.Contains(err.Error(), "65535 × 65535 pixels") {
		t.Errorf("error %v", err)
	}
	if _, err := decode(t.TempDir()); err == nil {
		t.Error("a folder is a picture")
	}
}
