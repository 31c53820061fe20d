package raters

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

// TestKnown: α, the majority and the model of Dawid and Skene are those of the packages krippendorff and crowd-kit
// (testdata/known.py).
func TestKnown(t *testing.T) {
	data, err := os.ReadFile("testdata/known.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Items, Raters, Categories int
		Ratings                   [][3]int
		Alpha                     float64
		Majority                  map[string]int
		Posterior                 [][]float64
	}
	if err := json.Unmarshal(data, &cases); err != nil || len(cases) != 3 {
		t.Fatal(len(cases), err)
	}
	for k, c := range cases {
		r := Ratings{Items: c.Items, Raters: c.Raters, Categories: c.Categories}
		for _, x := range c.Ratings {
			r.List = append(r.List, Rating{x[0], x[1], x[2]})
		}
		if err := r.Check(); err != nil {
			t.Fatal(err)
		}
		a, ok := r.Agree(.95)
		if !ok || math.Abs(a.Alpha.Value-c.Alpha) > 1e-9 {
			t.Errorf("case %d: α %v, want %v", k, a.Alpha.Value, c.Alpha)
		}
		if !(a.Alpha.Low < c.Alpha && c.Alpha < a.Alpha.High) {
			t.Errorf("case %d: the interval of α is %v", k, a.Alpha)
		}
		ties := 0
		for i, got := range r.Majority() {
			if got == None { // crowd-kit takes one of those that are equal
				ties++
			} else if want := c.Majority[strconv.Itoa(i)]; got != want {
				t.Errorf("case %d, item %d: majority %d, want %d", k, i, got, want)
			}
		}
		if ties == c.Items || c.Categories == 3 && ties == 0 {
			t.Errorf("case %d: %d ties", k, ties)
		}
		m := r.dawidSkene(0, 20, math.Inf(-1)) // as many steps as crowd-kit takes
		for i, p := range m.Posterior {
			for at, want := range c.Posterior[i] {
				if math.Abs(p[at]-want) > 1e-6 {
					t.Errorf("case %d, item %d: probabilities %v, want %v", k, i, p, c.Posterior[i])
					break
				}
			}
		}
	}
}

// TestByHand: numbers that can be computed on paper, and their edges.
func TestByHand(t *testing.T) {
	two := func(pairs ...[2]int) (r Ratings) {
		r = Ratings{Items: len(pairs), Raters: 2, Categories: 2}
		for i, p := range pairs {
			r.List = append(r.List, Rating{i, 0, p[0]}, Rating{i, 1, p[1]})
		}
		return r
	}
	// Three of four pairs are equal; five ones and three zeros: α = 1 - 7·2/30.
	a, ok := two([2]int{1, 1}, [2]int{0, 0}, [2]int{1, 1}, [2]int{1, 0}).Agree(.95)
	if !ok || math.Abs(a.Alpha.Value-(1-14./30)) > 1e-12 || a.Pairs.Value != .75 || math.Abs(a.Flips.Value-(1-math.Sqrt(.5))/2) > 1e-12 || a.Items != 4 {
		t.Errorf("%+v", a)
	}
	for name, r := range map[string]Ratings{
		"all equal":  two([2]int{1, 1}, [2]int{1, 1}),
		"no ratings": {Items: 3, Raters: 2, Categories: 2},
		"one each":   {Items: 2, Raters: 2, Categories: 2, List: []Rating{{0, 0, 1}, {1, 1, 0}}},
	} {
		if _, ok := r.Agree(.95); ok {
			t.Errorf("%s: has an agreement", name)
		}
		r.DawidSkene()
	}
	r := Ratings{Items: 3, Raters: 2, Categories: 3, List: []Rating{{0, 0, 2}, {1, 0, 0}, {1, 1, 1}}}
	if got := r.Majority(); got[0] != 2 || got[1] != None || got[2] != None {
		t.Errorf("majority %v", got)
	}
	if got := r.DawidSkene().Labels(); got[0] != 2 || got[2] != None {
		t.Errorf("labels %v", got)
	}
	for _, bad := range []Ratings{
		{Items: 1, Raters: 1, Categories: 2, List: []Rating{{0, 0, 2}}}, {Items: 1, Raters: 1, Categories: 2, List: []Rating{{0, 1, 0}}},
		{Items: 1, Raters: 1, Categories: 2, List: []Rating{{-1, 0, 0}}}, {Items: 1, Raters: 1, Categories: 2, List: []Rating{{0, 0, 0}, {0, 0, 1}}},
		{Items: 2, Raters: 1, Categories: 2, Cluster: []int{0}},
	} {
		if bad.Check() == nil {
			t.Errorf("valid: %+v", bad)
		}
	}
}

