package stats

import "math"

// Scale is the transform of a metric's values under which they are averaged over seeds and
// compared. On its scale a metric with few seeds is closer to normal, and no interval leaves
// the metric's range.
type Scale int

// The scales.
const (
	Identity Scale = iota // y = x, for any number
	Log                   // y = log x, for positive numbers
	Logit                 // y = log(x/(1−x)), for shares and other values in [0, 1]
)

// assumed is the number of samples of a share where it is unknown. It decides how far 0 and 1
// are from other shares on the logit scale.
const assumed = 1000

// To transforms a value to the scale. A share of n samples, k of them counted, becomes
// log((k+½)/(n−k+½)) (Haldane 1956; Anscombe 1956), which is finite for k = 0 and k = n. n = 0
// means that the number is unknown. The logarithm of 0 is -Inf, and that of a negative value is
// NaN: see Fits.
func (s Scale) To(x float64, n int) float64 {
	switch s {
	case Log:
		return math.Log(x)
	case Logit:
		m := samples(n)
		return math.Log((x*m + .5) / (m - x*m + .5))
	}
	return x
}

// From transforms a value of the scale back. It is the inverse of To for the same n.
func (s Scale) From(y float64, n int) float64 {
	switch s {
	case Log:
		return min(math.MaxFloat64, math.Exp(y))
	case Logit:
		m := samples(n)
		return min(1, max(0, ((m+1)/(1+math.Exp(-y))-.5)/m))
	}
	return y
}

// Fits reports whether all values are in the domain of the scale.
func (s Scale) Fits(values ...float64) bool {
	for _, x := range values {
		switch {
		case s == Log && !(x > 0), s == Logit && !(x >= 0 && x <= 1):
			return false
		}
	}
	return true
}

// Binomial returns the variance of To(x, n) for a share of n independent samples (Gart &
// Zweifel 1967).
func Binomial(x float64, n int) float64 {
	k, m := x*float64(n), float64(n)
	return 1/(k+.5) + 1/(m-k+.5)
}

// Slope returns the derivative of To at x.
func (s Scale) Slope(x float64, n int) float64 {
	switch s {
	case Log:
		return 1 / x
	case Logit:
		m := samples(n)
		p := (x*m + .5) / (m + 1)
		return m / (m + 1) / (p * (1 - p))
	}
	return 1
}

// Paired returns the variance of a weighted sum of means over the same n images, given the
// variance over images of the weighted sum of their values. For two shares with weights 1 and
// −1 it is that of the discordant pairs, (b + c − (b−c)²/n)/n² (McNemar 1947). At least one
// image is assumed to differ, by the largest weight, because n equal pairs do not show that
// pairs never differ.
func Paired(variance, largest float64, n int) float64 {
	m := float64(n)
	return max(variance/m, largest*largest/(m*m))
}

// Discordant returns the smallest possible variance of the difference on the Logit scale of two
// shares of the same n images: at least |a−b|·n of these differ, and at least one is assumed
// to. The slope is taken half-way between a and b, because at 0 or 1 it is so steep that a fall
// from 1 would never be significant.
func Discordant(a, b float64, n int) float64 {
	m, slope := float64(n), Logit.Slope((a+b)/2, n)
	return slope * slope * max(math.Abs(a-b)/m, 1/(m*m))
}

func samples(n int) float64 {
	if n <= 0 {
		return assumed
	}
	return float64(n)
}
