package reward_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/backend"
	"ablate/models/modeltest"
	"ablate/models/nn"
	"ablate/models/reference"
	"ablate/models/reward"
	"ablate/models/train"
)

// constants are the fields of a case's reward_model.json.
type constants struct {
	Lambda      float64 `json:"lambda_"`
	Temperature float64 `json:"temperature"`
	Hidden      int     `json:"hidden"`
	Optimizer   struct {
		LR          float64   `json:"lr"`
		Betas       []float64 `json:"betas"`
		Eps         float64   `json:"eps"`
		WeightDecay float64   `json:"weight_decay"`
	} `json:"optimizer"`
	Order []string `json:"grad_norm_order"`
}

// theirs maps the parameters of the perceptron to their names in the reference.
var theirs = map[string]string{
	"mlp.0.weight": "fc1.weight", "mlp.0.bias": "fc1.bias", "mlp.1.weight": "fc2.weight", "mlp.1.bias": "fc2.bias",
	"mlp.2.weight": "fc3.weight", "mlp.2.bias": "fc3.bias",
}

// TestReferenceReward compares scores, both terms of mse+classification, gradients and
// three steps of AdamW by models/train with PyTorch's, with and without the
// sigmoid.
func TestReferenceReward(t *testing.T) {
	b := modeltest.Backend(t)
	for _, c := range reference.Cases(t, "reward_model.json") {
		for _, kind := range []string{"sigmoid", "linear"} {
			t.Run(c.Name+" "+kind, func(t *testing.T) { compareReward(t, b, c, kind) })
		}
	}
}

