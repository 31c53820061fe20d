package stage

import (
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"ablate/models/checkpoint"
	"ablate/runner/world"
)

// TestGrammarFeatures checks that a reward on an engine's features compares a prompt with the
// features of prompts of the grammar that differ from it in one word, those that an engine could
// not embed left out. The grammar's list is the same for all seeds.
func TestGrammarFeatures(t *testing.T) {
	a, e := newActions(t), NewEnv(nil)
	g, err := world.GrammarOf(world.Lee2023)
	if err != nil {
		t.Fatal(err)
	}
	n := len(g.Seen())
	list := a.run(e, Prompts, PromptsParams{List: GrammarList, Rows: n, Grammar: world.Lee2023}, nil)
	prompts, err := ReadPrompts(list)
	if err != nil || !slices.Equal(texts(prompts), g.Seen()) {
		t.Fatalf("%d prompts of %d: %v", len(prompts), n, err)
	}
	features := func(rows int, at func(row int) [2]float32) string {
		dir := t.TempDir()
		var x []float32
		for i := range rows {
			v := at(i)
			x = append(x, v[:]...)
		}
		if err := checkpoint.WriteFile(filepath.Join(dir, featuresFile), map[string]checkpoint.Tensor{featuresName: checkpoint.Floats(x, rows, 2)}); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	// The first coordinate numbers the prompt of a row; every seventh has no features.
	all := features(n, func(i int) [2]float32 {
		if i%7 == 0 {
			return [2]float32{missing, missing}
		}
		return [2]float32{float32(i), float32(n)}
	})
	// A held-out prompt can have a label, too, when a reward is assessed.
	own := []string{g.Draw(rand.New(rand.NewPCG(1, 1)), false).Text, g.Draw(rand.New(rand.NewPCG(1, 2)), true).Text}
	labels := t.TempDir()
	if err := checkpoint.WriteJSON(filepath.Join(labels, labelsFile), Labelled{Prompts: own, Labels: []string{world.Good, world.Bad}}); err != nil {
		t.Fatal(err)
	}
	two := features(2, func(int) [2]float32 { return [2]float32{3, 4} })
	d, width, err := featuresData(Task{Inputs: map[string]string{LabelsInput: labels, FeaturesInput: two, TextsInput: two, GrammarInput: list, GrammarTextsInput: all}}, world.Lee2023)
	if err != nil || width != 2 {
		t.Fatal(width, err)
	}
	for k, prompt := range own {
		want := map[string]bool{}
		perturbed, err := g.Perturbed(prompt)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range perturbed {
			if slices.Index(g.Seen(), p)%7 != 0 {
				want[p] = true
			}
		}
		got := map[string]bool{}
		for _, at := range d.Wrong(rand.New(rand.NewPCG(1, 2)), k, 1000) {
			x := d.Prompts[at*2 : at*2+2]
			got[g.Seen()[int(x[0]/x[1]*float32(n)+.5)]] = true
		}
		if len(got) == 0 || len(got) != len(want) {
			t.Errorf("%q is compared with %d prompts, want %d", prompt, len(got), len(want))
		}
		for p := range got {
			if !want[p] {
				t.Errorf("%q is compared with %q", prompt, p)
			}
		}
	}
	if some := d.Wrong(rand.New(rand.NewPCG(1, 2)), 0, 3); len(some) != 3 {
		t.Errorf("%d prompts, want 3", len(some))
	}
}
