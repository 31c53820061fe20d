package stats

import (
	"math"
	"slices"
)

// Clustered has sums of values and their counts, by prompt.
type Clustered struct{ Sums, Counts []float64 }

// Empty reports whether no prompt has a value.
func (c Clustered) Empty() bool {
	return !slices.ContainsFunc(c.Counts, func(n float64) bool { return n > 0 })
}

// Strata has the category of each prompt, numbered from 0. A study fixes the share of each
// category, so that prompts are sampled within categories (stratified sampling).
type Strata []int

// Influence returns the influence of each prompt on the mean: the sum of the deviations of its
// values from the mean of its category, divided by the number of all values.
func (s Strata) Influence(c Clustered) []float64 {
	sums, counts := map[int]float64{}, map[int]float64{}
	var n float64
	for i, k := range c.Counts {
		sums[s[i]] += c.Sums[i]
		counts[s[i]] += k
		n += k
	}
	out := make([]float64, len(c.Sums))
	for i, k := range c.Counts {
		if k > 0 {
			out[i] = (c.Sums[i] - k*sums[s[i]]/counts[s[i]]) / n
		}
	}
	return out
}

// Effective returns the effective number of prompts: the number of prompts with equal numbers
// of images that would give a variance of the same precision as these, which have unequal
// numbers and lie in categories. It is one more than Satterthwaite's (1946) degrees of freedom
// of a variance over prompts, where the effective number of a category is (Σc)²/Σc² (Kish 1965;
// Carter, Schnepel & Steigerwald 2017 for tests with clusters). A category of one prompt has no
// variance, and is joined with others.
func (s Strata) Effective(counts []float64) float64 {
	var total, spent float64
	for _, g := range s.groups(counts) {
		total += g.squares
		spent += g.squares * g.squares / (g.effective() - 1)
	}
	if spent == 0 {
		return 0
	}
	return 1 + total*total/spent
}

// group is a category, or several categories that are joined.
type group struct {
	prompts      []int
	sum, squares float64 // sums of the counts and of their squares
}

func (g group) effective() float64 { return g.sum * g.sum / g.squares }

// groups returns the categories that have images. Categories of one prompt are joined.
func (s Strata) groups(counts []float64) []group {
	by := map[int]*group{}
	var order []int
	for i, n := range counts {
		if n <= 0 {
			continue
		}
		g := by[s[i]]
		if g == nil {
			g = &group{}
			by[s[i]] = g
			order = append(order, s[i])
		}
		g.prompts, g.sum, g.squares = append(g.prompts, i), g.sum+n, g.squares+n*n
	}
	slices.Sort(order)
	var out []group
	var small group
	for _, k := range order {
		if g := *by[k]; len(g.prompts) > 1 {
			out = append(out, g)
		} else {
			small.prompts, small.sum, small.squares = append(small.prompts, g.prompts...), small.sum+g.sum, small.squares+g.squares
		}
	}
	switch {
	case len(small.prompts) > 1:
		out = append(out, small)
	case len(small.prompts) == 1 && len(out) > 0:
		g := &out[0]
		g.prompts, g.sum, g.squares = append(g.prompts, small.prompts...), g.sum+small.sum, g.squares+small.squares
	}
	return out
}

// Shared returns the part of the variance of the mean over seeds that arises because all runs
// use the same prompts. byPrompt has the influence of each prompt on the value of each seed
// (Influence), counts the images by prompt. Pairs of runs that share a pretraining or feedback
// seed are left out, because the variance over seeds contains theirs (two-way clustered errors:
// Cameron, Gelbach & Miller 2011). A negative estimate is returned as 0.
func (s Strata) Shared(seeds []Seed, byPrompt [][]float64, counts []float64) float64 {
	var sum float64
	pretraining := groupsBy(seeds, func(x Seed) Seed { return Seed{Pretraining: x.Pretraining} })
	feedback := groupsBy(seeds, func(x Seed) Seed { return Seed{Feedback: x.Feedback} })
	same := groupsBy(seeds, func(x Seed) Seed { return x })
	all := groupsBy(seeds, func(Seed) Seed { return Seed{} })
	for _, g := range s.groups(counts) {
		var v float64
		for _, p := range g.prompts {
			squares := func(groups [][]int) (q float64) {
				for _, runs := range groups {
					var u float64
					for _, i := range runs {
						u += byPrompt[i][p]
					}
					q += u * u
				}
				return q
			}
			v += squares(all) - squares(pretraining) - squares(feedback) + squares(same)
		}
		e := g.effective()
		sum += v * e / (e - 1)
	}
	n := float64(len(seeds))
	return math.Max(0, sum/(n*n))
}

// Variance returns the variance of the mean that the choice of prompts causes, for the given
// runs. It includes the noise of the images.
func (s Strata) Variance(byPrompt [][]float64, counts []float64) float64 {
	var sum float64
	for _, g := range s.groups(counts) {
		var v float64
		for _, p := range g.prompts {
			var u float64
			for _, moves := range byPrompt {
				u += moves[p]
			}
			v += u * u
		}
		e := g.effective()
		sum += v * e / (e - 1)
	}
	n := float64(len(byPrompt))
	return sum / (n * n)
}

// groupsBy groups the indices of seeds for which part returns the same value.
func groupsBy(seeds []Seed, part func(Seed) Seed) [][]int {
	index := map[Seed]int{}
	var out [][]int
	for i, s := range seeds {
		k, ok := index[part(s)]
		if !ok {
			k = len(out)
			index[part(s)] = k
			out = append(out, nil)
		}
		out[k] = append(out[k], i)
	}
	return out
}
