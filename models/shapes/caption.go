package shapes

import "math/rand/v2"

// Captions describes how imperfect pretraining captions are. The zero value
// gives captions that are right and complete. The shape is always right.
type Captions struct {
	// Count, Colour and Background are the probabilities that the word is replaced by
	// a uniform draw from the slot's words, the right one included: with Count .4 and
	// four words, a caption's count is right with .6 + .4/4 = .7.
	Count, Colour, Background float64
	// Absent is the probability that a count, a colour or a background is left
	// out, independently of the others.
	Absent float64
}

// Caption draws the caption of a scene that shows truth, which is
// Scene.Prompt. The number of draws from r does not depend on truth.
func (c Captions) Caption(r *rand.Rand, truth Prompt) Prompt {
	for _, s := range []struct {
		slot   Slot
		redraw float64
	}{{Count, c.Count}, {Colour, c.Colour}, {Background, c.Background}} {
		if r.Float64() < s.redraw {
			truth[s.slot] = int8(1 + r.IntN(s.slot.Values()))
		}
		if r.Float64() < c.Absent {
			truth[s.slot] = 0
		}
	}
	return truth
}
