package compare

import (
	"fmt"
	"strconv"
	"strings"

	"ablate/analysis/stats"
)

// SeedName formats a seed as in names of views: 3, or 1.2 for pretraining seed 1 and feedback
// seed 2.
func SeedName(s stats.Seed) string {
	if s.Pretraining == s.Feedback {
		return fmt.Sprint(s.Feedback)
	}
	return fmt.Sprintf("%d.%d", s.Pretraining, s.Feedback)
}

// ParseSeed parses the format of SeedName.
func ParseSeed(s string) (stats.Seed, error) {
	p, f, crossed := strings.Cut(s, ".")
	if !crossed {
		f = p
	}
	a, err := strconv.ParseUint(p, 10, 63)
	b, err2 := strconv.ParseUint(f, 10, 63)
	if err != nil || err2 != nil {
		return stats.Seed{}, fmt.Errorf("%q is not a seed: write a whole number from 0 to 2^63-1, or two of them as in 1.2", s)
	}
	return stats.Seed{Pretraining: int64(a), Feedback: int64(b)}, nil
}

// Seed returns the seed of the row's trial k. If its name is not a seed, as in tables of other
// programs, k takes its place.
func (r Row) Seed(k int) stats.Seed {
	if s, err := ParseSeed(r.Seeds[k]); err == nil {
		return s
	}
	return stats.Seed{Pretraining: int64(k), Feedback: int64(k)}
}
