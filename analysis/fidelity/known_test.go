package fidelity_test

import (
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"testing"

	"gonum.org/v1/gonum/mat"

	"ablate/analysis/fidelity"
)

func rows(d int, x ...float32) fidelity.Matrix {
	return fidelity.Matrix{Rows: len(x) / d, Cols: d, Data: x}
}

func normal(r *rand.Rand, rows, cols int, shift float64) fidelity.Matrix {
	m := fidelity.Matrix{Rows: rows, Cols: cols, Data: make([]float32, rows*cols)}
	for i := range m.Data {
		m.Data[i] = float32(shift + r.NormFloat64())
	}
	return m
}

func pair(t testing.TB, real, generated fidelity.Matrix) *fidelity.Pair {
	t.Helper()
	a, err := fidelity.NewGram(real)
	if err != nil {
		t.Fatal(err)
	}
	b, err := fidelity.NewGram(generated)
	if err != nil {
		t.Fatal(err)
	}
	p, err := fidelity.NewPair(a, b)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func neighbours(t testing.TB, real, generated fidelity.Matrix, k int) fidelity.Neighbours {
	t.Helper()
	n, err := pair(t, real, generated).Neighbours(k)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func frechet(a, b fidelity.Matrix) (float64, error) {
	x, err := fidelity.Fit(a)
	if err != nil {
		return 0, err
	}
	y, err := fidelity.Fit(b)
	if err != nil {
		return 0, err
	}
	return fidelity.Frechet(x, y)
}

// all rows of both sets, as one subset.
func all(real, generated int) []fidelity.Subset {
	s := fidelity.Subset{Real: make([]int, real), Generated: make([]int, generated)}
	for i := range s.Real {
		s.Real[i] = i
	}
	for i := range s.Generated {
		s.Generated[i] = i
	}
	return []fidelity.Subset{s}
}

// TestLibraries compares with prdc, vendi-score, scipy and numpy on sets of different sizes;
// testdata/reference.py computes the values. The draws of one normal distribution are within
// five standard errors of prdc's.
func TestLibraries(t *testing.T) {
	b, err := os.ReadFile("testdata/reference.json")
	if err != nil {
		t.Fatal(err)
	}
	var want struct {
		Cases []struct {
			Real, Generated           [5]float64
			Frechet, KID, CMMD, Vendi float64
			K                         map[int]fidelity.Neighbours
		}
		Vendi  struct{ Exponential, Matrix float64 }
		Normal struct {
			N, D, K, Draws                       int
			Precision, Recall, Density, Coverage [2]float64
		}
	}
	if err := json.Unmarshal(b, &want); err != nil {
		t.Fatal(err)
	}
	draw := func(a [5]float64) fidelity.Matrix {
		m := fidelity.Matrix{Rows: int(a[1]), Cols: int(a[2])}
		x := uint64(a[0])
		for range m.Rows * m.Cols {
			x = x*6364136223846793005 + 1442695040888963407
			m.Data = append(m.Data, (float32((x>>40)%16)+float32(a[3]-8))*float32(a[4]))
		}
		return m
	}
	near := func(what string, got float64, err error, want float64) {
		t.Helper()
		if err != nil || !(math.Abs(got-want) <= 1e-7*math.Abs(want)) { // scipy's precision where covariances are singular
			t.Errorf("%s %.12g, %v; want %.12g", what, got, err, want)
		}
	}
	for _, c := range want.Cases {
		real, generated := draw(c.Real), draw(c.Generated)
		p := pair(t, real, generated)
		d, err := frechet(real, generated)
		near("Fréchet distance", d, err, c.Frechet)
		d, _, err = p.Kernel(all(real.Rows, generated.Rows))
		near("KID", d, err, c.KID)
		d, err = p.CMMD()
		near("CMMD", d, err, c.CMMD)
		d, err = fidelity.Vendi(generated)
		near("Vendi score", d, err, c.Vendi)
		for k, want := range c.K {
			got, err := p.Neighbours(k)
			near("density", got.Density, err, want.Density)
			if got.Density = want.Density; got != want { // the others are divided once and must be equal
				t.Errorf("%d and %d rows, k %d: %+v, want %+v", real.Rows, generated.Rows, k, got, want)
			}
		}
	}

	// The published examples of the Vendi score have the values 2.9999 and 2.1573.
	samples := []float64{0, 0, 10, 10, 20, 20}
	k := mat.NewSymDense(len(samples), nil)
	for i, x := range samples {
		for j, y := range samples {
			k.SetSym(i, j, math.Exp(-math.Abs(x-y)))
		}
	}
	d, err := fidelity.VendiOf(k)
	near("Vendi score of an exponential kernel", d, err, want.Vendi.Exponential)
	d, err = fidelity.VendiOf(mat.NewSymDense(3, []float64{1, .9, 0, .9, 1, 0, 0, 0, 1}))
	near("Vendi score of a matrix", d, err, want.Vendi.Matrix)

	const draws = 20
	var sum fidelity.Neighbours
	r := rand.New(rand.NewPCG(1, 2))
	for range draws {
		n := neighbours(t, normal(r, want.Normal.N, want.Normal.D, 0), normal(r, want.Normal.N, want.Normal.D, 0), want.Normal.K)
		sum.Precision += n.Precision / draws
		sum.Recall += n.Recall / draws
		sum.Density += n.Density / draws
		sum.Coverage += n.Coverage / draws
	}
	for what, x := range map[string]struct {
		got  float64
		want [2]float64
	}{"precision": {sum.Precision, want.Normal.Precision}, "recall": {sum.Recall, want.Normal.Recall}, "density": {sum.Density, want.Normal.Density}, "coverage": {sum.Coverage, want.Normal.Coverage}} {
		if e := x.want[1] * math.Sqrt(1./draws+1/float64(want.Normal.Draws)); math.Abs(x.got-x.want[0]) > 5*e {
			t.Errorf("%s of a distribution with itself is %.4f, want %.4f ± %.4f", what, x.got, x.want[0], e)
		}
	}
	// With equal distributions, a generated row is in a ball with probability k/R, and a ball
	// contains none of G where the k nearest of R-1+G are all real. These are expectations for
	// any distribution.
	if math.Abs(want.Normal.Density[0]-1) > .03 {
		t.Errorf("prdc's density is %v, want 1", want.Normal.Density[0])
	}
	none := 1.
	for i := range want.Normal.K {
		none *= float64(want.Normal.N-1-i) / float64(2*want.Normal.N-1-i)
	}
	if e := want.Normal.Coverage[1] / math.Sqrt(draws); math.Abs(sum.Coverage-(1-none)) > 5*e {
		t.Errorf("coverage is %.4f, want %.4f ± %.4f", sum.Coverage, 1-none, e)
	}
}

// TestByHand checks values that were computed by hand.
func TestByHand(t *testing.T) {
	// k = 1. Real radii are 1, 1, 2; generated radii 3, 3, 7. -1 and 2 are at exactly the
	// radius from 0 and 1: outside. 2 is within 2 of 3.
	got := neighbours(t, rows(1, 0, 1, 3), rows(1, -1, 2, 9), 1)
	if want := (fidelity.Neighbours{Precision: 1. / 3, Recall: 1, Density: 1. / 3, Coverage: 1. / 3}); got != want {
		t.Errorf("neighbours %+v, want %+v", got, want)
	}
	// The ball of 9 has radius 7, that of 2 has 3, and 2+3 = 5 is outside.
	if got := neighbours(t, rows(1, 5, -4, 5), rows(1, -1, 2), 1).Recall; got != 0 {
		t.Errorf("recall of rows at the very radius is %v, want 0", got)
	}
	// XX 1, YY 27, XY (1+1+8+27)/4.
	d, each, err := pair(t, rows(1, 0, 1), rows(1, 1, 2)).Kernel(all(2, 2))
	if err != nil || d != 9.5 || len(each) != 1 {
		t.Errorf("KID %v, %v, want 9.5", d, err)
	}
	// Right angles: ‖x-y‖² = 2 for any lengths.
	want := 2000 * (1 - math.Exp(-.01))
	for _, length := range []float32{1, 3} {
		d, err = pair(t, rows(2, 1, 0), rows(2, 0, length)).CMMD()
		if err != nil || math.Abs(d-want) > 1e-9 {
			t.Errorf("CMMD %v, %v, want %v", d, err, want)
		}
	}
	for _, c := range []struct {
		what string
		m    fidelity.Matrix
		want float64
	}{{"one", rows(2, 3, 4), 1}, {"the same twice", rows(2, 3, 4, 6, 8), 1}, {"orthogonal", rows(3, 1, 0, 0, 0, 2, 0, 0, 0, -3), 3}, {"opposite", rows(2, 1, 1, -1, -1), 1},
		{"more rows than columns", rows(2, 1, 0, 1, 0, 0, 1, 0, 1), 2}} {
		if d, err := fidelity.Vendi(c.m); err != nil || math.Abs(d-c.want) > 1e-9 {
			t.Errorf("Vendi score of %s: %v, %v, want %v", c.what, d, err, c.want)
		}
	}
}

// TestTies checks that for a set and its copy, every ball contains its own row and the k-1
// nearer neighbours but not the one at its radius, whatever the rounding.
func TestTies(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	for _, n := range []int{30, 129, 400} {
		m := normal(r, n, 33, 5)
		for _, k := range []int{1, 4} {
			got := neighbours(t, m, m, k)
			if want := (fidelity.Neighbours{Precision: 1, Recall: 1, Density: 1, Coverage: 1}); got != want {
				t.Errorf("n %d, k %d: a copy gives %+v, want %+v", n, k, got, want)
			}
			// Other rows far away change shares, and none of these decisions.
			more := fidelity.Matrix{Rows: 2 * n, Cols: 33, Data: slices.Concat(m.Data, normal(r, n, 33, 900).Data)}
			got = neighbours(t, m, more, k)
			if want := (fidelity.Neighbours{Precision: .5, Recall: 1, Density: .5, Coverage: 1}); got != want {
				t.Errorf("n %d, k %d: a copy among others gives %+v, want %+v", n, k, got, want)
			}
		}
		same := fidelity.Matrix{Rows: n, Cols: 33}
		for range n {
			same.Data = append(same.Data, m.Row(0)...)
		}
		if got := neighbours(t, same, same, 3); got != (fidelity.Neighbours{}) {
			t.Errorf("one row many times has balls of radius 0, and gives %+v", got)
		}
	}
}

// byDefinition computes the metrics from all distances in float64, directly by their
// definitions.
func byDefinition(real, generated fidelity.Matrix, k int) fidelity.Neighbours {
	distance := func(x, y []float32) float64 {
		var s float64
		for i := range x {
			s += (float64(x[i]) - float64(y[i])) * (float64(x[i]) - float64(y[i]))
		}
		return math.Sqrt(s)
	}
	radius := func(m fidelity.Matrix, i int) float64 {
		var near []float64
		for j := range m.Rows {
			if j != i {
				near = append(near, distance(m.Row(i), m.Row(j)))
			}
		}
		slices.Sort(near)
		return near[k-1]
	}
	// share returns the share of the rows of points for which a ball of support contains the
	// two.
	share := func(points, support fidelity.Matrix, in func(p, s int) bool) float64 {
		n := 0
		for p := range points.Rows {
			for s := range support.Rows {
				if in(p, s) {
					n++
					break
				}
			}
		}
		return float64(n) / float64(points.Rows)
	}
	var rr, rg []float64
	for i := range real.Rows {
		rr = append(rr, radius(real, i))
	}
	for i := range generated.Rows {
		rg = append(rg, radius(generated, i))
	}
	pairs := 0
	for i := range real.Rows {
		for j := range generated.Rows {
			if distance(real.Row(i), generated.Row(j)) < rr[i] {
				pairs++
			}
		}
	}
	return fidelity.Neighbours{
		Precision: share(generated, real, func(g, r int) bool { return distance(real.Row(r), generated.Row(g)) < rr[r] }),
		Recall:    share(real, generated, func(r, g int) bool { return distance(real.Row(r), generated.Row(g)) < rg[g] }),
		Density:   float64(pairs) / float64(generated.Rows) / float64(k),
		Coverage:  share(real, generated, func(r, g int) bool { return distance(real.Row(r), generated.Row(g)) < rr[r] }),
	}
}

// TestNeighboursByDefinition compares with the definition, for sizes that do and do not fill
// the blocks of the products. Real rows at a distance are not recalled; a dropped mode lowers
// recall by its share.
func TestNeighboursByDefinition(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for _, n := range []int{20, 128, 150} {
		for _, k := range []int{1, 3, 5} {
			real, generated := normal(r, n, 6, 0), normal(r, 130, 6, .5)
			if got, want := neighbours(t, real, generated, k), byDefinition(real, generated, k); got != want {
				t.Errorf("n %d, k %d: %+v, want %+v", n, k, got, want)
			}
		}
	}
	a, far := normal(r, 200, 8, 0), normal(r, 200, 8, 50)
	if got := neighbours(t, far, a, 5); got != (fidelity.Neighbours{}) {
		t.Errorf("a set that is elsewhere gives %+v", got)
	}
	both := fidelity.Matrix{Rows: 400, Cols: 8, Data: slices.Concat(a.Data, far.Data)}
	got := neighbours(t, both, normal(r, 400, 8, 0), 5)
	if got.Recall < .4 || got.Recall > .5 || got.Coverage < .4 || got.Coverage > .5 || got.Precision < .8 {
		t.Errorf("one mode of two gives %+v, want half recalled and covered", got)
	}
}

// TestKernelSubsets checks that the subsets are constant and without repetition, that the
// result is their mean, and that its expectation is the distance of both sets as a whole for
// any sizes, also if it is negative: the distance is unbiased.
func TestKernelSubsets(t *testing.T) {
	for _, n := range [][3]int{{1200, 1500, 1000}, {700, 2000, 700}, {300, 300, 300}} {
		list := fidelity.Subsets(n[0], n[1])
		if want := map[bool]int{true: 1, false: 100}[n[0] == n[1]]; len(list) != want {
			t.Errorf("%v: %d subsets, want %d", n, len(list), want)
		}
		for _, s := range list {
			for i, rows := range [][]int{s.Real, s.Generated} {
				if len(rows) != n[2] || !slices.IsSorted(rows) || len(slices.Compact(slices.Clone(rows))) != n[2] || rows[0] < 0 || rows[n[2]-1] >= n[i] {
					t.Fatalf("%v: a subset of %d rows that are not %d different ones below %d", n, len(rows), n[2], n[i])
				}
			}
		}
		if again := fidelity.Subsets(n[0], n[1]); !reflect.DeepEqual(list, again) {
			t.Errorf("%v: drawn again, the subsets differ", n)
		}
		if len(list) > 1 && reflect.DeepEqual(list[0], list[1]) {
			t.Errorf("%v: two subsets are the same", n)
		}
	}
	r := rand.New(rand.NewPCG(3, 4))
	a, b := normal(r, 1100, 10, 0), normal(r, 1300, 10, .1)
	p := pair(t, a, b)
	mean, each, err := p.Kernel(fidelity.Subsets(a.Rows, b.Rows))
	if err != nil {
		t.Fatal(err)
	}
	whole, _, err := p.Kernel(all(a.Rows, b.Rows))
	if err != nil {
		t.Fatal(err)
	}
	var sum float64
	for _, v := range each {
		sum += v
	}
	if math.Abs(mean-sum/100) > 1e-12 || math.Abs(mean-whole) > .1*whole {
		t.Errorf("the mean of subsets is %v, of their own %v, of the whole %v", mean, sum/100, whole)
	}
	below := 0
	for range 20 {
		x := normal(r, 50, 10, 0)
		d, _, err := pair(t, x, normal(r, 80, 10, 0)).Kernel(all(50, 80))
		if err != nil {
			t.Fatal(err)
		}
		if d < 0 {
			below++
		}
	}
	if below < 3 || below > 17 {
		t.Errorf("%d of 20 distances of one distribution are below 0, want about half", below)
	}
}

// TestCMMDOfItself checks that CMMD of a set with itself is 0, diagonal included, and that
// scaling rows does not change it.
func TestCMMDOfItself(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	a, b := normal(r, 120, 9, .3), normal(r, 90, 9, 0)
	if d, err := pair(t, a, a).CMMD(); err != nil || math.Abs(d) > 1e-9 {
		t.Errorf("a set is %v, %v from itself", d, err)
	}
	want, err := pair(t, a, b).CMMD()
	if err != nil || want < .01 {
		t.Errorf("two sets are %v, %v apart", want, err)
	}
	for i := range a.Data {
		a.Data[i] *= 7
	}
	if d, err := pair(t, a, b).CMMD(); err != nil || math.Abs(d-want) > 1e-6*want {
		t.Errorf("of longer rows %v, %v, want %v", d, err, want)
	}
}

// TestFrechet checks that a shift of every feature by s gives the distance d·s², and that
// singular covariances are exact.
func TestFrechet(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	a := normal(r, 300, 10, 0)
	b := fidelity.Matrix{Rows: a.Rows, Cols: a.Cols, Data: slices.Clone(a.Data)}
	if d, err := frechet(a, b); err != nil || d > 1e-9 {
		t.Errorf("a set is %v (%v) from itself", d, err)
	}
	for i := range b.Data {
		b.Data[i] += 2
	}
	if d, err := frechet(a, b); err != nil || math.Abs(d-40) > 1e-4 {
		t.Errorf("a shift by 2 in 10 features is %v (%v), want 40", d, err)
	}
	// Each set has its rows on one line, at right angles: no common direction, so the traces
	// add up. {0, 2} has variance 2 and mean 1, {0, 4} has 8 and 2.
	for what, c := range map[string]struct {
		a, b fidelity.Matrix
		want float64
	}{
		"at right angles": {rows(3, 0, 0, 0, 2, 0, 0), rows(3, 0, 0, 0, 0, 4, 0), 1 + 4 + 2 + 8},
		"on one line":     {rows(3, 0, 0, 0, 2, 0, 0), rows(3, 0, 0, 0, 4, 0, 0), 1 + 2 + 8 - 2*4},
		"one point":       {rows(3, 1, 1, 1, 1, 1, 1), rows(3, 0, 0, 0, 4, 0, 0), 1 + 1 + 1 + 8},
	} {
		if d, err := frechet(c.a, c.b); err != nil || math.Abs(d-c.want) > 1e-12 {
			t.Errorf("%s: %v, %v, want %v", what, d, err, c.want)
		}
	}
	// A set with few rows and many features has distance 0 from itself, up to rounding of
	// traces rather than of their roots.
	wide := normal(r, 40, 256, 0)
	if d, err := frechet(wide, wide); err != nil || d > 1e-9 {
		t.Errorf("40 rows of 256 features are %v (%v) from themselves", d, err)
	}
}

// TestErrors checks that too few rows give ErrTooFew, and numbers that are not finite another
// error.
func TestErrors(t *testing.T) {
	nan := rows(2, 1, 2, float32(math.NaN()), 3)
	if _, err := fidelity.Fit(nan); err == nil {
		t.Error("a normal distribution is fitted to what is no number")
	}
	if _, err := fidelity.NewGram(nan); err == nil {
		t.Error("what is no number has products")
	}
	if _, err := fidelity.NewGram(rows(1, float32(math.Inf(1)))); err == nil {
		t.Error("what is infinite has products")
	}
	for _, m := range []fidelity.Matrix{nan, rows(2, 0, 0)} {
		if d, err := fidelity.Vendi(m); err == nil {
			t.Errorf("%v has the Vendi score %v", m.Data, d)
		}
	}
	few := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, fidelity.ErrTooFew) {
			t.Errorf("%s: %v, want ErrTooFew", what, err)
		}
	}
	one, five := rows(1, 1), rows(1, 1, 2, 3, 4, 5)
	_, err := fidelity.Fit(one)
	few("Fréchet distance of one", err)
	_, err = pair(t, five, one).Neighbours(1)
	few("one generated row", err)
	_, err = pair(t, five, five).Neighbours(5)
	few("k rows", err)
	_, err = pair(t, five, five).Neighbours(0)
	few("k 0", err)
	_, _, err = pair(t, five, one).Kernel(fidelity.Subsets(5, 1))
	few("KID of one", err)
	_, _, err = pair(t, five, one).Kernel(nil)
	few("KID without subsets", err)
	_, err = pair(t, five, fidelity.Matrix{Cols: 1}).CMMD()
	few("CMMD of none", err)
	_, err = fidelity.Vendi(fidelity.Matrix{Cols: 1})
	few("Vendi score of none", err)
	g, err := fidelity.NewGram(rows(2, 1, 2))
	if err != nil {
		t.Fatal(err)
	}
	h, err := fidelity.NewGram(one)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fidelity.NewPair(g, h); err == nil {
		t.Error("rows of different lengths make a pair")
	}
	if _, err := frechet(five, normal(rand.New(rand.NewPCG(1, 1)), 4, 2, 0)); err == nil {
		t.Error("rows of different lengths have a Fréchet distance")
	}
}

