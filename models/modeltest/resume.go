package modeltest

import (
	"context"
	"errors"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"ablate/models/nn"
	"ablate/models/train"
)

// Resume runs a training of so many steps without interruption. Then, for each step, it
// runs one that is saved after that step and killed after the next, and one that is stopped
// after that step and has the time to save itself, and continues them. All must end with the
// same weights and curve. run reports each step to progress.
func Resume(t *testing.T, steps int, run func(ctx context.Context, r train.Resume, progress func(train.Report)) (nn.Values, *train.Curve, error)) {
	t.Helper()
	want, curve, err := run(t.Context(), train.Resume{}, func(train.Report) {})
	if err != nil {
		t.Fatal(err)
	}
	killed := errors.New("killed")
	for k := 1; k < steps; k++ {
		for end, c := range map[string]struct {
			at int // step after which ctx ends
			r  train.Resume
		}{
			"killed":  {k + 1, train.Resume{Due: func(n int) bool { return n == k }}},
			"stopped": {k, train.Resume{Grace: time.Minute}},
		} {
			r := c.r
			r.File = filepath.Join(t.TempDir(), "state.safetensors")
			ctx, cancel := context.WithCancelCause(t.Context())
			_, _, err := run(ctx, r, func(p train.Report) {
				if p.Step == c.at {
					cancel(killed)
				}
			})
			cancel(nil)
			if c.at < steps && !errors.Is(err, killed) {
				t.Fatalf("%s after step %d: %v", end, c.at, err)
			}
			first := 0
			got, again, err := run(t.Context(), train.Resume{File: r.File}, func(p train.Report) {
				if first == 0 && p.Metrics != nil {
					first = p.Step
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			if first != k+1 {
				t.Errorf("%s after step %d, it goes on with step %d", end, c.at, first)
			}
			if !reflect.DeepEqual(want, got) || !reflect.DeepEqual(curve, again) {
				t.Errorf("%s after step %d and continued, the training ends with other weights or another curve", end, c.at)
			}
		}
	}
}
