package fidelity

import "math"

// MeanPairDistance returns the mean Euclidean distance of two rows of the same group, with each
// group weighted by its number of rows, and the number of rows in groups of two or more. It
// returns 0, 0 where there is no pair. group has the group of each row.
func MeanPairDistance(m Matrix, group []int) (float64, int) {
	return overGroups(m, group, func(a, b []float32) float64 {
		var s float64
		for j := range a {
			e := float64(a[j] - b[j])
			s += e * e
		}
		return math.Sqrt(s)
	}, func(rows int) float64 { return float64(rows) })
}

// overGroups averages a function of two rows over the pairs of each group, and these means over
// the groups of two rows or more, with weights. It also returns the number of rows in such
// groups.
func overGroups(m Matrix, group []int, of func(a, b []float32) float64, weight func(rows int) float64) (float64, int) {
	members := map[int][]int{}
	var order []int
	for i, g := range group {
		if members[g] == nil {
			order = append(order, g)
		}
		members[g] = append(members[g], i)
	}
	var sum, weights float64
	n := 0
	for _, g := range order {
		list := members[g]
		if len(list) < 2 {
			continue
		}
		var d float64
		for i, a := range list {
			for _, b := range list[:i] {
				d += of(m.Row(a), m.Row(b))
			}
		}
		pairs, w := float64(len(list)*(len(list)-1))/2, weight(len(list))
		sum, weights, n = sum+d/pairs*w, weights+w, n+len(list)
	}
	if n == 0 {
		return 0, 0
	}
	return sum / weights, n
}
