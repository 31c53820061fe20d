package shapes

import (
	"strings"
	"testing"
)

// every lists all prompts of the grammar, in the order of their Index.
func every() []Prompt {
	var list []Prompt
	for n := range int8(Count.Values() + 1) {
		for col := range int8(Colour.Values() + 1) {
			for s := range int8(Shape.Values() + 1) {
				for bg := range int8(Background.Values() + 1) {
					list = append(list, Prompt{n, col, s, bg})
				}
			}
		}
	}
	return list
}

func TestPromptRoundTrip(t *testing.T) {
	seen := map[string]bool{}
	for i, p := range every() {
		s := p.String()
		if seen[s] {
			t.Errorf("two prompts read %q", s)
		}
		seen[s] = true
		if got, err := ParsePrompt(s); err != nil || got != p {
			t.Errorf("ParsePrompt(%q) = %v, %v, want %v", s, got, err, p)
		}
		if p.Index() != i {
			t.Errorf("%q has index %d, want %d", s, p.Index(), i)
		}
	}
	if len(seen) != 240 {
		t.Errorf("%d prompts, want 5·4·3·4", len(seen))
	}
}

func TestPromptString(t *testing.T) {
	for want, p := range map[string]Prompt{
		"": {},
		"three red circles on a white background": {3, 1, 1, 1},
		"one bar":                               {1, 0, 2, 0},
		"red circles":                           {0, 1, 1, 0},
		"circles on a black background":         {0, 0, 1, 2},
		"shapes on a purple background":         {0, 0, 0, 3},
		"one shape":                             {1, 0, 0, 0},
		"four yellow shapes":                    {4, 3, 0, 0},
		"two green bars on a purple background": {2, 2, 2, 3},
	} {
		if got := p.String(); got != want {
			t.Errorf("%v reads %q, want %q", p, got, want)
		}
	}
}

func TestParsePromptErrors(t *testing.T) {
	for s, want := range map[string]string{
		"three rad circles":               `"rad" is not a word of this world (nearest: "red")`,
		"tree red circles":                `"tree" is not a word of this world (nearest: "three")`,
		"two red circels":                 `"circels" is not a word of this world (nearest: "circles")`,
		"one red circles":                 `"circles" does not belong there: want shape, circle, bar`,
		"red two circles":                 `"two" does not belong there: want shapes, circles, bars`,
		"two red":                         `ends too early: want shapes, circles, bars`,
		"bars on a":                       `ends too early: want white, black, purple`,
		"bars on a blue background":       `"blue" is not a word of this world`,
		"bars on the black background":    `want a there`,
		"bars on a black background bars": `"bars" does not belong there: want nothing`,
	} {
		p, err := ParsePrompt(s)
		if err == nil {
			t.Errorf("ParsePrompt(%q) = %v, want an error", s, p)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("ParsePrompt(%q): %v, want %s", s, err, want)
		}
	}
	if p, err := ParsePrompt("  Two RED circles\n"); err != nil || p != (Prompt{2, 1, 1, 0}) {
		t.Errorf("spaces and case: %v, %v", p, err)
	}
}

func TestWords(t *testing.T) {
	if Vocabulary() != 12 {
		t.Fatalf("vocabulary of %d words, want 4+3+2+3", Vocabulary())
	}
	sets := map[[12]float32]bool{}
	for _, p := range every() {
		var dst [12]float32
		dst[3] = 9 // must be overwritten
		p.Words(dst[:])
		if sets[dst] {
			t.Errorf("%q has the words of another prompt", p)
		}
		sets[dst] = true
		n, named := float32(0), 0
		for _, v := range dst {
			n += v
		}
		for s, tok := range p.Tokens() {
			if (tok > 0) != (p[s] > 0) || tok > 0 && dst[tok-1] != 1 {
				t.Errorf("%q: token %d of %v does not match the words %v", p, s, p.Tokens(), dst)
			}
			if tok > 0 {
				named++
			}
		}
		if int(n) != named || p.Complete() != (named == 4) {
			t.Errorf("%q: %v words for %d named slots", p, n, named)
		}
	}
}

func FuzzParsePrompt(f *testing.F) {
	for i, p := range every() {
		if i%7 == 0 {
			f.Add(p.String())
		}
	}
	f.Add("two two circles on a \x00 background")
	f.Add("shapes")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePrompt(s)
		if err != nil {
			if p != (Prompt{}) || len(err.Error()) > 1000 {
				t.Errorf("ParsePrompt(%q) = %v, %v", s, p, err)
			}
			return
		}
		if again, err := ParsePrompt(p.String()); err != nil || again != p {
			t.Errorf("%q is %v, which reads %q and is then %v, %v", s, p, p.String(), again, err)
		}
	})
}
