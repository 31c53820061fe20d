package stats

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"

	"gonum.org/v1/gonum/stat/distuv"
)

// Looks are the interim analyses of a sequential study, as numbers of seeds at which it is
// tested. Testing after every few seeds inflates the error: at 3, 5, 8 and 12 seeds, each time
// at 5%, it is 13%. So the error is spent over the looks (alpha spending, Lan & DeMets 1983):
// up to a look at n of at most N seeds, α·(n/N)^1.5 of it (Kim & DeMets 1987). The p value at a
// look is the smallest α for which the test at that look rejects, so that the probability of a
// p below .05 at any look is at most .05; the intervals cover simultaneously at all looks.
//
// The boundaries follow from the joint distribution of normal means (Armitage, McPherson & Rowe
// 1969). Student's statistics of a few seeds are less dependent on each other, which increases
// errors by a fifth at most (README.md); α is divided by that factor.
//
// A nil *Looks is a study with a fixed number of seeds.
type Looks struct {
	at []int

	mu     sync.Mutex
	curves map[int][]float64 // by number of seeds: nominal level over α, on the grid of α
}

const (
	spending = 1.5 // exponent of the spending function
	student  = 1.2 // factor by which α is divided for Student's statistics
)

// known caches Looks by their numbers of seeds, because their boundaries take a while to
// compute.
var known sync.Map

// NewLooks returns the looks at increasing numbers of seeds, or nil for fewer than two: a
// single analysis is not interim.
func NewLooks(at []int) *Looks {
	if len(at) < 2 {
		return nil
	}
	l, _ := known.LoadOrStore(fmt.Sprint(at), &Looks{at: slices.Clone(at), curves: map[int][]float64{}})
	return l.(*Looks)
}

// P returns the p value over all looks of a test at n seeds whose nominal p value is p.
func (l *Looks) P(n int, p float64) float64 {
	if l == nil || p <= 0 {
		return p
	}
	low, high := math.Log(p), 0. // bounds of ln α; α is at least p
	if l.nominal(n, 1) <= p {
		return 1
	}
	for range 60 {
		if m := (low + high) / 2; l.nominal(n, math.Exp(m)) < p {
			low = m
		} else {
			high = m
		}
	}
	return math.Exp(high)
}

// Level returns the nominal level of the interval at n seeds, for which the intervals of all
// looks cover simultaneously at the given level.
func (l *Looks) Level(n int, level float64) float64 {
	if l == nil {
		return level
	}
	return 1 - l.nominal(n, 1-level)
}

// Last returns the nominal level of the test at the last look, if the level over all looks is
// alpha.
func (l *Looks) Last(alpha float64) float64 {
	if l == nil {
		return alpha
	}
	return l.nominal(l.at[len(l.at)-1], alpha)
}

// The grid of α on a logarithmic scale, from e^smallest to 1.
const (
	smallest = -12 * math.Ln10
	steps    = 24
)

// nominal returns the nominal level of the test at n seeds, which spends the part of alpha that
// is due there.
func (l *Looks) nominal(n int, alpha float64) float64 {
	curve := l.curve(n)
	x := max(0, (1-math.Log(alpha)/smallest)*steps)
	i := min(int(x), steps-1)
	return alpha * (curve[i] + (x-float64(i))*(curve[i+1]-curve[i]))
}

// curve returns the nominal level at n seeds over α, at each α of the grid. It is smooth in log
// α.
func (l *Looks) curve(n int) []float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.curves[n] == nil {
		// A failed trial may give a number of seeds that was not planned.
		most := float64(max(n, l.at[len(l.at)-1]))
		var times []float64
		for _, at := range l.at {
			if at < n {
				times = append(times, float64(at)/most)
			}
		}
		times = append(times, float64(n)/most)
		curve := make([]float64, steps+1)
		for i := range curve {
			alpha := math.Exp(smallest * (1 - float64(i)/steps))
			curve[i] = last(times, alpha/student) / alpha
		}
		l.curves[n] = curve
	}
	return l.curves[n]
}

