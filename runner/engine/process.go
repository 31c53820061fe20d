package engine

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"ablate/runner/launch"
)

// markVariable is the environment variable by which processes of an attempt are found, even
// if they have left their parent and their process group.
const markVariable = "ABLATE_ATTEMPT"

// newMark returns the mark of an attempt.
func newMark() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// markOf returns the mark of attempts that save their state in a folder.
func markOf(state string) string {
	sum := sha256.Sum256([]byte(state))
	return hex.EncodeToString(sum[:16])
}

// sweep kills what is left of earlier attempts with a mark.
func (e *Engine) sweep(mark string) error {
	if err := e.killElsewhere(mark); err != nil {
		return e.errorf("%w", err)
	}
	if pids := Marked(mark); len(pids) > 0 {
		for end := time.Now().Add(grace); len(pids) > 0 && time.Now().Before(end); pids = Marked(mark) {
			for _, pid := range pids {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
			time.Sleep(time.Millisecond)
		}
		if len(pids) > 0 {
			return e.errorf("an earlier attempt goes on: %s", named(pids))
		}
	}
	return nil
}

// patience is how long processes that got SIGKILL may take to end. One that waits for a device or a
// file system may take for ever.
const patience = 10 * time.Second

// killElsewhere runs the command that ends an attempt in a container.
func (e *Engine) killElsewhere(mark string) error {
	argv := e.words(e.Kill, "{action}", mark)
	if argv == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.WaitDelay = patience
	err := cmd.Run() // fails if the attempt has ended already
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("kill: there is no program %s, so that what runs in the container goes on: correct kill in machine.cue", argv[0])
	}
	if ctx.Err() != nil {
		return fmt.Errorf("kill: %s took longer than %v, so that what runs in the container may go on: look at it, and end it by hand", strings.Join(argv, " "), grace)
	}
	return nil
}

// A command is a process to start.
type command struct {
	argv  []string
	dir   string
	env   []string
	log   *log
	input bool   // the process has a standard input, which the caller writes
	walls *walls // nil where it sees all
}

// A process is a running process of an engine.
type process struct {
	cmd   *exec.Cmd
	e     *Engine
	in    io.WriteCloser
	gate  *gate         // nil where there are no walls
	done  chan struct{} // closed when the first process has ended
	ended error
}

// start starts a process, whose output goes to the log. The caller must call end.
func (e *Engine) start(c command) (*process, error) {
	path, err := exec.LookPath(c.argv[0])
	if err != nil {
		return nil, e.check()
	}
	p := &process{cmd: &exec.Cmd{Path: path, Args: c.argv, Dir: c.dir, Env: c.env}, e: e, done: make(chan struct{})}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p.cmd.Stdout, p.cmd.Stderr = w, w
	if c.input {
		if p.in, err = p.cmd.StdinPipe(); err != nil {
			return nil, errors.Join(err, r.Close(), w.Close())
		}
	}
	theirs := []*os.File{w}
	if c.walls != nil {
		var pipes []*os.File
		if p.gate, pipes, err = c.walls.gated(p.cmd); err != nil {
			return nil, errors.Join(e.errorf("sandbox: %w", err), r.Close(), w.Close())
		}
		theirs = append(theirs, pipes...)
	}
	err = launch.Start(p.cmd)
	for _, f := range theirs {
		_ = f.Close()
	}
	if err != nil {
		_ = r.Close()
		p.gate.close()
		if c.walls != nil {
			return nil, e.errorf("%w (%w)", errNoWalls, err)
		}
		return nil, e.errorf("cannot start %s: %w", c.argv[0], err)
	}
	c.log.read(r)
	go func() {
		p.ended = p.cmd.Wait()
		close(p.done)
	}()
	if c.walls != nil {
		if err := p.gate.send(c.walls); err != nil {
			_ = p.cmd.Process.Kill()
			<-p.done
			p.gate.close()
			return nil, e.errorf("%w (%w)%s", errNoWalls, err, c.log.tail())
		}
		if !c.walls.Stay {
			p.gate.close()
		}
	}
	return p, nil
}

// code returns the exit status of the first process, -1 if a signal ended it.
func (p *process) code() int { return p.cmd.ProcessState.ExitCode() }

// ending describes how the first process ended.
func (p *process) ending() string {
	if s, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && s.Signaled() {
		return "killed by " + s.Signal().String()
	}
	return fmt.Sprintf("exit status %d", p.code())
}

// running reports whether the first process has not ended.
func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// term sends SIGTERM to the first process alone.
func (p *process) term() {
	if p.running() {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
	}
}

// end ends all processes of an attempt: it sends SIGTERM, and SIGKILL to those that are left
// after a grace. It returns how many there were beside the first process, and an error if some did not
// end.
func (p *process) end(mark string, grace time.Duration) (others int, err error) {
	send := func(s syscall.Signal) int {
		n := 0
		for _, pid := range Marked(mark) {
			if pid != p.cmd.Process.Pid {
				n++
			}
			_ = syscall.Kill(pid, s)
		}
		_ = syscall.Kill(-p.cmd.Process.Pid, s)
		return n
	}
	err = p.e.killElsewhere(mark)
	gone := func() bool { return !p.running() && len(Marked(mark)) == 0 }
	if grace > 0 {
		others = send(syscall.SIGTERM)
		for end := time.Now().Add(grace); time.Now().Before(end) && !gone(); {
			time.Sleep(5 * time.Millisecond)
		}
	}
	late := time.Now().Add(patience)
	for first := true; first || !gone(); first = false { // a process may start another one meanwhile
		others = max(others, send(syscall.SIGKILL))
		if time.Now().After(late) {
			left := Marked(mark)
			if p.running() {
				left = append(left, p.cmd.Process.Pid)
			}
			return others, errors.Join(err, errors.New(named(left)))
		}
		time.Sleep(time.Millisecond)
	}
	return others, err
}

// named describes processes that do not end.
func named(pids []int) string {
	var list []string
	for _, pid := range pids {
		state := "unknown"
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)) // empty on other systems
		name := ""
		for line := range strings.Lines(string(text)) {
			if v, ok := strings.CutPrefix(line, "Name:"); ok {
				name = " (" + strings.TrimSpace(v) + ")"
			}
			if v, ok := strings.CutPrefix(line, "State:"); ok {
				state = strings.TrimSpace(v)
			}
		}
		list = append(list, fmt.Sprintf("process %d%s, state %s", pid, name, state))
	}
	return fmt.Sprintf("%s has had SIGKILL for %v and does not end: a device or a file system may hang, or it belongs to another user", strings.Join(list, "; "), patience)
}

// Marked returns the processes whose environment has the mark of an attempt. They are known
// on Linux only.
func Marked(mark string) []int { return having(markVariable + "=" + mark) }

// having returns the processes whose environment has a setting.
func having(setting string) (pids []int) {
	files, _ := filepath.Glob("/proc/[0-9]*/environ") // the pattern is right
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err == nil && strings.Contains("\x00"+string(data), "\x00"+setting+"\x00") {
			var pid int
			if _, err := fmt.Sscanf(name, "/proc/%d/", &pid); err == nil && pid != os.Getpid() {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}