func compareReward(t *testing.T, b backend.Backend, c *reference.Case, kind string) {
	var k constants
	c.JSON(t, &k)
	e := c.Shape(t, "text_features")[1]
	cfg := reward.Config{Embedding: e, Hidden: k.Hidden, Inputs: reward.Concat, Linear: kind == "linear"}
	if err := cfg.Check(); err != nil {
		t.Fatal(err)
	}
	params := cfg.Params()
	start := nn.Values{}
	for _, p := range params {
		start[p.Name] = c.Floats(t, "mlp."+theirs[p.Name])
	}

	// The right prompt is the first here; in the reference an index has its position.
	shape := c.Shape(t, "candidate_features")
	n, all := shape[0], shape[1]
	text, candidates, index := c.Floats(t, "text_features"), c.Floats(t, "candidate_features"), c.Ints(t, "candidate_index")
	prompts := make([]float32, 0, len(candidates))
	present := make([]float32, n*all)
	for i := range n {
		at := func(j int) []float32 { return candidates[(i*all+j)*e : (i*all+j+1)*e] }
		for j := range e { // both terms read the same right prompt
			if d := math.Abs(float64(at(index[i])[j] - text[i*e+j])); d > 1e-4 {
				t.Fatalf("candidate %d of image %d is not its prompt: off by %v", index[i], i, d)
			}
		}
		prompts = append(prompts, at(index[i])...)
		for j := range all {
			if present[i*all+j] = 1; j != index[i] {
				prompts = append(prompts, at(j)...)
			}
		}
	}
	labels := c.Floats(t, "labels")
	inputs := func() train.Inputs {
		in := train.Inputs{
			"images":  tensors.FromFlatDataAndDimensions(c.Floats(t, "image_features"), n, e),
			"prompts": tensors.FromFlatDataAndDimensions(prompts, n, all, e),
			"present": tensors.FromFlatDataAndDimensions(present, n, all),
		}
		in.Vector("labels", labels)
		in.Scalar("lambda", k.Lambda)
		in.Scalar("temperature", k.Temperature)
		return in
	}
	names := []string{"images", "prompts", "present", "labels", "lambda", "temperature"}
	key := func(name string) string { return kind + ":" + name }

	loss, err := cfg.Loss(reward.MSEClassification)
	if err != nil {
		t.Fatal(err)
	}
	fn, err := backend.NewFn(b, "reference", 0, func(in []*graph.Node) []*graph.Node {
		x, w := train.Nodes{}, nn.Bind(params, in[7:])
		for i, name := range names {
			x[name] = in[i]
		}
		r := cfg.Score(w, x["images"], in[6])
		rc := cfg.Score(w, graph.BroadcastToDims(graph.InsertAxes(x["images"], 1), n, all, e), x["prompts"])
		l := loss(w, nil, x)
		out := []*graph.Node{l, reward.SquaredError(r, x["labels"]), reward.Classification(rc, x["present"], x["labels"], x["temperature"]), r, rc}
		return append(out, graph.Gradient(l, in[7:]...)...)
	})
	if err != nil {
		t.Fatal(err)
	}
	weights, err := start.Tensors(b, params)
	if err != nil {
		t.Fatal(err)
	}
	var args []*tensors.Tensor
	for in, i := inputs(), 0; i < len(names); i++ {
		args = append(args, in[names[i]])
	}
	out, err := fn.Call(append(append(args, tensors.FromFlatDataAndDimensions(text, n, e)), weights...)...)
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"loss", "mse", "cross_entropy", "reward"} {
		reference.Check(t, c, key(name), tensors.MustCopyFlatData[float32](out[i]))
	}
	// The reference has the rows of good images, in its own order of candidates.
	rc := tensors.MustCopyFlatData[float32](out[4])
	var good []float32
	for i := range n {
		if labels[i] <= .5 {
			continue
		}
		row := rc[i*all : (i+1)*all]
		for j, next := 0, 1; j < all; j++ {
			if j == index[i] {
				good = append(good, row[0])
			} else {
				good = append(good, row[next])
				next++
			}
		}
	}
	reference.Check(t, c, key("candidate_reward"), good)

	norms := map[string]float64{}
	var square float64
	for i, p := range params {
		g := tensors.MustCopyFlatData[float32](out[5+i])
		reference.Check(t, c, key("grad:"+theirs[p.Name]), g)
		norms[theirs[p.Name]] = norm(g)
		square += norms[theirs[p.Name]] * norms[theirs[p.Name]]
	}
	ordered := func(by map[string]float64) (x []float64) {
		for _, name := range k.Order {
			x = append(x, by[name])
		}
		return x
	}
	reference.Check(t, c, key("grad_norms"), ordered(norms))

	// Every step has the same batch, as in the reference.
	trainer, err := train.New(b, train.Step{Name: "reference " + kind, Params: params, Loss: loss})
	if err != nil {
		t.Fatal(err)
	}
	state, err := trainer.Start(start, false)
	if err != nil {
		t.Fatal(err)
	}
	defer state.Free()
	o := train.Options{LearningRate: k.Optimizer.LR, Adam: train.Adam{Beta1: k.Optimizer.Betas[0], Beta2: k.Optimizer.Betas[1],
		Epsilon: k.Optimizer.Eps, WeightDecay: k.Optimizer.WeightDecay}}
	var losses []float64
	for step := 1; step <= 4; step++ { // the fourth gives the loss after three
		r, err := trainer.Step(state, o, inputs())
		if err != nil {
			t.Fatal(err)
		}
		losses = append(losses, r.Loss)
		if step == 1 {
			reference.Check(t, c, key("grad_norm"), []float64{r.GradientNorm})
			if math.Abs(r.GradientNorm-math.Sqrt(square)) > 1e-5 {
				t.Errorf("the trainer's gradient norm is %v, that of the gradients %v", r.GradientNorm, math.Sqrt(square))
			}
		}
		after := trainer.Weights(state)
		moved := map[string]float64{}
		for _, p := range params {
			name := theirs[p.Name]
			delta := make([]float32, p.Size())
			for i := range delta {
				delta[i] = after[p.Name][i] - start[p.Name][i]
			}
			moved[name] = norm(delta)
			if at := key(fmt.Sprintf("delta_step%d:%s", step, name)); c.Has(at) {
				reference.Check(t, c, at, delta)
			}
			if at := key(fmt.Sprintf("param_step%d:%s", step, name)); c.Has(at) {
				reference.Check(t, c, at, after[p.Name])
			}
		}
		if at := key(fmt.Sprintf("delta_norms_step%d", step)); c.Has(at) {
			reference.Check(t, c, at, ordered(moved))
		}
	}
	reference.Check(t, c, key("losses"), losses)
	for _, name := range c.Expected() {
		if kind, _, ok := strings.Cut(name, ":"); !ok || kind != "sigmoid" && kind != "linear" {
			t.Errorf("%s is neither with the sigmoid nor without", name)
		}
	}
}

func norm(x []float32) float64 {
	var s float64
	for _, v := range x {
		s += float64(v) * float64(v)
	}
	return math.Sqrt(s)
}
