package cluster

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"ablate/runner/phrase"
)

// Command is a launcher that starts each worker by a command line, such as
// "ssh host {worker}". In the template {worker} stands for the worker's command line,
// {worker:q} for the same as one quoted word, and {n} for the worker's number from 0.
type Command struct {
	Template string
	Worker   []string // program and arguments of a worker
	Logs     string   // folder for the output of the commands

	// Detached says that a command returns when it has submitted its worker. Otherwise it
	// runs as long as the worker.
	Detached bool

	mu      sync.Mutex
	started int
	running map[int]*exec.Cmd

	// Of the last Start:
	submitted int    // number of commands that have ended well
	ended     string // how another one ended; empty if none did
}

// CheckTemplate returns an error if a template does not start a worker.
func CheckTemplate(template string) error {
	if !strings.Contains(template, "{worker}") && !strings.Contains(template, "{worker:q}") {
		return fmt.Errorf("%q has no {worker}, which stands for the command line of a worker, as in 'ssh host {worker}'", template)
	}
	return nil
}

// line returns the command line of the worker of a number.
func (c *Command) line(n int) string {
	words := make([]string, len(c.Worker))
	for i, w := range c.Worker {
		words[i] = phrase.Shell(w)
	}
	worker := strings.Join(words, " ")
	return strings.NewReplacer("{worker}", worker, "{worker:q}", phrase.Shell(worker), "{n}", strconv.Itoa(n)).Replace(c.Template)
}

// Start starts n commands.
func (c *Command) Start(_ context.Context, n int) error {
	if n < 1 {
		return errNoWorkers
	}
	if err := os.MkdirAll(c.Logs, 0o777); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running == nil {
		c.running = map[int]*exec.Cmd{}
	}
	c.ended, c.submitted = "", 0
	for i := range n {
		if err := c.start(i); err != nil {
			return err
		}
	}
	return nil
}

// start starts the command of worker n. The lock is held.
func (c *Command) start(n int) error {
	name := filepath.Join(c.Logs, fmt.Sprintf("worker-%d.log", n))
	log, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o666)
	if err != nil {
		return err
	}
	defer log.Close()
	line := c.line(n)
	cmd := exec.Command("sh", "-c", line)
	// Its own process group: Ctrl-C is for the run, which decides what becomes of workers.
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = log, log, &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("worker %d (%s): %w", n, line, err)
	}
	id := c.started
	c.started++
	c.running[id] = cmd
	go func() {
		err := cmd.Wait()
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.running, id)
		if err == nil {
			c.submitted++
		} else {
			c.ended = fmt.Sprintf("worker %d (%s) %v%s; its output is in %s", n, line, err, because(lastLine(name)), name)
		}
	}()
	return nil
}

// lastLine returns the last line of a file that is not empty.
func lastLine(name string) string {
	data, err := os.ReadFile(name)
	if err != nil {
		return ""
	}
	data = bytes.TrimRight(data[max(0, len(data)-4096):], "\n ")
	return strings.ToValidUTF8(string(data[bytes.LastIndexByte(data, '\n')+1:]), "?")
}

// Count counts the commands that run.
func (c *Command) Count(context.Context) (Workers, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := Workers{Running: len(c.running), Ended: c.ended}
	if c.Detached && c.submitted > 0 {
		w.Waiting = 1 // whether the workers wait or have ended, only their scheduler knows
	}
	return w, nil
}

// Stop asks the commands that still run to end.
func (c *Command) Stop(ctx context.Context) error {
	c.signal()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if w, _ := c.Count(ctx); w.Running == 0 {
			return nil
		}
	}
	return nil
}

func (c *Command) signal() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, cmd := range c.running {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
	}
}

// Leave asks the commands to end and waits for them: their workers save the states of
// trainings.
func (c *Command) Leave(ctx context.Context) string {
	_ = c.Stop(ctx)
	if c.Detached {
		return "workers that the commands have started go on; the same command attaches to them again"
	}
	return "the commands have been asked to end: workers on this machine save the states of trainings and stop, those on other machines may go on; the same command attaches to them again"
}
