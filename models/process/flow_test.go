package process

import (
	"math"
	"testing"

	"ablate/models/random"
)

func TestGrid(t *testing.T) {
	f := ShapesFlow()
	for _, tc := range []struct {
		n     int
		shift float64
		want  []float32
	}{
		{4, 1, []float32{1, .75, .5, .25, 0}},
		{2, 1.5, []float32{1, .6, 0}}, // 1.5·.5/(1 + .5·.5)
	} {
		got, err := f.Grid(tc.n, tc.shift)
		if err != nil {
			t.Fatal(err)
		}
		for i := range tc.want {
			if math.Abs(float64(got[i]-tc.want[i])) > 1e-6 {
				t.Errorf("Grid(%d, %v) = %v, want %v", tc.n, tc.shift, got, tc.want)
			}
		}
	}
}

// Times that are equal in float32 would give no image, or another sampler than
// the one that was asked for.
func TestGridRefuses(t *testing.T) {
	for _, shift := range []float64{0, 1e-300, 1e-45, 1e-17, 1e-10, 1e10, 1e38, 1e300, math.NaN(), math.Inf(1)} {
		if ts, err := ShapesFlow().Grid(16, shift); err == nil {
			t.Errorf("shift %v gives the times %v", shift, ts)
		}
	}
	for _, shift := range []float64{1e-3, .1, 1, 3, 1000} {
		for _, n := range []int{1, 2, 16, 1000} {
			if ts, err := ShapesFlow().Grid(n, shift); err != nil || ts[0] != 1 || ts[n] != 0 {
				t.Errorf("shift %v and %d steps give the times %v, %v", shift, n, ts, err)
			}
		}
	}
}

// The median of sigmoid(N(.5, 1.2)) is sigmoid(.5) = .6225.
func TestTimes(t *testing.T) {
	x := make([]float32, 20000)
	ShapesFlow().Times(random.Stream(1, "test", "times", 0), x)
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
