package people

import (
	"fmt"
	"slices"

	"ablate/analysis/raters"
	"ablate/reports/format"
)

// An Outcome is what raters have said so far.
type Outcome struct {
	Sides   [2]string `json:"sides"` // rows; wins are those of the first
	Prompts int       `json:"prompts"`
	Done    int       `json:"done"`    // answers
	Of      int       `json:"of"`      // answers when all have answered
	Raters  []Share   `json:"raters"`  // how far each is
	Results []Result  `json:"results"` // by question, of all prompts and of groups of them
	Agree   []Agree   `json:"agreement"`
}

// A Share is how far a rater is.
type Share struct {
	Name string `json:"name"`
	Done int    `json:"done"`
	Of   int    `json:"of"`
}

// A Result is a question's answers on some prompts.
type Result struct {
	Question string  `json:"question"` // alignment or fidelity
	Group    string  `json:"group"`    // all, seen, unseen, or a category
	Wins     int     `json:"wins"`
	Ties     int     `json:"ties"`
	Losses   int     `json:"losses"`
	Prompts  int     `json:"prompts"`
	Raters   int     `json:"raters"`
	Share    float64 `json:"share"` // wins, ties as half a win; 0.5 is no difference
	Low      float64 `json:"low"`   // of its interval at 95 %
	High     float64 `json:"high"`
}

// Agree is how far raters agree on a question.
type Agree struct {
	Question string  `json:"question"`
	Alpha    float64 `json:"alpha"` // Krippendorff's, of win, tie and loss
	Low      float64 `json:"low"`   // of its interval at 95 %
	High     float64 `json:"high"`
	Prompts  int     `json:"prompts"` // that two raters or more have answered
}

// String says it in a sentence.
func (a Agree) String() string {
	return fmt.Sprintf("Agreement of raters on %s: Krippendorff's α %s (%s to %s), of %s that two or more have answered.",
		a.Question, format.Fixed(a.Alpha, 2), format.Fixed(a.Low, 2), format.Fixed(a.High, 2), format.Count(a.Prompts, "prompt"))
}

const level = .95

// Outcome returns what raters have said so far.
func (c *Collection) Outcome() *Outcome {
	o := &Outcome{Sides: c.Sides, Prompts: len(c.Tasks), Results: []Result{}, Agree: []Agree{}}
	o.Done, o.Of = c.Done()
	for _, r := range c.Raters {
		o.Raters = append(o.Raters, Share{r.Name, c.doneBy(r), len(r.Tasks)})
	}
	groups := []struct {
		name string
		keep func(Task) bool
	}{{"all", nil}, {"seen", func(t Task) bool { return t.Seen }}, {"unseen", func(t Task) bool { return !t.Seen }}}
	var tags []string
	for _, t := range c.Tasks {
		if t.Tag != "" && !slices.Contains(tags, t.Tag) {
			tags = append(tags, t.Tag)
			groups = append(groups, struct {
				name string
				keep func(Task) bool
			}{t.Tag, func(x Task) bool { return x.Tag == t.Tag }})
		}
	}
	for _, question := range []string{Alignment, Fidelity} {
		for _, g := range groups {
			votes := c.Votes(g.keep)[question]
			if len(votes) == 0 {
				continue
			}
			p := raters.Prefer(votes, level)
			o.Results = append(o.Results, Result{question, g.name, p.Wins, p.Ties, p.Losses, p.Items, p.Raters, p.Share.Value, p.Share.Low, p.Share.High})
		}
		if a, ok := c.Agreement(question, level); ok {
			o.Agree = append(o.Agree, Agree{question, a.Alpha.Value, a.Alpha.Low, a.Alpha.High, a.Items})
		}
	}
	return o
}
