package backend_test

import (
	"encoding/binary"
	"errors"
	"math"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/backend"
	"ablate/models/modeltest"
)

// TestView: the bytes of arrays on the device and on the host are those of their values.
func TestView(t *testing.T) {
	b := modeltest.Backend(t)
	double, err := backend.NewFn(b, "double", 0, func(in []*graph.Node) []*graph.Node { return []*graph.Node{graph.Add(in[0], in[0])} })
	if err != nil {
		t.Fatal(err)
	}
	put, err := backend.Put(b, []float32{1, -2, 3}, 3)
	if err != nil {
		t.Fatal(err)
	}
	made, err := double.Call(put)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		array *tensors.Tensor
		want  []float32
	}{
		"put":      {put, []float32{1, -2, 3}},
		"computed": {made[0], []float32{2, -4, 6}},
		"host":     {tensors.FromFlatDataAndDimensions([]float32{5, 6}, 2), []float32{5, 6}},
		"empty":    {tensors.FromFlatDataAndDimensions([]float32{}, 0), nil},
	} {
		for range 2 { // the second time after the array may have got a copy
			n := 0
			err := backend.View(c.array, func(b []byte) error {
				n = len(b)
				for i, v := range c.want {
					if got := math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:])); got != v {
						t.Errorf("%s: value %d is %v, want %v", name, i, got, v)
					}
				}
				return nil
			})
			if err != nil || n != 4*len(c.want) {
				t.Errorf("%s: %d bytes, %v", name, n, err)
			}
		}
	}
	full := errors.New("full")
	if err := backend.View(put, func([]byte) error { return full }); !errors.Is(err, full) {
		t.Errorf("error %v, want that of use", err)
	}
}
