package cli_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ablate/models/modeltest"
	"ablate/runner/internal/vt"
)

// onTerminal is a program that runs on a pseudo-terminal.
type onTerminal struct {
	cmd        *exec.Cmd
	controller *os.File
	done       chan struct{} // closed when everything is read

	mu     sync.Mutex
	screen *vt.Screen
}

// startOnTerminal starts a program on a terminal of its own, of which it is in the foreground.
func startOnTerminal(t *testing.T, width, height int, cmd *exec.Cmd) *onTerminal {
	t.Helper()
	controller, terminal, err := vt.Open(width, height)
	if err != nil {
		t.Skip("no pseudo-terminal: ", err)
	}
	defer terminal.Close()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = terminal, terminal, terminal
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	x := &onTerminal{cmd: cmd, controller: controller, screen: vt.New(width, height), done: make(chan struct{})}
	t.Cleanup(func() { controller.Close() })
	go func() {
		defer close(x.done)
		b := make([]byte, 1<<16)
		for {
			n, err := controller.Read(b)
			x.mu.Lock()
			x.screen.Write(b[:n])
			x.mu.Unlock()
			if err != nil { // EIO: the last process has closed the terminal
				return
			}
		}
	}()
	return x
}

// sees waits until the screen matches an expression, and returns it.
func (x *onTerminal) sees(t *testing.T, expression string) string {
	t.Helper()
	re, last := regexp.MustCompile("(?m)"+expression), ""
	for range 2400 {
		x.mu.Lock()
		last = x.screen.String()
		x.mu.Unlock()
		if re.MatchString(last) {
			return last
		}
		select {
		case <-x.done:
			t.Fatalf("the program ended before the terminal matched %q:\n%s", expression, last)
		case <-time.After(25 * time.Millisecond):
		}
	}
	t.Fatalf("the terminal does not match %q:\n%s", expression, last)
	return ""
}

// end waits for the program, and returns all lines that it has left on the terminal.
func (x *onTerminal) end(t *testing.T) []string {
	t.Helper()
	<-x.done
	_ = x.cmd.Wait()
	if x.screen.Err != nil {
		t.Error(x.screen.Err)
	}
	if _, column := x.screen.Cursor(); column != 0 {
		t.Errorf("the cursor is in column %d", column)
	}
	return strings.Split(x.screen.All(), "\n")
}

// types sends a key to the program.
func (x *onTerminal) types(t *testing.T, key string) {
	t.Helper()
	if _, err := x.controller.WriteString(key); err != nil {
		t.Fatal(err)
	}
}

const ctrlC = "\x03"

// viewLine matches lines of the view, of which nothing may be left.
var viewLine = regexp.MustCompile(`(?m)^mini\S*  \d+ of \d+ stages|^  (stages|arms)  |^          \S+ \d+/\d+|^  [a-z]+ +\S.*  \d+:\d\d`)

// logLine matches a complete log line of a stage.
var logLine = regexp.MustCompile(`^\d\d:\d\d:\d\d INF done action=[0-9a-f]{12} arm=(".*"|\S+) finished=\d+ of=\d+ stage=[a-z]+ took=\S+$`)

