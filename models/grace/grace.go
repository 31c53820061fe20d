// Package grace lets work that is nearly done go on for a while after it was asked to stop.
package grace

import (
	"context"
	"time"
)

// Extend returns a context that ends d after ctx, with the cause of ctx. The caller must call
// done.
func Extend(ctx context.Context, d time.Duration) (later context.Context, done func()) {
	later, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-time.After(d):
			cancel(context.Cause(ctx))
		case <-later.Done():
		}
	})
	return later, func() { stop(); cancel(nil) }
}
