package store

import (
	"math"
	"testing"
	"time"
)

// TestRate: the rate counts from the end of the compilation, follows what is measured lately,
// and begins again where the steps do.
func TestRate(t *testing.T) {
	var a LiveAction
	now := time.Unix(0, 0)
	at := func(seconds float64, r Reached, want float64) {
		t.Helper()
		r.Total = 100
		a.Advance(now.Add(time.Duration(seconds*float64(time.Second))), r)
		if math.Abs(a.Rate-want) > 1e-9 {
			t.Errorf("at %v s, step %d: rate %v, want %v", seconds, r.Step, a.Rate, want)
		}
	}
	loss := []Metric{{Name: "loss"}}
	at(0, Reached{Compiling: true}, 0)
	at(40, Reached{Step: 1}, 0)
	at(42, Reached{Step: 11, Metrics: loss}, 5)
	at(45, Reached{Step: 16}, 3)
	if len(a.Metrics) != 1 {
		t.Error("a report without metrics removed the last ones")
	}
	for i := range 60 {
		a.Advance(now.Add(time.Duration(46+i)*time.Second), Reached{Step: 17 + i, Total: 100})
	}
	at(106, Reached{Step: 77}, 1)
	at(306, Reached{Step: 78}, 1.0/200+0) // the only news of the last 200 s
	at(307, Reached{Step: 1}, 0)
}
