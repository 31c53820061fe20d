// Package tokenizer turns prompts into the ids that pretrained text encoders read. CLIP is the
// tokenizer of CLIP and of Stable Diffusion (transformers' CLIPTokenizer), with equal ids. Only
// letters that are newer than Go's Unicode tables (version 15) may have other ids.
package tokenizer

import (
	"cmp"
	"container/heap"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// CLIP is byte-level byte-pair encoding (Sennrich et al. 2016, arXiv 1508.07909) of
// lower-case words. A CLIP does not change and is safe for concurrent use.
type CLIP struct {
	Begin, End, Pad int32 // ids of the tokens that begin, end and fill a prompt
	Length          int   // ids of a prompt, by model_max_length; 0 if the files do not limit it
	Size            int   // one more than the largest id

	inner, last [256]int32 // id of each byte, within a word and at its end
	merges      map[pair]merged
	raw, normal []added // tokens that are found in the text before it is normalized, and after
}

// added is a token that is recognized wherever a text contains it.
type added struct {
	text string
	id   int32
}

// A pair is two tokens beside each other, by their ids.
type pair [2]int32

// merged is the token that a pair becomes. Pairs of lower rank are merged first.
type merged struct {
	rank int
	id   int32
}

// Encode returns the ids of a prompt, padded or truncated to length, which must be at least 2,
// and the number of its tokens before either. If that number is greater than length, the
// prompt was truncated: its last tokens have no ids. Both the first id, Begin, and End count.
func (t *CLIP) Encode(prompt string, length int) (ids []int32, tokens int) {
	ids = []int32{t.Begin}
	add := func(id int32) { ids = append(ids, id) }
	find(strings.ToValidUTF8(prompt, string(utf8.RuneError)), t.raw, add, func(text string) {
		find(normalize(text), t.normal, add, func(text string) {
			words(text, func(word string) { ids = t.merge(ids, word) })
		})
	})
	ids = append(ids, t.End)
	if tokens = len(ids); tokens > length {
		return append(ids[:length-1], t.End), tokens
	}
	return append(ids, slices.Repeat([]int32{t.Pad}, length-tokens)...), tokens
}

// find calls token for each added token in a text and rest for the text between them. Of tokens
// that begin at one place, the longest is found.
func find(text string, tokens []added, token func(int32), rest func(string)) {
	begin := 0
	for i := 0; i < len(text); {
		best := -1
		for j, a := range tokens {
			if strings.HasPrefix(text[i:], a.text) && (best < 0 || len(a.text) > len(tokens[best].text)) {
				best = j
			}
		}
		if best < 0 {
			i++
			continue
		}
		rest(text[begin:i])
		token(tokens[best].id)
		i += len(tokens[best].text)
		begin = i
	}
	rest(text[begin:])
}

// contractions are words that begin with an apostrophe, in the order in which they are tried.
var contractions = []string{"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"}

// words calls word for each word of a normalized text: a contraction, letters, one digit, or
// other characters except white space. The names of CLIP's special tokens are words of their
// own; transformers then splits them as any text.
func words(text string, word func(string)) {
	for len(text) > 0 {
		r, n := utf8.DecodeRuneInString(text)
		starts := func(s string) bool { return strings.HasPrefix(text, s) }
		if i := slices.IndexFunc([]string{begin, end}, starts); i >= 0 {
			name := []string{begin, end}[i]
			word("<|")
			word(strings.Trim(name, "<|>"))
			word("|>")
			text = text[len(name):]
			continue
		}
		switch i := slices.IndexFunc(contractions, starts); {
		case i >= 0:
			n = len(contractions[i])
		case unicode.IsSpace(r):
			text = text[n:]
			continue
		case unicode.IsLetter(r):
			n = span(text, unicode.IsLetter)
		case unicode.IsNumber(r):
		default:
			n = span(text, func(r rune) bool { return !unicode.IsSpace(r) && !unicode.IsLetter(r) && !unicode.IsNumber(r) })
		}
		word(text[:n])
		text = text[n:]
	}
}

// span is the length of the longest prefix of a text whose characters all satisfy is.
func span(text string, is func(rune) bool) int {
	if n := strings.IndexFunc(text, func(r rune) bool { return !is(r) }); n >= 0 {
		return n
	}
	return len(text)
}

// A symbol is a token of a word whose pairs are being merged.
type symbol struct {
	id         int32
	prev, next int // index of its neighbours, -1 if it has none
}

// A candidate is a pair that can be merged.
type candidate struct {
	merged
	left int // index of its first symbol
	pair pair
}

// candidates is a heap: the pair of lowest rank comes first, and of equal pairs the leftmost.
type candidates []candidate

func (c candidates) Len() int { return len(c) }
func (c candidates) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(c[i].rank, c[j].rank), cmp.Compare(c[i].left, c[j].left)) < 0
}
func (c candidates) Swap(i, j int) { c[i], c[j] = c[j], c[i] }
func (c *candidates) Push(x any)   { *c = append(*c, x.(candidate)) }
func (c *candidates) Pop() any {
	old := *c
	x := old[len(old)-1]
	*c = old[:len(old)-1]
	return x
}

// merge appends the ids of a word. It begins with the word's bytes and merges the pair of lowest
// rank until there is none. A heap makes this n·log n in the length of the word, which has no
// bound.
func (t *CLIP) merge(ids []int32, word string) []int32 {
	if word == "" {
		return ids
	}
	symbols := make([]symbol, len(word))
	for i := range symbols {
		symbols[i] = symbol{t.inner[word[i]], i - 1, i + 1}
	}
	end := len(word) - 1
	symbols[end] = symbol{t.last[word[end]], end - 1, -1}

	var queue candidates
	push := func(left int) {
		if left < 0 || symbols[left].next < 0 {
			return
		}
		p := pair{symbols[left].id, symbols[symbols[left].next].id}
		if m, ok := t.merges[p]; ok {
			heap.Push(&queue, candidate{m, left, p})
		}
	}
	for i := range symbols {
		push(i)
	}
	for len(queue) > 0 {
		c := heap.Pop(&queue).(candidate)
		s := &symbols[c.left]
		if s.id != c.pair[0] || s.next < 0 || symbols[s.next].id != c.pair[1] {
			continue // one of the two became part of another token
		}
		symbols[s.next].id, s.next = gone, symbols[s.next].next
		if s.id = c.id; s.next >= 0 {
			symbols[s.next].prev = c.left
		}
		push(s.prev)
		push(c.left)
	}
	for i := 0; i >= 0; i = symbols[i].next {
		ids = append(ids, symbols[i].id)
	}
	return ids
}

// gone is the id of a symbol that became part of the symbol before it.
const gone = -1
