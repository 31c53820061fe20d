package world_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"ablate/runner/world"
)

// TestGrammar checks the texts of Lee et al. 2023, that trainings and evaluations have different
// prompts of all categories, and that perturbed prompts are a training's.
func TestGrammar(t *testing.T) {
	g, err := world.GrammarOf(world.Lee2023)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, p := range g.Seen() {
		seen[p] = true
	}
	// 150 of count, 225 of colour, 200 of background and 15,150 combinations, less a quarter each.
	if want := 113 + 169 + 150 + 11363; len(seen) != want || len(g.Seen()) != want {
		t.Errorf("%d prompts, %d of them different, want %d", len(g.Seen()), len(seen), want)
	}
	r := rand.New(rand.NewPCG(1, 2))
	categories := map[bool]map[string]int{false: {}, true: {}}
	for i := range 4000 {
		held := i%2 == 0
		p := g.Draw(r, held)
		categories[held][p.Category]++
		if seen[p.Text] == held || p.Seen == held {
			t.Fatalf("%+v is a training's: %v", p, seen[p.Text])
		}
	}
	for held, n := range categories {
		for i, c := range world.Categories() {
			if want := []int{400, 400, 400, 800}[i]; n[c] < want-100 || n[c] > want+100 {
				t.Errorf("held out %v: %d of %s, want about %d", held, n[c], c, want)
			}
		}
	}
	for prompt, want := range map[string][]string{
		"Two dogs":                       {"Three dogs", "Two wolves", "Two boxes"},
		"An apple on the moon":           {"A dog on the moon", "An orange on the moon", "An apple in San Francisco"},
		"A green colored dog":            {"A red colored dog", "A green colored apple"},
		"Six blue wolves in the forest":  {"One blue wolf in the forest", "Six white wolves in the forest"},
		"A pink colored car on the moon": {"A pink colored car in the sea"},
	} {
		list, err := g.Perturbed(prompt)
		if err != nil {
			t.Errorf("%s: %v", prompt, err)
		}
		for _, p := range list {
			if !seen[p] || p == prompt {
				t.Errorf("%q is a perturbation of %q", p, prompt)
			}
		}
		for _, p := range want {
			if seen[p] != slices.Contains(list, p) {
				t.Errorf("%q among the perturbations of %q: %v, want %v", p, prompt, !seen[p], seen[p])
			}
		}
	}
	if _, err := g.Perturbed("Seven dogs"); err == nil {
		t.Error("no error for a prompt of another grammar")
	}
	if _, err := world.GrammarOf("other"); err == nil {
		t.Error("no error for another grammar")
	}
}
