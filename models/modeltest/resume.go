package modeltest

import (
	"context"
	"errors"
	"path/filepath"
	"reflect"
	"testing"

	"ablate/models/nn"
	"ablate/models/train"
)

// Resume runs a training of so many steps without interruption. Then, for each step, it runs
// one that is saved after that step and killed after the next, and continues it. All must end
// with the same weights and curve. run reports each step to progress.
func Resume(t *testing.T, steps int, run func(ctx context.Context, r train.Resume, progress func(step, total int)) (nn.Values, *train.Curve, error)) {
	t.Helper()
	want, curve, err := run(t.Context(), train.Resume{}, func(int, int) {})
	if err != nil {
		t.Fatal(err)
	}
	killed := errors.New("killed")
	for k := 1; k < steps; k++ {
		file := filepath.Join(t.TempDir(), "state.safetensors")
		ctx, cancel := context.WithCancelCause(t.Context())
		_, _, err := run(ctx, train.Resume{File: file, Due: func(n int) bool { return n == k }}, func(step, _ int) {
			if step == k+1 {
				cancel(killed)
			}
		})
		cancel(nil)
		if k+1 < steps && !errors.Is(err, killed) {
			t.Fatalf("ended after step %d: %v", k+1, err)
		}
		first := 0
		got, again, err := run(t.Context(), train.Resume{File: file, Due: func(int) bool { return false }}, func(step, _ int) {
			if first == 0 {
				first = step
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if first != k+1 {
			t.Errorf("saved after step %d, it goes on with step %d", k, first)
		}
		if !reflect.DeepEqual(want, got) || !reflect.DeepEqual(curve, again) {
			t.Errorf("saved after step %d and continued, the training ends with other weights or another curve", k)
		}
	}
}
