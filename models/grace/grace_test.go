package grace

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestExtend: the context keeps the values of the first one, ends as long after it as it was
// told to, with the same cause, and ends at once when it is done.
func TestExtend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stop := errors.New("stop")
		type key struct{}
		ctx, cancel := context.WithCancelCause(context.WithValue(context.Background(), key{}, 7))
		later, done := Extend(ctx, time.Minute)
		defer done()
		other, end := Extend(ctx, time.Hour)
		if later.Value(key{}) != 7 {
			t.Error("it lost its values")
		}
		time.Sleep(24 * time.Hour)
		cancel(stop)
		begin := time.Now()
		if later.Err() != nil {
			t.Error("it ends at once")
		}
		<-later.Done()
		if time.Since(begin) != time.Minute || context.Cause(later) != stop {
			t.Errorf("it ended after %v with the cause %v", time.Since(begin), context.Cause(later))
		}
		if other.Err() != nil {
			t.Error("the other one ended too")
		}
		end()
		if <-other.Done(); time.Since(begin) != time.Minute {
			t.Error("the other one did not end when it was done")
		}
	})
}
