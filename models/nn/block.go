package nn

import (
	"maps"
	"slices"
	"strings"

	"github.com/gomlx/gomlx/pkg/core/graph"

	"ablate/models/backend"
)

// A Saving is how a large network saves memory in the graph of a training: at the cost of
// computing parts of it twice. The zero Saving saves nothing.
type Saving struct {
	// Blocks says that only the inputs of blocks are kept for the gradient.
	Blocks bool
	// Queries is the number of rows of an attention that are computed at a time, or an eighth of all if
	// that is more; 0 means all.
	Queries int
	// Flash says that cuDNN computes long self-attentions in bfloat16, on a GPU: its scores are never in
	// memory. What it computes was not compared with the plain form on a GPU yet.
	Flash bool
	// Frozen reports whether a parameter has no gradient; nil means that all have one. The
	// gradient of a frozen one would be computed for nothing.
	Frozen func(parameter string) bool

	chain backend.Chain
}

// Block returns f for the weights w and inputs that have a gradient. params are
// the parameters that f reads.
func (s *Saving) Block(w Weights, params []Param, f func(w Weights, in []*graph.Node) *graph.Node, in ...*graph.Node) *graph.Node {
	if !s.Blocks {
		return f(w, in)
	}
	var names [2][]string // of weights with a gradient, and without
	var given [2][]*graph.Node
	for _, p := range params {
		layer, _ := strings.CutSuffix(p.Name, ".weight")
		for _, name := range []string{p.Name, layer + LowRankA, layer + LowRankB} {
			if w[name] == nil {
				continue
			}
			k := 0
			if s.Frozen != nil && s.Frozen(name) {
				k = 1
			}
			names[k], given[k] = append(names[k], name), append(given[k], w[name])
		}
	}
	n := len(in)
	return s.chain.CheckpointRows(w.leading(in[0]), in, func(in []*graph.Node) *graph.Node {
		own := maps.Clone(w)
		for i, name := range slices.Concat(names[0], names[1]) {
			own[name] = in[n+i]
		}
		return f(own, in[:n])
	}, given[0], given[1])
}
