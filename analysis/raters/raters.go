// Package raters says how far people agree, and makes one label of several.
//
// A rater gives an item one of some categories, or nothing. Items belong to clusters, such as the images of one prompt,
// which are not independent of each other: intervals resample whole clusters.
package raters

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// A Rating is the category that a rater gave an item.
type Rating struct{ Item, Rater, Category int }

// Ratings are those of Items items by Raters raters, in Categories categories, all counted from 0.
type Ratings struct {
	Items, Raters, Categories int
	Cluster                   []int // of each item; nil: each item is its own
	List                      []Rating
}

// Check returns an error for a number that is out of range, and for a second rating of an item by the same rater.
func (r Ratings) Check() error {
	if r.Cluster != nil && len(r.Cluster) != r.Items {
		return fmt.Errorf("%d items have %d clusters", r.Items, len(r.Cluster))
	}
	seen := map[[2]int]bool{}
	for i, x := range r.List {
		if x.Item < 0 || x.Item >= r.Items || x.Rater < 0 || x.Rater >= r.Raters || x.Category < 0 || x.Category >= r.Categories {
			return fmt.Errorf("rating %d: item %d, rater %d, category %d; there are %d, %d and %d", i, x.Item, x.Rater, x.Category, r.Items, r.Raters, r.Categories)
		}
		if key := [2]int{x.Item, x.Rater}; seen[key] {
			return fmt.Errorf("rating %d: rater %d has rated item %d before", i, x.Rater, x.Item)
		} else {
			seen[key] = true
		}
	}
	return nil
}

// counts returns how often each item was given each category.
func (r Ratings) counts() [][]float64 {
	out := make([][]float64, r.Items)
	for i := range out {
		out[i] = make([]float64, r.Categories)
	}
	for _, x := range r.List {
		out[x.Item][x.Category]++
	}
	return out
}

// sums are what α and the agreement of pairs are computed from. They add up over items.
type sums struct {
	values float64   // ratings of items with two or more
	equal  float64   // of each item, its pairs of equal ratings over the number of its ratings but one
	of     []float64 // values, by category
	pairs  float64   // pairs of ratings of an item
	same   float64   // of which both are equal
}

func (s *sums) add(o sums) {
	s.values, s.equal, s.pairs, s.same = s.values+o.values, s.equal+o.equal, s.pairs+o.pairs, s.same+o.same
	for c, x := range o.of {
		s.of[c] += x
	}
}

// item returns the sums of an item.
func item(counts []float64) sums {
	s := sums{of: make([]float64, len(counts))}
	n := 0.
	for _, x := range counts {
		n += x
	}
	if n < 2 {
		return s
	}
	for c, x := range counts {
		s.of[c] = x
		s.same += x * (x - 1) / 2
	}
	s.values, s.pairs, s.equal = n, n*(n-1)/2, 2*s.same/(n-1)
	return s
}

// alpha is Krippendorff's α for nominal data (Krippendorff 2011, "Computing Krippendorff's alpha-reliability"): one less
// the observed disagreement over that of chance. It is NaN where no two ratings are of one item, or all are equal.
func (s sums) alpha() float64 {
	chance := s.values * s.values
	for _, x := range s.of {
		chance -= x * x
	}
	return 1 - (s.values-1)*(s.values-s.equal)/chance
}

// agreement is the part of pairs of ratings that are equal.
func (s sums) agreement() float64 { return s.same / s.pairs }

// flips is how often each of two raters errs, if both err equally often, independently, and there are two categories:
// they agree where both are right or both are wrong. 1/2 is as good as no rater.
func (s sums) flips() float64 {
	return (1 - math.Sqrt(max(0, 2*s.agreement()-1))) / 2
}

// An Estimate is a number with its interval.
type Estimate struct{ Value, Low, High float64 }

// An Agreement says how far raters agree.
type Agreement struct {
	Alpha Estimate // Krippendorff's α, nominal: 1 for perfect agreement, 0 for that of chance
	Pairs Estimate // part of pairs of ratings of an item that are equal
	Flips Estimate // part of ratings that are wrong, were all raters equally good; of two categories only, else 0
	Items int      // items with two ratings or more
}

const resamples = 1000

// Agree returns how far raters agree, with intervals that cover at a level: percentiles of a bootstrap over clusters, which
// draws equal numbers for equal ratings. It returns false where no item has two ratings, or all ratings are equal.
func (r Ratings) Agree(level float64) (a Agreement, ok bool) {
	cluster := map[int]int{}
	var parts []sums
	all := sums{of: make([]float64, r.Categories)}
	for i, counts := range r.counts() {
		s := item(counts)
		if s.values == 0 {
			continue
		}
		a.Items++
		all.add(s)
		of := i
		if r.Cluster != nil {
			of = r.Cluster[i]
		}
		k, known := cluster[of]
		if !known {
			k = len(parts)
			cluster[of] = k
			parts = append(parts, sums{of: make([]float64, r.Categories)})
		}
		parts[k].add(s)
	}
	measures := []struct {
		to *Estimate
		of func(sums) float64
	}{{&a.Alpha, sums.alpha}, {&a.Pairs, sums.agreement}, {&a.Flips, sums.flips}}
	if r.Categories != 2 {
		measures = measures[:2]
	}
	if x := all.alpha(); math.IsNaN(x) || math.IsInf(x, 0) {
		return a, false
	}
	random := rand.New(rand.NewPCG(uint64(len(parts)), uint64(len(r.List))))
	drawn := make([][]float64, len(measures))
	for range resamples {
		s := sums{of: make([]float64, r.Categories)}
		for range parts {
			s.add(parts[random.IntN(len(parts))])
		}
		for k, m := range measures {
			if x := m.of(s); !math.IsNaN(x) && !math.IsInf(x, 0) {
				drawn[k] = append(drawn[k], x)
			}
		}
	}
	for k, m := range measures {
		slices.Sort(drawn[k])
		at := func(p float64) float64 { return quantile(drawn[k], p) }
		*m.to = Estimate{m.of(all), at((1 - level) / 2), at((1 + level) / 2)}
	}
	return a, true
}

// quantile returns a quantile of sorted numbers, between neighbours linearly.
func quantile(x []float64, p float64) float64 {
	if len(x) == 0 {
		return math.NaN()
	}
	at := p * float64(len(x)-1)
	i := min(int(at), len(x)-1)
	j := min(i+1, len(x)-1)
	return x[i] + (at-float64(i))*(x[j]-x[i])
}
