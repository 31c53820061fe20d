package clip_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ablate/models/clip"
)

// TestResize compares bytes with Pillow's, for sizes from 1 to 257 pixels (testdata/resize.py).
func TestResize(t *testing.T) {
	b, err := os.ReadFile("testdata/resize.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases [][5]any
	if err := json.Unmarshal(b, &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) < 100 {
		t.Errorf("%d cases", len(cases))
	}
	for _, c := range cases {
		n := [4]int{}
		for i := range n {
			n[i] = int(c[i].(float64))
		}
		x := clip.Image{Height: n[0], Width: n[1]}
		state := uint32(n[0]*1000 + n[1])
		for range 3 * n[0] * n[1] {
			if state = 1664525*state + 1013904223; state>>31 == 1 {
				x.RGB = append(x.RGB, uint8(state>>24))
			} else {
				x.RGB = append(x.RGB, uint8(255*(state>>30)))
			}
		}
		y, err := clip.Processor{Resize: true, Size: clip.Size{Height: n[2], Width: n[3]}}.Resized(x)
		if err != nil {
			t.Fatal(err)
		}
		if sum := sha256.Sum256(y.RGB); hex.EncodeToString(sum[:8]) != c[4] || y.Height != n[2] || y.Width != n[3] {
			t.Errorf("%v: %d × %d pixels, digest %x", c, y.Height, y.Width, sum[:8])
		}
	}
}

// TestCropped: the centre, and black around an image that is too small.
func TestCropped(t *testing.T) {
	red := func(x clip.Image) (r []uint8) {
		for i := 0; i < len(x.RGB); i += 3 {
			r = append(r, x.RGB[i])
		}
		return r
	}
	image := func(height, width int) clip.Image {
		x := clip.Image{Height: height, Width: width, RGB: make([]uint8, 3*height*width)}
		for i := range height * width {
			x.RGB[3*i] = uint8(i + 1)
		}
		return x
	}
	crop := clip.Processor{Crop: true, CropSize: clip.Size{Height: 2, Width: 3}}
	if got, want := red(crop.Cropped(image(5, 4))), []uint8{5, 6, 7, 9, 10, 11}; !slices.Equal(got, want) {
		t.Errorf("of 5 × 4: %v, want %v", got, want)
	}
	crop.CropSize = clip.Size{Height: 4, Width: 4}
	if got, want := red(crop.Cropped(image(1, 5))), []uint8{0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 0}; !slices.Equal(got, want) {
		t.Errorf("of 1 × 5: %v, want %v", got, want)
	}
}

// processor writes a preprocessor_config.json and reads it.
func processor(t testing.TB, text string) (clip.Processor, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "preprocessor_config.json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return clip.ReadProcessor(dir)
}

// TestProcessorFiles: sizes of old and new files, and what is not valid.
func TestProcessorFiles(t *testing.T) {
	for text, want := range map[string][2]clip.Size{
		`{}`:                                 {{Shortest: 224}, {Height: 224, Width: 224}},
		`{"size": null, "image_mean": null}`: {{Shortest: 224}, {Height: 224, Width: 224}},
		`{"size": 9, "crop_size": 8}`:        {{Shortest: 9}, {Height: 8, Width: 8}},
		`{"size": {"height": 4, "width": 5}, "crop_size": {"height": 3, "width": 2}}`: {{Height: 4, Width: 5}, {Height: 3, Width: 2}},
	} {
		if p, err := processor(t, text); err != nil || p.Size != want[0] || p.CropSize != want[1] || !p.Resize || !p.Crop || !p.Rescale || !p.Normalize {
			t.Errorf("%s: %+v, %v", text, p, err)
		}
	}
	for text, want := range map[string]string{
		`{"resample": 2}`:         "resample is 2",
		`{"size": {"height": 4}}`: "not a size",
		`{"size": {}}`:            "not a size",
		`{"size": {"shortest_edge": 4, "longest_edge": 9}}`: "longest_edge is 9",
		`{"size": {"shortest_edge": 4, "height": 9}}`:       "not a size",
		`{"size": 0}`:              "shortest_edge is 0",
		`{"size": "large"}`:        "not a size",
		`{"image_std": [1, 0, 1]}`: "image_std is [1 0 1]",
		`{"image_mean": [0.5]}`:    "image_mean is [0.5]",
	} {
		if _, err := processor(t, text); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "preprocessor_config.json") {
			t.Errorf("%s: error %v, want %q", text, err, want)
		}
	}
	p, err := processor(t, `{}`)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []clip.Image{{}, {Height: 2, Width: 2, RGB: make([]uint8, 4)}, {Height: 1, Width: 400_000, RGB: make([]uint8, 1_200_000)}} {
		if _, err := p.Resized(x); err == nil {
			t.Errorf("an image of %d × %d pixels and %d bytes is no error", x.Height, x.Width, len(x.RGB))
		}
	}
}

// FuzzProcessor: any file is an error or makes pixels of a small image.
func FuzzProcessor(f *testing.F) {
	for _, text := range []string{`{}`, `{"size": 9, "crop_size": {"height": 3, "width": 2}, "do_normalize": false}`,
		`{"size": {"height": 4, "width": 5}, "do_center_crop": false, "resample": 3, "image_std": [1, 1, 1], "rescale_factor": 1e300}`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := processor(t, text)
		if err != nil {
			return
		}
		for _, s := range []*clip.Size{&p.Size, &p.CropSize} { // to save time
			s.Height, s.Width, s.Shortest = min(s.Height, 99), min(s.Width, 99), min(s.Shortest, 99)
		}
		x, err := p.Resized(clip.Image{Height: 3, Width: 2, RGB: make([]uint8, 18)})
		if err != nil {
			t.Fatal(err)
		}
		if x = p.Cropped(x); len(p.Pixels(x)) != 3*x.Height*x.Width {
			t.Errorf("%d values of %d × %d pixels", len(p.Pixels(x)), x.Height, x.Width)
		}
	})
}
