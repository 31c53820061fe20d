package shapes

import (
	"fmt"
	"math/rand/v2"

	"ablate/models/random"
)

// Category is the property that a prompt tests.
type Category int

// The categories; a combination names at least two of count, colour and
// background.
const (
	CategoryCount Category = iota
	CategoryColour
	CategoryBackground
	CategoryCombination
	categories
)

func (c Category) String() string {
	if c < 0 || c >= categories {
		return fmt.Sprintf("Category(%d)", int(c))
	}
	return [...]string{"count", "colour", "background", "combination"}[c]
}

// share is the probability of each category when a prompt is drawn. Prompts of a category
// are equally likely.
var share = [categories]float64{.2, .2, .2, .4}

// An Entry is a prompt of the catalogue.
type Entry struct {
	Prompt   Prompt
	Category Category
	Seen     bool // whether feedback may use it; a quarter of each category is held out
}

// A Catalogue has all prompts of studies: 8 of count, 6 of colour, 6 of
// background and 138 combinations. Every prompt names the shape.
//
// A catalogue never changes, so goroutines may share one.
type Catalogue struct {
	entries    []Entry
	byCategory [categories][]int // entries of a category
	seen       [categories][]int // those of them that are not held out
	index      map[Prompt]int
}

// Prompts returns the catalogue. Its split is a constant that depends on no
// seed: unseen prompts are unseen combinations of seen words.
func Prompts() *Catalogue {
	c := &Catalogue{index: map[Prompt]int{}}
	for n := range int8(len(words[Count]) + 1) {
		for col := range int8(len(words[Colour]) + 1) {
			for bg := range int8(len(words[Background]) + 1) {
				for s := range int8(len(words[Shape])) {
					p := Prompt{n, col, s + 1, bg}
					cat := CategoryCombination
					switch {
					case n == 0 && col == 0 && bg == 0:
						continue
					case col == 0 && bg == 0:
						cat = CategoryCount
					case n == 0 && bg == 0:
						cat = CategoryColour
					case n == 0 && col == 0:
						cat = CategoryBackground
					}
					c.index[p] = len(c.entries)
					c.byCategory[cat] = append(c.byCategory[cat], len(c.entries))
					c.entries = append(c.entries, Entry{Prompt: p, Category: cat, Seen: true})
				}
			}
		}
	}
	// Hold out a quarter of each category, rounded half up: 2, 2, 2 and 35.
	for cat, list := range c.byCategory {
		r := random.Stream(0, "world", "split", cat)
		for _, k := range r.Perm(len(list))[:(len(list)+2)/4] {
			c.entries[list[k]].Seen = false
		}
		for _, i := range list {
			if c.entries[i].Seen {
				c.seen[cat] = append(c.seen[cat], i)
			}
		}
	}
	return c
}

// All lists the entries in their fixed order; the caller must not change them.
func (c *Catalogue) All() []Entry { return c.entries }

// Find returns the number of a prompt's entry.
func (c *Catalogue) Find(p Prompt) (int, bool) {
	i, ok := c.index[p]
	return i, ok
}

// Draw returns the number of a random entry. It draws a category by its share (.2 each of
// count, colour and background, .4 of combinations), and then a uniform prompt of that
// category: a seen one where seenOnly is true, otherwise any, a quarter of which are held out.
func (c *Catalogue) Draw(r *rand.Rand, seenOnly bool) int {
	u := r.Float64()
	cat := Category(0)
	for ; cat < categories-1 && u >= share[cat]; cat++ {
		u -= share[cat]
	}
	list := c.byCategory[cat]
	if seenOnly {
		list = c.seen[cat]
	}
	return list[r.IntN(len(list))]
}

// Perturbed lists the numbers of the perturbed prompts of entry i: those with one word
// swapped (count, colour, shape or background), and those with two. They name the same
// slots as entry i and differ from it, and none is held out.
func (c *Catalogue) Perturbed(i int) (one, two []int) {
	p := c.entries[i].Prompt
	for j, e := range c.entries {
		changed := 0
		for s := range slots {
			switch {
			case (e.Prompt[s] == 0) != (p[s] == 0):
				changed = 3 // another set of slots: not a perturbation of p
			case e.Prompt[s] != p[s]:
				changed++
			}
		}
		if e.Seen && changed == 1 {
			one = append(one, j)
		} else if e.Seen && changed == 2 {
			two = append(two, j)
		}
	}
	return one, two
}

// Contrasts returns up to n prompts that contrast with p, always the same ones:
// first those with one word swapped, by turns in count, colour, shape and
// background, then those with two. They name the same slots as p, and none is
// held out. There are fewer than n where the grammar has fewer; the prompt that names
// nothing has none.
func (c *Catalogue) Contrasts(p Prompt, n int) []Prompt {
	// by returns p with the word of a slot replaced by the k-th word after it.
	by := func(p Prompt, s Slot, k int) Prompt {
		p[s] = int8((int(p[s])-1+k)%len(words[s])) + 1
		return p
	}
	var list []Prompt
	add := func(q Prompt) {
		if i, ok := c.index[q]; len(list) < n && (!ok || c.entries[i].Seen) {
			list = append(list, q)
		}
	}
	// turns calls f for every swap of a word in the slots from the given one on.
	turns := func(from Slot, f func(s Slot, k int)) {
		for k := 1; k < len(words[Count]); k++ { // no slot has more words
			for s := from; s < slots; s++ {
				if p[s] != 0 && k < len(words[s]) {
					f(s, k)
				}
			}
		}
	}
	turns(Count, func(s Slot, k int) { add(by(p, s, k)) })
	turns(Count, func(s Slot, k int) {
		turns(s+1, func(o Slot, l int) { add(by(by(p, s, k), o, l)) })
	})
	return list
}
