package finetune

import (
	"errors"
	"math"
	"testing"

	"ablate/models/dit"
	"ablate/models/lora"
	"ablate/models/modeltest"
	"ablate/models/nn"
	"ablate/models/pipeline"
	"ablate/models/random"
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

// TestDraw draws images in proportion to their source's mix weight.
func TestDraw(t *testing.T) {
	a, b := generated(100, 1), generated(300, 1)
	a.Mix = 2
	p, err := newPool([]Source{a, b})
	if err != nil {
		t.Fatal(err)
	}
	all := p.urn(p.where(func(int) bool { return true }))
	r := random.Stream(1, "test", "pick", 0)
	n, first := 0, map[int]int{}
	for range 50000 {
		k := all.draw(r)
		if k < 0 || k >= 400 {
			t.Fatalf("image %d of 400", k)
		}
		if k < 100 {
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

func tiny() pipeline.Network {
	c := dit.Default(12)
	c.Layers, c.Width, c.TextWidth, c.Heads = 1, 16, 16, 2
	return pipeline.Shapes(c)
}

// model has no weights of zero, so that a wrong gradient shows.
func model(net pipeline.Network) *pipeline.Model {
	v := nn.Init(net.AllParams(), random.Stream(1, "test", "init", 0))
	for _, p := range net.AllParams() {
		x := v[p.Name]
		noise := make([]float32, len(x))
		random.Normal(random.Stream(1, "test", p.Name, 0), noise)
		for i := range x {
			x[i] += .05 * noise[i]
		}
	}
	return &pipeline.Model{Network: net, Weights: v}
}

// generated are n images of four prompts, good and bad in turn.
func generated(n int, score float32) Source {
	s := Source{Mix: 1,
		Images: func(i int, dst []float32) { random.Normal(random.Stream(1, "test", "image", i), dst) },
		Words:  func(i int, dst []float32) { dst[i%4] = 1 }}
	for i := range n {
		s.Prompts, s.Scores = append(s.Prompts, i%4), append(s.Scores, score)
		s.Good, s.Judged = append(s.Good, i/4%2 == 0), append(s.Judged, true)
	}
	return s
}

func recipe(method string) Recipe {
	return Recipe{Method: method, Steps: 3, Batch: 4, LearningRate: 1e-3, Warmup: 1, Clip: 1, Anchor: "none", Tau: .2, Threshold: .5, Keep: "threshold",
		DPO: DPOSet{Beta: 5}, KTO: KTOSet{Beta: 5, Desirable: 1, Undesirable: 1, Positive: .5},
		AWM: AWMSet{Weighting: "ghuber", Power: .25, Clip: 1, Average: 1}, NFT: NFTSet{Beta: 1, Signal: "score"}, CRD: CRDSet{Beta: 1, Group: 2}}
}

func step(t *testing.T, net pipeline.Network, r Recipe) *Step {
	t.Helper()
	loss, err := r.Loss()
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewStep(modeltest.Backend(t), net, loss, lora.Config{Rank: r.LoRA.Rank, Targets: r.LoRA.Targets})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// distance is the largest difference of a weight.
func distance(a, b nn.Values) (d float64) {
	for name, x := range a {
		for i, v := range x {
			d = max(d, math.Abs(float64(v-b[name][i])))
		}
	}
	return d
}

// TestWeights: images of weight 0 teach nothing, and β scales the pairs: with
// all weights 0 and β 0 the weights of the network stay, else they move.
func TestWeights(t *testing.T) {
	modeltest.Backend(t)
	net := tiny()
	m, r := model(net), recipe("reward-weighted")
	s := step(t, net, r)
	moved := func(sources []Source, beta float64) (float64, float64) {
		ess := 0.
		r.Beta = beta
		got, err := Train(s, m, sources, pairs{}, 2, nil, random.Stream(1, "test", "order", 0), r,
			Hooks{Progress: func(_ int, r Result) error { ess = r.EffectiveSampleSize; return nil }})
		if err != nil {
			t.Fatal(err)
		}
		return distance(got, m.Weights), ess
	}
	if d, _ := moved([]Source{generated(8, 0)}, 0); d != 0 {
		t.Errorf("weights 0 and beta 0 move the network by %v", d)
	}
	if d, ess := moved([]Source{generated(8, .5)}, 0); d == 0 || ess != 4 {
		t.Errorf("weights .5 move the network by %v, effective sample size %v of 4", d, ess)
	}
	if d, _ := moved(nil, 1); d == 0 {
		t.Error("pretraining pairs alone do not move the network")
	}
	if _, err := Train(s, m, nil, nil, 0, nil, random.Stream(1, "test", "order", 0), r, Hooks{}); err == nil {
		t.Error("nothing to learn from is no error")
	}
}

type pairs struct{}

func (pairs) Len() int { return 4 }
func (pairs) Fill(i int, image, words []float32) {
	random.Normal(random.Stream(2, "test", "pair", i), image)
	words[i] = 1
}

// TestRounds: each round after the first learns from fresh images of the weights
// as they are then, and the copies move with the rounds and not before.
func TestRounds(t *testing.T) {
	modeltest.Backend(t)
	net := tiny()
	m := model(net)
	for _, method := range []string{"reward-weighted", "awm", "nft", "crd"} {
		r := recipe(method)
		r.Steps, r.Rounds, r.LearningRate = 6, 3, 3e-3
		s := step(t, net, r)
		var rounds []int
		var seen, current []nn.Values
		var now nn.Values
		h := Hooks{Probes: r.Steps, Probe: func(_ int, weights nn.Values) error {
			now = weights
			return nil
		}, Fresh: func(round int, weights nn.Values) (Source, error) {
			rounds, seen, current = append(rounds, round), append(seen, weights), append(current, now)
			return scored(32), nil
		}}
		one, err := Train(s, m, []Source{scored(32)}, nil, 0, nil, random.Stream(1, "test", "order", 0), r, h)
		if err != nil {
			t.Fatal(method, err)
		}
		if len(rounds) != 2 || rounds[0] != 1 || rounds[1] != 2 || distance(seen[0], m.Weights) == 0 || distance(seen[0], seen[1]) == 0 {
			t.Errorf("%s: fresh images for rounds %v", method, rounds)
		}
		if method == "nft" { // it draws from its old copy, a little behind
			if d := distance(seen[0], current[0]); d == 0 || d > .5*distance(current[0], m.Weights) {
				t.Errorf("%s: the copy that draws is %v from the weights", method, d)
			}
		} else if distance(seen[0], current[0]) != 0 {
			t.Errorf("%s: fresh images are not of the current weights", method)
		}
		r.Rounds = 1
		whole, err := Train(s, m, []Source{scored(32)}, nil, 0, nil, random.Stream(1, "test", "order", 0), r, Hooks{})
		if err != nil {
			t.Fatal(method, err)
		}
		// The images are the same: only what follows the weights can differ.
		if d := distance(one, whole); (d == 0) != (method == "reward-weighted") {
			t.Errorf("%s: three rounds on the same images differ from one by %v", method, d)
		}
	}
}

// TestNothing: what the pretrained model drew must teach something; a round of
// fresh images that does not goes on with those of the round before.
func TestNothing(t *testing.T) {
	modeltest.Backend(t)
	net := tiny()
	m := model(net)
	good, low := generated(32, 1), generated(32, .1)
	for i := range good.Good {
		good.Good[i] = true
	}
	for method, nothing := range map[string]Source{"dpo": good, "kto": good, "filtered": low} {
		r := recipe(method)
		r.Steps, r.Rounds = 6, 3
		s := step(t, net, r)
		h := Hooks{Fresh: func(int, nn.Values) (Source, error) { return nothing, nil }}
		some := generated(32, .9)
		fresh, err := Train(s, m, []Source{some}, nil, 0, nil, random.Stream(1, "test", "order", 0), r, h)
		if err != nil {
			t.Errorf("%s: %v", method, err)
			continue
		}
		r.Rounds = 1
		given, err := Train(s, m, []Source{some}, nil, 0, nil, random.Stream(1, "test", "order", 0), r, Hooks{})
		if err != nil {
			t.Fatal(method, err)
		}
		if d := distance(fresh, given); d != 0 {
			t.Errorf("%s: rounds that teach nothing move the weights by %v", method, d)
		}
		if _, err := Train(s, m, []Source{nothing}, nil, 0, nil, random.Stream(1, "test", "order", 0), r, h); !errors.Is(err, errNothing) {
			t.Errorf("%s on images that teach nothing: %v", method, err)
		}
	}
}
