package reward_test

import (
	"context"
	"math/rand/v2"
	"strings"
	"testing"

	"ablate/models/modeltest"
	"ablate/models/nn"
	"ablate/models/random"
	"ablate/models/reward"
	"ablate/models/train"
)

// TestLearns: an image is good for a prompt if it shows that prompt's vector. A
// reward learns this by every loss.
func TestLearns(t *testing.T) {
	b := modeltest.Backend(t)
	c := reward.Config{Embedding: 8, Hidden: 32, Inputs: reward.Product}
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
		reward.MSE:               {},
		reward.MSEClassification: {Lambda: .5, Temperature: 2, Perturbations: 2},
		reward.CrossEntropyLoss:  {},
		reward.BradleyTerryLoss:  {},
	} {
		images, labels, prompt := make1(400)
		d := reward.Data{Images: images, Labels: labels, Prompt: prompt, Prompts: prompts,
			Wrong: func(r *rand.Rand, p, n int) []int { return []int{(p + 1 + r.IntN(3)) % 4} }} // one prompt, where two are asked for
		o.Loss, o.Steps, o.Batch, o.LearningRate, o.Adam = name, 200, 32, 3e-3, train.Default(0).Adam
		w, _, err := trainer.Train(t.Context(), d, random.Stream(1, "test", "init", 0), steps("order"), steps("epochs"), o)
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
		// Bradley–Terry's scores have no threshold, so pairs of one prompt are compared.
		right, of := 0, 0
		for i, s := range scores {
			if s < 0 || s > 1 {
				t.Fatalf("%s: score %v", name, s)
			}
			if name != reward.BradleyTerryLoss {
				of++
				if (s > .5) == (labels[i] == 1) {
					right++
				}
				continue
			}
			for j := range i {
				if prompt[i] == prompt[j] && labels[i] != labels[j] {
					of++
					if (s > scores[j]) == (labels[i] == 1) {
						right++
					}
				}
			}
		}
		if of < 300 || right*10 < of*9 {
			t.Errorf("%s: %d of %d judged right", name, right, of)
		}
	}
	if _, _, err := trainer.Train(t.Context(), reward.Data{}, r, steps("order"), steps("epochs"), reward.Options{Loss: reward.MSE, Steps: 1, Batch: 1}); err == nil {
		t.Error("no label is no error")
	}
	d := reward.Data{Images: make([]float32, 3*8), Labels: []float32{1, 1, 0}, Prompt: []int{0, 0, 1}, Prompts: prompts}
	_, _, err = trainer.Train(t.Context(), d, r, steps("order"), steps("epochs"), reward.Options{Loss: reward.BradleyTerryLoss, Steps: 1, Batch: 2})
	if err == nil || !strings.Contains(err.Error(), "none of the 2 prompts of the 3 labelled images has both") {
		t.Errorf("no pair: %v", err)
	}
	if _, _, err = trainer.Train(t.Context(), d, r, steps("order"), steps("epochs"), reward.Options{Loss: "oracle", Steps: 1, Batch: 2}); err == nil {
		t.Error("an unknown loss is no error")
	}
}

// TestResume: a reward's training that is stopped after any saved step, in the middle of
// an epoch too, ends with the same bytes.
func TestResume(t *testing.T) {
	trainer, err := reward.NewTrainer(modeltest.Backend(t), reward.Config{Embedding: 4, Hidden: 3, Inputs: reward.Product})
	if err != nil {
		t.Fatal(err)
	}
	d := reward.Data{Images: make([]float32, 10*4), Prompts: make([]float32, 3*4), Prompt: make([]int, 10), Labels: make([]float32, 10),
		Wrong: func(r *rand.Rand, p, n int) []int { return []int{(p + 1 + r.IntN(2)) % 3} }}
	random.Normal(random.Stream(1, "test", "images", 0), d.Images)
	random.Normal(random.Stream(1, "test", "prompts", 0), d.Prompts)
	for i := range d.Prompt {
		d.Prompt[i], d.Labels[i] = i%3, float32(i%2)
	}
	for _, loss := range []string{reward.MSEClassification, reward.BradleyTerryLoss} {
		const n = 6
		modeltest.Resume(t, n, func(ctx context.Context, r train.Resume, progress func(train.Report)) (nn.Values, *train.Curve, error) {
			return trainer.Train(ctx, d, random.Stream(1, "test", "init", 0), steps("order"), steps("epochs"), reward.Options{Loss: loss, Steps: n, Batch: 4,
				LearningRate: 1e-2, Adam: train.Default(0).Adam, Lambda: .5, Temperature: 2, Perturbations: 2, Resume: r, Progress: progress})
		})
	}
}
