package finetune

import (
	"encoding/json"
	"errors"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/backend"
	"ablate/models/lora"
	"ablate/models/modeltest"
	"ablate/models/nn"
	"ablate/models/pipeline"
	"ablate/models/process"
	"ablate/models/random"
	"ablate/models/sampler"
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

// TestChoice: a method is the same after JSON and back, and an unknown constant is an error.
func TestChoice(t *testing.T) {
	for name, m := range constants() {
		b, err := json.Marshal(Choice{m})
		if err != nil {
			t.Fatal(err)
		}
		var got Choice
		if err := json.Unmarshal(b, &got); err != nil || got.Method != m {
			t.Errorf("%s: %s came back as %+v, %v", name, b, got.Method, err)
		}
	}
	if len(constants()) != len(Methods()) {
		t.Errorf("%d methods are tested and there are %d", len(constants()), len(Methods()))
	}
	for text, want := range map[string]string{
		`{"name": "reward-weighed", "constants": {}}`: `unknown method "reward-weighed": must be one of reward-weighted, `,
		`{"name": "dpo", "constants": {"gamma": 1}}`:  `constants of dpo: json: unknown field "gamma"`,
		`{"name": "dpo", "constants": {}, "more": 1}`: `unknown field "more"`,
	} {
		if err := json.Unmarshal([]byte(text), new(Choice)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// TestDraw draws images in proportion to their source's mix weight.
func TestDraw(t *testing.T) {
	net := tiny()
	a, b := generated(net, 100, 1), generated(net, 300, 1)
	a.Mix = 2
	p, err := NewPool([]Source{a, b})
	if err != nil {
		t.Fatal(err)
	}
	all := p.Sampler(p.All())
	r := random.Stream(1, "test", "pick", 0)
	n, seen := 0, map[int]int{}
	for range 50000 {
		k := all.Draw(r)
		if k < 0 || k >= 400 {
			t.Fatalf("image %d of 400", k)
		}
		if k < 100 {
			n++
			seen[k]++
		}
	}
	if share := float64(n) / 50000; math.Abs(share-.4) > .01 {
		t.Errorf("%.3f of the draws are of a source of 200 of 500", share)
	}
	if len(seen) != 100 {
		t.Errorf("%d of 100 images were ever drawn", len(seen))
	}
	// Under the same draw the mean weight of a softmax is 1.
	for i := range p.Scores {
		p.Scores[i] = float32(i%7) / 7
	}
	plan, err := softmaxWeighted{Tau: 3}.Prepare(p, 8)
	if err != nil {
		t.Fatal(err)
	}
	var sum float64
	for range 20000 {
		for _, k := range plan.Draw(r) {
			sum += float64(plan.Weights[k]) / 160000
		}
	}
	if math.Abs(sum-1) > .01 {
		t.Errorf("the mean weight of what is drawn is %v, want 1", sum)
	}
}

// TestOverfits: every offline method learns from four images. Methods that use scores or labels
// lower the loss of good images more than that of bad ones; methods of weighted likelihood
// memorize the images with weight.
func TestOverfits(t *testing.T) {
	net := tiny()
	tl, m := tools(t, net), model(net)
	source := generated(net, 4, 0)
	for i := range source.Scores {
		source.Good[i], source.Prompts[i] = i%2 == 0, 0 // one group of two good and two bad
		if source.Scores[i] = 0; source.Good[i] {
			source.Scores[i] = 1
		}
	}
	methods := constants()
	methods["softmax-weighted"], methods["crd"] = softmaxWeighted{Tau: 20}, crd{Beta: 1, Group: 4}
	methods["nft on labels"] = nft{Beta: 1, Signal: "label"}
	for name, method := range methods {
		if DrawsItself(method) {
			continue
		}
		for _, anchor := range []Anchor{AnchorNone, AnchorPrediction} {
			if anchor != AnchorNone && name != "crd" && name != "reward-weighted" {
				continue // one method with weights of images, and one without
			}
			j := job(net, method)
			j.Steps, j.LearningRate, j.Sources, j.Anchor, j.Prediction = 100, 3e-3, []Source{source}, anchor, .02
			good, bad := gap(t, net, m.Weights, m.With(run(t, tl, m, j)).Weights, source)
			if good >= bad {
				t.Errorf("%s, anchor %s: the loss of good images moved by %v, of bad ones by %v", name, anchor, good, bad)
			}
			if _, plain := method.(interface{ weighed() }); anchor == AnchorNone && plain && good > -.2 {
				t.Errorf("%s: the good images are not learned: their loss moved by %v", name, good)
			}
		}
	}
}

// weighed marks the methods whose loss is a weighted likelihood.
func (weightedLikelihood) weighed() {}

// losses computes each image's denoising loss under the tiny network's weights, compiled once.
var losses *backend.Fn

// gap returns the changes of the denoising loss of good and of bad images.
func gap(t *testing.T, net pipeline.Network, before, after nn.Values, s Source) (good, bad float64) {
	t.Helper()
	params := net.AllParams()
	if losses == nil {
		losses = denoisingLosses(t, net)
	}
	const times = 16
	n := len(s.Scores)
	b := net.NewBatch(n*times, true)
	for i := range n * times {
		copy(b.Image(i), s.Images[i%n*net.Pixels():])
		b.CondRow(i)[s.Prompts[i%n]] = 1
	}
	b.Draw(random.Stream(9, "test", "gap", 0))
	in := b.Inputs()
	of := func(v nn.Values) []float32 {
		x, err := v.Tensors(modeltest.Backend(t), params)
		if err != nil {
			t.Fatal(err)
		}
		x = append([]*tensors.Tensor{in["x0"], in["noise"], in["time"], in["cond"]}, x...)
		out, err := losses.Call(x...)
		if err != nil {
			t.Fatal(err)
		}
		return backend.Float32s(out[0])
	}
	x, y := of(before), of(after)
	for i := range x {
		d := float64(y[i]-x[i]) / float64(len(x)/2)
		if s.Good[i%n] {
			good += d
		} else {
			bad += d
		}
	}
	return good, bad
}

func denoisingLosses(t *testing.T, net pipeline.Network) *backend.Fn {
	t.Helper()
	params := net.AllParams()
	fn, err := backend.NewFn(modeltest.Backend(t), "losses", 0, func(in []*graph.Node) []*graph.Node {
		p, x0, eps, time := net.Process, in[0], in[1], in[2]
		prediction := net.Bind(nn.Bind(params, in[4:]), true)(p.Noisy(x0, eps, time), time, in[3])
		return []*graph.Node{process.Loss(p, prediction, p.Target(x0, eps, time), time)}
	})
	if err != nil {
		t.Fatal(err)
	}
	return fn
}

// TestDrawingMethods: methods that learn from images that they draw raise the reward.
func TestDrawingMethods(t *testing.T) {
	net := tiny()
	tl, m := tools(t, net), model(net)
	mean := func(w nn.Values) float64 {
		var words []float32
		for range 16 {
			words = append(words, text(net)...)
		}
		cond, err := tl.Encoder.Encode(m.Weights, words)
		if err != nil {
			t.Fatal(err)
		}
		images, err := tl.Sampler.Draw(m.With(w), cond, func(i int, dst []float32) { random.Normal(random.Stream(5, "test", "start", i), dst) },
			sampler.Options{Steps: 4, Shift: 1.5, Batch: 64}, 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		r, _ := brightness(images, make([]int, 64))
		var sum float64
		for _, v := range r {
			sum += float64(v) / 64
		}
		return sum
	}
	before := mean(nn.Values{})
	for name, method := range constants() {
		if !DrawsItself(method) {
			continue
		}
		j := job(net, method)
		j.Steps, j.Batch, j.LearningRate = 60, 16, 5e-3
		if NeedsTrajectories(method) {
			j.Steps, j.LearningRate = 180, 1e-2 // few of them are updates
		}
		j.Anchor = drawnAnchor(name)
		if after := mean(run(t, tl, m, j)); after < before+.012 {
			t.Errorf("%s: the reward went from %.3f to %.3f", name, before, after)
		}
	}
}

func TestAdvantagesOfPolicies(t *testing.T) {
	scores, prompts := []float32{1, 0, 1, 0}, []int{7, 7, 8, 8}
	near := func(what string, got []float32, want ...float64) {
		t.Helper()
		for i := range want {
			if math.Abs(float64(got[i])-want[i]) > 1e-3 {
				t.Errorf("%s: %v, want %v", what, got, want)
				return
			}
		}
	}
	near("grpo", grpo{}.Advantages(&History{}, scores, prompts), 1, -1, 1, -1)
	h := History{}
	near("dpok subtracts the mean of the prompt's others", dpok{}.Advantages(&h, []float32{1, 0, 1, .5}, prompts), 1, -1, .5, -.5)
	near("dpok remembers", dpok{}.Advantages(&h, []float32{1}, []int{7}), .5)
	near("dpok, one image a prompt", dpok{}.Advantages(&History{}, []float32{1, 0, .5}, []int{1, 2, 3}), .75, -.75, 0)
	near("dpok, one image", dpok{}.Advantages(&History{}, []float32{1}, []int{1}), 0)
	// DDPO: the moments are those of the rollout until a prompt has 16 scores, then the prompt's.
	h = History{}
	near("ddpo, few scores", ddpo{}.Advantages(&h, []float32{1, 0, 1, 1}, prompts), .577, -1.732, .577, .577)
	many, same := make([]float32, 16), make([]int, 16)
	for i := range many {
		many[i], same[i] = float32(i%2), 7
	}
	near("ddpo, enough scores", ddpo{}.Advantages(&h, many, same), -1, 1)
}

// TestAccumulated: every batch of a rollout belongs to one update, the number of updates is
// the one asked for, their sizes are as even as possible, and the training's last step
// makes an update.
func TestAccumulated(t *testing.T) {
	for _, tc := range []struct{ steps, batches, updates, want int }{
		{120, 60, 2, 4}, {120, 60, 60, 120}, {70, 60, 2, 3}, {30, 7, 3, 13}, {10, 60, 5, 1}, {9, 1, 4, 9}, {12, 4, 0, 3},
	} {
		updates, next := 0, 0
		for step := range tc.steps {
			first, last := accumulated(step, tc.steps, tc.batches, tc.updates)
			if first != next || step < first || step > last || last >= tc.steps {
				t.Fatalf("%+v: step %d is of the update of steps %d to %d, want one from %d on", tc, step, first, last, next)
			}
			if step == last {
				updates, next = updates+1, step+1
			}
		}
		if updates != tc.want {
			t.Errorf("%+v: %d updates, want %d", tc, updates, tc.want)
		}
	}
}

func TestWeighting(t *testing.T) {
	r := []float32{0, .5, 1, 1}
	w := Softmax(r, nil, 2)
	e := []float64{1, math.E, math.Exp(2), math.Exp(2)}
	for i := range w {
		if want := 4 * e[i] / (1 + math.E + 2*math.Exp(2)); math.Abs(float64(w[i])-want) > 1e-5 {
			t.Errorf("softmax %v: weight %d, want %v", w, i, want)
		}
	}
	for i, want := range []float32{0, 0, 1, 1} {
		if got := Top(r, .25); got[i] != want { // both that tie
			t.Errorf("the best quarter: %v", got)
		}
	}
	for i, want := range []float32{0, 1, 1, 1} {
		if got := Above(r, .5); got[i] != want {
			t.Errorf("above .5: %v", got)
		}
	}
	if got := EffectiveSampleSize([]float32{1, 1, 0, 0}); got != 2 {
		t.Errorf("two of four weigh the same: effective size %v", got)
	}
}

// prepare returns a method's plan for one source.
func prepare(t *testing.T, m Offline, s Source, batch int) *Plan {
	t.Helper()
	p, err := NewPool([]Source{s})
	if err != nil {
		t.Fatal(err)
	}
	plan, err := m.Prepare(p, batch)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// TestPairsOfOnePrompt: the halves of DPO's batches are good and bad images of one prompt at
// the same noise; KTO's share of good images is the one asked for.
func TestPairsOfOnePrompt(t *testing.T) {
	net := tiny()
	s := generated(net, 40, 0)
	plan := prepare(t, dpo{}, s, 8)
	r := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		d := plan.Draw(r)
		for i := range 4 {
			if w, b := d[i], d[4+i]; !s.Good[w] || s.Good[b] || s.Prompts[w] != s.Prompts[b] {
				t.Fatalf("a pair of images %d and %d", w, b)
			}
		}
	}
	j := job(net, dpo{Beta: 5})
	j.Sources = []Source{s}
	_, in := first(t, tools(t, net), model(net), j)
	for _, name := range []string{"noise", "time"} {
		x := backend.Float32s(in[name])
		if !slices.Equal(x[:len(x)/2], x[len(x)/2:]) {
			t.Errorf("the halves of a batch differ in their %s", name)
		}
	}
	good := 0
	for _, i := range prepare(t, kto{Positive: .8}, s, 1000).Draw(r) {
		if s.Good[i] {
			good++
		}
	}
	if good < 750 || good > 850 {
		t.Errorf("%d of 1000 are good, want about 800", good)
	}
	for i := range s.Good {
		s.Good[i] = true
	}
	p, err := NewPool([]Source{s})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []Offline{dpo{}, kto{}} {
		if _, err := m.Prepare(p, 8); !errors.Is(err, ErrNothing) {
			t.Errorf("%s learns from good images alone: %v", m.Name(), err)
		}
	}
}

// TestGroupsShareTheirTime: CRD's groups are different images of one prompt at one time, and
// the mean is over each group.
func TestGroupsShareTheirTime(t *testing.T) {
	net := tiny()
	j := job(net, crd{Beta: 1, Group: 4})
	j.Batch = 12
	_, in := first(t, tools(t, net), model(net), j)
	times, noise := backend.Float32s(in["time"]), backend.Float32s(in["noise"])
	for i := range times {
		if times[i] != times[i-i%4] {
			t.Errorf("image %d of a group of 4 has the time %v, the first has %v", i%4, times[i], times[i-i%4])
		}
	}
	if times[0] == times[4] || times[4] == times[8] || noise[0] == noise[net.Pixels()] {
		t.Error("groups share their time, or the images of a group their noise")
	}
	s := scored(net, 32)
	d := prepare(t, crd{Group: 4}, s, 12).Draw(rand.New(rand.NewPCG(1, 2)))
	for i := 0; i < 12; i += 4 {
		group := slices.Clone(d[i : i+4])
		slices.Sort(group)
		if len(slices.Compact(group)) != 4 {
			t.Errorf("a group of images %v", d[i:i+4])
		}
		for _, k := range d[i : i+4] {
			if s.Prompts[k] != s.Prompts[d[i]] {
				t.Errorf("a group of prompts %d and %d", s.Prompts[d[i]], s.Prompts[k])
			}
		}
	}
	if m := GroupMean(5, 2); m[0] != .5 || m[1] != .5 || m[2] != 0 || m[24] != 1 || m[20] != 0 {
		t.Errorf("group means %v", m)
	}
}

// TestFiltered: images are drawn from the kept ones.
func TestFiltered(t *testing.T) {
	net := tiny()
	s := scored(net, 40)
	plan := prepare(t, filtered{Filter: Filter{By: "fraction", Fraction: .25}}, s, 100)
	seen := map[int]bool{}
	for _, i := range plan.Draw(rand.New(rand.NewPCG(1, 2))) {
		seen[i] = true
		if plan.Weights[i] != 1 {
			t.Errorf("image %d has the weight %v", i, plan.Weights[i])
		}
	}
	if len(seen) != 10 {
		t.Errorf("%d images of 40 are drawn, want the best 10", len(seen))
	}
	p, err := NewPool([]Source{s})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (filtered{Filter: Filter{By: "threshold", Threshold: 1}}).Prepare(p, 4); !errors.Is(err, ErrNothing) {
		t.Errorf("nothing is kept: %v", err)
	}
}

// TestWeights: images of weight 0 have no effect, and β scales the pairs. With all weights
// 0 and β 0 the network does not change, otherwise it does.
func TestWeights(t *testing.T) {
	net := tiny()
	tl, m := tools(t, net), model(net)
	moved := func(sources []Source, beta float64) (float64, float64) {
		j := job(net, rewardWeighted{})
		j.Sources, j.Beta, j.PairsPerStep, j.Steps = sources, beta, 2, 100
		got, err := Run(t.Context(), tl, m, j)
		if err != nil {
			t.Fatal(err)
		}
		return distance(got.Weights, m.Weights), got.Curve.Values[3][0]
	}
	if d, _ := moved([]Source{generated(net, 8, 0)}, 0); d != 0 {
		t.Errorf("weights 0 and beta 0 move the network by %v", d)
	}
	if d, ess := moved([]Source{generated(net, 8, .5)}, 0); d == 0 || ess != 8 {
		t.Errorf("weights .5 move the network by %v, effective sample size %v of 8", d, ess)
	}
	if d, _ := moved(nil, 1); d == 0 {
		t.Error("pretraining pairs alone do not move the network")
	}
	j := job(net, rewardWeighted{})
	j.Sources = nil
	if _, err := Run(t.Context(), tl, m, j); err == nil {
		t.Error("nothing to learn from is no error")
	}
}

// TestTrains: only the trained part is returned, and the denoiser learns from the same text
// whether or not the text encoder is in the step.
func TestTrains(t *testing.T) {
	net := tiny()
	tl, m := tools(t, net), model(net)
	for _, l := range []lora.Config{{}, {Rank: 2, Targets: "all"}} {
		for part, want := range map[pipeline.Part]int{pipeline.DenoiserPart: len(net.Params), pipeline.EncoderPart: len(net.TextParams), pipeline.BothParts: len(net.AllParams())} {
			j := job(net, dpo{Beta: 5})
			j.Trains, j.LoRA, j.EMA = part, l, .5
			got := run(t, tl, m, j)
			if len(got) != want || distance(got, m.Weights) == 0 {
				t.Errorf("%s, rank %d: %d parameters came back that moved by %v, want %d", part, l.Rank, len(got), distance(got, m.Weights), want)
			}
		}
	}
}

// TestRounds: each round after the first learns from fresh images of the copy that draws,
// and copies move between rounds only.
func TestRounds(t *testing.T) {
	net := tiny()
	tl, m := tools(t, net), model(net)
	for _, name := range []string{"reward-weighted", "awm", "nft", "crd"} {
		method := constants()[name].(Offline)
		j := job(net, method)
		j.Steps, j.Rounds, j.LearningRate = 6, 3, 3e-3
		var rounds []string
		j.Prompt = func(purpose string, i int) int {
			if !slices.Contains(rounds, purpose) {
				rounds = append(rounds, purpose)
			}
			return i % 4
		}
		var fresh [][]float32
		j.Score = func(images []float32, prompts []int) ([]float32, error) {
			fresh = append(fresh, images)
			return brightness(images, prompts)
		}
		l := forward(method, j.Anchor, j.Rounds)
		u, err := j.begin(tl, m, l)
		if err != nil {
			t.Fatal(err)
		}
		defer u.state.Free()
		f := &forwardTraining{training: u, method: method, batch: j.Batch, plain: l.name == likelihood().name}
		if err := f.learnFrom(nil); err != nil {
			t.Fatal(err)
		}
		var before, after map[string]nn.Values
		copies := func() map[string]nn.Values {
			c := map[string]nn.Values{"weights": u.trainer.Weights(u.state)}
			for set := range u.step.Frozen {
				c[set] = u.trainer.Set(u.state, set)
			}
			return c
		}
		for step := range 3 {
			before = copies()
			in, o, _, err := f.next(t.Context(), step)
			if err != nil {
				t.Fatal(name, err)
			}
			after = copies()
			for set := range before {
				if moved := distance(before[set], after[set]); (moved != 0) != (step == 2 && set != "weights") {
					t.Errorf("%s: %s moved by %v before step %d", name, set, moved, step)
				}
			}
			if _, err := u.trainer.Step(u.state, o, in); err != nil {
				t.Fatal(name, err)
			}
		}
		// A copy of decay d has moved by 1 - d of the difference.
		if mover, ok := Method(method).(Mover); ok {
			moves := mover.Moves(2)
			for k, d := range moves {
				if _, kept := u.step.Frozen[string(k)]; !kept {
					t.Errorf("%s keeps no copy %q", name, k)
					continue
				}
				want := nn.Values{}
				for p, x := range before["weights"] {
					y := make([]float32, len(x))
					for i := range x {
						y[i] = float32(d)*before[string(k)][p][i] + float32(1-d)*x[i]
					}
					want[p] = y
				}
				if far := distance(after[string(k)], want); far > 1e-6 {
					t.Errorf("%s: after two steps %s is %v from where a decay of %v leads", name, k, far, d)
				}
			}
		}
		if !slices.Equal(rounds, []string{"fresh prompt 1"}) || len(fresh) != 1 {
			t.Errorf("%s: %d fresh draws for %q", name, len(fresh), rounds)
		}
		whole := run(t, tl, m, j)
		j.Rounds = 1
		if d := distance(whole, run(t, tl, m, j)); d == 0 {
			t.Errorf("%s: three rounds are as one", name)
		}
	}
}

// TestPublishedDecays compares with the schedules of the released code at its numbers of steps.
func TestPublishedDecays(t *testing.T) {
	for _, tc := range []struct {
		m     Mover
		steps int
		want  map[Copy]float64
	}{
		{awm{Average: 1}, 100, map[Copy]float64{Behaviour: 0, Average: .1}}, {awm{Average: 1}, 1000, map[Copy]float64{Behaviour: 0, Average: .3}},
		{awm{}, 100, map[Copy]float64{Behaviour: 0}},
		{nft{}, 400, map[Copy]float64{Behaviour: .4}}, {nft{}, 5000, map[Copy]float64{Behaviour: .5}},
		{crd{}, 50, map[Copy]float64{Behaviour: .5, Drawing: 0}}, {crd{}, 175, map[Copy]float64{Behaviour: .999, Drawing: .75}},
	} {
		if got := tc.m.Moves(tc.steps); !maps.EqualFunc(got, tc.want, func(a, b float64) bool { return math.Abs(a-b) < 1e-9 }) {
			t.Errorf("%T after %d steps: %v, want %v", tc.m, tc.steps, got, tc.want)
		}
	}
}

// TestNothing: the first round must have images that the method can learn from; a later
// round without such images continues with those of the round before.
func TestNothing(t *testing.T) {
	net := tiny()
	tl, m := tools(t, net), model(net)
	all := func(score float32) func([]float32, []int) ([]float32, error) {
		return func(_ []float32, prompts []int) ([]float32, error) {
			return slices.Repeat([]float32{score}, len(prompts)), nil
		}
	}
	good, low := generated(net, 32, 1), generated(net, 32, .1)
	for i := range good.Good {
		good.Good[i] = true
	}
	for name, nothing := range map[string]Source{"dpo": good, "kto": good, "filtered": low} {
		j := job(net, constants()[name])
		j.Steps, j.Rounds, j.Sources, j.Score = 6, 3, []Source{generated(net, 32, .9)}, all(nothing.Scores[0])
		fresh := run(t, tl, m, j)
		j.Rounds = 1
		if d := distance(fresh, run(t, tl, m, j)); d != 0 {
			t.Errorf("%s: rounds that teach nothing move the weights by %v", name, d)
		}
		j.Sources = []Source{nothing}
		if _, err := Run(t.Context(), tl, m, j); !errors.Is(err, ErrNothing) {
			t.Errorf("%s on images that teach nothing: %v", name, err)
		}
	}
}

// TestRefuses: settings that a kind of method does not support are errors.
func TestRefuses(t *testing.T) {
	net := tiny()
	tl, m := tools(t, net), model(net)
	for name, change := range map[string]func(j *Job){
		`unknown anchor "prediction" of ddpo`:                     func(j *Job) { j.Method, j.Anchor = Choice{constants()["ddpo"]}, AnchorPrediction },
		`unknown anchor "velocity" of nft`:                        func(j *Job) { j.Method, j.Anchor = Choice{constants()["nft"]}, AnchorVelocity },
		`unknown anchor "kl" of draft`:                            func(j *Job) { j.Method, j.Anchor = Choice{constants()["draft"]}, AnchorKL },
		`unknown schedule "step"`:                                 func(j *Job) { j.Schedule = "step" },
		`unknown filtered.by "rank"`:                              func(j *Job) { j.Method = Choice{filtered{Filter: Filter{By: "rank"}}} },
		"images of source 0 have 4 values each":                   func(j *Job) { j.Sources[0].Images = j.Sources[0].Images[:4*32] },
		"refl needs at least 2 steps of the sampler, which has 1": func(j *Job) { j.Method, j.Sampler.Steps = Choice{constants()["refl"]}, 1 },
		"has 96 transitions, and a batch takes 97":                func(j *Job) { j.Method, j.Batch = Choice{constants()["ddpo"]}, 97 },
		"unknown part \"vae\" of a model":                         func(j *Job) { j.Trains = "vae" },
	} {
		j := job(net, rewardWeighted{})
		change(&j)
		if _, err := Run(t.Context(), tl, m, j); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v, want %q", err, name)
		}
	}
}

// TestStored: a round learns from its images as they are after storing, which are the scored
// ones.
func TestStored(t *testing.T) {
	net := tiny()
	tl, m := tools(t, net), model(net)
	j := job(net, rewardWeighted{})
	j.Steps, j.Rounds = 2, 2
	j.Stored = func(images []float32) ([]float32, error) { return slices.Repeat([]float32{.25}, len(images)), nil }
	j.Score = func(images []float32, prompts []int) ([]float32, error) {
		if i := slices.IndexFunc(images, func(v float32) bool { return v != .25 }); i >= 0 {
			t.Errorf("value %d that is scored is %v", i, images[i])
		}
		return make([]float32, len(prompts)), nil
	}
	run(t, tl, m, j)
}
