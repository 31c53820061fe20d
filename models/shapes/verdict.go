package shapes

import (
	"fmt"
	"math/rand/v2"
)

// Verdict is a judgement of an image against a prompt.
type Verdict int8

// The verdicts. Skip means that nobody could say: the image shows no scene of
// this world. It counts as not aligned.
const (
	Bad Verdict = iota
	Good
	Skip
)

func (v Verdict) String() string {
	switch v {
	case Bad:
		return "bad"
	case Good:
		return "good"
	case Skip:
		return "skip"
	}
	return fmt.Sprintf("Verdict(%d)", int8(v))
}

// Annotate is the verdict of an annotator who takes good for bad and bad for
// good with probability noise; a skip stays one. It draws one number from r
// whatever v is.
func Annotate(r *rand.Rand, v Verdict, noise float64) Verdict {
	flip := r.Float64() < noise
	switch {
	case flip && v == Good:
		return Bad
	case flip && v == Bad:
		return Good
	}
	return v
}
