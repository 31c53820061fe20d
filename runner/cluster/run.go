package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Launcher starts workers and knows whether they live.
type Launcher interface {
	// Start starts n workers.
	Start(ctx context.Context, n int) error
	// Count returns how many workers run, and how many wait to run.
	Count(ctx context.Context) (Workers, error)
	// Stop ends all workers, which are no longer needed.
	Stop(ctx context.Context) error
	// Leave is called when the user interrupts the run. It returns what to do next, for
	// people: how to see, to end or to continue the workers.
	Leave(ctx context.Context) string
}

// Workers are numbers of workers.
type Workers struct {
	Running, Waiting int
	Why              string // why workers wait, if that is not for their turn; may be empty
	Ended            string // what is known of the last workers that ended, for people; may be empty
}

// Progress is how far a study is.
type Progress struct {
	Left    int // number of actions that are neither done nor failed
	Settled int // number of actions that are done or failed
	Live    int // number of processes that announce themselves in the store
	Workers
}

// Options of Run.
type Options struct {
	Workers int
	Poll    time.Duration // first time between two questions; it doubles up to mostPoll while nothing changes. 0 means 2 s
	Look    func() (Progress, error)
	Report  func(Progress)
	Log     func(text string) // something that people should know
}

const (
	mostPoll = 30 * time.Second

	// mostRounds is how often workers are started without any progress between.
	mostRounds = 3
)

// Run starts workers and returns when nothing is left to compute, and starts them again if
// all of them ended before that: a scheduler may have cancelled them, or a node may have
// failed. Workers that live already, because an earlier run was interrupted, count. When ctx
// ends, it leaves the workers alone and returns ctx's cause.
func Run(ctx context.Context, l Launcher, o Options) error {
	poll := o.Poll
	if poll <= 0 {
		poll = 2 * time.Second
	}
	wait, rounds, settled := poll, 0, -1
	var last Progress
	for {
		p, err := o.Look()
		if err != nil {
			return err
		}
		if p.Left == 0 {
			return l.Stop(context.WithoutCancel(ctx))
		}
		w, err := l.Count(ctx)
		switch {
		case ctx.Err() != nil:
		case errors.As(err, new(*recordError)):
			return err
		case err != nil:
			o.Log(fmt.Sprintf("the state of the workers is not known (%v); asking again", err))
		case w.Running+w.Waiting == 0 && p.Live == 0:
			if p.Settled > settled {
				settled, rounds = p.Settled, 0
			}
			if rounds++; rounds > mostRounds {
				return fmt.Errorf("workers ended %d times without computing anything; %d stages are left%s", mostRounds, p.Left, because(w.Ended))
			}
			if rounds > 1 || w.Ended != "" {
				o.Log("all workers have ended, and stages are left: starting workers again" + because(w.Ended))
			}
			if err := l.Start(ctx, o.Workers); err != nil {
				return err
			}
			wait = poll
		}
		p.Workers = w
		if p != last {
			last, wait = p, poll
			o.Report(p)
		}
		select {
		case <-ctx.Done():
			o.Log(l.Leave(context.WithoutCancel(ctx)))
			return context.Cause(ctx)
		case <-time.After(wait):
		}
		wait = min(2*wait, mostPoll)
	}
}

func because(text string) string {
	if text == "" {
		return ""
	}
	return ": " + text
}

// errNoWorkers is the error of a launcher that is asked to start no worker.
var errNoWorkers = errors.New("the number of workers must be 1 or more")
