package shapes

import (
	"fmt"
	"slices"
	"strings"
)

// ParsePrompt reads what Prompt.String writes. Case and the spaces between
// words do not matter; "" and "shapes" both name nothing. An error has the first
// word that does not fit, and the word of the grammar that is nearest to it.
func ParsePrompt(s string) (Prompt, error) {
	var p Prompt
	r := walk{text: s, rest: strings.Fields(strings.ToLower(s))}
	if len(r.rest) == 0 {
		return p, nil
	}
	for _, slot := range []Slot{Count, Colour} {
		if i, ok := r.next(words[slot]); ok {
			p[slot] = int8(i + 1)
		}
	}
	nouns := append([]string{anything}, words[Shape]...)
	if p[Count] != 1 {
		for i := range nouns {
			nouns[i] += "s"
		}
	}
	i, ok := r.next(nouns)
	if !ok {
		return Prompt{}, r.err()
	}
	p[Shape] = int8(i)
	if len(r.rest) == 0 {
		return p, nil
	}
	for _, want := range [][]string{{"on"}, {"a"}, words[Background], {"background"}} {
		i, ok := r.next(want)
		if !ok {
			return Prompt{}, r.err()
		}
		if len(want) > 1 {
			p[Background] = int8(i + 1)
		}
	}
	if len(r.rest) > 0 {
		return Prompt{}, r.err()
	}
	return p, nil
}

// walk goes through the words of a prompt.
type walk struct {
	text string
	rest []string
	want []string // words that are allowed next
}

// next consumes the next word if it is in list, and returns its index there.
func (w *walk) next(list []string) (int, bool) {
	w.want = append(w.want, list...)
	if len(w.rest) == 0 {
		return 0, false
	}
	i := slices.Index(list, w.rest[0])
	if i >= 0 {
		w.rest, w.want = w.rest[1:], nil
	}
	return i, i >= 0
}

// err returns the error for the next word.
func (w *walk) err() error {
	want := "nothing"
	if len(w.want) > 0 {
		want = strings.Join(w.want, ", ")
	}
	if len(w.rest) == 0 {
		return fmt.Errorf("prompt %q ends too early: want %s", clip(w.text), want)
	}
	near, exact := nearestWord(w.rest[0], w.want)
	if exact {
		return fmt.Errorf("prompt %q: %q does not belong there: want %s", clip(w.text), near, want)
	}
	return fmt.Errorf("prompt %q: %q is not a word of this world (nearest: %q); want %s there", clip(w.text), clip(w.rest[0]), near, want)
}

// nearestWord returns the word of the grammar that is nearest to s, preferring words of
// first, and whether it is s itself.
func nearestWord(s string, first []string) (string, bool) {
	all := append(slices.Clone(first), anything, anything+"s", "on", "a", "background")
	for slot, list := range words {
		for _, w := range list {
			all = append(all, w)
			if Slot(slot) == Shape {
				all = append(all, w+"s")
			}
		}
	}
	s = clip(s)
	best := slices.MinFunc(all, func(a, b string) int { return edits(s, a) - edits(s, b) })
	return best, best == s
}

// edits is the Levenshtein distance, in bytes.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// clip bounds the length of a text that an error quotes.
func clip(s string) string {
	const most = 80
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
