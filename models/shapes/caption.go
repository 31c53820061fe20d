package shapes

import "math/rand/v2"

// Captions says how imperfect pretraining captions are.
type Captions struct {
	// Probability that the word is redrawn evenly from the slot's words.
	Count, Colour, Background float64
	// Probability that count, colour and background are each left out. The
	// shape is always right and always there.
	Absent float64
}

// Caption draws the caption of a scene that shows truth.
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
