package scheduler

import "github.com/gomlx/gomlx/pkg/core/graph"

// Indices of a step's coefficients in its vector.
const (
	input = iota
	keepX
	keepOutput
	state
	noise
	past // and the Depth-1 after it
)

// Vector returns the step's coefficients as Input and Advance read them, float32[Depth+5].
func (s Step) Vector() []float32 {
	v := []float32{input: float32(s.Input), keepX: float32(s.KeepX), keepOutput: float32(s.KeepOutput), state: float32(s.X), noise: float32(s.Noise)}
	for _, p := range s.Past {
		v = append(v, float32(p))
	}
	return v
}

func scale(vector *graph.Node, i int, x *graph.Node) *graph.Node {
	return graph.Mul(graph.ConvertDType(graph.Reshape(graph.Slice(vector, graph.AxisElem(i))), x.DType()), x)
}

// Input returns the input of the network for the state x, any shape.
func Input(vector, x *graph.Node) *graph.Node { return scale(vector, input, x) }

// Advance returns the next x, and the Depth-1 predictions to give to the next step as earlier.
// They are zeros at the first step. z is standard normal noise, nil for a plan that is not
// stochastic. All have the shape of x.
func Advance(vector, x, output, z *graph.Node, earlier []*graph.Node) (next *graph.Node, keep []*graph.Node) {
	kept := append([]*graph.Node{graph.Add(scale(vector, keepX, x), scale(vector, keepOutput, output))}, earlier...)
	next = scale(vector, state, x)
	for k, p := range kept {
		next = graph.Add(next, scale(vector, past+k, p))
	}
	if z != nil {
		next = graph.Add(next, scale(vector, noise, z))
	}
	return next, kept[:Depth-1]
}