func TestOfPairs(t *testing.T) {
	m := rows(2, 0, 0, 3, 4, 9, 9, 1, 0, 0, 0)
	// Group 1: one pair at distance 5, weighted by its two rows; group 2: a single row; group
	// 3: one pair at distance 1.
	d, n := fidelity.MeanPairDistance(m, []int{1, 1, 2, 3, 3})
	if d != 3 || n != 4 {
		t.Errorf("distance %v over %d rows, want 3 over 4", d, n)
	}
	// Group 1: two equal rows and one at a right angle, so pairs of 1, 2 and 2. Group 2: 60°,
	// eigenvalues ¾ and ¼. Group 3: one row.
	m = rows(2, 1, 0, 5, 0, 0, 2, 1, 0, .5, float32(math.Sqrt(.75)), 1, 1)
	sixty := math.Exp(-.75*math.Log(.75) - .25*math.Log(.25))
	v, n := fidelity.VendiOfPairs(m, []int{1, 1, 1, 2, 2, 3})
	if want := (5./3 + sixty) / 2; math.Abs(v-want) > 1e-7 || n != 5 {
		t.Errorf("Vendi score %v over %d rows, want %v over 5", v, n, want)
	}
	if full, err := fidelity.Vendi(rows(2, m.Data[6:10]...)); err != nil || math.Abs(full-sixty) > 1e-7 {
		t.Errorf("Vendi score of two rows at 60° %v, %v, want %v", full, err, sixty)
	}
	if v, n := fidelity.VendiOfPairs(m, []int{1, 2, 3, 4, 5, 6}); v != 0 || n != 0 {
		t.Errorf("without pairs %v over %d", v, n)
	}
}

// The metrics of one evaluation, 2,048 images against 2,048, and of real against real images.
func BenchmarkMetrics(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	real, fake, floor := normal(r, 2048, 256, 0), normal(r, 2048, 256, .1), normal(r, 2048, 256, 0)
	for b.Loop() {
		g, err := fidelity.NewGram(real)
		if err != nil {
			b.Fatal(err)
		}
		fit, err := fidelity.Fit(real)
		if err != nil {
			b.Fatal(err)
		}
		for _, x := range []fidelity.Matrix{fake, floor} {
			h, err := fidelity.NewGram(x)
			if err != nil {
				b.Fatal(err)
			}
			p, err := fidelity.NewPair(g, h)
			if err != nil {
				b.Fatal(err)
			}
			_, err1 := p.Neighbours(5)
			_, _, err2 := p.Kernel(fidelity.Subsets(2048, 2048))
			_, err3 := p.CMMD()
			y, err4 := fidelity.Fit(x)
			if err := errors.Join(err1, err2, err3, err4); err != nil {
				b.Fatal(err)
			}
			if _, err := fidelity.Frechet(fit, y); err != nil {
				b.Fatal(err)
			}
		}
	}
}