// TestTerminal: on a terminal a run, and a status of it on another one, show the view, with
// what compiles and the steps and loss of trainings. The log above is complete, and at the
// end, or after Ctrl-C, nothing of the view is left.
func TestTerminal(t *testing.T) {
	dir := t.TempDir()
	bin, path := place(t, dir), modeltest.Plugin(t)
	command := func(args ...string) *exec.Cmd {
		cmd := exec.Command(bin, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "ABLATE_PJRT_PLUGIN="+path, "TERM=xterm", "NO_COLOR=1", "CI=")
		return cmd
	}
	pretrains := func(at string) string { return `^  (\S+:\d+  )?pretrain  \S+@1 +\d+:\d\d  step ` + at }
	const training = `\d+/2000 · loss \d\.\d+ · \d+/s`
	const width = 160 // log lines fit
	run := startOnTerminal(t, width, 16, command("run", "mini", "--only", "pretrained", "--set", "model.shapes.steps=2000"))
	run.sees(t, pretrains(`0/2000 · compiling`))
	run.sees(t, pretrains(training))
	watch := startOnTerminal(t, 100, 20, command("status", "mini", "--watch", "--set", "model.shapes.steps=2000"))
	if frame := watch.sees(t, pretrains(training)); !viewLine.MatchString(frame) {
		t.Errorf("status --watch shows\n%s", frame)
	}
	lines, done := run.end(t), 0
	for _, l := range lines {
		switch {
		case viewLine.MatchString(l):
			t.Errorf("the view has left %q", l)
		case strings.Contains(l, " INF done"):
			done++
			if !logLine.MatchString(l) {
				t.Errorf("a garbled log line: %q", l)
			}
		}
	}
	text := strings.Join(lines, "\n")
	var ran int
	if m := regexp.MustCompile(`(?m)^\d\d:\d\d:\d\d INF study mini\S* cached=0 failed=0 ran=(\d+) took=`).FindStringSubmatch(text); m != nil {
		fmt.Sscan(m[1], &ran)
	}
	if ran == 0 || done != ran || !strings.Contains(text, "\npretrained ") || !strings.Contains(text, "\nreport: ") {
		t.Errorf("%d lines of finished stages, %d ran; the terminal has\n%s", done, ran, text)
	}
	watch.types(t, ctrlC)
	if last := strings.Join(watch.end(t), "\n"); !regexp.MustCompile(`^(\^C)?study mini\S* \(xla:cpu\): \d+ of \d+ stages done`).MatchString(last) || viewLine.MatchString(last) {
		t.Errorf("status --watch leaves\n%s", last)
	}

	run = startOnTerminal(t, width, 16, command("run", "mini", "--only", "pretrained", "--set", "model.shapes.steps=100000"))
	run.sees(t, pretrains(`\d+/100000 · loss`))
	run.types(t, ctrlC)
	text = strings.Join(run.end(t), "\n")
	if viewLine.MatchString(text) || !strings.Contains(text, " INF stopping: trainings save their states first") || !strings.Contains(text, "\nablate: interrupted; ") {
		t.Errorf("a run that is interrupted leaves\n%s", text)
	}
}

// TestTerminalWorkers: a run by workers that a launcher starts, and a worker beside them, show
// what all of them compute.
func TestTerminalWorkers(t *testing.T) {
	dir := t.TempDir()
	bin, path := place(t, dir), modeltest.Plugin(t)
	start := func(args ...string) *onTerminal {
		cmd := exec.Command(bin, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "ABLATE_PJRT_PLUGIN="+path, "TERM=xterm", "NO_COLOR=1", "CI=")
		return startOnTerminal(t, 100, 24, cmd)
	}
	const pretrains = `^  \S+:\d+  pretrain  +pretrained@1 +\d+:\d\d  step \d+/5000 · loss \d\.\d+ · \d+/s`
	run := start("run", "mini", "--only", "pretrained", "--set", "model.shapes.steps=5000", "--backend", "xla:cpu", "-j", "1",
		"--launcher", "command", "--workers", "2", "--template", "sh -c {worker:q}")
	if frame := run.sees(t, pretrains); !regexp.MustCompile(`^.* INF computing by workers elsewhere(?s:.*)\nmini\S*  \d+ of \d+ stages · .*2 command workers · \d:\d\d\n`).MatchString(frame) {
		t.Errorf("a run with a launcher shows\n%s", frame)
	}
	files, err := filepath.Glob(filepath.Join(dir, ".ablate", "studies", "*", "run.json"))
	if err != nil || len(files) != 1 {
		t.Fatalf("run files %v, %v", files, err)
	}
	worker := start("worker", files[0], "-j", "1")
	worker.sees(t, pretrains)
	if text := strings.Join(run.end(t), "\n"); viewLine.MatchString(text) || !strings.Contains(text, "\npretrained ") {
		t.Errorf("the run leaves\n%s", text)
	}
	if text := strings.Join(worker.end(t), "\n"); viewLine.MatchString(text) || !regexp.MustCompile(`(?m)^\d+ stages? computed, 0 left$`).MatchString(text) {
		t.Errorf("the worker leaves\n%s", text)
	}
}
