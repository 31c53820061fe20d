package finetune

import (
	"math"
	"testing"

	"ablate/models/dit"
	"ablate/models/modeltest"
	"ablate/models/nn"
	"ablate/models/pipeline"
	"ablate/models/random"
	"ablate/models/train"
)

func TestPairsPerStep(t *testing.T) {
	for _, tc := range []struct {
		mix   float64
		batch int
		want  int
	}{{0, 64, 0}, {1, 64, 32}, {2, 64, 64}, {.01, 64, 1}, {1, 1, 1}, {.5, 10, 3}} {
		if got := PairsPerStep(tc.mix, tc.batch); got != tc.want {
			t.Errorf("PairsPerStep(%v, %d) = %d, want %d", tc.mix, tc.batch, got, tc.want)
		}
	}
}

// TestPick draws images in proportion to their source's mix weight.
func TestPick(t *testing.T) {
	a, b := Source{Weights: make([]float32, 100), Mix: 2}, Source{Weights: make([]float32, 300), Mix: 1}
	r := random.Stream(1, "test", "pick", 0)
	n, first := 0, map[int]int{}
	for range 50000 {
		s, k := pick([]Source{a, b}, 500*r.Float64())
		if k < 0 || k >= len(s.Weights) {
			t.Fatalf("image %d of %d", k, len(s.Weights))
		}
		if len(s.Weights) == 100 {
			n++
			first[k]++
		}
	}
	if share := float64(n) / 50000; math.Abs(share-.4) > .01 {
		t.Errorf("%.3f of the draws are of a source of 200 of 500", share)
	}
	if len(first) != 100 {
		t.Errorf("%d of 100 images were ever drawn", len(first))
	}
}

// TestWeights: images of weight 0 teach nothing, and β scales the pairs: with
// all weights 0 and β 0 the weights of the network stay, else they move.
func TestWeights(t *testing.T) {
	b := modeltest.Backend(t)
	c := dit.Default(12)
	c.Layers, c.Width, c.TextWidth, c.Heads = 1, 16, 16, 2
	net := pipeline.Shapes(c)
	trainer, err := train.New(b, "finetune", net.AllParams(), net.WeightedLoss)
	if err != nil {
		t.Fatal(err)
	}
	m := &pipeline.Model{Network: net, Weights: nn.Init(net.AllParams(), random.Stream(1, "test", "init", 0))}
	source := func(w float32) Source {
		s := Source{Mix: 1, Weights: make([]float32, 8),
			Images: func(i int, dst []float32) { random.Normal(random.Stream(1, "test", "image", i), dst) },
			Words:  func(i int, dst []float32) { dst[i] = 1 }}
		for i := range s.Weights {
			s.Weights[i] = w
		}
		return s
	}
	moved := func(sources []Source, beta float64) (float64, float64) {
		ess := 0.
		got, err := RewardWeighted(trainer, m, sources, pairs{}, random.Stream(1, "test", "order", 0), Options{Steps: 3, Batch: 4, LearningRate: 1e-3, Beta: beta, PairsPerStep: 2, Warmup: 1,
			Progress: func(_ int, r Result) error { ess = r.EffectiveSampleSize; return nil }})
		if err != nil {
			t.Fatal(err)
		}
		var d float64
		for name, x := range got {
			for i, v := range x {
				d = max(d, math.Abs(float64(v-m.Weights[name][i])))
			}
		}
		return d, ess
	}
	if d, _ := moved([]Source{source(0)}, 0); d != 0 {
		t.Errorf("weights 0 and beta 0 move the network by %v", d)
	}
	if d, ess := moved([]Source{source(.5)}, 0); d == 0 || ess != 4 {
		t.Errorf("weights .5 move the network by %v, effective sample size %v of 4", d, ess)
	}
	if d, _ := moved(nil, 1); d == 0 {
		t.Error("pretraining pairs alone do not move the network")
	}
	if _, err := RewardWeighted(trainer, m, nil, nil, random.Stream(1, "test", "order", 0), Options{Steps: 1, Batch: 4}); err == nil {
		t.Error("nothing to learn from is no error")
	}
}

type pairs struct{}

func (pairs) Len() int { return 4 }
func (pairs) Fill(i int, image, words []float32) {
	random.Normal(random.Stream(2, "test", "pair", i), image)
	words[i] = 1
}
