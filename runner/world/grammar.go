package world

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"

	"ablate/models/random"
)

// Lee2023 names the grammar of prompts of Lee et al. 2023 (arXiv 2302.12192).
const Lee2023 = "lee2023"

// The words of Lee et al. 2023: 9 colours, counts from one to six, 8 backgrounds and 25 objects.
// The prepositions follow the paper's examples, "in the forest" and "on the moon".
var (
	counts      = strings.Fields("one two three four five six")
	colours     = strings.Fields("red yellow green blue black pink purple white brown")
	backgrounds = []string{"in the forest", "in the city", "on the moon", "in the field", "in the sea", "on the table", "in the desert", "in San Francisco"}
	objects     = strings.Fields("dog cat lion orange vase cup apple chair bird cake bicycle tree donut box plate clock backpack car airplane bear horse tiger rabbit rose wolf")
)

// Slots of a phrase.
const (
	countSlot = iota
	colourSlot
	backgroundSlot
	objectSlot
	slots
)

var slotWords = [slots][]string{counts, colours, backgrounds, objects}

// A phrase is a prompt of the grammar: the number of the word of each slot, from 1; 0 where the
// prompt has none. Every prompt has an object.
type phrase [slots]int

// A Grammar has all prompts of Lee et al. 2023: those of count ("Two dogs"), of colour ("A green
// colored dog"), of background ("A dog on the moon"), and combinations of two or three of these
// ("Two blue dogs in the forest"). A grammar never changes, so goroutines may share one.
type Grammar struct {
	phrases []phrase
	index   map[string]int // by text
	number  map[phrase]int
	held    []bool   // by phrase
	seen    []string // texts of those that are not held out
	of      [2][][]int
}

// GrammarOf returns the grammar of a name.
func GrammarOf(name string) (*Grammar, error) {
	if name != Lee2023 {
		return nil, fmt.Errorf("%q is not a grammar of prompts; must be %q", name, Lee2023)
	}
	return lee2023(), nil
}

// lee2023 makes the grammar. A quarter of the prompts of each category is held out by a constant
// random stream, so that held-out prompts are new combinations of words that trainings see.
var lee2023 = sync.OnceValue(func() *Grammar {
	g := &Grammar{index: map[string]int{}, number: map[phrase]int{}}
	categories := make([][]int, len(Categories()))
	for count := range len(counts) + 1 {
		for colour := range len(colours) + 1 {
			for background := range len(backgrounds) + 1 {
				for object := range len(objects) {
					p := phrase{count, colour, background, object + 1}
					if c := p.category(); c >= 0 {
						categories[c] = append(categories[c], len(g.phrases))
						g.index[p.String()], g.number[p] = len(g.phrases), len(g.phrases)
						g.phrases = append(g.phrases, p)
					}
				}
			}
		}
	}
	g.held = make([]bool, len(g.phrases))
	for c, list := range categories {
		order := random.Stream(0, Lee2023, "split", c).Perm(len(list))
		for i, k := range order {
			g.held[list[k]] = i < len(list)/4
		}
	}
	for _, list := range categories {
		var split [2][]int // seen and held out
		for _, i := range list {
			if g.held[i] {
				split[1] = append(split[1], i)
			} else {
				split[0] = append(split[0], i)
			}
		}
		g.of[0], g.of[1] = append(g.of[0], split[0]), append(g.of[1], split[1])
	}
	for i, p := range g.phrases {
		if !g.held[i] {
			g.seen = append(g.seen, p.String())
		}
	}
	return g
})

// category returns the index in Categories of what a prompt tests; -1 if it has an object only.
func (p phrase) category() int {
	category := -1
	for s, word := range p[:objectSlot] {
		switch {
		case word == 0:
		case category >= 0:
			return len(Categories()) - 1
		default:
			category = s
		}
	}
	return category
}

// String returns the prompt's text.
func (p phrase) String() string {
	object := objects[p[objectSlot]-1]
	var words []string
	switch count, colour := p[countSlot], p[colourSlot]; {
	case count > 1:
		words = append(words, counts[count-1])
		object = plural(object)
	case count == 1:
		words = append(words, counts[0])
	case colour == 0 && strings.ContainsAny(object[:1], "aeiou"):
		words = append(words, "an")
	default:
		words = append(words, "a")
	}
	if colour := p[colourSlot]; colour > 0 {
		words = append(words, colours[colour-1])
		if p[countSlot] == 0 {
			words = append(words, "colored")
		}
	}
	words = append(words, object)
	if background := p[backgroundSlot]; background > 0 {
		words = append(words, backgrounds[background-1])
	}
	text := strings.Join(words, " ")
	return strings.ToUpper(text[:1]) + text[1:]
}

func plural(object string) string {
	switch object {
	case "wolf":
		return "wolves"
	case "box":
		return "boxes"
	}
	return object + "s"
}

// Draw draws a random prompt: of those that a training may use, or of those that are held out. A
// fifth each are of count, colour and background, and two fifths combinations.
func (g *Grammar) Draw(r *rand.Rand, held bool) Prompt {
	category := []int{0, 1, 2, 3, 3}[r.IntN(5)]
	list := g.of[0][category]
	if held {
		list = g.of[1][category]
	}
	return Prompt{Text: g.phrases[list[r.IntN(len(list))]].String(), Category: Categories()[category], Seen: !held}
}

// Seen returns all prompts that a training may use, always in the same order. The caller must
// not change them.
func (g *Grammar) Seen() []string { return g.seen }

// HeldOut returns all prompts that are held out.
func (g *Grammar) HeldOut() (texts []string) {
	for i, p := range g.phrases {
		if g.held[i] {
			texts = append(texts, p.String())
		}
	}
	return texts
}

// Perturbed returns the prompts that a training may use and that differ from a prompt in one word:
// its count, colour, background or object. It is an error if prompt is not a prompt of the grammar.
func (g *Grammar) Perturbed(prompt string) ([]string, error) {
	i, ok := g.index[prompt]
	if !ok {
		return nil, fmt.Errorf("%q is not a prompt of the grammar %s", prompt, Lee2023)
	}
	var out []string
	for s, word := range g.phrases[i] {
		for other := 1; word > 0 && other <= len(slotWords[s]); other++ {
			p := g.phrases[i]
			if p[s] = other; other != word && !g.held[g.number[p]] {
				out = append(out, p.String())
			}
		}
	}
	return out, nil
}
