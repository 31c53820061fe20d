package imported

import "math"

// sum is the exact sum of numbers, and therefore does not depend on their order. It is
// stored as partial sums that do not overlap (Shewchuk 1997, "Adaptive Precision
// Floating-Point Arithmetic", theorem 10; Python's math.fsum does the same).
type sum struct {
	n    int64
	high float64
	low  []float64 // partial sums of growing magnitude; mostly empty
}

// add adds x, the sum of n samples.
func (s *sum) add(x float64, n int64) {
	s.n += n
	s.plus(x)
}

func (s *sum) plus(x float64) {
	kept := 0
	for _, y := range s.low {
		var rest float64
		if x, rest = twoSum(x, y); rest != 0 {
			s.low[kept] = rest
			kept++
		}
	}
	high, rest := twoSum(x, s.high)
	s.high, s.low = high, s.low[:kept]
	if rest != 0 {
		s.low = append(s.low, rest)
	}
}

// merge adds another sum.
func (s *sum) merge(o sum) {
	for _, x := range o.low {
		s.plus(x)
	}
	s.add(o.high, o.n)
}

// value returns the float64 nearest to the sum.
func (s *sum) value() float64 {
	high, i := s.high, len(s.low)
	rest := 0.0
	for i > 0 && rest == 0 {
		i--
		high, rest = twoSum(high, s.low[i])
	}
	// If rest is half a unit in the last place, the next partial sum decides the
	// rounding.
	if i > 0 && rest != 0 && math.Signbit(rest) == math.Signbit(s.low[i-1]) {
		if up := high + 2*rest; up-high == 2*rest {
			high = up
		}
	}
	return high + 0 // not -0
}

// twoSum returns the rounded sum of two numbers and the rounding error.
func twoSum(x, y float64) (s, rest float64) {
	if math.Abs(x) < math.Abs(y) {
		x, y = y, x
	}
	s = x + y
	return s, y - (s - x)
}
