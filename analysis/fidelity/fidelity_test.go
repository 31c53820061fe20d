package fidelity_test

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"ablate/analysis/fidelity"
)

func matrix(t *testing.T, name string) fidelity.Matrix {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name + ".f32")
	if err != nil {
		t.Fatal(err)
	}
	m := fidelity.Matrix{Rows: 300, Cols: 16, Data: make([]float32, len(b)/4)}
	for i := range m.Data {
		m.Data[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return m
}

// TestReference meets the values of scipy, clean-fid and prdc to 1e-6.
func TestReference(t *testing.T) {
	b, err := os.ReadFile("testdata/metrics.json")
	if err != nil {
		t.Fatal(err)
	}
	var want struct {
		Values struct {
			Frechet  float64                             `json:"frechet_distance"`
			Singular float64                             `json:"frechet_distance_singular"`
			K3       struct{ Precision, Recall float64 } `json:"k3"`
			K5       struct{ Precision, Recall float64 } `json:"k5"`
		}
	}
	if err := json.Unmarshal(b, &want); err != nil {
		t.Fatal(err)
	}
	real, fake := matrix(t, "real"), matrix(t, "fake")
	near := func(what string, got, want float64) {
		if math.Abs(got-want) > 1e-6*want {
			t.Errorf("%s %.9f, want %.9f", what, got, want)
		}
	}
	d, err := fidelity.Frechet(real, fake)
	if err != nil {
		t.Fatal(err)
	}
	near("Fréchet distance", d, want.Values.Frechet)
	few := fidelity.Matrix{Rows: 8, Cols: 16, Data: real.Data[:8*16]}
	if d, err = fidelity.Frechet(few, fake); err != nil {
		t.Fatal(err)
	}
	near("Fréchet distance of a singular covariance", d, want.Values.Singular)
	near("recall, k 3", fidelity.Recall(real, fake, 3), want.Values.K3.Recall)
	near("recall, k 5", fidelity.Recall(real, fake, 5), want.Values.K5.Recall)
	near("precision, k 3", fidelity.Precision(real, fake, 3), want.Values.K3.Precision)
	near("precision, k 5", fidelity.Precision(real, fake, 5), want.Values.K5.Precision)
}

func images(n int, seed uint64, level uint8) []uint8 {
	r := rand.New(rand.NewPCG(seed, 1))
	x := make([]uint8, n*16*16*3)
	for i := range x {
		x[i] = uint8(r.IntN(100)) + level
	}
	return x
}

// TestSpace: features are standardized on the real set; a shift of brightness
// alone is nothing to zero-mean kernels; other textures are far.
func TestSpace(t *testing.T) {
	a := images(200, 1, 50)
	s := fidelity.NewSpace(a)
	x := s.Features(a)
	for j := range x.Cols {
		var sum, square float64
		for i := range x.Rows {
			v := float64(x.Row(i)[j])
			sum, square = sum+v, square+v*v
		}
		if mean, vari := sum/200, square/200; math.Abs(mean) > 1e-3 || math.Abs(vari-1) > 1e-2 {
			t.Fatalf("feature %d has mean %.4f and variance %.4f on its own set", j, mean, vari)
		}
	}
	shifted := append([]uint8{}, a...)
	for i := range shifted {
		shifted[i] += 40
	}
	y := s.Features(shifted)
	for i := range x.Data {
		if math.Abs(float64(x.Data[i]-y.Data[i])) > 1e-2 {
			t.Fatalf("brightness alone moves feature %d from %v to %v", i%x.Cols, x.Data[i], y.Data[i])
		}
	}
	again := s.Features(images(200, 2, 50))
	if r := fidelity.Recall(x, again, 5); r < .8 {
		t.Errorf("recall of the same textures is %.2f", r)
	}
	flat := make([]uint8, len(a))
	if r := fidelity.Recall(x, s.Features(flat), 5); r > .05 {
		t.Errorf("recall by flat images is %.2f", r)
	}
}

func TestMeanPairDistance(t *testing.T) {
	m := fidelity.Matrix{Rows: 5, Cols: 2, Data: []float32{0, 0, 3, 4, 9, 9, 1, 0, 0, 0}}
	// Group 1: one pair at distance 5, twice the weight of its rows; group 2:
	// a single row; group 3: one pair at distance 1.
	d, n := fidelity.MeanPairDistance(m, []int{1, 1, 2, 3, 3})
	if d != 3 || n != 4 {
		t.Errorf("distance %v over %d rows, want 3 over 4", d, n)
	}
}

func BenchmarkFeatures(b *testing.B) {
	x := images(256, 1, 50)
	s := fidelity.NewSpace(x)
	for b.Loop() {
		s.Features(x)
	}
}

func BenchmarkRecall(b *testing.B) {
	x := images(2048, 1, 50)
	f := fidelity.NewSpace(x).Features(x)
	for b.Loop() {
		fidelity.Recall(f, f, 5)
	}
}

func normal(r *rand.Rand, rows, cols int, shift float64) fidelity.Matrix {
	m := fidelity.Matrix{Rows: rows, Cols: cols, Data: make([]float32, rows*cols)}
	for i := range m.Data {
		m.Data[i] = float32(shift + r.NormFloat64())
	}
	return m
}

// naive is recall by the definition, in float64, from all distances.
func naive(real, generated fidelity.Matrix, k int) float64 {
	distance := func(x, y []float32) float64 {
		var s float64
		for i := range x {
			s += (float64(x[i]) - float64(y[i])) * (float64(x[i]) - float64(y[i]))
		}
		return s
	}
	in := 0
	for i := range real.Rows {
		for j := range generated.Rows {
			var near []float64
			for l := range generated.Rows {
				if l != j {
					near = append(near, distance(generated.Row(j), generated.Row(l)))
				}
			}
			slices.Sort(near)
			if distance(real.Row(i), generated.Row(j)) <= near[k-1] {
				in++
				break
			}
		}
	}
	return float64(in) / float64(real.Rows)
}

// TestRecallByDefinition compares recall with the definition, on sizes that do
// and do not fill the blocks it is computed in. Real points in another place
// are not recalled; a mode that is dropped is its share of recall.
func TestRecallByDefinition(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for _, n := range []int{20, 128, 150} {
		for _, k := range []int{1, 3, 5} {
			real, generated := normal(r, n, 6, 0), normal(r, 130, 6, .5)
			if got, want := fidelity.Recall(real, generated, k), naive(real, generated, k); got != want {
				t.Errorf("n %d, k %d: recall %v, want %v", n, k, got, want)
			}
			if got, want := fidelity.Precision(generated, real, k), fidelity.Recall(real, generated, k); got != want {
				t.Errorf("n %d, k %d: precision %v is not recall %v with the sets exchanged", n, k, got, want)
			}
		}
	}
	a, far := normal(r, 200, 8, 0), normal(r, 200, 8, 50)
	if got := fidelity.Recall(far, a, 5); got != 0 {
		t.Errorf("recall of a set that is elsewhere is %v", got)
	}
	both := fidelity.Matrix{Rows: 400, Cols: 8, Data: slices.Concat(a.Data, far.Data)}
	if got := fidelity.Recall(both, normal(r, 400, 8, 0), 5); got < .4 || got > .5 {
		t.Errorf("recall by one mode of two is %v, want nearly half", got)
	}
	if got := fidelity.Recall(a, normal(r, 5, 8, 0), 5); got != 0 {
		t.Errorf("recall by k images, which have no k-th neighbour, is %v", got)
	}
}

// TestFrechetOfShift: a shift of every feature by s is a distance of d·s².
func TestFrechetOfShift(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	a := normal(r, 300, 10, 0)
	b := fidelity.Matrix{Rows: a.Rows, Cols: a.Cols, Data: slices.Clone(a.Data)}
	if d, err := fidelity.Frechet(a, b); err != nil || d > 1e-9 {
		t.Errorf("a set is %v (%v) from itself", d, err)
	}
	for i := range b.Data {
		b.Data[i] += 2
	}
	if d, err := fidelity.Frechet(a, b); err != nil || math.Abs(d-40) > 1e-4 {
		t.Errorf("a shift by 2 in 10 features is %v (%v), want 40", d, err)
	}
	a.Data[3] = float32(math.NaN())
	if d, err := fidelity.Frechet(a, b); err == nil {
		t.Errorf("a feature that is no number gives the distance %v", d)
	}
	if _, err := fidelity.Frechet(normal(r, 1, 10, 0), b); err == nil {
		t.Error("one image has a distance")
	}
}
