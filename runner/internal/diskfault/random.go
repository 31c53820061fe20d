package diskfault

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// Random returns the number of faults that a randomized test injects, and the random numbers by
// which it chooses them. ABLATE_TEST_FAULTS is the number, if it is set, and ABLATE_TEST_SEED the
// seed, which is otherwise a new one. The test prints both.
func Random(t testing.TB, usual int) (number int, r *rand.Rand) {
	t.Helper()
	n, seed := uint64(usual), uint64(time.Now().UnixNano())
	for name, to := range map[string]*uint64{"ABLATE_TEST_FAULTS": &n, "ABLATE_TEST_SEED": &seed} {
		if text := os.Getenv(name); text != "" {
			var err error
			if *to, err = strconv.ParseUint(text, 10, 64); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
	t.Logf("seed %d, %d faults", seed, n)
	return int(n), rand.New(rand.NewPCG(seed, 0))
}
