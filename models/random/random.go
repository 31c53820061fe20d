// Package random derives every random stream of a study from a seed, a stage kind, a purpose
// and an index, and never from an action's id, the time, a process or a goroutine. So trials
// of one seed use the same random numbers for the same purpose, which makes comparisons
// paired, and a study that runs again draws the same numbers with any number of workers.
//
// The index is the number of an item (an image, a pair). Each item has a separate stream, so
// that the first n images do not depend on how many are drawn after them.
package random

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
)

// Stream is the stream of one part of a seed, a stage kind, a purpose and an
// index: ChaCha8 under the SHA-256 of the four, written as one line of text.
// stage is one word; purpose may be several. The stream is not safe for use by
// several goroutines at once.
func Stream(seed int64, stage, purpose string, index int) *rand.Rand {
	return rand.New(rand.NewChaCha8(sha256.Sum256(fmt.Appendf(nil, "%d %s %s %d", seed, stage, purpose, index))))
}

// Normal fills x with independent standard normal values.
func Normal(r *rand.Rand, x []float32) {
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
}

// Steps returns the random stream of each training step, so that the draws of a step do not
// depend on the steps that this process took before it.
type Steps func(step int) *rand.Rand

// Shuffled is an endless sequence of indices below n that consists of random permutations,
// one after the other: every item comes once before any comes again. Each permutation is
// derived from its number alone.
type Shuffled struct {
	n       int
	streams Steps
	epoch   int
	order   []int
}

// NewShuffled returns the sequence whose permutation number k is drawn from streams(k).
func NewShuffled(n int, streams Steps) *Shuffled {
	return &Shuffled{n: n, streams: streams, epoch: -1}
}

// At returns element i.
func (s *Shuffled) At(i int) int {
	if e := i / s.n; e != s.epoch {
		s.epoch, s.order = e, s.streams(e).Perm(s.n)
	}
	return s.order[i%s.n]
}
