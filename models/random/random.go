// Package random derives every random stream of models.
package random

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
)

// Stream is the stream of a seed, a stage kind, a purpose and an index.
func Stream(seed int64, stage, purpose string, index int) *rand.Rand {
	return rand.New(rand.NewChaCha8(sha256.Sum256(fmt.Appendf(nil, "%d %s %s %d", seed, stage, purpose, index))))
}

// Normal fills x with standard normal values.
func Normal(r *rand.Rand, x []float32) {
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
}
