package unet_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/graph"

	"ablate/models/modeltest"
	"ablate/models/nn"
	"ablate/models/process"
	"ablate/models/train"
	"ablate/models/unet"
)

// TestPublishedMemory compiles a step of AdamW on all 860 million parameters of Stable Diffusion 1.5
// at 512 pixels, batch 1, and compares the temporary memory with the limit: 1.1 GB, where the plain
// graph needs 14. It takes a minute or two and some gigabytes.
func TestPublishedMemory(t *testing.T) {
	if os.Getenv("ABLATE_TEST_LONG") != "1" {
		t.Skip("takes minutes: runs if ABLATE_TEST_LONG is 1")
	}
	b := modeltest.Backend(t)
	u := published(t)
	trainer, err := train.New(b, train.Step{Name: "sd", Params: u.Params(), Loss: func(w nn.Weights, _ train.Sets, in train.Nodes) *graph.Node {
		o := unet.Options{Saving: nn.Saving{Blocks: true, Queries: 512}}
		return graph.ReduceAllMean(process.MeanSquare(u.Denoise(w, in.At("x"), in.At("t"), in.At("text"), o), in.At("noise")))
	}})
	if err != nil {
		t.Fatal(err)
	}
	cost, err := trainer.Cost(train.Options{}, 1, false, true, train.Shapes{"x": {1, 64, 64, 4}, "noise": {1, 64, 64, 4}, "t": {1}, "text": {1, 77, 768}})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", cost)
	// The state of 10.3 GB is updated in place, or it would be in both.
	if cost.Working > 1_100_000_000 || cost.State < 10_300_000_000 {
		t.Errorf("a step works in %d bytes, want at most 1.1 GB; its state has %d", cost.Working, cost.State)
	}
}

// published returns the denoiser of Stable Diffusion 1.5.
func published(t *testing.T) *unet.UNet {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(path, []byte(`{"cross_attention_dim": 768}`), 0o666); err != nil {
		t.Fatal(err)
	}
	c, err := unet.ReadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	return unet.New(c)
}
