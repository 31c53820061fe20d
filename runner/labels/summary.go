package labels

import (
	"ablate/analysis/raters"
)

// Summary says what a set has.
type Summary struct {
	Prompts int           `json:"prompts"` // different prompts, in Unicode's form NFC and with single spaces
	Images  int           `json:"images"`  // different images, by prompt and name
	Raters  int           `json:"raters"`  // raters that the set names
	Labels  *LabelSummary `json:"labels"`  // null if the set has no labels of single images
	Pairs   *PairSummary  `json:"pairs"`   // null if the set has no pairs
	Digest  string        `json:"digest"`  // SHA-256 of what the set says, whatever its order and format are
}

// LabelSummary is about labels of single images.
type LabelSummary struct {
	Labels    int        `json:"labels"`
	Good      float64    `json:"good"`      // share of labels that are good, without skips; 0 if all are skips
	Skips     int        `json:"skips"`     // labels by which a rater did not decide
	Repeats   int        `json:"repeats"`   // labels of raters who had labelled the image before, which the agreement leaves out
	Agreement *Agreement `json:"agreement"` // null if no image has two labels, or all labels are equal
}

// PairSummary is about pairs of images.
type PairSummary struct {
	Pairs     int        `json:"pairs"`
	Votes     int        `json:"votes"`     // judgements of raters: votes, and pairs without votes
	Ties      float64    `json:"ties"`      // share of pairs that are ties
	Repeats   int        `json:"repeats"`   // pairs of raters who had compared the images before, which the agreement leaves out
	Agreement *Agreement `json:"agreement"` // null if no pair has two judgements, or all judgements are equal
}

// Agreement is how far raters agree, with intervals over prompts at 95 %.
type Agreement struct {
	Items int       `json:"items"` // images or pairs with two judgements or more
	Alpha Interval  `json:"alpha"` // Krippendorff's alpha: 1 for perfect agreement, 0 for that of chance
	Equal Interval  `json:"equal"` // share of two judgements of an item that are equal
	Flips *Interval `json:"flips"` // share of judgements that are wrong, if raters err equally often and independently; null if there are ties
}

// Interval is an estimate with its interval.
type Interval struct {
	Estimate float64 `json:"estimate"`
	Low      float64 `json:"low"`
	High     float64 `json:"high"`
}

// Summarize returns what a set has.
func (s *Set) Summarize() (Summary, error) {
	digest, err := s.Digest()
	if err != nil {
		return Summary{}, err
	}
	out := Summary{Digest: digest}
	prompts, images, named := numbers[string]{}, numbers[thing]{}, numbers[string]{}
	rater := func(name string) {
		if name != "" {
			named.of(name)
		}
	}
	normal := map[string]int{} // by a prompt as it is written
	prompt := func(text string) int {
		n, ok := normal[text]
		if !ok {
			n = prompts.of(Normal(text))
			normal[text] = n
		}
		return n
	}
	if len(s.Labels) > 0 {
		sum, a := &LabelSummary{Labels: len(s.Labels)}, newAgreeing()
		good := 0
		for _, l := range s.Labels {
			p := prompt(l.Prompt)
			images.of(thing{p, l.Image, ""})
			rater(l.Rater)
			switch l.Value {
			case Skip:
				sum.Skips++
			case Good:
				good++
				a.add(thing{p, l.Image, ""}, l.Rater, 0)
			case Bad:
				a.add(thing{p, l.Image, ""}, l.Rater, 1)
			}
		}
		if n := sum.Labels - sum.Skips; n > 0 {
			sum.Good = float64(good) / float64(n)
		}
		sum.Repeats, sum.Agreement = a.repeats, a.agreement()
		out.Labels = sum
	}
	if len(s.Pairs) > 0 {
		sum, a := &PairSummary{Pairs: len(s.Pairs)}, newAgreeing()
		ties := 0
		for _, p := range s.Pairs {
			p = p.ordered()
			n := prompt(p.Prompt)
			images.of(thing{n, p.A, ""})
			images.of(thing{n, p.B, ""})
			rater(p.Rater)
			if p.Value == .5 {
				ties++
			}
			by := p.Rater
			if p.VotesA+p.VotesB > 1 {
				by = "" // votes are those of several people
			}
			for category, count := range p.votes() {
				sum.Votes += count
				for range count {
					a.add(thing{n, p.A, p.B}, by, category)
				}
			}
		}
		sum.Ties = float64(ties) / float64(sum.Pairs)
		sum.Repeats, sum.Agreement = a.repeats, a.agreement()
		out.Pairs = sum
	}
	out.Prompts, out.Images, out.Raters = len(prompts), len(images), len(named)
	return out, nil
}

// numbers numbers values in the order in which they come.
type numbers[K comparable] map[K]int

func (n numbers[K]) of(key K) int {
	i, ok := n[key]
	if !ok {
		i = len(n)
		n[key] = i
	}
	return i
}

// thing is what raters judge: an image of a prompt, or two.
type thing struct {
	prompt int
	a, b   string
}

// agreeing collects judgements of things. Agreement depends on their numbers alone, so each is
// taken to be another rater's.
type agreeing struct {
	r       raters.Ratings
	items   numbers[thing]
	seen    map[judged]bool
	repeats int
	used    [3]bool // categories
}

// judged is a thing that a rater has judged.
type judged struct {
	item  int
	rater string
}

func newAgreeing() *agreeing { return &agreeing{items: numbers[thing]{}, seen: map[judged]bool{}} }

// add adds a judgement. A rater who is not named is somebody else each time.
func (a *agreeing) add(x thing, rater string, category int) {
	item := a.items.of(x)
	if item == len(a.r.Cluster) {
		a.r.Cluster = append(a.r.Cluster, x.prompt)
	}
	if by := (judged{item, rater}); rater != "" {
		if a.seen[by] {
			a.repeats++
			return
		}
		a.seen[by] = true
	}
	a.used[category] = true
	a.r.List = append(a.r.List, raters.Rating{Item: item, Rater: len(a.r.List), Category: category})
}

func (a *agreeing) agreement() *Agreement {
	a.r.Items, a.r.Raters, a.r.Categories = len(a.items), len(a.r.List), 2
	if a.used[2] {
		a.r.Categories = 3
	}
	x, ok := a.r.Agree(.95)
	if !ok {
		return nil
	}
	of := func(e raters.Estimate) Interval { return Interval{e.Value, e.Low, e.High} }
	out := &Agreement{Items: x.Items, Alpha: of(x.Alpha), Equal: of(x.Pairs)}
	if a.r.Categories == 2 {
		flips := of(x.Flips)
		out.Flips = &flips
	}
	return out
}
