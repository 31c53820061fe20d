package compare

import (
	"fmt"
	"strconv"
	"strings"

	"ablate/analysis/stats"
)

// SeedName writes a seed as views do: 3, or 1.2 for pretraining 1 and feedback 2.
func SeedName(s stats.Seed) string {
	if s.Pretraining == s.Feedback {
		return fmt.Sprint(s.Feedback)
	}
	return fmt.Sprintf("%d.%d", s.Pretraining, s.Feedback)
}

// ParseSeed reads what SeedName writes.
func ParseSeed(s string) (stats.Seed, error) {
	p, f, crossed := strings.Cut(s, ".")
	if !crossed {
		f = p
	}
	a, err := strconv.ParseUint(p, 10, 63)
	b, err2 := strconv.ParseUint(f, 10, 63)
	if err != nil || err2 != nil {
		return stats.Seed{}, fmt.Errorf("%q is not a seed: want a number below 2^63, or two of them as in 1.2", s)
	}
	return stats.Seed{Pretraining: int64(a), Feedback: int64(b)}, nil
}

// Seed is that of the row's trial k. A name that is not a seed counts by its index.
func (r Row) Seed(k int) stats.Seed {
	if s, err := ParseSeed(r.Seeds[k]); err == nil {
		return s
	}
	return stats.Seed{Pretraining: int64(k), Feedback: int64(k)}
}
