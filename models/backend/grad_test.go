package backend_test

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/backends/simplego"
	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/backend"
	"ablate/models/modeltest"
	"ablate/models/random"
)

// originals are gomlx's gradients, read before mendGradients replaces them.
var originals = map[string]graph.VJP{
	"Dot": graph.VJPRegistration[graph.NodeTypeDot], "DotGeneral": graph.VJPRegistration[graph.NodeTypeDotGeneral],
}

// TestGradientStillNeedsMending fails once gomlx's gradient of a dot product is a dot
// product; grad.go can then be removed.
func TestGradientStillNeedsMending(t *testing.T) {
	b, err := simplego.New("ops_sequential")
	if err != nil {
		t.Fatal(err)
	}
	g := graph.NewGraph(b, "gradient")
	x := graph.Parameter(g, "x", shapes.Make(dtypes.Float32, 3, 4))
	y := graph.Parameter(g, "y", shapes.Make(dtypes.Float32, 4, 5))
	node := graph.DotGeneral(x, []int{1}, nil, y, []int{0}, nil)
	for _, grad := range originals["DotGeneral"](node, []*graph.Node{graph.OnesLike(node)}, node.Shape()) {
		for at := grad; ; at = at.Inputs()[0] {
			if typ := at.Type(); typ == graph.NodeTypeDotGeneral || typ == graph.NodeTypeDot {
				t.Fatal("gomlx's own gradient of DotGeneral is a dot product now: delete models/backend/grad.go")
			}
			if len(at.Inputs()) == 0 {
				break
			}
		}
	}
}

// TestDotGradient compares the gradient of sum(w·dot(x, y)) with that of the
// equal sum of products, which gomlx differentiates by other code.
func TestDotGradient(t *testing.T) {
	b := modeltest.Backend(t)
	type axes struct{ contract, batch []int }
	for _, tc := range []struct {
		name string
		x, y []int
		l, r axes
		sum  string // the same as products of x[...] and y[...], for the reader
	}{
		{"matrices", []int{3, 4}, []int{4, 5}, axes{[]int{1}, nil}, axes{[]int{0}, nil}, "xik ykj"},
		{"weight, out by in", []int{2, 3, 4}, []int{5, 4}, axes{[]int{2}, nil}, axes{[]int{1}, nil}, "xabk yjk"},
		{"weight of fewer rows", []int{2, 3, 4}, []int{3, 4}, axes{[]int{2}, nil}, axes{[]int{1}, nil}, "xabk yjk"},
		{"attention scores", []int{2, 3, 4, 5}, []int{2, 6, 4, 5}, axes{[]int{3}, []int{0, 2}}, axes{[]int{3}, []int{0, 2}}, "xbqhk ybthk"},
		{"two contracted, crossed order", []int{3, 4, 5}, []int{5, 2, 3}, axes{[]int{2, 0}, nil}, axes{[]int{0, 2}, nil}, "xkal yljk"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			size := func(d []int) (n int) {
				n = 1
				for _, v := range d {
					n *= v
				}
				return n
			}
			xv, yv := make([]float32, size(tc.x)), make([]float32, size(tc.y))
			random.Normal(random.Stream(1, "test", "x", 0), xv)
			random.Normal(random.Stream(1, "test", "y", 0), yv)
			loss := func(x, y *graph.Node) *graph.Node {
				// The square makes the gradient depend on the product.
				return graph.ReduceAllSum(graph.Square(graph.DotGeneral(x, tc.l.contract, tc.l.batch, y, tc.r.contract, tc.r.batch)))
			}
			value, err := backend.NewFn(b, "value", 0, func(in []*graph.Node) []*graph.Node { return []*graph.Node{loss(in[0], in[1])} })
			if err != nil {
				t.Fatal(err)
			}
			gradient, err := backend.NewFn(b, "gradient", 0, func(in []*graph.Node) []*graph.Node {
				return graph.Gradient(loss(in[0], in[1]), in...)
			})
			if err != nil {
				t.Fatal(err)
			}
			call := func(fn *backend.Fn, x, y []float32) []*tensors.Tensor {
				out, err := fn.Call(tensors.FromFlatDataAndDimensions(x, tc.x...), tensors.FromFlatDataAndDimensions(y, tc.y...))
				if err != nil {
					t.Fatal(err)
				}
				return out
			}
			grads := call(gradient, xv, yv)
			// Central differences of a quadratic in each variable are exact up to rounding.
			const h = 0.5
			for side, v := range [][]float32{xv, yv} {
				got := backend.Float32s(grads[side])
				for i := range v {
					old := v[i]
					v[i] = old + h
					up := float64(tensors.ToScalar[float32](call(value, xv, yv)[0]))
					v[i] = old - h
					down := float64(tensors.ToScalar[float32](call(value, xv, yv)[0]))
					v[i] = old
					if want := (up - down) / (2 * h); math.Abs(float64(got[i])-want) > 1e-3*(1+math.Abs(want)) {
						t.Fatalf("side %d, entry %d: gradient %v, by differences %v", side, i, got[i], want)
					}
				}
			}
		})
	}
}

// TestStateIsUpdatedInPlace reads XLA's dump of the module, which declares the output that
// reuses the memory of each donated input.
func TestStateIsUpdatedInPlace(t *testing.T) {
	if dir := os.Getenv("ABLATE_TEST_DUMP"); dir != "" {
		fn, err := backend.NewFn(modeltest.Backend(t), "inplace", 1, func(in []*graph.Node) []*graph.Node {
			return []*graph.Node{graph.Add(in[0], in[1])}
		})
		if err != nil {
			t.Fatal(err)
		}
		x := tensors.FromFlatDataAndDimensions([]float32{1, 2}, 2)
		for range 3 {
			out, err := fn.Call(x, tensors.FromFlatDataAndDimensions([]float32{1, 1}, 2))
			if err != nil {
				t.Fatal(err)
			}
			x = out[0]
		}
		if got := fmt.Sprint(backend.Float32s(x)); got != "[4 5]" {
			t.Fatalf("three steps give %s, want [4 5]", got)
		}
		return
	}
	modeltest.Backend(t)
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestStateIsUpdatedInPlace$")
	cmd.Env = append(os.Environ(), "ABLATE_TEST_DUMP="+dir, "XLA_FLAGS=--xla_dump_to="+dir+" --xla_dump_hlo_as_text")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("child: %v\n%s", err, out)
	}
	dumps, err := filepath.Glob(filepath.Join(dir, "*inplace*after_optimizations.txt"))
	if err != nil || len(dumps) == 0 {
		t.Fatalf("no dump of the module (%v)", err)
	}
	text, err := os.ReadFile(dumps[0])
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "input_output_alias={ {0}: (0,") && !strings.Contains(string(text), "input_output_alias={ {}: (0,") {
		first, _, _ := strings.Cut(string(text), "\n")
		t.Errorf("XLA was not told to reuse the state's memory: %s", first)
	}
}
