package reward

import (
	"fmt"

	"github.com/gomlx/gomlx/pkg/core/graph"

	"ablate/models/nn"
	"ablate/models/train"
)

// The losses of a reward's training.
const (
	MSE               = "mse"
	MSEClassification = "mse+classification"
	CrossEntropyLoss  = "cross-entropy"
	BradleyTerryLoss  = "bradley-terry"
)

// Loss returns the loss of a name, as a graph over a step's inputs: images float32[B, E],
// prompts float32[B, 1+N, E], the right one first, present float32[B, 1+N], which is 0
// where an image has fewer than N wrong prompts, labels y float32[B], and the numbers
// lambda and temperature. N is 0 except under classification. Under bradley-terry row i of
// the first half and row i of the second are a good and a bad image of one prompt.
func (c Config) Loss(name string) (train.Loss, error) {
	if name != MSE && name != MSEClassification && name != CrossEntropyLoss && name != BradleyTerryLoss {
		return nil, fmt.Errorf("reward: loss %q has no training: must be one of %q", name, []string{MSE, MSEClassification, CrossEntropyLoss, BradleyTerryLoss})
	}
	return func(w nn.Weights, _ train.Sets, in train.Nodes) *graph.Node {
		image, prompts, label := in.At("images"), in.At("prompts"), in.At("labels")
		b, n := prompts.Shape().Dimensions[0], prompts.Shape().Dimensions[1]
		if name == MSEClassification {
			images := graph.BroadcastToDims(graph.InsertAxes(image, 1), b, n, c.Embedding)
			r := c.Score(w, images, prompts) // [B, 1+N]
			right := Classification(r, in.At("present"), label, in.At("temperature"))
			return graph.Add(SquaredError(first(r), label), graph.Mul(in.At("lambda"), right))
		}
		prompt := graph.Reshape(graph.Slice(prompts, graph.AxisRange(), graph.AxisElem(0)), b, c.Embedding)
		switch name {
		case CrossEntropyLoss:
			return CrossEntropy(c.Logit(w, image, prompt), label)
		case BradleyTerryLoss:
			s := c.Logit(w, image, prompt)
			return BradleyTerry(graph.Slice(s, graph.AxisRange(0, b/2)), graph.Slice(s, graph.AxisRange(b/2, b)))
		}
		return SquaredError(c.Score(w, image, prompt), label)
	}, nil
}

// first returns column 0 of x float32[B, N] as float32[B].
func first(x *graph.Node) *graph.Node {
	return graph.Reshape(graph.Slice(x, graph.AxisRange(), graph.AxisElem(0)), x.Shape().Dimensions[0])
}
