package shapes

import (
	"testing"

	"ablate/models/random"
)

func TestParserAgreesWithRenderer(t *testing.T) {
	const n = 5000
	img := make([]float32, Pixels)
	skipped, wrong := 0, 0
	reasons := map[string]int{}
	for i := range n {
		r := random.Stream(7, "test", "render", i)
		sc := NewScene(r, Prompt{})
		sc.Render(r, img)
		got := Read(img)
		if got.Reason != "" {
			skipped++
			reasons[got.Reason]++
		} else if !got.Satisfies(sc.Prompt) {
			wrong++
			t.Logf("%s read as %s", sc.Prompt, got)
		}
	}
	t.Logf("skipped %d wrong %d of %d: %v", skipped, wrong, n, reasons)
	if skipped+wrong > n/100 {
		t.Errorf("parser disagrees with the renderer on %d of %d clean renders, want at most 1%%", skipped+wrong, n)
	}
}

func TestCatalogue(t *testing.T) {
	c := Prompts()
	var all, held [categories]int
	for _, e := range c.All() {
		all[e.Category]++
		if !e.Seen {
			held[e.Category]++
		}
	}
	if want := [categories]int{8, 6, 6, 138}; all != want {
		t.Errorf("prompts by category %v, want %v", all, want)
	}
	if want := [categories]int{2, 2, 2, 35}; held != want {
		t.Errorf("held out %v, want %v", held, want)
	}
}

func BenchmarkRender(b *testing.B) {
	img := make([]float32, Pixels)
	r := random.Stream(1, "", "", 0)
	for b.Loop() {
		NewScene(r, Prompt{}).Render(r, img)
	}
}

func BenchmarkRead(b *testing.B) {
	img := make([]float32, Pixels)
	r := random.Stream(1, "", "", 0)
	NewScene(r, Prompt{}).Render(r, img)
	for b.Loop() {
		Read(img)
	}
}
