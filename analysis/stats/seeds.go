package stats

import (
	"math"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// Seed identifies a run of an arm: the seeds of its pretraining and of its feedback.
type Seed struct{ Pretraining, Feedback int64 }

// Independent returns the number of independent seeds: the smaller of the numbers of distinct
// pretraining seeds and distinct feedback seeds. Runs that share either are not independent: k
// × k crossed seeds count as k, and three feedback seeds on one pretraining count as one,
// because they cannot show how another pretraining would differ.
func Independent(seeds []Seed) int {
	p, f := map[int64]bool{}, map[int64]bool{}
	for _, s := range seeds {
		p[s.Pretraining], f[s.Feedback] = true, true
	}
	return min(len(p), len(f))
}

// LeastSeeds is the smallest number of independent seeds with an interval over seeds.
const LeastSeeds = 3

// rounding is the relative difference below which values count as equal.
const rounding = 1e-9

// Estimate is a mean over seeds with its error.
type Estimate struct {
	Mean float64
	N    int     // number of independent seeds
	SD   float64 // standard deviation of one independent seed
	DF   float64 // degrees of freedom of SD
	// Floor is the variance of the mean that the finite number of images causes. The variance
	// over seeds includes it, and is never taken to be smaller.
	Floor float64
	// Prompts is the variance of the mean that the choice of prompts causes, which all seeds
	// share and more seeds do not reduce. PromptDF are its degrees of freedom. Both are 0 where
	// prompts are fixed.
	Prompts, PromptDF float64
	// Looks are the interim analyses of a sequential study; nil where the number of seeds is
	// fixed. Intervals and p values are valid over all of them.
	Looks *Looks
}

// SE returns the standard error of the mean.
func (e Estimate) SE() float64 {
	return math.Sqrt(max(e.SD*e.SD/float64(e.N), e.Floor) + e.Prompts)
}

// df returns the degrees of freedom of a test: those of the standard deviation over seeds, and
// where prompts are sampled no more than those of the prompts. Images never add any.
func (e Estimate) df() float64 {
	if e.PromptDF > 0 {
		return min(e.DF, e.PromptDF)
	}
	return e.DF
}

// Interval returns Student's t interval at a level such as 0.95 (Student 1908).
func (e Estimate) Interval(level float64) Interval {
	return Student(e.Mean, e.SE(), e.df(), e.Looks.Level(e.N, level))
}

// Above returns the one-sided p value of the hypothesis that the true mean is at most x. It is
// small where the true mean is above x.
func (e Estimate) Above(x float64) float64 {
	return min(1, e.Looks.P(e.N, 2*e.above(x))/2)
}

func (e Estimate) above(x float64) float64 {
	switch d, se := e.Mean-x, e.SE(); {
	case math.IsInf(x, -1):
		return 0
	case se > 0:
		return distuv.StudentsT{Sigma: 1, Nu: e.df()}.Survival(d / se)
	case d > 0:
		return 0
	}
	return 1
}

// Below returns the one-sided p value of the hypothesis that the true mean is at least x.
func (e Estimate) Below(x float64) float64 {
	e.Mean = -e.Mean
	return e.Above(-x)
}

// P returns the two-sided p value of the hypothesis that the true mean is x.
func (e Estimate) P(x float64) float64 { return min(1, 2*min(e.Above(x), e.Below(x))) }

// OverSeeds estimates a mean over seeds, values[i] with seeds[i]. It returns false with fewer
// than LeastSeeds independent seeds.
//
// Seeds without a common pretraining or feedback seed are replicates: the variance of their
// mean is that of the values divided by their number. Otherwise pretraining and feedback are
// two crossed random effects (Searle, Casella & McCulloch 1992, chapter 4): the variance is the
// sum of the variances of both margins minus the residual that both include, and never smaller
// than either. Degrees of freedom are then Satterthwaite's (1946). Effects are assumed to be
// normal.
func OverSeeds(seeds []Seed, values []float64) (Estimate, bool) {
	k := Independent(seeds)
	if k < LeastSeeds {
		return Estimate{}, false
	}
	e := Estimate{Mean: stat.Mean(values, nil), N: k, DF: float64(k - 1)}
	if k == len(seeds) {
		e.SD = stat.StdDev(values, nil)
		if e.SD < rounding*math.Abs(e.Mean) {
			e.SD = 0
		}
		return e, true
	}
	a, fa := margin(seeds, values, func(s Seed) int64 { return s.Pretraining })
	b, fb := margin(seeds, values, func(s Seed) int64 { return s.Feedback })
	r, fr := residual(seeds, values)
	v := max(a+b-r, a, b)
	spent := a*a/fa + b*b/fb // squared components divided by their degrees of freedom
	if fr > 0 {
		spent += r * r / fr
	}
	if spent > 0 {
		e.DF = max(e.DF, v*v/spent)
	}
	e.SD = math.Sqrt(v * float64(k))
	return e, true
}

// Apart returns the difference a − b of two independent estimates over seeds, whose variances
// add. With equal numbers of seeds it has Welch's degrees of freedom (Welch 1947), with unequal
// numbers those of the smaller one, because Welch's test rejects too often where tests are
// corrected in a family: in .10 of families at 3 and 8 seeds.
func Apart(a, b Estimate) Estimate {
	x, y := a.SD*a.SD/float64(a.N), b.SD*b.SD/float64(b.N)
	e := Estimate{Mean: a.Mean - b.Mean, N: min(a.N, b.N), DF: a.DF + b.DF, Floor: a.Floor + b.Floor, Prompts: a.Prompts + b.Prompts, Looks: a.Looks}
	e.SD = math.Sqrt((x + y) * float64(e.N))
	if a.N != b.N {
		e.DF = min(a.DF, b.DF)
	} else if x+y > 0 {
		e.DF = (x + y) * (x + y) / (x*x/a.DF + y*y/b.DF)
	}
	if a.PromptDF > 0 && b.PromptDF > 0 {
		e.PromptDF = min(a.PromptDF, b.PromptDF)
	} else {
		e.PromptDF = max(a.PromptDF, b.PromptDF)
	}
	return e
}

// margin estimates the variance of the mean from the means by pretraining or by feedback seed,
// with its degrees of freedom.
func margin(seeds []Seed, values []float64, of func(Seed) int64) (variance, df float64) {
	sums, counts := map[int64]float64{}, map[int64]float64{}
	var order []int64
	for i, s := range seeds {
		if counts[of(s)] == 0 {
			order = append(order, of(s))
		}
		sums[of(s)] += values[i]
		counts[of(s)]++
	}
	means := make([]float64, len(order))
	for i, k := range order {
		means[i] = sums[k] / counts[k]
	}
	return stat.Variance(means, nil) / float64(len(means)), float64(len(means) - 1)
}

// residual estimates the part of the variance of the mean that neither margin explains, with
// its degrees of freedom. That needs every pretraining seed with every feedback seed; otherwise
// it returns 0, so that nothing is subtracted.
func residual(seeds []Seed, values []float64) (variance, df float64) {
	rows, columns := map[int64]float64{}, map[int64]float64{}
	distinct := map[Seed]bool{}
	for i, s := range seeds {
		rows[s.Pretraining] += values[i]
		columns[s.Feedback] += values[i]
		distinct[s] = true
	}
	a, b := float64(len(rows)), float64(len(columns))
	if len(distinct) != len(seeds) || int(a*b) != len(seeds) {
		return 0, 0
	}
	m := stat.Mean(values, nil)
	var sum float64
	for i, s := range seeds {
		d := values[i] - rows[s.Pretraining]/b - columns[s.Feedback]/a + m
		sum += d * d
	}
	df = (a - 1) * (b - 1)
	return sum / df / (a * b), df
}
