package launch

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"sync"
	"time"
)

// Handler runs a task in a worker. It may call progress from any goroutine until it
// returns, and should return soon after ctx is done.
type Handler func(ctx context.Context, t Task, progress func(Progress)) (json.RawMessage, error)

// errOrphaned is the cause of a handler's context when the pool has ended.
var errOrphaned = errors.New("the process that started this worker is gone")

// ServeOptions are the options of a worker.
type ServeOptions struct {
	// Build is the SHA-256 of this program. A pool refuses a worker of another build,
	// because its results would be stored under the revisions of the pool's program.
	Build string

	// Grace is how long a handler whose context has ended may take to save its state; 0 means
	// 500 ms.
	Grace time.Duration
}

// Serve runs the tasks that it reads from in, one after the other, and writes their
// progress and results to out. It returns nil when in ends between tasks. If in or ctx
// ends during a task, it returns an error, and does not wait for a handler that does not
// stop; the process should then exit. See [ServeStdio] for the usual streams.
func Serve(ctx context.Context, in io.Reader, out io.Writer, h Handler, o ServeOptions) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if o.Grace <= 0 {
		o.Grace = 500 * time.Millisecond
	}
	s := &server{out: out, handler: h}
	if err := s.send(message{Hello: &hello{Protocol: protocol, Build: o.Build}}); err != nil {
		return fmt.Errorf("worker: %w", err)
	}
	tasks := make(chan Task, 1) // the next task may arrive before the last one has ended completely
	ended := make(chan struct{})
	var readErr error // set before ended is closed
	go func() {
		defer close(ended)
		for r := bufio.NewReader(in); ; {
			t, err := readTask(r)
			if err != nil {
				readErr = err
				return
			}
			select {
			case tasks <- t:
			case <-ctx.Done():
				readErr = context.Cause(ctx)
				return
			}
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("worker: %w", context.Cause(ctx))
		case <-ended:
			if errors.Is(readErr, io.EOF) {
				return nil
			}
			return fmt.Errorf("worker: %w", readErr)
		case t := <-tasks:
			done := make(chan error, 1)
			go func() { done <- s.do(ctx, t) }()
			var err error
			grace := max(o.Grace, time.Duration(t.Patience*float64(time.Second)))
			select {
			case err = <-done:
			case <-ctx.Done():
				err = wait(done, grace, context.Cause(ctx))
			case <-ended:
				if err = readErr; errors.Is(err, io.EOF) {
					err = errOrphaned
				}
				cancel(err)
				err = wait(done, grace, err)
			}
			if err != nil {
				return fmt.Errorf("worker: %w", err)
			}
		}
	}
}

// wait waits for a handler whose context has ended.
func wait(done <-chan error, grace time.Duration, cause error) error {
	select {
	case <-done:
	case <-time.After(grace):
	}
	return cause
}

// server is the writing half of Serve.
type server struct {
	handler Handler

	mu  sync.Mutex
	out io.Writer
}

func (s *server) send(m message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return writeLine(s.out, m)
}

// do runs one task and sends its result. It returns an error if sending fails.
func (s *server) do(ctx context.Context, t Task) error {
	var mu sync.Mutex
	over := false
	values, err := s.call(ctx, t, func(p Progress) {
		mu.Lock()
		defer mu.Unlock()
		if !over { // a late goroutine must not send progress during the next task
			_ = s.send(message{Progress: &p}) // sending the result will return the same error
		}
	})
	mu.Lock()
	over = true
	mu.Unlock()
	if err == nil && len(values) > 0 && !json.Valid(values) {
		err = errors.New("internal error: the result is not JSON")
	}
	r := &result{Values: values}
	if err != nil {
		r = &result{Err: &RemoteError{Class: Class(err), Msg: err.Error(), Stack: stackOf(err), Output: outputOf(err)}}
		if ctx.Err() != nil && (errors.Is(err, context.Cause(ctx)) || errors.Is(err, ctx.Err())) {
			r.Err.Class = ClassKilled // it was asked to stop, and has saved what can be saved
		}
		if r.Err.Stack != "" && r.Err.Class == ClassFailed {
			r.Err.Class = ClassPanic
		}
	}
	return s.send(message{Result: r})
}

// call runs the handler and turns a panic into an error.
func (s *server) call(ctx context.Context, t Task, progress func(Progress)) (values json.RawMessage, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &panicError{fmt.Sprint(p), string(debug.Stack())}
		}
	}()
	return s.handler(ctx, t, progress)
}
