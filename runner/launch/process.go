package launch

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"time"

	"ablate/runner/resource"
)

// process is a running worker. Only the owner of its slot may call do and stop, one at a
// time.
type process struct {
	id  int
	cmd *exec.Cmd
	// our ends of the pipes of its standard input, output and error
	in, out, err *os.File

	messages chan incoming // closed at the end of its standard output
	exited   chan struct{} // closed when the process has ended; state is set before
	state    *os.ProcessState
	ended    chan struct{} // closed when its standard error was read to the end
	quit     chan struct{} // closed by stop, when messages are no longer received
	stderr   *tail
	rss      atomic.Int64
	build    string        // build that the worker must have
	silence  time.Duration // how long it may send nothing during a task; 0 means no limit
	oomKills int           // number of processes that the kernel had killed for lack of memory when the task began
}

// incoming is a message, or the error that ended the stream of messages.
type incoming struct {
	message
	err error
}

// drainTime is how long to wait for the last output of a dead process. The wait is
// limited because a grandchild may keep the pipe open.
const drainTime = 200 * time.Millisecond

// start starts the worker of a number with a grant, bound to CPUs, and waits for its hello.
func (p *Pool) start(ctx context.Context, id int, g resource.Grant, cpus []int) (*process, error) {
	cmd := exec.Command(p.o.Command[0], p.o.Command[1:]...)
	cmd.Env = append(append(os.Environ(), p.o.Env...), g.Environment()...)
	if p.o.Threads != nil {
		cmd.Env = append(cmd.Env, p.o.Threads(g.CPUs)...)
	}
	cmd.Dir = p.o.Dir
	cmd.SysProcAttr = attributes()
	var theirs, ours [3]*os.File
	closeAll := func(files [3]*os.File) {
		for _, f := range files {
			if f != nil {
				f.Close()
			}
		}
	}
	for i := range 3 {
		r, w, err := os.Pipe()
		if err != nil {
			closeAll(theirs)
			closeAll(ours)
			return nil, remotef(ClassStart, id, "cannot be started: %v", err)
		}
		theirs[i], ours[i] = w, r
		if i == 0 {
			theirs[i], ours[i] = r, w
		}
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs[0], theirs[1], theirs[2]
	err := p.spawn.start(cmd, p.cpus.bound(cpus))
	closeAll(theirs)
	if err != nil {
		closeAll(ours)
		return nil, remotef(ClassStart, id, "cannot be started: %v", err)
	}
	w := &process{
		id: id, cmd: cmd, in: ours[0], out: ours[1], err: ours[2],
		messages: make(chan incoming), exited: make(chan struct{}), ended: make(chan struct{}), quit: make(chan struct{}),
		stderr: &tail{}, build: p.o.Build, silence: p.o.Silence,
	}
	go w.read()
	go w.keep()
	go w.reap()
	if err := w.greet(ctx, p.o.Start); err != nil {
		w.stop(p.o.Grace)
		return nil, err
	}
	return w, nil
}

// greet waits for the worker's first line.
func (w *process) greet(ctx context.Context, limit time.Duration) error {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("worker %d: start stopped: %w", w.id, context.Cause(ctx))
		case <-timer.C:
			return w.unstarted("sent nothing for %v after its start", limit)
		case m, ok := <-w.messages:
			if !ok { // it has closed its output and is about to end
				w.awaitExit()
				e := w.death("its start")
				return &RemoteError{Class: ClassStart, Worker: w.id, Msg: e.Msg, Stderr: e.Stderr}
			}
			if m.err != nil || m.Hello == nil {
				return w.unstarted("does not speak this program's protocol: is it another program?")
			}
			if h := m.Hello; h.Protocol != protocol || h.Build != w.build {
				return remotef(ClassStart, w.id, "is of another build than the program that started it (%.12q, protocol %d, not %.12q, protocol %d): "+
					"the program was rebuilt or replaced while it ran. Nothing of the new build was stored; run again to go on with it",
					h.Build, h.Protocol, w.build, protocol)
			}
			return nil
		}
	}
}

// unstarted returns the error of a worker that runs but cannot be used. The message ends
// with the line of its standard error that best explains the reason.
func (w *process) unstarted(format string, args ...any) *RemoteError {
	time.Sleep(drainTime / 4) // time to receive what it wrote before
	e := remotef(ClassStart, w.id, format, args...)
	e.Stderr = w.stderr.String()
	if words := lastWords(e.Stderr); words != "" {
		e.Msg += ": " + words
	}
	return e
}