// simulated returns ratings of items by raters who err with some probabilities. Items of a prompt are good with a
// probability of their own, and errors are likelier on some prompts, so that items of one are not independent.
func simulated(random *rand.Rand, prompts, images, answers int, errors []float64) (r Ratings, truth []int) {
	r = Ratings{Items: prompts * images, Raters: len(errors), Categories: 2}
	for p := range prompts {
		share, hard := random.Float64(), .4+1.2*random.Float64()
		for range images {
			i := len(truth)
			truth = append(truth, 0)
			if random.Float64() < share {
				truth[i] = 1
			}
			r.Cluster = append(r.Cluster, p)
			for _, k := range random.Perm(len(errors))[:answers] {
				said := truth[i]
				if random.Float64() < errors[k]*hard {
					said = 1 - said
				}
				r.List = append(r.List, Rating{i, k, said})
			}
		}
	}
	return r, truth
}

// TestCoverage: intervals at 95 % cover α, the agreement and the rate of flips of endless data at least 93 times of 100, on
// studies as people label them. What the data would give without end is that of 40,000 prompts.
func TestCoverage(t *testing.T) {
	const studies = 400
	random := rand.New(rand.NewPCG(3, 5))
	for _, c := range []struct {
		prompts, images, answers int
		errors                   []float64
	}{{60, 3, 2, []float64{.08, .1, .12}}, {120, 3, 3, []float64{.22, .22, .22, .22, .22}}} {
		big, _ := simulated(random, 40_000, c.images, c.answers, c.errors)
		all := sums{of: make([]float64, 2)}
		for _, counts := range big.counts() {
			all.add(item(counts))
		}
		covered := [3]int{}
		for range studies {
			r, _ := simulated(random, c.prompts, c.images, c.answers, c.errors)
			a, ok := r.Agree(.95)
			if !ok {
				t.Fatal("no agreement")
			}
			for k, e := range []Estimate{a.Alpha, a.Pairs, a.Flips} {
				if want := []float64{all.alpha(), all.agreement(), all.flips()}[k]; e.Low <= want && want <= e.High {
					covered[k]++
				}
			}
		}
		t.Logf("%d prompts: α %.4f, pairs %.4f, flips %.4f; covered %v of %d", c.prompts, all.alpha(), all.agreement(), all.flips(), covered, studies)
		for k, n := range covered {
			if float64(n) < .93*studies {
				t.Errorf("%d prompts: interval %d covers %d of %d", c.prompts, k, n, studies)
			}
		}
	}
}

// TestDawidSkene: where raters differ, the model is right more often than the majority, and finds how often each errs.
func TestDawidSkene(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	errors := []float64{.03, .05, .3, .35, .4}
	r, truth := simulated(random, 400, 3, 3, errors)
	right := func(labels []int) (n int) {
		for i, c := range labels {
			if c == truth[i] {
				n++
			}
		}
		return n
	}
	m := r.DawidSkene()
	model, majority := right(m.Labels()), right(r.Majority())
	t.Logf("right: %d by the model, %d by the majority of %d", model, majority, len(truth))
	if model < majority+20 {
		t.Errorf("the model is right on %d items, and the majority on %d", model, majority)
	}
	for k, want := range errors {
		if got := m.Error(k); math.Abs(got-want) > .06 {
			t.Errorf("rater %d errs on %.3f, estimated %.3f", k, want, got)
		}
	}
	// A rater of one item is like the others, and not perfect.
	r.Raters++
	r.List = append(r.List, Rating{0, r.Raters - 1, truth[0]})
	if got := r.DawidSkene().Error(r.Raters - 1); got < .1 {
		t.Errorf("a rater of one item errs on %.3f", got)
	}
}

// TestPublished: the rates of flips that follow from agreement and share of good labels in public labels of images
// (TIA2, Kim et al. 2024; three raters an image).
func TestPublished(t *testing.T) {
	for _, c := range []struct{ alpha, good, flips float64 }{{.68, .42, .08}, {.62, .47, .10}, {.31, .44, .22}} {
		// α is one less the disagreement over that of chance, 2·good·(1 - good).
		pairs := 1 - (1-c.alpha)*2*c.good*(1-c.good)
		if got := (sums{pairs: 1, same: pairs}).flips(); math.Abs(got-c.flips) > .01 {
			t.Errorf("α %v, %v good: flips %.3f, want %v", c.alpha, c.good, got, c.flips)
		}
	}
}
