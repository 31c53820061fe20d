package raters

import "math"

// None is the category of an item on which its raters say nothing: nobody has rated it, or as many say one thing as another.
const None = -1

// Majority returns the category that most ratings of each item have, and None in a tie.
func (r Ratings) Majority() []int {
	out := make([]int, r.Items)
	for i, counts := range r.counts() {
		out[i] = best(counts, 0)
	}
	return out
}

// best returns the index of the largest number above a bound, and None where there is none or several are equal.
func best(x []float64, above float64) int {
	out := None
	for c, v := range x {
		switch {
		case v > above:
			out, above = c, v
		case v == above && out != None:
			out = None // as large as the largest so far, which must be exceeded
		}
	}
	return out
}

// A Model is that of Dawid and Skene (1979, "Maximum likelihood estimation of observer error-rates using the EM algorithm"):
// each item has a true category, and each rater a probability of each answer to each.
type Model struct {
	Prior     []float64     // part of items of each category
	Confusion [][][]float64 // by rater and true category, the probabilities of what the rater says
	Posterior [][]float64   // by item, the probabilities of its category; nil where nobody has rated it
}

// Labels returns the most probable category of each item, and None where there is none.
func (m *Model) Labels() []int {
	out := make([]int, len(m.Posterior))
	for i, p := range m.Posterior {
		out[i] = best(p, 0)
	}
	return out
}

// Error is the part of a rater's answers that are wrong, on items like these.
func (m *Model) Error(rater int) float64 {
	right := 0.
	for c, p := range m.Prior {
		right += p * m.Confusion[rater][c][c]
	}
	return 1 - right
}

// pooled is the weight, in ratings of each true category, of all raters' answers in the estimate of one's. A rater of
// few items is taken to be like the others, and not to be perfect.
const pooled = 4

// DawidSkene estimates the model.
func (r Ratings) DawidSkene() *Model { return r.dawidSkene(pooled, 200, 1e-6) }

// dawidSkene estimates it by expectation and maximization, until the mean likelihood of an item's ratings rises by less
// than tolerance. It begins at the shares of each item's ratings.
func (r Ratings) dawidSkene(weight float64, steps int, tolerance float64) *Model {
	m := &Model{Posterior: r.counts()}
	rated := 0.
	for i, counts := range m.Posterior {
		n := 0.
		for _, x := range counts {
			n += x
		}
		if n == 0 {
			m.Posterior[i] = nil
			continue
		}
		rated++
		for c := range counts {
			counts[c] /= n
		}
	}
	table := func() [][]float64 {
		out := make([][]float64, r.Categories)
		for c := range out {
			out[c] = make([]float64, r.Categories)
		}
		return out
	}
	before := math.Inf(-1)
	for range steps {
		// The most probable parameters.
		m.Prior, m.Confusion = make([]float64, r.Categories), make([][][]float64, r.Raters)
		for _, p := range m.Posterior {
			for c, x := range p {
				m.Prior[c] += x / rated
			}
		}
		all := table()
		for k := range m.Confusion {
			m.Confusion[k] = table()
		}
		for _, x := range r.List {
			for c, p := range m.Posterior[x.Item] {
				m.Confusion[x.Rater][c][x.Category] += p
				all[c][x.Category] += p
			}
		}
		shares(all)
		for _, own := range m.Confusion {
			for c := range own {
				for said := range own[c] {
					own[c][said] += weight * all[c][said]
				}
			}
			shares(own)
		}
		// The probabilities of categories.
		for i, p := range m.Posterior {
			if p != nil {
				for c := range p {
					p[c] = math.Log(m.Prior[c])
				}
				m.Posterior[i] = p
			}
		}
		for _, x := range r.List {
			for c := range m.Posterior[x.Item] {
				m.Posterior[x.Item][c] += math.Log(m.Confusion[x.Rater][c][x.Category])
			}
		}
		likelihood := 0.
		for _, p := range m.Posterior {
			likelihood += softmax(p) / rated
		}
		if likelihood-before < tolerance {
			break
		}
		before = likelihood
	}
	return m
}

// shares divides each row by its sum. A row of zeros, of a category that no item has, becomes equal shares.
func shares(rows [][]float64) {
	for _, row := range rows {
		sum := 0.
		for _, x := range row {
			sum += x
		}
		for c := range row {
			if sum == 0 {
				row[c] = 1 / float64(len(row))
			} else {
				row[c] /= sum
			}
		}
	}
}

// softmax makes probabilities of logarithms, in place, and returns the logarithm of their sum.
func softmax(x []float64) float64 {
	if x == nil {
		return 0
	}
	top, sum := math.Inf(-1), 0.
	for _, v := range x {
		top = max(top, v)
	}
	for c, v := range x {
		x[c] = math.Exp(v - top)
		sum += x[c]
	}
	for c := range x {
		x[c] /= sum
	}
	return top + math.Log(sum)
}
