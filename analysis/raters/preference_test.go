package raters

import (
	"math"
	"math/rand/v2"
	"testing"
)

// voted returns votes of raters on items: each has a leaning of its own, and a third of what is left are ties.
func voted(random *rand.Rand, items, raters, each int, centre, item, rater float64) (votes []Vote) {
	leaning := make([]float64, raters)
	for k := range leaning {
		leaning[k] = rater * random.NormFloat64()
	}
	for i := range items {
		of := item * random.NormFloat64()
		for _, k := range random.Perm(raters)[:each] {
			x := centre + of + leaning[k] + random.NormFloat64()
			v := Vote{i, k, .5}
			if x > .45 {
				v.Value = 1
			} else if x < -.45 {
				v.Value = 0
			}
			votes = append(votes, v)
		}
	}
	return votes
}

// TestPrefer: intervals at 95 % cover the share of endless raters and items at least 93 times of 100, with as few raters
// as papers have.
func TestPrefer(t *testing.T) {
	const studies = 1000
	random := rand.New(rand.NewPCG(2, 7))
	for _, c := range []struct {
		name                string
		items, raters, each int
		centre, item, rater float64
	}{
		{"the paper's: 120 prompts, 5 raters", 120, 5, 5, .3, .8, .2},
		{"3 raters who differ", 60, 3, 3, 0, .5, .4},
		{"3 raters who do not", 60, 3, 3, .8, .5, 0},
		{"10 raters, 2 an item", 100, 10, 2, -.5, .6, .3},
		{"a clear winner", 80, 4, 4, 1.6, .5, .2},
	} {
		want, n := 0., 0.
		for range 300 { // far more raters than any study has
			for _, v := range voted(random, 200, 40, 8, c.centre, c.item, c.rater) {
				want, n = want+v.Value, n+1
			}
		}
		want /= n
		covered, width := 0, 0.
		for range studies {
			p := Prefer(voted(random, c.items, c.raters, c.each, c.centre, c.item, c.rater), .95)
			if p.Share.Low <= want && want <= p.Share.High {
				covered++
			}
			width += (p.Share.High - p.Share.Low) / studies
		}
		t.Logf("%s: share %.3f, covered %.1f %%, mean width %.3f", c.name, want, 100*float64(covered)/studies, width)
		if float64(covered) < .93*studies {
			t.Errorf("%s: covered %d of %d", c.name, covered, studies)
		}
	}
}

// TestPreferEdges: counts, one rater, equal votes, none.
func TestPreferEdges(t *testing.T) {
	p := Prefer([]Vote{{0, 0, 1}, {0, 1, .5}, {1, 0, 0}, {1, 1, 1}}, .95)
	if p.Wins != 2 || p.Ties != 1 || p.Losses != 1 || p.Items != 2 || p.Raters != 2 || p.Share.Value != .625 {
		t.Errorf("%+v", p)
	}
	var one, same []Vote
	for i := range 40 {
		one = append(one, Vote{i, 0, float64(i % 2)})
		same = append(same, Vote{i, 0, 1}, Vote{i, 1, 1})
	}
	p = Prefer(one, .95)
	// 40 items of variance 1/4 each.
	if half := 2.0227 * math.Sqrt(.25/39); math.Abs(p.Share.Low-(.5-half)) > 1e-3 || math.Abs(p.Share.High-(.5+half)) > 1e-3 {
		t.Errorf("one rater: %+v", p.Share)
	}
	if p = Prefer(same, .95); p.Share.High < 1-1e-9 || p.Share.Low < .9 || p.Share.Low > .93 {
		t.Errorf("all for the first side: %+v", p.Share)
	}
	if p = Prefer(same[:2], .95); p.Share != (Estimate{1, 0, 1}) {
		t.Errorf("one item: %+v", p.Share)
	}
	if p = Prefer(nil, .95); !math.IsNaN(p.Share.Value) || p.Items != 0 {
		t.Errorf("no votes: %+v", p)
	}
}
