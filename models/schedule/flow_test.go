package schedule

import (
	"math"
	"testing"

	"ablate/models/random"
)

func TestSteps(t *testing.T) {
	f := Default()
	for _, tc := range []struct {
		n     int
		shift float64
		want  []float32
	}{
		{4, 1, []float32{1, .75, .5, .25, 0}},
		{2, 1.5, []float32{1, .6, 0}}, // 1.5·.5/(1 + .5·.5)
	} {
		got := f.Steps(tc.n, tc.shift)
		for i := range tc.want {
			if math.Abs(float64(got[i]-tc.want[i])) > 1e-6 {
				t.Errorf("Steps(%d, %v) = %v, want %v", tc.n, tc.shift, got, tc.want)
			}
		}
	}
}

// The median of sigmoid(N(.5, 1.2)) is sigmoid(.5) = .6225.
func TestTimes(t *testing.T) {
	x := make([]float32, 20000)
	Default().Times(random.Stream(1, "test", "times", 0), x)
	below := 0
	for _, v := range x {
		if v <= 0 || v >= 1 {
			t.Fatalf("time %v is not within (0, 1)", v)
		}
		if v < .6225 {
			below++
		}
	}
	// ±4 standard deviations of a binomial share of one half.
	if share := float64(below) / 20000; math.Abs(share-.5) > .015 {
		t.Errorf("%.3f of the times are below their median", share)
	}
}
