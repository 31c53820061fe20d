package unet_test

import (
	"math"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"

	"ablate/models/backend"
	"ablate/models/modeltest"
	"ablate/models/nn"
	"ablate/models/unet"
)

// TestPublishedFlops compares the operations of Stable Diffusion 1.5's denoiser at 512 pixels with
// the number that PyTorch 2.15 counts in that of diffusers (torch.utils.flop_counter): both count
// matrix products and convolutions.
func TestPublishedFlops(t *testing.T) {
	b := modeltest.Backend(t)
	u := published(t)
	fn, err := backend.NewFn(b, "denoise", 0, func(in []*graph.Node) []*graph.Node {
		return []*graph.Node{u.Denoise(nn.Bind(u.Params(), in[3:]), in[0], in[1], in[2], unet.Options{})}
	})
	if err != nil {
		t.Fatal(err)
	}
	in := []shapes.Shape{shapes.Make(dtypes.Float32, 1, 64, 64, 4), shapes.Make(dtypes.Float32, 1), shapes.Make(dtypes.Float32, 1, 77, 768)}
	weights, _ := nn.Arrays(u.Params())
	w, err := fn.Work(append(in, weights...)...)
	if err != nil {
		t.Fatal(err)
	}
	const want = 803_273_441_280
	if math.Abs(w.Flops-want) > 1e-4*want {
		t.Errorf("%.0f operations, want %d", w.Flops, int64(want))
	}
}
