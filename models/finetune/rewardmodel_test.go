package finetune

import (
	"math"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/backend"
	"ablate/models/embedder"
	"ablate/models/modeltest"
	"ablate/models/nn"
	"ablate/models/random"
	"ablate/models/reward"
)

// TestRewardModel: the reward that refl and draft differentiate is the one that scores.
func TestRewardModel(t *testing.T) {
	b := modeltest.Backend(t)
	ec := embedder.Default(12)
	ev := nn.Init(ec.Params(), random.Stream(1, "test", "embedder", 0))
	for _, members := range []int{1, 3} {
		m := &reward.Model{Config: reward.Default(ec.Width)}
		m.Penalty = .5
		for k := range members {
			m.Members = append(m.Members, nn.Init(m.Config.Params(), random.Stream(int64(k), "test", "member", 0)))
		}
		const n = 6
		images, words := make([]float32, n*16*16*3), make([]float32, n*12)
		random.Normal(random.Stream(1, "test", "images", 0), images)
		own := make([][]int, n)
		for i := range n {
			words[i*12+i], own[i] = 1, []int{i}
		}
		enc, err := embedder.NewEncoder(b, ec)
		if err != nil {
			t.Fatal(err)
		}
		x, err := enc.Images(ev, images)
		if err != nil {
			t.Fatal(err)
		}
		text, err := enc.Texts(ev, words)
		if err != nil {
			t.Fatal(err)
		}
		scorer, err := reward.NewScorer(b, m.Config)
		if err != nil {
			t.Fatal(err)
		}
		want, err := scorer.All(m, x, own, text)
		if err != nil {
			t.Fatal(err)
		}
		j, values, err := NewRewardModel(ec, ev, m)
		if err != nil {
			t.Fatal(err)
		}
		fn, err := backend.NewFn(b, "judge", 0, func(in []*graph.Node) []*graph.Node {
			return []*graph.Node{j.Score(nn.Bind(j.Params, in[2:]), in[0], in[1])}
		})
		if err != nil {
			t.Fatal(err)
		}
		params, err := values.Tensors(b, j.Params)
		if err != nil {
			t.Fatal(err)
		}
		out, err := fn.Call(append([]*tensors.Tensor{tensors.FromFlatDataAndDimensions(images, n, 16, 16, 3), tensors.FromFlatDataAndDimensions(words, n, 12)}, params...)...)
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range backend.Float32s(out[0]) {
			if math.Abs(float64(r-want[i])) > 1e-5 {
				t.Errorf("%d members: image %d is judged %v and scored %v", members, i, r, want[i])
			}
		}
	}
	if _, _, err := NewRewardModel(ec, ev, &reward.Model{Config: reward.Default(5)}); err == nil {
		t.Error("a reward on another embedder is taken")
	}
}
