package reward

import (
	"math/rand/v2"

	"ablate/models/random"
)

// Pairs draws the pairs of Bradley–Terry.
func Pairs(d Data, epochs random.Steps) (func(k int, r *rand.Rand) (good, bad int), error) {
	p, err := newPairs(d, epochs)
	return p.draw, err
}
