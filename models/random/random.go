// Package random derives every random stream of a study. A stream is named by
// what its numbers are for, never by an action's id, the time, a process or a
// goroutine: two trials with the same seed see the same numbers wherever they do
// the same thing, which is what pairs them, and a study that runs again, with
// any number of workers, draws what it drew before.
//
// An index is the number of a thing (an image, a pair), so each has a stream of
// its own: the first n images are the same whatever is drawn after them.
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

// Steps gives every step of a training a stream of its own, so that what a step draws
// does not depend on how many came before it in this process.
type Steps func(step int) *rand.Rand

// Shuffled returns element i of an endless sequence of shuffles of n things: each thing
// comes once before any comes again. It derives each shuffle from its number alone.
type Shuffled struct {
	n       int
	streams Steps
	epoch   int
	order   []int
}

// NewShuffled returns the sequence whose shuffle number k is drawn from streams(k).
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
