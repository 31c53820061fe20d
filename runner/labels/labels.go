// Package labels reads sets of people's judgements of images: absolute labels, and pairs of
// which one image is better. It reads the layouts of public sets and its own two, JSONL and
// CSV, which it also writes.
package labels

import (
	"strings"
	"time"

	"golang.org/x/text/unicode/norm"
)

// Value is what a rater says of an image.
type Value string

// The values of a label.
const (
	Good Value = "good"
	Bad  Value = "bad"
	Skip Value = "skip" // the rater cannot or does not want to decide
)

// Label is what one rater says of one image.
type Label struct {
	Prompt string    `json:"prompt"`
	Image  string    `json:"image"`           // path, hash or other name
	Rater  string    `json:"rater,omitempty"` // empty: somebody whom the set does not name
	Value  Value     `json:"label"`
	Time   time.Time `json:"time,omitzero"`
	Source string    `json:"source"` // file and line, or number of the row, that it was read from
}

// Pair is what is said of two images of one prompt, by one rater or, where there are votes, by
// several.
type Pair struct {
	Prompt string    `json:"prompt"`
	A      string    `json:"image_a"`
	B      string    `json:"image_b"`
	Rater  string    `json:"rater,omitempty"` // empty: somebody whom the set does not name, or several
	Value  float64   `json:"label_a"`         // 1: A is better, 0: B is, 0.5: a tie
	VotesA int       `json:"votes_a,omitempty"`
	VotesB int       `json:"votes_b,omitempty"`
	ModelA string    `json:"model_a,omitempty"`
	ModelB string    `json:"model_b,omitempty"`
	Split  string    `json:"split,omitempty"` // "train" or another part of the set
	Time   time.Time `json:"time,omitzero"`
	Source string    `json:"source"`
}

// Set is a set of labels and pairs, in the order of their files.
type Set struct {
	Labels []Label
	Pairs  []Pair
}

// Normal returns a prompt as digests and counts have it: in Unicode's form NFC, with single
// spaces.
func Normal(prompt string) string {
	return norm.NFC.String(strings.Join(strings.Fields(prompt), " "))
}

// votes returns how many raters prefer A, prefer B and are undecided. A pair without votes is
// one rater's.
func (p Pair) votes() [3]int {
	switch {
	case p.VotesA+p.VotesB > 0:
		return [3]int{p.VotesA, p.VotesB, 0}
	case p.Value == 1:
		return [3]int{1, 0, 0}
	case p.Value == 0:
		return [3]int{0, 1, 0}
	}
	return [3]int{0, 0, 1}
}

// ordered returns the pair with the names of its images in order, which says the same.
func (p Pair) ordered() Pair {
	if p.A > p.B {
		p.A, p.B, p.VotesA, p.VotesB, p.ModelA, p.ModelB, p.Value = p.B, p.A, p.VotesB, p.VotesA, p.ModelB, p.ModelA, 1-p.Value
	}
	return p
}
