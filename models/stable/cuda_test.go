package stable_test

import (
	"regexp"
	"strconv"
	"strings"
	"testing"

	"ablate/models/modeltest"
	"ablate/models/stable"
)

// cudaCall is the name of a function that a compiled program calls.
var cudaCall = regexp.MustCompile(`custom_call_target="([^"]*)"`)

// movedKernel is the copy or transposition of a kernel of 3 × 3 pixels.
var movedKernel = regexp.MustCompile(`= \w+\[(3,3,\d+,\d+|\d+,3,3,\d+|\d+,\d+,3,3)\]\S* (copy|transpose)\(`)

// TestCompiledForGPU compiles steps of Stable Diffusion 1.5 at 512 pixels, in bfloat16, for an H100: all weights with
// AdamW, and an adapter. Neither weights nor a GPU are needed. Without the compiler, it looks for cuDNN's attention in the
// programs.
func TestCompiledForGPU(t *testing.T) {
	for name, c := range map[string]struct {
		batch, rank int
		temporary   int64 // largest, in bytes
		calls       map[string]int
	}{
		// The first convolution has no gradient by its input. 15 self-attentions have 256 rows or more.
		"all weights": {16, 0, 17_000_000_000, map[string]int{"__cudnn$convBiasActivationForward": 52, "__cudnn$convBackwardFilter": 52, "__cudnn$convBackwardInput": 51,
			"__cudnn$fmhaSoftmax": 15, "__cudnn$fmhaSoftmaxBackward": 15}},
		// Kernels have no gradient, and nothing before the first adapter has one.
		"adapter": {4, 4, 4_000_000_000, map[string]int{"__cudnn$convBiasActivationForward": 52, "__cudnn$convBackwardInput": 49,
			"__cudnn$fmhaSoftmax": 15, "__cudnn$fmhaSoftmaxBackward": 15}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := stable.WriteRandom(dir, 1); err != nil {
				t.Fatal(err)
			}
			if err := stable.Published(dir); err != nil {
				t.Fatal(err)
			}
			m, err := stable.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			m.OHWI, m.Flash, m.Precision, m.Kept = true, true, stable.BFloat16, stable.Float32
			if c.rank > 0 {
				m.Kept = stable.BFloat16
			}
			r := stable.Recipe{Steps: 1, Batch: c.batch, Micro: c.batch, LearningRate: 1e-4, Beta1: .9, Beta2: .999, Clip: 1, Size: 512}
			r.LoRA.Rank, r.LoRA.Alpha = c.rank, 4
			f, err := m.Prepare(modeltest.Backend(t), r, stable.Seeds{Init: 1, Order: 2, Noise: 3})
			if err != nil {
				t.Fatal(err)
			}
			program, err := f.Program()
			if err != nil {
				t.Fatal(err)
			}
			for name, n := range c.calls {
				if got := strings.Count(program, strconv.Quote(name)); strings.Contains(name, "fmha") && got != n {
					t.Errorf("the program has %d calls of %s, want %d", got, name, n)
				}
			}
			got := modeltest.Compile(t, program)
			calls := map[string]int{}
			for _, m := range cudaCall.FindAllStringSubmatch(got.Text, -1) {
				calls[m[1]]++
			}
			moved := len(movedKernel.FindAllString(got.Text, -1))
			t.Logf("%.0f s to compile; %+v; calls %v; %d copies or transpositions of kernels", got.Seconds, got.Memory, calls, moved)
			for name, n := range c.calls {
				if calls[name] != n {
					t.Errorf("%d calls of %s, want %d", calls[name], name, n)
				}
				delete(calls, name)
			}
			for name := range calls {
				if strings.HasPrefix(name, "__cudnn") {
					t.Errorf("it calls %s", name)
				}
			}
			if strings.Contains(got.Text, " convolution(") {
				t.Error("a convolution is not cuDNN's")
			}
			if moved > 0 {
				t.Errorf("%d kernels or moments are copied or transposed, such as %s", moved, movedKernel.FindString(got.Text))
			}
			if state := 3 * f.Size(); got.Aliased != state {
				t.Errorf("%d bytes are updated in place; the state has %d", got.Aliased, state)
			}
			if got.Temporary > c.temporary {
				t.Errorf("%d bytes of temporary memory, want at most %d", got.Temporary, c.temporary)
			}
		})
	}
}
