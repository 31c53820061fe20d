package reward

import "math/rand/v2"

// Pairs draws the pairs of Bradley–Terry.
func Pairs(d Data) (func(*rand.Rand) (good, bad int), error) {
	p, err := newPairs(d)
	return p.draw, err
}
