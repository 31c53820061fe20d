package shapes

import (
	"fmt"
	"strings"
)

// Slot is one of the four things that a prompt can name.
type Slot int

// The slots, in the order in which a Prompt holds them.
const (
	Count Slot = iota
	Colour
	Shape
	Background
	slots
)

// words are those of each slot. A value of 0 means that the slot is absent, and v > 0 is
// words[slot][v-1].
var words = [slots][]string{
	Count:      {"one", "two", "three", "four"},
	Colour:     {"red", "green", "yellow"},
	Shape:      {"circle", "bar"},
	Background: {"white", "black", "purple"},
}

// anything is the noun of a prompt that names no shape.
const anything = "shape"

// Values returns the number of words of a slot.
func (s Slot) Values() int { return len(words[s]) }

// Word returns the word of value v of a slot, for v from 1 to Values, and "" for
// every other v.
func (s Slot) Word(v int8) string {
	if v < 1 || int(v) > len(words[s]) {
		return ""
	}
	return words[s][v-1]
}

func (s Slot) String() string {
	if s < 0 || s >= slots {
		return fmt.Sprintf("Slot(%d)", int(s))
	}
	return [...]string{"count", "colour", "shape", "background"}[s]
}

// A Prompt names up to four properties of an image. The value of a slot is 0 where
// the prompt does not name the property, else 1 + the index of its word; no other value
// is valid.
type Prompt [slots]int8

// String returns the prompt in English. Different prompts have different texts:
//
//	three red circles on a white background
//	one bar
//	red circles
//	shapes on a black background
//
// A count of one is singular and an absent count plural; an absent shape is
// "shape". The prompt that names nothing is "".
func (p Prompt) String() string {
	if p == (Prompt{}) {
		return ""
	}
	var b strings.Builder
	for _, s := range []Slot{Count, Colour} {
		if w := s.Word(p[s]); w != "" {
			b.WriteString(w + " ")
		}
	}
	if w := Shape.Word(p[Shape]); w != "" {
		b.WriteString(w)
	} else {
		b.WriteString(anything)
	}
	if p[Count] != 1 {
		b.WriteByte('s')
	}
	if w := Background.Word(p[Background]); w != "" {
		b.WriteString(" on a " + w + " background")
	}
	return b.String()
}

// Vocabulary returns the number of words, which is the width of Words.
func Vocabulary() int {
	n := 0
	for _, w := range words {
		n += len(w)
	}
	return n
}

// Tokens returns the word numbers of p, int32[4] in the order of the slots: 0 where
// a slot is absent, else 1 + the word's index in Words.
func (p Prompt) Tokens() [4]int32 {
	var t [slots]int32
	base := int32(1)
	for s, v := range p {
		if v > 0 {
			t[s] = base + int32(v) - 1
		}
		base += int32(len(words[s]))
	}
	return t
}

// Words writes the bag of words of p to dst float32[Vocabulary]: 1 for a word
// that p has, 0 for another.
func (p Prompt) Words(dst []float32) {
	clear(dst[:Vocabulary()])
	for _, t := range p.Tokens() {
		if t > 0 {
			dst[t-1] = 1
		}
	}
}

// Index returns the number of p among all 240 prompts; 0 is the prompt that names
// nothing.
func (p Prompt) Index() int {
	n := 0
	for s, v := range p {
		n = n*(len(words[s])+1) + int(v)
	}
	return n
}

// Complete reports whether p names all four properties.
func (p Prompt) Complete() bool {
	for _, v := range p {
		if v == 0 {
			return false
		}
	}
	return true
}