// last returns the nominal level of the last of several two-sided tests at increasing fractions
// of the information that spend alpha together. It integrates the density of the sum of the
// data over the paths that no earlier test has rejected.
func last(times []float64, alpha float64) float64 {
	const points = 81
	var x, mass []float64 // grid of the sum, and the probability at each point
	spent, before := 0., 0.
	for k, t := range times {
		due := alpha * math.Pow(t, spending)
		sd := math.Sqrt(t - before)
		if k == 0 {
			x, mass = []float64{0}, []float64{1}
		}
		low, high := 0., 12*math.Sqrt(t) // bracket of the boundary
		for range 50 {
			bound, crossed := (low+high)/2, 0.
			for i, v := range x {
				crossed += mass[i] * (normalTail((bound-v)/sd) + normalTail((bound+v)/sd))
			}
			if crossed > due-spent {
				low = bound
			} else {
				high = bound
			}
		}
		if k == len(times)-1 {
			return 2 * normalTail(high/math.Sqrt(t))
		}
		next, weights := simpson(high, points)
		for j, y := range next {
			var density float64
			for i, v := range x {
				density += mass[i] * distuv.UnitNormal.Prob((y-v)/sd) / sd
			}
			weights[j] *= density
		}
		x, mass, spent, before = next, weights, due, t
	}
	return alpha
}

func normalTail(z float64) float64 { return math.Erfc(z/math.Sqrt2) / 2 }

// simpson returns the points and weights of Simpson's rule from −bound to bound.
func simpson(bound float64, points int) (x, w []float64) {
	h := 2 * bound / float64(points-1)
	x, w = make([]float64, points), make([]float64, points)
	for i := range x {
		x[i] = -bound + float64(i)*h
		switch {
		case i == 0 || i == points-1:
			w[i] = h / 3
		case i%2 == 1:
			w[i] = 4 * h / 3
		default:
			w[i] = 2 * h / 3
		}
	}
	return x, w
}

// Course is the state of a comparison in a running study: the mean of its N seeds, in standard
// deviations of one seed. N is 0 where nothing is known.
type Course struct {
	N    int
	Mean float64
}

// prior is the standard deviation of differences of which nothing is known yet, in standard
// deviations of a seed.
const prior = 3

// Expected returns the expected number of seeds at which all comparisons of one row are
// decided: significant at alpha, or futile, when the power of the last look at the present mean
// is below hopeless. It is a simulation with normal values of known standard deviation and a
// constant seed.
func (l *Looks) Expected(courses []Course, alpha, hopeless float64) float64 {
	const draws = 400
	random := rand.New(rand.NewPCG(1, 2))
	final := l.at[len(l.at)-1]
	critical := make([]float64, len(l.at))
	for k, n := range l.at {
		critical[k] = distuv.UnitNormal.Quantile(1 - l.nominal(n, alpha)/2)
	}
	least := critical[len(critical)-1] + distuv.UnitNormal.Quantile(hopeless) // the mean, in standard errors of the last look, that this look detects with power hopeless
	var sum float64
	for range draws {
		most := 0
		for _, c := range courses {
			truth := prior * random.NormFloat64()
			if c.N > 0 {
				truth = c.Mean + random.NormFloat64()/math.Sqrt(float64(c.N))
			}
			n, total := c.N, c.Mean*float64(c.N)
			for k, at := range l.at {
				if at <= n {
					continue
				}
				total += truth*float64(at-n) + random.NormFloat64()*math.Sqrt(float64(at-n))
				n = at
				mean := math.Abs(total) / float64(n)
				if mean*math.Sqrt(float64(n)) > critical[k] || mean*math.Sqrt(float64(final)) < least {
					break
				}
			}
			most = max(most, n)
		}
		sum += float64(most)
	}
	return sum / draws
}
