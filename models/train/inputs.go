package train

import (
	"fmt"

	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/backend"
	"ablate/models/nn"
)

// Inputs are the arrays of one step by name.
type Inputs map[string]*tensors.Tensor

// Vector adds an array float32[n].
func (in Inputs) Vector(name string, x []float32) {
	in[name] = tensors.FromFlatDataAndDimensions(x, len(x))
}

// Scalar adds a number.
func (in Inputs) Scalar(name string, x float64) {
	in[name] = tensors.FromScalar(float32(x))
}

func (in Inputs) free() {
	for _, x := range in {
		backend.Free(x)
	}
}

// Nodes are the inputs of a step inside its graph.
type Nodes map[string]*graph.Node

// At returns an input. It panics if the caller of Step has left it out.
func (n Nodes) At(name string) *graph.Node {
	x, ok := n[name]
	if !ok {
		panic(fmt.Errorf("a training step has no input %q", name))
	}
	return x
}

// Sets are the frozen parameter sets of a step inside its graph, by name.
type Sets map[string]nn.Weights

// At returns a set. It panics if the Step does not declare it.
func (s Sets) At(name string) nn.Weights {
	w, ok := s[name]
	if !ok {
		panic(fmt.Errorf("a training step has no frozen set %q", name))
	}
	return w
}

// Shapes are the shapes of a step's inputs by name.
type Shapes map[string][]int
