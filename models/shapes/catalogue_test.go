package shapes

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ablate/models/random"
)

func TestCatalogue(t *testing.T) {
	c := Prompts()
	var all, held [categories]int
	words := map[int32]bool{} // of the seen prompts
	for i, e := range c.All() {
		all[e.Category]++
		if !e.Seen {
			held[e.Category]++
		}
		for _, tok := range e.Prompt.Tokens() {
			if e.Seen {
				words[tok] = true
			}
		}
		if k, ok := c.Find(e.Prompt); !ok || k != i {
			t.Errorf("Find(%q) = %d, %t, want %d", e.Prompt, k, ok, i)
		}
		if e.Prompt[Shape] == 0 {
			t.Errorf("%q names no shape", e.Prompt)
		}
	}
	if want := [categories]int{8, 6, 6, 138}; all != want {
		t.Errorf("prompts by category %v, want %v", all, want)
	}
	if want := [categories]int{2, 2, 2, 35}; held != want {
		t.Errorf("held out %v, want %v", held, want)
	}
	if delete(words, 0); len(words) != Vocabulary() {
		t.Errorf("seen prompts have %d of %d words", len(words), Vocabulary())
	}
	if _, ok := c.Find(Prompt{}); ok {
		t.Error("the prompt that names nothing is in the catalogue")
	}
}

// TestSplitIsConstant pins the held-out prompts of the smaller categories, because a change
// of the split changes every study's results.
func TestSplitIsConstant(t *testing.T) {
	var got []string
	for _, e := range Prompts().All() {
		if !e.Seen && e.Category != CategoryCombination {
			got = append(got, e.Prompt.String())
		}
	}
	want := []string{"circles on a white background", "circles on a purple background", "red circles", "yellow bars", "one circle", "three bars"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("held out: mismatch (-want +got)\n%s", diff)
	}
}

func TestDraw(t *testing.T) {
	const n = 20000
	c := Prompts()
	r := random.Stream(1, "test", "draw", 0)
	for _, seenOnly := range []bool{false, true} {
		var by [categories]float64
		unseen := 0.0
		for range n {
			e := c.All()[c.Draw(r, seenOnly)]
			by[e.Category]++
			if !e.Seen {
				unseen++
			}
		}
		for cat, k := range by {
			if p := share[cat]; !near(k, n, p) {
				t.Errorf("%v: share %.3f, want %.3f", Category(cat), k/n, p)
			}
		}
		// .2·2/8 + .2·2/6 + .2·2/6 + .4·35/138
		want := .2/4 + .4/3 + .4*35/138
		if seenOnly {
			want = 0
		}
		if !near(unseen, n, want) {
			t.Errorf("seenOnly %t: share of unseen prompts %.3f, want %.3f", seenOnly, unseen/n, want)
		}
	}
}

// near reports whether k of n is within five standard deviations of the
// binomial with probability p. One test in a million would fail by chance; none does,
// because the streams are fixed.
func near(k, n, p float64) bool { return math.Abs(k-n*p) <= 5*math.Sqrt(n*p*(1-p)) }

// TestPerturbed: the perturbed prompts are all that the grammar has, counted by brute force,
// each once, and none is held out.
func TestPerturbed(t *testing.T) {
	c := Prompts()
	swaps := func(p, q Prompt) (n int) {
		for s := range p {
			if (p[s] == 0) != (q[s] == 0) {
				return 99
			}
			if p[s] != q[s] {
				n++
			}
		}
		return n
	}
	for i, e := range c.All() {
		var can [3]int
		for _, o := range c.All() {
			if d := swaps(e.Prompt, o.Prompt); o.Seen && d < 3 {
				can[d]++
			}
		}
		one, two := c.Perturbed(i)
		if len(one) != can[1] || len(two) != can[2] {
			t.Errorf("%q: %d and %d perturbed prompts, want %d and %d", e.Prompt, len(one), len(two), can[1], can[2])
		}
		listed := map[int]bool{}
		for k, j := range append(one, two...) {
			d := swaps(e.Prompt, c.All()[j].Prompt)
			if k < can[1] && d != 1 || k >= can[1] && d != 2 {
				t.Errorf("%q: perturbed prompt %d is %q, %d words away", e.Prompt, k, c.All()[j].Prompt, d)
			}
			if !c.All()[j].Seen || listed[j] || j == i {
				t.Errorf("%q: perturbed prompt %q is held out, listed twice or the right one", e.Prompt, c.All()[j].Prompt)
			}
			listed[j] = true
		}
	}
}

// TestContrasts: contrasting prompts are all that the grammar has, nearest first, each once,
// and none is held out, also for prompts that are not in the catalogue.
func TestContrasts(t *testing.T) {
	c := Prompts()
	for _, p := range every() {
		var one, two int
		for _, q := range every() {
			if i, ok := c.Find(q); ok && !c.All()[i].Seen {
				continue
			}
			same, changed := true, 0
			for s := range p {
				same = same && (p[s] == 0) == (q[s] == 0)
				if p[s] != q[s] {
					changed++
				}
			}
			if same && changed == 1 {
				one++
			} else if same && changed == 2 {
				two++
			}
		}
		list := c.Contrasts(p, 1000)
		if len(list) != one+two {
			t.Errorf("%q: %d contrasts, want %d", p, len(list), one+two)
		}
		seen := map[Prompt]bool{p: true}
		for k, q := range list {
			changed := 0
			for s := range p {
				if p[s] != q[s] {
					changed++
				}
			}
			if i, ok := c.Find(q); seen[q] || ok && !c.All()[i].Seen || changed > 2 || (changed == 1) != (k < one) {
				t.Errorf("%q: contrast %d is %q", p, k, q)
			}
			seen[q] = true
		}
		if got := c.Contrasts(p, 4); len(got) != min(4, len(list)) {
			t.Errorf("%q: %d contrasts of the four asked for", p, len(got))
		}
	}
	// By turns: red bars, the black background and one circle are held out here.
	var got []string
	for _, q := range c.Contrasts(Prompt{3, 1, 1, 1}, 4) {
		got = append(got, q.String())
	}
	want := []string{"four red circles on a white background", "three green circles on a white background",
		"three yellow circles on a white background", "three red circles on a purple background"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("contrasts: mismatch (-want +got)\n%s", diff)
	}
}