// do sends a task and receives progress until the result.
func (w *process) do(ctx context.Context, t Task, progress func(Progress)) (json.RawMessage, error) {
	if ctx.Err() != nil {
		return nil, fmt.Errorf("worker %d: %s stopped: %w", w.id, t, context.Cause(ctx))
	}
	w.stderr.reset()
	w.oomKills = oomKills()
	var quiet <-chan time.Time
	var timer *time.Timer
	var since time.Time // when the limit was exceeded and more time was given; zero before that
	again := min(w.silence, time.Second)
	if w.silence > 0 {
		timer = time.NewTimer(w.silence)
		defer timer.Stop()
		quiet = timer.C
	}
	sent := make(chan error, 1)
	go func() { sent <- writeLine(w.in, t) }() // in a goroutine, because a worker that does not read would block it
	exited := w.exited
	var drain <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("worker %d: %s stopped: %w", w.id, t, context.Cause(ctx))
		case err := <-sent:
			sent = nil
			var unsayable *json.MarshalerError
			if errors.As(err, &unsayable) {
				return nil, fmt.Errorf("worker %d: %s: %w", w.id, t, err)
			}
			// Any other error means that the worker is ending, which is handled below.
		case <-exited:
			exited = nil
			drain = time.After(drainTime)
		case <-drain:
			return nil, w.death(t.String())
		case <-quiet:
			// Perhaps this process itself was stopped (by Ctrl-Z, or by a terminal that
			// accepts no output). Then the worker's messages are waiting, and get some
			// more time to be read. If that time took too long, this process was stopped
			// again.
			if since.IsZero() || time.Since(since) > again+again/10 {
				since = time.Now()
				timer.Reset(again)
				continue
			}
			return nil, w.hung(t)
		case m, ok := <-w.messages:
			since = time.Time{}
			switch {
			case !ok:
				w.awaitExit()
				return nil, w.death(t.String())
			case m.err != nil:
				return nil, remotef(ClassProtocol, w.id, "during %s: %v", t, m.err)
			case m.Progress != nil:
				if progress != nil {
					progress(*m.Progress)
				}
				if timer != nil { // only now, because the time of progress is not the worker's
					timer.Reset(w.silence)
				}
			case m.Result != nil && m.Result.Err != nil:
				time.Sleep(drainTime / 4) // its standard error may arrive after the result
				m.Result.Err.Worker, m.Result.Err.Stderr = w.id, w.stderr.String()
				return nil, m.Result.Err
			case m.Result != nil:
				return m.Result.Values, nil
			default:
				return nil, remotef(ClassProtocol, w.id, "said hello during %s", t)
			}
		}
	}
}

// hung ends a worker that has sent nothing for too long. It sends SIGQUIT, on which the
// Go runtime prints the stacks of all goroutines, so that they are in Stderr.
func (w *process) hung(t Task) *CrashError {
	_ = w.cmd.Process.Signal(syscall.SIGQUIT)
	select {
	case <-w.exited:
		w.awaitStderr()
	case <-time.After(drainTime): // it does not react to the signal; stop will kill it
	}
	return &CrashError{Worker: w.id, cause: ClassSilent, Stderr: w.stderr.String(),
		Msg: fmt.Sprintf("worker %d sent no progress for %v during %s and was ended: run again, and report it if it happens again", w.id, w.silence, t)}
}

// read passes the worker's lines to messages until they end or stop is called.
func (w *process) read() {
	defer close(w.messages)
	for r := bufio.NewReader(w.out); ; {
		m, err := readMessage(r)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, os.ErrClosed) {
			return
		}
		select {
		case w.messages <- incoming{m, err}:
		case <-w.quit:
			return
		}
		if err != nil {
			return
		}
	}
}

// keep reads the worker's standard error and keeps its end.
func (w *process) keep() {
	defer close(w.ended)
	_, _ = io.Copy(w.stderr, w.err)
}

// reap waits until the process has ended.
func (w *process) reap() {
	_ = w.cmd.Wait() // the state has more information than the error
	w.state = w.cmd.ProcessState
	close(w.exited)
}

// gone reports whether the process has ended.
func (w *process) gone() bool {
	select {
	case <-w.exited:
		return true
	default:
		return false
	}
}

// peak returns the largest memory that the process has used, in bytes; 0 if it has ended.
func (w *process) peak() int64 {
	if !w.gone() {
		w.rss.Store(max(w.rss.Load(), peakRSS(w.cmd.Process.Pid)))
	}
	return w.rss.Load()
}

// stop asks the process to end, and kills its group after grace. It returns when the
// process has ended.
func (w *process) stop(grace time.Duration) {
	w.peak()
	close(w.quit)
	w.in.Close()
	if !w.gone() {
		w.signal(syscall.SIGTERM)
		select {
		case <-w.exited:
		case <-time.After(grace):
		}
	}
	w.signal(syscall.SIGKILL) // and all other processes of the group
	<-w.exited
	w.awaitStderr()
	w.out.Close() // a process that has left the group may still have the other ends open
	w.err.Close()
}

// awaitStderr waits for the last standard error of a process that has ended.
func (w *process) awaitStderr() {
	select {
	case <-w.ended:
	case <-time.After(drainTime):
	}
}

// signal sends a signal to the worker's whole process group.
func (w *process) signal(s syscall.Signal) { _ = syscall.Kill(-w.cmd.Process.Pid, s) }

// awaitExit waits for the end of a process that has closed its output, and kills it if it
// does not end.
func (w *process) awaitExit() {
	select {
	case <-w.exited:
	case <-time.After(drainTime):
		w.signal(syscall.SIGKILL)
		<-w.exited
	}
}

// death returns an error that describes how the process ended, and during which work.
func (w *process) death(during string) *CrashError {
	w.awaitStderr()
	how, cause := "ended", ClassCrash
	if s, ok := w.state.Sys().(syscall.WaitStatus); ok {
		switch {
		case s.Signaled() && s.Signal() == syscall.SIGKILL && oomKills() > w.oomKills:
			how, cause = "was killed by the kernel because memory was short", ClassMemory
		case s.Signaled() && (s.Signal() == syscall.SIGKILL || s.Signal() == syscall.SIGTERM):
			how, cause = fmt.Sprintf("was killed by signal %d", int(s.Signal())), ClassKilled
		case s.Signaled():
			how = fmt.Sprintf("was killed by signal %d (%v)", int(s.Signal()), s.Signal())
		default:
			how = fmt.Sprintf("ended with status %d", s.ExitStatus())
		}
	}
	e := &CrashError{Worker: w.id, cause: cause, Msg: fmt.Sprintf("worker %d %s during %s", w.id, how, during), Stderr: w.stderr.String()}
	if words := lastWords(e.Stderr); words != "" {
		e.Msg += ": " + words
	}
	return e
}
