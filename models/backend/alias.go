package backend

import "github.com/gomlx/gomlx/pkg/core/graph"

// alias asks XLA to write output number out into the memory of parameter node,
// as jax.jit's donate_argnums does. gomlx v0.26.0 donates buffers but does not
// declare which output may use them, so that every step would write all weights
// and moments to fresh memory, which takes a quarter of a training step's time. The
// attribute is public in go-xla but gomlx's API does not lead to it (value does);
// TestStateIsUpdatedInPlace fails when the attribute no longer arrives. alias does nothing
// on a backend other than XLA.
func alias(node *graph.Node, out int) {
	v := value(node)
	if v == nil {
		return
	}
	if v.Attributes == nil {
		v.Attributes = make(map[string]any, 1)
	}
	v.Attributes["tf.aliasing_output"] = int32(out)
}
