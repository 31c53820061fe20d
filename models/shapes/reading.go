package shapes

import (
	"cmp"
	"slices"
	"strings"
)

// A Reading is the result of parsing an image.
type Reading struct {
	Background int8     // as in a Prompt
	Objects    []Object // one to four; empty where Reason is set
	Reason     string   // why the image cannot be read, else empty
}

// An Object is one object of a Reading, with values as in a Prompt.
type Object struct{ Colour, Shape int8 }

// Readable reports whether the parser could read the image.
func (r Reading) Readable() bool { return r.Reason == "" }

// String returns the reading in the words of prompts, "two red circles and one green bar
// on a black background", or the reason why it is unreadable, "unreadable: a fragment".
func (r Reading) String() string {
	if !r.Readable() {
		return "unreadable: " + r.Reason
	}
	list := slices.SortedFunc(slices.Values(r.Objects), func(a, b Object) int {
		return cmp.Or(cmp.Compare(a.Colour, b.Colour), cmp.Compare(a.Shape, b.Shape))
	})
	var groups []string
	for len(list) > 0 {
		n := 1
		for n < len(list) && list[n] == list[0] {
			n++
		}
		groups = append(groups, Prompt{Count: int8(n), Colour: list[0].Colour, Shape: list[0].Shape}.String())
		list = list[n:]
	}
	s := strings.Join(groups, ", ")
	if n := len(groups); n > 1 {
		s = strings.Join(groups[:n-1], ", ") + " and " + groups[n-1]
	}
	return s + " on a " + Background.Word(r.Background) + " background"
}

// Satisfies reports whether the image shows p. Slots that p leaves open are ignored. A
// colour or shape that p names must be that of every object, so an image of mixed ones
// satisfies no prompt that names them. An unreadable image satisfies no prompt.
func (r Reading) Satisfies(p Prompt) bool {
	if !r.Readable() || p[Count] > 0 && int(p[Count]) != len(r.Objects) || p[Background] > 0 && p[Background] != r.Background {
		return false
	}
	for _, o := range r.Objects {
		if p[Colour] > 0 && o.Colour != p[Colour] || p[Shape] > 0 && o.Shape != p[Shape] {
			return false
		}
	}
	return true
}

// Judge returns the gold verdict on the image for prompt p.
func (r Reading) Judge(p Prompt) Verdict {
	switch {
	case !r.Readable():
		return Skip
	case r.Satisfies(p):
		return Good
	}
	return Bad
}
