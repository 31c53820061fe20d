package result

import (
	"testing"

	"ablate/runner/lookup"
)

// TestThreads: the number of threads is part of a trial's environment only where the results of
// one stage were computed with different numbers.
func TestThreads(t *testing.T) {
	r := emptyOf(t, "seeds: [1, 2]\narms: tuned: set: {}")
	chains := r.Project.Graph.Chains
	one, two := chains[r.Project.Study.Views[0].Trial.ID()], chains[r.Project.Study.Views[1].Trial.ID()]
	environments := func(first, second string) (string, string) {
		for i, c := range []string{first, second} {
			for _, a := range chains[r.Project.Study.Views[i].Trial.ID()].Actions() {
				made := "backend xla:cpu\n"
				if a.Kind.Def().Trains {
					made += c
				}
				r.Found.Set(a, lookup.Output{Made: made})
			}
		}
		threads := threadsOf(r.Found, r.Project.Graph)
		return environmentOf(r.Found, one, threads), environmentOf(r.Found, two, threads)
	}
	base := EnvironmentID("backend xla:cpu\n")
	if a, b := environments("threads 2\n", "threads 2\n"); a != base || b != base {
		t.Errorf("the same number for both: %s, %s, want %s", a, b, base)
	}
	if a, b := environments("", "threads 2\n"); a == b || a != base {
		t.Errorf("different numbers: %s, %s", a, b)
	}
}
