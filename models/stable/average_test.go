package stable_test

import (
	"math"
	"path/filepath"
	"reflect"
	"testing"

	"ablate/models/nn"
	"ablate/models/stable"
)

// TestAverage: the adapter of a training with a moving average is the average of those that the same
// training has without one: after two steps with the decay .5, a quarter of the first, a quarter of the
// second and half of the third. A training that goes on from a saved state has the same bits.
func TestAverage(t *testing.T) {
	b, c, w := tiny(t)
	run := func(ema float64, from, to string) (adapters []nn.Values) {
		t.Helper()
		r := recipe(nil)
		r.Batch, r.Steps, r.EMA = 1, 2, ema
		f, err := c.Finetune(b, w, r, stable.Seeds{Init: 1, Order: 2, Noise: 3})
		if err != nil {
			t.Fatal(err)
		}
		defer f.Free()
		first := 1
		if from != "" {
			step, err := f.Load(from)
			if err != nil {
				t.Fatal(err)
			}
			first += step
		}
		x, err := f.Example(make([]uint8, 3*32*32), "a red cat")
		if err != nil {
			t.Fatal(err)
		}
		adapters = append(adapters, f.Adapter().Values)
		for step := first; step <= r.Steps; step++ {
			if _, err := f.Begin(step, []stable.Stream{{Name: "images", Items: []stable.Item{{Image: x, Weight: 1}}}}); err != nil {
				t.Fatal(err)
			}
			adapters = append(adapters, f.Adapter().Values)
			if to != "" && step == 1 {
				if err := f.Save(to, step); err != nil {
					t.Fatal(err)
				}
			}
		}
		return adapters
	}
	state := filepath.Join(t.TempDir(), "state")
	plain, average := run(0, "", ""), run(.5, "", state)
	moved := 0.
	for name, x := range average[2] {
		for k := range x {
			w0, w1, w2 := plain[0][name][k], plain[1][name][k], plain[2][name][k]
			if want := w0/4 + w1/4 + w2/2; math.Abs(float64(x[k]-want)) > 1e-6 {
				t.Fatalf("%s has %v at %d after %v, %v and %v; want %v", name, x[k], k, w0, w1, w2, want)
			}
			moved = max(moved, math.Abs(float64(w2-w0)))
		}
	}
	if moved < .01 {
		t.Errorf("the adapter moved by %v only", moved)
	}
	if again := run(.5, state, ""); !reflect.DeepEqual(again[1], average[2]) {
		t.Error("a training that goes on from a saved state has another average")
	}
}
