package stats

import (
	"crypto/sha256"
	"math"
	"math/rand/v2"
	"slices"
)

// Resamples are bootstrap draws of clusters: how often each cluster is drawn in
// each resample. One set serves every statistic of the same clusters, so that
// differences stay paired.
type Resamples []Draw

// Draw is how often each cluster is drawn in one resample.
type Draw []uint16

// NewResamples draws n resamples of the given clusters; the draw depends on
// the names of the clusters and on nothing else.
func NewResamples(clusters []string, n int) Resamples {
	h := sha256.New()
	for _, c := range clusters {
		h.Write([]byte(c))
		h.Write([]byte{0})
	}
	r := rand.New(rand.NewChaCha8([32]byte(h.Sum(nil))))
	out := make(Resamples, n)
	for i := range out {
		w := make(Draw, len(clusters))
		for range clusters {
			w[r.IntN(len(clusters))]++
		}
		out[i] = w
	}
	return out
}

// Clustered are sums of values and their counts by cluster.
type Clustered struct{ Sums, Counts []float64 }

// Empty reports whether no cluster holds a value; such clusters have no mean.
func (c Clustered) Empty() bool {
	for _, n := range c.Counts {
		if n > 0 {
			return false
		}
	}
	return true
}

// mean of the clusters, each as often as weights say; nil weights are all 1.
// NaN where no value is drawn.
func (c Clustered) mean(weights Draw) float64 {
	var s, n float64
	for i, x := range c.Sums {
		w := 1.
		if weights != nil {
			w = float64(weights[i])
		}
		s += w * x
		n += w * c.Counts[i]
	}
	return s / n
}

// Percentile is the interval of the mean over groups of each group's mean, by
// the percentile bootstrap over clusters (Efron & Tibshirani 1993, section
// 13.3): the groups, which are seeds, stay as they are. Where against is not
// nil the statistic is the difference of the two, pair by pair.
func (r Resamples) Percentile(groups, against []Clustered, level float64) Interval {
	values := make([]float64, 0, len(r))
	for _, w := range r {
		var v float64
		for i, g := range groups {
			v += g.mean(w) / float64(len(groups))
			if against != nil {
				v -= against[i].mean(w) / float64(len(groups))
			}
		}
		if !math.IsNaN(v) {
			values = append(values, v)
		}
	}
	return PercentileOf(values, level)
}

// Mean is the mean over groups of each group's mean in this draw; NaN where a
// group has no value in it.
func (d Draw) Mean(groups []Clustered) float64 {
	var v float64
	for _, g := range groups {
		v += g.mean(d) / float64(len(groups))
	}
	if len(groups) == 0 {
		return math.NaN()
	}
	return v
}

// PercentileOf is the percentile interval of draws, which it sorts; the whole
// line where there are none.
func PercentileOf(draws []float64, level float64) Interval {
	if len(draws) == 0 {
		return Interval{math.Inf(-1), math.Inf(1)}
	}
	slices.Sort(draws)
	return Interval{quantile(draws, .5-level/2), quantile(draws, .5+level/2)}
}

// quantile of sorted values, linear between them (Hyndman & Fan 1996, type 7).
func quantile(x []float64, q float64) float64 {
	at := q * float64(len(x)-1)
	i := int(at)
	if i+1 >= len(x) {
		return x[len(x)-1]
	}
	return x[i] + (at-float64(i))*(x[i+1]-x[i])
}
