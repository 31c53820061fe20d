package finetune

import (
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/graph"

	"ablate/models/dit"
	"ablate/models/modeltest"
	"ablate/models/nn"
	"ablate/models/pipeline"
	"ablate/models/random"
	"ablate/models/sampler"
	"ablate/models/train"
)

func tiny() pipeline.Network {
	c := dit.Default(12)
	c.Layers, c.Width, c.TextWidth, c.Heads = 1, 16, 16, 2
	return pipeline.Shapes(c)
}

// model returns a model without weights of zero, so that a wrong gradient is noticed.
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

// nudged returns weights that differ from v, as copies do in training.
func nudged(v nn.Values, r *rand.Rand, by float32) nn.Values {
	out := nn.Values{}
	for _, p := range tiny().AllParams() {
		x := v[p.Name]
		y := make([]float32, len(x))
		random.Normal(r, y)
		for i := range x {
			y[i] = x[i] + by*y[i]
		}
		out[p.Name] = y
	}
	return out
}

// shared are the compiled functions of this process for the tiny network. Compiling takes
// most of the tests' time.
var shared *Tools

// tools compile each step once for all tests.
func tools(t testing.TB, net pipeline.Network) Tools {
	t.Helper()
	b := modeltest.Backend(t)
	if shared != nil {
		return *shared
	}
	s, err := sampler.New(b, net)
	if err != nil {
		t.Fatal(err)
	}
	e, err := pipeline.NewEncoder(b, net)
	if err != nil {
		t.Fatal(err)
	}
	trainers := map[string]*train.Trainer{}
	shared = &Tools{Sampler: s, Encoder: e, Trainer: func(s train.Step) (*train.Trainer, error) {
		if have, ok := trainers[s.Name]; ok {
			return have, nil
		}
		made, err := train.New(b, s)
		trainers[s.Name] = made
		return made, err
	}}
	return *shared
}

// text returns the encoder's input of four prompts of one word each.
func text(net pipeline.Network) []float32 {
	x := make([]float32, 4*net.Text)
	for i := range 4 {
		x[i*net.Text+i] = 1
	}
	return x
}

// generated returns n images of four prompts, alternately good and bad.
func generated(net pipeline.Network, n int, score float32) Source {
	px := net.Pixels()
	s := Source{Mix: 1, Images: make([]float32, n*px)}
	for i := range n {
		random.Normal(random.Stream(1, "test", "image", i), s.Images[i*px:(i+1)*px])
		s.Prompts, s.Scores = append(s.Prompts, i%4), append(s.Scores, score)
		s.Good, s.Judged = append(s.Good, i/4%2 == 0), append(s.Judged, true)
	}
	return s
}

// scored returns generated images whose scores differ within every prompt.
func scored(net pipeline.Network, n int) Source {
	s := generated(net, n, 0)
	r := random.Stream(1, "test", "score", 0)
	for i := range s.Scores {
		s.Scores[i] = r.Float32()
	}
	return s
}

// constants returns the methods with constants that suit a tiny network.
func constants() map[string]Method {
	return map[string]Method{
		"reward-weighted": rewardWeighted{}, "softmax-weighted": softmaxWeighted{Tau: .2}, "filtered": filtered{Filter: Filter{By: "threshold", Threshold: .5}},
		"dpo": dpo{Beta: 5}, "kto": kto{Beta: 5, Desirable: 1, Undesirable: 1, Positive: .5},
		"awm": awm{Weighting: "ghuber", Power: .25, Clip: 1, Average: 1}, "nft": nft{Beta: 1, Signal: "score"}, "crd": crd{Beta: 1, Group: 2},
		"ddpo": ddpo{Clip: .2, Updates: 4}, "dpok": dpok{Clip: .2, Weight: 10, Velocity: 1e-3, Updates: 3}, "grpo": grpo{Clip: .2, Group: 8, KL: 1e-3, Updates: 2},
		"refl": refl{From: .5, Weight: 1, Margin: 2}, "draft": draft{Last: 1},
	}
}

// brightness is a reward that is easy to raise: the mean of an image, mapped to
// [0, 1].
func brightness(images []float32, prompts []int) ([]float32, error) {
	px := len(images) / len(prompts)
	r := make([]float32, len(prompts))
	for i := range r {
		var sum float64
		for _, v := range images[i*px : (i+1)*px] {
			sum += float64(v) / float64(px)
		}
		r[i] = float32(1 / (1 + math.Exp(-4*sum)))
	}
	return r, nil
}

// brightnessModel is the same as a graph.
func brightnessModel() (*RewardModel, nn.Values) {
	return &RewardModel{Name: "brightness", Params: []nn.Param{{Name: "scale", Shape: []int{1}}},
		Score: func(w nn.Weights, images, _ *graph.Node) *graph.Node {
			return graph.Logistic(graph.Mul(w.At("scale"), graph.ReduceMean(images, 1, 2, 3)))
		}}, nn.Values{"scale": {4}}
}

// job is a short fine-tuning by a method. Jobs of one batch size and without a moving
// average share compiled functions.
func job(net pipeline.Network, m Method) Job {
	reward, values := brightnessModel()
	return Job{
		Recipe: Recipe{Method: Choice{m}, Trains: pipeline.DenoiserPart, Steps: 3, Batch: 8, LearningRate: 1e-3, Warmup: 1, Clip: 1, Schedule: "constant",
			Adam: train.Adam{Beta1: .9, Beta2: .99, Epsilon: 1e-8}, Anchor: AnchorNone, Rounds: 1, Fresh: Fresh{Images: 32, Group: 8}, Roll: Rollout{Images: 32, Noise: .7}},
		Sampler: sampler.Options{Steps: 4, Shift: 1.5, Batch: 32},
		Text:    text(net), Sources: []Source{scored(net, 32)}, Pairs: pairs{net}, Reward: reward, RewardValues: values,
		Prompt: func(_ string, i int) int { return i % 4 }, Score: brightness,
		Stream: func(purpose string, index int) *rand.Rand { return random.Stream(1, "test", purpose, index) },
	}
}

// run runs a job on the tiny model.
func run(t testing.TB, tl Tools, m *pipeline.Model, j Job) nn.Values {
	t.Helper()
	got, err := Run(t.Context(), tl, m, j)
	if err != nil {
		t.Fatalf("%s: %v", j.Method.Name(), err)
	}
	return got.Weights
}

type pairs struct{ net pipeline.Network }

func (pairs) Len() int          { return 4 }
func (pairs) Caption(i int) int { return i }
func (p pairs) Image(i int, image []float32) {
	random.Normal(random.Stream(2, "test", "pair", i), image)
}

// distance returns the largest absolute difference of a weight.
func distance(a, b nn.Values) (d float64) {
	for name, x := range a {
		for i, v := range x {
			d = max(d, math.Abs(float64(v-b[name][i])))
		}
	}
	return d
}

// drawnAnchor is the published anchor of a method that draws its own images.
func drawnAnchor(method string) Anchor {
	switch method {
	case "dpok":
		return AnchorVelocity
	case "grpo":
		return AnchorKL
	}
	return AnchorNone
}

// sortedNames returns the keys of a map in order: a graph must not depend on the order of a map.
func sortedNames[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
