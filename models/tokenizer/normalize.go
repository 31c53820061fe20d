package tokenizer

import (
	"cmp"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// normalize returns a text in Unicode's normalization form C, each run of white space as one
// space, each character in lower case.
func normalize(text string) string {
	var b strings.Builder
	b.Grow(len(text))
	space := false
	for _, r := range composed(text) {
		if unicode.IsSpace(r) {
			if !space {
				b.WriteByte(' ')
			}
			space = true
			continue
		}
		space = false
		if r == 'İ' { // the only character whose lower case is two
			b.WriteString("i\u0307")
			continue
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// composed returns a text in normalization form C (Unicode Standard Annex 15). norm.NFC.String
// does so too, but inserts a character after 30 combining marks (its Stream-Safe Text Format),
// which transformers does not.
func composed(text string) string {
	if norm.NFC.IsNormalString(text) {
		return text
	}
	type char struct {
		r     rune
		class uint8 // canonical combining class; 0 for a starter
	}
	var chars []char
	for _, r := range text {
		for _, d := range norm.NFD.String(string(r)) {
			chars = append(chars, char{d, norm.NFC.PropertiesString(string(d)).CCC()})
		}
	}
	// Canonical order: marks after a starter by their class.
	for i := 0; i < len(chars); {
		j := i + 1
		for j < len(chars) && chars[i].class > 0 && chars[j].class > 0 {
			j++
		}
		slices.SortStableFunc(chars[i:j], func(a, b char) int { return cmp.Compare(a.class, b.class) })
		i = j
	}
	var out []char
	starter := -1
	for _, c := range chars {
		// A character composes with the last starter unless one of its class is between them.
		if n := len(out); starter >= 0 && (starter == n-1 || out[n-1].class < c.class) {
			if both := []rune(norm.NFC.String(string([]rune{out[starter].r, c.r}))); len(both) == 1 {
				out[starter].r = both[0]
				continue
			}
		}
		if c.class == 0 {
			starter = len(out)
		}
		out = append(out, c)
	}
	runes := make([]rune, len(out))
	for i, c := range out {
		runes[i] = c.r
	}
	return string(runes)
}
