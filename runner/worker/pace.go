package worker

import (
	"sync"
	"time"

	"ablate/runner/layout"
	"ablate/runner/plan"
	"ablate/runner/run"
)

// leastAge is how old what is known of the time of stages becomes before it is read again.
const leastAge = 5 * time.Second

// expect returns a function that estimates the time of an action from what its stage took in
// this study, 0 if it has not run. It reads the journals again while the run goes on, so that
// a first run knows it, too.
func expect(dir, class string, need run.Needs, now func() time.Time) (func(*layout.Action) time.Duration, error) {
	estimate, err := plan.Expect(dir, class, need)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	next := now().Add(leastAge)
	return func(a *layout.Action) time.Duration {
		mu.Lock()
		defer mu.Unlock()
		if began := now(); !began.Before(next) {
			if again, err := plan.Expect(dir, class, need); err == nil { // the next reading may succeed
				estimate = again
			}
			next = now().Add(max(leastAge, 20*now().Sub(began)))
		}
		return estimate(a)
	}, nil
}
