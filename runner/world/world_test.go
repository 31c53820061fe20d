package world

import (
	"math"
	"slices"
	"strings"
	"testing"

	"ablate/models/random"
)

// TestAnnotate: good and bad are swapped with the declared probability, and one number is
// drawn whatever the label is.
func TestAnnotate(t *testing.T) {
	const n = 20000
	for label, other := range map[string]string{Good: Bad, Bad: Good, Skip: ""} {
		wrong := 0
		for i := range n {
			r := random.Stream(5, "test", "annotate", i)
			switch Annotate(r, label, .08) {
			case label:
			case other:
				wrong++
			default:
				t.Fatalf("%s became something else", label)
			}
			again := random.Stream(5, "test", "annotate", i)
			again.Float64()
			if r.Uint64() != again.Uint64() {
				t.Fatal("not one number was drawn")
			}
		}
		want := .08 * n
		if label == Skip {
			want = 0
		}
		if math.Abs(float64(wrong)-want) > 5*math.Sqrt(want) {
			t.Errorf("%s is taken for %q %d times of %d, want about %v", label, other, wrong, n, want)
		}
	}
}

// TestShapes: the judge labels images of a prompt good and describes them, labels images
// of another prompt bad, and skips an image without a scene. Perturbed and contrasting
// prompts are valid prompts, and every prompt has an input for the text encoder.
func TestShapes(t *testing.T) {
	w := Shapes()
	const prompt, other = "three red circles on a white background", "two green bars on a black background"
	images, err := w.Images.Showing("test", []string{prompt, other})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []Verdict{{Good, prompt}, {Bad, other}} {
		if got, err := w.Judge.Judge(images[i*Pixels:(i+1)*Pixels], prompt); err != nil || got != want {
			t.Errorf("image %d: %+v, %v, want %+v", i, got, err, want)
		}
	}
	if got, err := w.Judge.Judge(make([]uint8, Pixels), prompt); err != nil || got.Label == Good {
		t.Errorf("a black image: %+v, %v", got, err)
	}
	if _, err := w.Judge.Judge(images[:Pixels], "three red cats"); err == nil || !strings.Contains(err.Error(), `"cats"`) {
		t.Errorf("an unknown word: %v", err)
	}
	var all []string
	for i := range 100 {
		p := w.Prompts.Draw(random.Stream(1, "test", "prompt", i), true)
		if !p.Seen || p.Category == "" || p.Complete != (strings.Count(p.Text, " ") == 6) {
			t.Errorf("%+v", p)
		}
		groups, err := w.Perturbations.Perturbed(p.Text)
		if err != nil || len(groups) != 2 || slices.Contains(slices.Concat(groups...), p.Text) {
			t.Errorf("%s is perturbed to %q, %v", p.Text, groups, err)
		}
		contrasts, err := w.Perturbations.Contrasts(p.Text, 4)
		if err != nil || len(contrasts) > 4 || slices.Contains(contrasts, p.Text) {
			t.Errorf("%s contrasts with %q, %v", p.Text, contrasts, err)
		}
		all = slices.Concat(all, []string{p.Text}, contrasts, groups[0], groups[1])
	}
	rows, err := w.Texts.Input(all)
	if err != nil || len(rows) != len(all)*Vocabulary() {
		t.Errorf("%d values of %d prompts, %v", len(rows), len(all), err)
	}
	if _, err := w.Perturbations.Perturbed("shapes on a white background"); err == nil || !strings.Contains(err.Error(), "is not a prompt of this world") {
		t.Errorf("a prompt that no study draws: %v", err)
	}
	if err := Check(Size, Channels, Vocabulary()); err != nil {
		t.Error(err)
	}
	if err := Check(2*Size, Channels, Vocabulary()); err == nil || !strings.Contains(err.Error(), "images of 32×32×3") {
		t.Errorf("other images: %v", err)
	}
}

// TestImagesArePaired: a rendered image depends only on the seed or set and its number,
// so that a larger set begins with the same images. Different sets and seeds share no
// images.
func TestImagesArePaired(t *testing.T) {
	w := Shapes().Images
	a, captions := w.Pairs(1, 5, realCaptions)
	b, more := w.Pairs(1, 9, realCaptions)
	if string(a) != string(b[:len(a)]) || !slices.Equal(captions, more[:5]) {
		t.Error("more pairs begin with other pairs")
	}
	if c, _ := w.Pairs(2, 5, realCaptions); string(a) == string(c) {
		t.Error("two pretraining seeds share their pairs")
	}
	x, _ := w.Real("real", 3)
	y, _ := w.Real("real again", 3)
	if string(x) == string(y) {
		t.Error("the two real sets are one")
	}
}

// TestPicture: images of a set are one after the other, and an image that the set does
// not have is nil.
func TestPicture(t *testing.T) {
	set := make([]uint8, 2*Pixels)
	set[Pixels], set[Pixels+1] = 200, 100
	img := Picture(set, 1)
	if img == nil {
		t.Fatal("there is no second image")
	}
	if red, green, _, alpha := img.At(0, 0).RGBA(); red>>8 != 200 || green>>8 != 100 || alpha>>8 != 255 {
		t.Errorf("its first pixel is %d %d, alpha %d", red>>8, green>>8, alpha>>8)
	}
	if Picture(set, 2) != nil || Picture(set, -1) != nil {
		t.Error("there is a third image")
	}
}

// TestMethods: each paragraph is one line without double spaces.
func TestMethods(t *testing.T) {
	list := Methods()
	if len(list) != 3 {
		t.Errorf("%d paragraphs, want 3", len(list))
	}
	for _, p := range list {
		if strings.ContainsAny(p, "\n\t") || strings.Contains(p, "  ") || p != strings.TrimSpace(p) {
			t.Errorf("paragraph %q", p)
		}
	}
}
