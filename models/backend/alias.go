package backend

import (
	"reflect"
	"unsafe"

	"github.com/gomlx/gomlx/pkg/core/graph"
)

// alias asks XLA to write output number out into the memory of parameter node,
// as jax.jit's donate_argnums does. gomlx v0.26.0 donates buffers but does not
// declare which output may use them, so that every step would write all weights
// and moments to fresh memory, which takes a quarter of a training step's time. The
// attribute is public in go-xla but gomlx's API does not lead to it, hence the reflection;
// TestStateIsUpdatedInPlace fails when the attribute no longer arrives. alias does nothing
// on a backend other than XLA.
func alias(node *graph.Node, out int) {
	ops := reflect.ValueOf(node).Elem().FieldByName("outputOps")
	if !ops.IsValid() || ops.Len() != 1 || ops.Index(0).Elem().Kind() != reflect.Pointer {
		return
	}
	value := ops.Index(0).Elem().Elem().FieldByName("value")
	if !value.IsValid() || value.Kind() != reflect.Pointer {
		return
	}
	field, ok := value.Type().Elem().FieldByName("Attributes")
	if !ok || field.Type != reflect.TypeFor[map[string]any]() {
		return
	}
	attributes := (*map[string]any)(unsafe.Add(value.UnsafePointer(), field.Offset))
	if *attributes == nil {
		*attributes = make(map[string]any, 1)
	}
	(*attributes)["tf.aliasing_output"] = int32(out)
}
