package shapes

import (
	"math"
	"testing"

	"ablate/models/random"
)

// imperfect are the captions that the world was designed with.
var imperfect = Captions{Count: .4, Colour: .3, Background: .3, Absent: .2}

func TestCaptionNoise(t *testing.T) {
	const n = 50000
	redraw := map[Slot]float64{Count: .4, Colour: .3, Background: .3}
	var absent, right [slots]float64
	for i := range n {
		r := random.Stream(3, "test", "caption", i)
		truth := NewScene(r, Prompt{}).Prompt
		got := imperfect.Caption(r, truth)
		for s := range slots {
			if got[s] == 0 {
				absent[s]++
			} else if got[s] == truth[s] {
				right[s]++
			}
		}
	}
	if absent[Shape] != 0 || right[Shape] != n {
		t.Errorf("shape: %v absent and %v right of %d, want all right", absent[Shape], right[Shape], n)
	}
	for s, p := range redraw {
		if !near(absent[s], n, .2) {
			t.Errorf("%v absent %.4f, want .2", s, absent[s]/n)
		}
		want := .8 * (1 - p + p/float64(s.Values()))
		if !near(right[s], n, want) {
			t.Errorf("%v right %.4f, want %.4f", s, right[s]/n, want)
		}
	}
	truth := Prompt{3, 2, 1, 3}
	if got := (Captions{}).Caption(random.Stream(3, "test", "clean", 0), truth); got != truth {
		t.Errorf("captions without noise say %q of %q", got, truth)
	}
}

// TestPerfectLearner computes the alignment of a model that has learned the captions
// perfectly, which draws its images from the scenes given the caption.
// Scenes have independent, uniform words, so Bayes' rule needs only the caption
// process. It is enumerated here slot by slot, and simulated with Caption.
func TestPerfectLearner(t *testing.T) {
	redraw := [slots]float64{Count: .4, Colour: .3, Background: .3}
	exact := func(p Prompt) float64 {
		aligned := 1.0
		for s := range slots {
			if p[s] == 0 {
				continue
			}
			// P(truth = w | caption has w) over uniform truths.
			k, right, all := float64(s.Values()), 0.0, 0.0
			for truth := int8(1); int(truth) <= s.Values(); truth++ {
				says := redraw[s] / k
				if truth == p[s] {
					says += 1 - redraw[s]
					right = says / k
				}
				all += says / k
			}
			aligned *= right / all
		}
		return aligned
	}
	// The same by simulation: the number of captions that name a prompt, and of their
	// scenes that satisfy it.
	said, shows := map[Prompt]float64{}, map[Prompt]float64{}
	r := random.Stream(4, "test", "learner", 0)
	for range 400_000 {
		var truth Prompt
		for s := range slots {
			truth[s] = int8(1 + r.IntN(s.Values()))
		}
		p := imperfect.Caption(r, truth)
		said[p]++
		met := true
		for s := range slots {
			met = met && (p[s] == 0 || p[s] == truth[s])
		}
		if met {
			shows[p]++
		}
	}
	var sum, simulated, n [categories]float64
	for _, e := range Prompts().All() {
		sum[e.Category] += exact(e.Prompt)
		simulated[e.Category] += shows[e.Prompt] / said[e.Prompt]
		n[e.Category]++
		if p := exact(e.Prompt); !near(shows[e.Prompt], said[e.Prompt], p) {
			t.Errorf("%q: simulated %.3f, computed %.3f", e.Prompt, shows[e.Prompt]/said[e.Prompt], p)
		}
	}
	total, other := 0.0, 0.0
	for cat := range n {
		total += share[cat] * sum[cat] / n[cat]
		other += share[cat] * simulated[cat] / n[cat]
	}
	t.Logf("perfect learner: count %.4f, colour %.4f, background %.4f, combination %.4f, all %.4f (simulated %.4f)",
		sum[0]/n[0], sum[1]/n[1], sum[2]/n[2], sum[3]/n[3], total, other)
	for cat, want := range []float64{.70, .80, .80, .512} {
		if got := sum[cat] / n[cat]; math.Abs(got-want) > 5e-4 {
			t.Errorf("%v: %.4f, want %.3f", Category(cat), got, want)
		}
	}
	if math.Abs(total-.665) > 5e-4 || math.Abs(other-.665) > 5e-3 {
		t.Errorf("all prompts: %.4f, simulated %.4f, want .665", total, other)
	}
}
