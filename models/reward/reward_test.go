package reward_test

import (
	"math/rand/v2"
	"testing"

	"ablate/models/modeltest"
	"ablate/models/random"
	"ablate/models/reward"
)

// TestLearns: an image is good for a prompt if their embeddings agree in sign;
// a reward learns it from noisy labels, with and without classification, and
// prompt classification tells the right prompt from wrong ones.
func TestLearns(t *testing.T) {
	b := modeltest.Backend(t)
	c := reward.Config{Embedding: 8, Hidden: 32}
	trainer, err := reward.NewTrainer(b, c)
	if err != nil {
		t.Fatal(err)
	}
	scorer, err := reward.NewScorer(b, c)
	if err != nil {
		t.Fatal(err)
	}
	// Four prompts along axes; an image is a prompt's vector, its own or another.
	r := random.Stream(1, "test", "reward", 0)
	prompts := make([]float32, 4*8)
	for i := range 4 {
		prompts[i*8+i] = 1
	}
	make1 := func(n int) (images []float32, labels []float32, prompt []int) {
		for range n {
			p, shown := r.IntN(4), r.IntN(4)
			if r.IntN(2) == 0 {
				shown = p
			}
			x := make([]float32, 8)
			random.Normal(r, x)
			for j := range x {
				x[j] *= .1
			}
			x[shown] += 1
			y := float32(0)
			if shown == p {
				y = 1
			}
			images, labels, prompt = append(images, x...), append(labels, y), append(prompt, p)
		}
		return images, labels, prompt
	}
	for name, o := range map[string]reward.Options{
		"mse":                {Temperature: 1},
		"mse+classification": {Lambda: .5, Temperature: 2, Perturbations: 2},
	} {
		images, labels, prompt := make1(400)
		d := reward.Data{Images: images, Labels: labels, Prompt: prompt, Prompts: prompts,
			Wrong: func(r *rand.Rand, p, n int) []int { return []int{(p + 1 + r.IntN(3)) % 4} }} // one, where two are asked for
		o.Steps, o.Batch, o.LearningRate = 200, 32, 3e-3
		w, err := trainer.Train(d, random.Stream(1, "test", "init", 0), random.Stream(1, "test", "order", 0), o)
		if err != nil {
			t.Fatal(err)
		}
		images, labels, prompt = make1(300)
		var text []float32
		for _, p := range prompt {
			text = append(text, prompts[p*8:(p+1)*8]...)
		}
		scores, err := scorer.Score(w, images, text)
		if err != nil {
			t.Fatal(err)
		}
		right := 0
		for i, s := range scores {
			if s < 0 || s > 1 {
				t.Fatalf("%s: score %v", name, s)
			}
			if (s > .5) == (labels[i] == 1) {
				right++
			}
		}
		if len(scores) != 300 || right < 270 {
			t.Errorf("%s: %d of %d judged right", name, right, len(scores))
		}
	}
	if _, err := trainer.Train(reward.Data{}, r, r, reward.Options{Steps: 1, Batch: 1}); err == nil {
		t.Error("no label is no error")
	}
}
