package shapes

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"ablate/models/random"
)

// TestRenderInRange: in every scene values lie in [0, 1], equal streams
// draw equal images, and each object stays within its cell.
func TestRenderInRange(t *testing.T) {
	all := every()
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.SampledFrom(all).Draw(t, "prompt")
		seed := rapid.Int64().Draw(t, "seed")
		draw := func() (Scene, []float32) {
			r := random.Stream(seed, "test", "range", 0)
			sc, img := NewScene(r, p), make([]float32, Pixels+1)
			img[Pixels] = 7
			sc.Render(r, img)
			return sc, img
		}
		sc, img := draw()
		if _, again := draw(); !slices.Equal(img, again) {
			t.Fatal("equal streams drew different images")
		}
		if img[Pixels] != 7 {
			t.Fatal("Render wrote behind the image")
		}
		for i, v := range img[:Pixels] {
			if !(v >= 0 && v <= 1) {
				t.Fatalf("value %d is %v", i, v)
			}
		}
		if len(sc.bodies) != int(sc.Prompt[Count]) {
			t.Fatalf("%q has %d bodies", sc.Prompt, len(sc.bodies))
		}
		cells := map[[2]int]bool{}
		for _, o := range sc.bodies {
			c := [2]int{int(o.x) / cell, int(o.y) / cell}
			if cells[c] {
				t.Fatalf("two bodies in cell %v", c)
			}
			cells[c] = true
			if o.radius < 1.9*.9 || o.radius > 2.8*1.1 {
				t.Fatalf("radius %v", o.radius)
			}
			// No part of the object is drawn outside its cell.
			for i := range Size * Size {
				x, y := float64(i%Size)+.5, float64(i/Size)+.5
				if ([2]int{i % Size / cell, i / Size / cell}) != c && o.distance(x, y, sc.Prompt[Shape] == 2) < .5 {
					t.Fatalf("body at %.2f, %.2f of radius %.2f reaches pixel %d, %d", o.x, o.y, o.radius, i%Size, i/Size)
				}
			}
		}
	})
}

// TestScenesAreEven checks that properties that a prompt leaves open are uniform.
func TestScenesAreEven(t *testing.T) {
	const n = 20000
	var by [slots][5]float64
	stripes := 0.0
	for i := range n {
		sc := NewScene(random.Stream(9, "test", "even", i), Prompt{})
		for s, v := range sc.Prompt {
			by[s][v]++
		}
		if sc.stripes > 0 {
			stripes++
		}
	}
	for s := range slots {
		for v := 1; v <= s.Values(); v++ {
			if p := 1 / float64(s.Values()); !near(by[s][v], n, p) {
				t.Errorf("%s in %.3f of scenes, want %.3f", s.Word(int8(v)), by[s][v]/n, p)
			}
		}
	}
	if !near(stripes, n, .6) {
		t.Errorf("stripes in %.3f of scenes, want .6", stripes/n)
	}
}

func BenchmarkRender(b *testing.B) {
	img := make([]float32, Pixels)
	i := 0
	for b.Loop() {
		r := random.Stream(1, "bench", "render", i)
		NewScene(r, Prompt{}).Render(r, img)
		i++
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "images/s")
}
