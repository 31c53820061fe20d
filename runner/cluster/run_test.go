package cluster

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// scripted is a launcher whose workers finish some actions and then end.
type scripted struct {
	left, each    int // number of actions that are left, and that each start computes
	alive, starts int
	stopped       bool
}

func (s *scripted) Start(context.Context, int) error { s.starts++; s.alive = 2; return nil }
func (s *scripted) Stop(context.Context) error       { s.stopped = true; return nil }
func (s *scripted) Leave(context.Context) string     { return "they go on" }
func (s *scripted) Count(context.Context) (Workers, error) {
	if s.alive > 0 {
		s.alive--
		if s.alive == 0 {
			s.left -= s.each
		}
		return Workers{Running: 1}, nil
	}
	return Workers{Ended: "1 preempted"}, nil
}

func (s *scripted) options(log *[]string) Options {
	return Options{Workers: 1, Poll: time.Millisecond, Look: func() (Progress, error) { return Progress{Left: max(0, s.left), Settled: 100 - s.left}, nil },
		Report: func(Progress) {}, Log: func(text string) { *log = append(*log, text) }}
}

// TestRun: workers that end before the work does are started again, as long as they compute
// something; in the end those that are left are stopped.
func TestRun(t *testing.T) {
	var log []string
	s := &scripted{left: 100, each: 20}
	if err := Run(t.Context(), s, s.options(&log)); err != nil || s.starts != 5 || !s.stopped {
		t.Errorf("%v after %d starts", err, s.starts)
	}
	if len(log) == 0 || !strings.Contains(log[0], "starting workers again: 1 preempted") {
		t.Errorf("log %q", log)
	}
	s = &scripted{left: 100}
	if err := Run(t.Context(), s, s.options(&log)); err == nil || s.starts != 3 || !strings.Contains(err.Error(), "workers ended 3 times without computing anything; 100 stages are left: 1 preempted") {
		t.Errorf("%v after %d starts", err, s.starts)
	}
	// An interruption leaves them.
	stop := errors.New("Ctrl-C")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(stop)
	s, log = &scripted{left: 100, alive: 2}, nil
	if err := Run(ctx, s, s.options(&log)); !errors.Is(err, stop) || s.stopped || s.starts > 0 || len(log) != 1 || log[0] != "they go on" {
		t.Errorf("%v, stopped %v, %d starts, %q", err, s.stopped, s.starts, log)
	}
}
