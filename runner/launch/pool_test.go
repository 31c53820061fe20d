package launch

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ablate/runner/resource"
)

// pool returns a pool of test workers, closed with the test.
func pool(t *testing.T, o Options) *Pool {
	t.Helper()
	if o.Command == nil {
		o.Command = []string{os.Args[0]}
	}
	o.Env = append([]string{roleVar + "=worker"}, o.Env...)
	p, err := NewPool(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// pid runs a task and returns the process that did it, with the error.
func pid(t *testing.T, p *Pool, stage, hint string) (int, error) {
	t.Helper()
	n := 0
	_, err := p.Do(t.Context(), Task{Stage: stage, Action: "abcdef0123456789"}, one, hint, func(m Progress) {
		if n == 0 {
			n, _ = strconv.Atoi(m.Text)
		}
	})
	return n, err
}

func TestDo(t *testing.T) {
	p := pool(t, Options{CPUs: 1})
	task := Task{Action: "ab", Stage: "echo", Params: json.RawMessage(`{"steps":3}`),
		Inputs: map[string]string{"checkpoint": "/a b"}, Out: "/out"}
	done, err := p.Do(t.Context(), task, one, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	var got Task
	if err := json.Unmarshal(done.Values, &got); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(task, got); d != "" {
		t.Errorf("task mismatch (-want +got):\n%s", d)
	}
	if runtime.GOOS == "linux" && p.PeakRSS() < 1<<20 {
		t.Errorf("peak %d", p.PeakRSS())
	}
	var steps []int
	if _, err := p.Do(t.Context(), Task{Stage: "steps"}, one, "", func(m Progress) { steps = append(steps, m.Step) }); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]int{0, 1, 2, 3, 4, 5}, steps); d != "" {
		t.Errorf("progress mismatch (-want +got):\n%s", d)
	}
}

func TestLargeMessages(t *testing.T) {
	p := pool(t, Options{CPUs: 1})
	params, _ := json.Marshal(strings.Repeat("x", 3<<20)) // far more than a pipe holds
	done, err := p.Do(t.Context(), Task{Stage: "echo", Params: params}, one, "", nil)
	if err != nil || !bytes.Contains(done.Values, params) {
		t.Errorf("got %d bytes, %v", len(done.Values), err)
	}
}

func TestTaskErrors(t *testing.T) {
	p := pool(t, Options{CPUs: 1})
	first, err := pid(t, p, "echo", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ stage, class, msg string }{
		{"fail", ClassFailed, "the reward has no labels"},
		{"fail-class", "memory", "step 7: out of device memory"},
		{"panic", ClassPanic, "internal error: shapes differ"},
		{"stack", ClassPanic, "internal error: shapes differ"},
		{"not-json", ClassFailed, "internal error: the result is not JSON"},
	} {
		n, err := pid(t, p, c.stage, "")
		var remote *RemoteError
		if !errors.As(err, &remote) || remote.Class != c.class || Class(err) != c.class || err.Error() != c.msg {
			t.Errorf("%s: got %#v, want class %s, %q", c.stage, err, c.class, c.msg)
		}
		if n != first {
			t.Errorf("%s: process %d, before %d: the worker did not survive", c.stage, n, first)
		}
	}
	// What a log wants beside the message: the stack, and what was printed during
	// this task and no other.
	for stage, want := range map[string]string{"panic": "worker_test.go", "stack": "main.build()"} {
		_, err := pid(t, p, stage, "")
		if stack := Diagnostics(err).Stack; !strings.Contains(stack, want) || strings.Contains(err.Error(), want) {
			t.Errorf("%s: stack %q beside %q", stage, stack, err)
		}
	}
	for _, words := range []string{`"one"`, `"two"`} {
		_, err := p.Do(t.Context(), Task{Stage: "chatter", Params: json.RawMessage(words)}, one, "", nil)
		if stderr := Diagnostics(err).Stderr; stderr != words+"\n" {
			t.Errorf("standard error %q, want %q", stderr, words)
		}
	}
	if _, err := p.Do(t.Context(), Task{Stage: "echo", Params: json.RawMessage("{")}, one, "", nil); err == nil {
		t.Error("parameters that are not JSON were sent")
	}
	if _, err := pid(t, p, "echo", ""); err != nil {
		t.Errorf("after that: %v", err)
	}
}

func TestCrash(t *testing.T) {
	p := pool(t, Options{CPUs: 1})
	for _, c := range []struct{ stage, class, msg string }{
		{"exit", ClassCrash, "worker 0 ended with status 3 during exit abcdef012345: cannot open libcuda"},
		{"crash", ClassKilled, "worker 0 was killed by signal 9 during crash abcdef012345: fatal error: unexpected signal"},
	} {
		_, err := pid(t, p, c.stage, "")
		var crash *CrashError
		if !errors.As(err, &crash) || Class(err) != c.class || err.Error() != c.msg {
			t.Errorf("%s: got %v, want %q", c.stage, err, c.msg)
		}
		if _, err := pid(t, p, "echo", ""); err != nil {
			t.Errorf("after %s: %v", c.stage, err)
		}
	}
}

func TestKilledWhileIdle(t *testing.T) {
	p := pool(t, Options{CPUs: 1})
	first, _ := pid(t, p, "echo", "")
	syscall.Kill(first, syscall.SIGKILL)
	await(t, "the worker to be reaped", func() bool { return p.slots[0].proc.gone() })
	if second, err := pid(t, p, "echo", ""); err != nil || second == first {
		t.Errorf("got %d after %d, %v: want another worker and no error", second, first, err)
	}
}

// TestNoise: output of libraries does not disturb the protocol.
func TestNoise(t *testing.T) {
	p := pool(t, Options{CPUs: 1})
	done, err := p.Do(t.Context(), Task{Stage: "noise"}, one, "", nil)
	if err != nil || string(done.Values) != "0" {
		t.Fatalf("got %s, %v", done.Values, err)
	}
	await(t, "100 lines on the standard error", func() bool { return strings.Count(p.slots[0].proc.stderr.String(), "klog") == 100 })
}

func TestCancel(t *testing.T) {
	for _, stage := range []string{"sleep", "deaf", "frozen", "family"} {
		t.Run(stage, func(t *testing.T) {
			p := pool(t, Options{CPUs: 1})
			cause := errors.New("the user pressed Ctrl-C")
			ctx, cancel := context.WithCancelCause(t.Context())
			var seen []int // processes
			var began time.Time
			_, err := p.Do(ctx, Task{Stage: stage}, one, "", func(m Progress) {
				if n, err := strconv.Atoi(m.Text); err == nil {
					seen = append(seen, n)
				}
				if m.Text == stage || stage == "sleep" || len(seen) == 2 {
					began = time.Now()
					cancel(cause)
				}
			})
			if !errors.Is(err, cause) {
				t.Errorf("got %v", err)
			}
			if d := time.Since(began); d > 2*time.Second {
				t.Errorf("took %v", d)
			}
			if len(seen) == 0 {
				t.Error("no process")
			}
			for i, n := range seen {
				await(t, fmt.Sprintf("the end of process %d", i), func() bool { return !alive(n) })
			}
			if _, err := pid(t, p, "echo", ""); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

// TestUnread: a worker that does not read its task can be stopped all the same.
// TestState: a worker whose task has a state gets the time to save it, and no more than that.
func TestState(t *testing.T) {
	for name, c := range map[string]struct {
		saving time.Duration
		saved  bool
	}{"saved": {5 * time.Second, true}, "too slow": {200 * time.Millisecond, false}} {
		p := pool(t, Options{CPUs: 1, Grace: 100 * time.Millisecond, Saving: c.saving})
		stopped := errors.New("stopped")
		ctx, cancel := context.WithCancelCause(t.Context())
		file := filepath.Join(t.TempDir(), "state")
		_, err := p.Do(ctx, Task{Stage: "saves", State: file}, one, "", func(p Progress) {
			if p.Text == "ready" {
				cancel(stopped)
			}
		})
		if !errors.Is(err, stopped) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(file); (err == nil) != c.saved {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestUnread(t *testing.T) {
	p := pool(t, Options{CPUs: 1, Grace: 100 * time.Millisecond,
		Command: []string{"sh", "-c", `echo '{"hello":{"protocol":4}}'; sleep 60`}})
	params, _ := json.Marshal(strings.Repeat("x", 3<<20))
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := p.Do(ctx, Task{Stage: "echo", Params: params}, one, "", nil); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 2*time.Second {
		t.Errorf("got %v after %v", err, time.Since(began))
	}
}

// TestParentKilled: kill -9 of the pool's process leaves no worker, not even one that
// ignores its input.
func TestParentKilled(t *testing.T) {
	for _, stage := range []string{"sleep", "deaf", "stubborn"} {
		if stage == "stubborn" && runtime.GOOS != "linux" {
			continue
		}
		cmd := exec.Command(os.Args[0], stage)
		cmd.Env = append(os.Environ(), roleVar+"=parent")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		lines.Scan()
		worker, err := strconv.Atoi(lines.Text())
		if err != nil || !alive(worker) {
			t.Fatalf("worker %q: %v", lines.Text(), err)
		}
		if stage == "deaf" {
			lines.Scan() // wait until it ignores its input
		}
		cmd.Process.Kill()
		cmd.Wait()
		await(t, "the worker's end", func() bool { return !alive(worker) })
	}
}

// TestTie: kill -9 of a process also ends the child that it has tied.
func TestTie(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("no signal at the parent's death on this system")
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleVar+"=tied")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	lines.Scan()
	child, err := strconv.Atoi(lines.Text())
	if err != nil || !alive(child) {
		t.Fatalf("child %q: %v", lines.Text(), err)
	}
	cmd.Process.Kill()
	cmd.Wait()
	await(t, "the child's end", func() bool { return !alive(child) })
}

func TestAffinity(t *testing.T) {
	p := pool(t, Options{CPUs: 2})
	// Two at once, so that both workers run.
	var group sync.WaitGroup
	both := make(chan int, 2)
	start := make(chan struct{}, 2)
	for _, hint := range []string{"a", "b"} {
		group.Go(func() {
			d, err := p.Do(t.Context(), Task{Stage: "echo"}, one, hint, func(Progress) {
				start <- struct{}{}
				for len(start) < 2 { // hold this worker until the other runs
					time.Sleep(time.Millisecond)
				}
			})
			if err != nil {
				t.Error(err)
			}
			if hint == "a" {
				both <- d.Worker
			}
		})
	}
	group.Wait()
	a := <-both
	for range 3 {
		if d, err := p.Do(t.Context(), Task{Stage: "echo"}, one, "a", nil); err != nil || d.Worker != a {
			t.Errorf("hint a went to worker %d, %v: want %d", d.Worker, err, a)
		}
		if d, err := p.Do(t.Context(), Task{Stage: "echo"}, one, "b", nil); err != nil || d.Worker != 1-a {
			t.Errorf("hint b went to worker %d, %v: want %d", d.Worker, err, 1-a)
		}
	}
	// With worker 0 gone, one that runs is preferred to starting another.
	if d, err := p.Do(t.Context(), Task{Stage: "crash"}, one, []string{"a", "b"}[a], nil); err == nil || d.Worker != 0 {
		t.Fatalf("worker %d, %v", d.Worker, err)
	}
	if d, err := p.Do(t.Context(), Task{Stage: "echo"}, one, "c", nil); err != nil || d.Worker != 1 {
		t.Errorf("hint c went to worker %d, %v", d.Worker, err)
	}
}

func TestLazyAndBounded(t *testing.T) {
	p := pool(t, Options{CPUs: 2})
	for i := range 4 { // one at a time needs one worker only
		if d, err := p.Do(t.Context(), Task{Stage: "echo"}, one, fmt.Sprint(i), nil); err != nil || d.Worker != 0 {
			t.Fatalf("worker %d, %v", d.Worker, err)
		}
	}
	if len(p.slots) > 1 {
		t.Error("the second worker was started")
	}
	var group sync.WaitGroup
	for range 8 { // more tasks than workers
		group.Go(func() {
			if _, err := p.Do(t.Context(), Task{Stage: "steps"}, one, "", nil); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Do(ctx, Task{Stage: "echo"}, one, "", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	p.Close()
	if _, err := p.Do(t.Context(), Task{Stage: "echo"}, one, "", nil); err == nil {
		t.Error("a closed pool took a task")
	}
}

// TestSilence: a worker that sends nothing, because it hangs or is stopped, is ended, and
// the error says so. A worker that sends progress in time continues.
func TestSilence(t *testing.T) {
	p := pool(t, Options{CPUs: 1, Silence: 300 * time.Millisecond, Grace: 50 * time.Millisecond})
	for _, stage := range []string{"mute", "frozen"} {
		n, err := pid(t, p, stage, "")
		if Class(err) != ClassSilent || !strings.Contains(err.Error(), "worker 0 sent no progress for 300ms during "+stage) {
			t.Errorf("%s: got %v (%s)", stage, err, Class(err))
		}
		// The log has the stacks of all goroutines, which show where it hangs.
		if stderr := Diagnostics(err).Stderr; stage == "mute" && (!strings.HasPrefix(stderr, "waiting for a lock\n") || !strings.Contains(stderr, "launch.perform(")) {
			t.Errorf("standard error %q", stderr)
		}
		await(t, "the end of the worker", func() bool { return !alive(n) })
	}
	if _, err := p.Do(t.Context(), Task{Stage: "steps"}, one, "", nil); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// TestSilenceOfOurs: time in which the pool's own process was blocked, by a terminal that
// accepts no output or by Ctrl-Z, does not count as silence of a worker.
func TestSilenceOfOurs(t *testing.T) {
	p := pool(t, Options{CPUs: 1, Silence: 200 * time.Millisecond})
	for range 5 { // select takes any of two events that are ready
		_, err := p.Do(t.Context(), Task{Stage: "steps"}, one, "", func(m Progress) {
			if m.Step == 3 {
				time.Sleep(300 * time.Millisecond)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}

	cmd := exec.Command(os.Args[0], "ticks")
	cmd.Env = append(os.Environ(), roleVar+"=parent", "SILENCE=500ms")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	lines := bufio.NewScanner(out)
	lines.Scan() // the task runs
	for range 3 {
		cmd.Process.Signal(syscall.SIGSTOP)
		time.Sleep(600 * time.Millisecond)
		cmd.Process.Signal(syscall.SIGCONT)
	}
	last := ""
	for lines.Scan() {
		last = lines.Text()
	}
	if err := cmd.Wait(); err != nil || last != "done" {
		t.Errorf("a pool that was stopped and went on: %v, %q", err, last)
	}
}

// TestBuild: a worker that was started after the program was replaced is refused.
func TestBuild(t *testing.T) {
	p := pool(t, Options{CPUs: 1, Build: "aaaaaaaaaaaaaaaa", Env: []string{"BUILD=bbbbbbbbbbbbbbbb"}})
	_, err := pid(t, p, "echo", "")
	if Class(err) != ClassStart || !strings.Contains(err.Error(), "another build") || !strings.Contains(err.Error(), `"bbbbbbbbbbbb", protocol 4, not "aaaaaaaaaaaa"`) {
		t.Errorf("got %v (%s)", err, Class(err))
	}
	p = pool(t, Options{CPUs: 1, Build: "same", Env: []string{"BUILD=same"}})
	if _, err := pid(t, p, "echo", ""); err != nil {
		t.Errorf("of the same build: %v", err)
	}
}

// TestClaims: pools on one machine do not use the same CPU while another is free, and a
// worker for which too few CPUs are left is not bound to any.
func TestClaims(t *testing.T) {
	all := []int{3, 5, 7, 9}
	a, b := newClaims(all, space()), newClaims(all, space())
	for _, c := range []struct {
		pool *claims
		n    int
		want []int
	}{{a, 1, []int{3}}, {b, 2, []int{5, 7}}, {a, 2, nil}, {a, 1, []int{9}}, {b, 1, nil}} {
		if got := c.pool.take(c.n); !slices.Equal(got, c.want) {
			t.Errorf("%d CPUs: got %v, want %v", c.n, got, c.want)
		}
	}
	if got := b.bound(nil); !slices.Equal(got, all) {
		t.Errorf("without claims it is bound to %v", got)
	}
	a.give([]int{3})
	if got := b.take(1); !slices.Equal(got, []int{3}) {
		t.Errorf("after the other pool gave one: %v, want [3]", got)
	}
	b.give([]int{5, 7, 3})
	a.give([]int{9})
	// If nothing can be claimed, a worker is not bound.
	if got := newClaims(all, strings.Repeat("too long ", 20)).take(1); got != nil {
		t.Errorf("without claims: %v", got)
	}
	if none := (*claims)(nil); none.take(1) != nil || none.bound(nil) != nil {
		t.Error("a pool that does not bind has claimed a CPU")
	}
}

// space is a prefix of this test process, so that other pools on this machine do not
// interfere.
func space() string { return fmt.Sprintf("ablate-test-%d", os.Getpid()) }

// TestPinApart: the workers of two independent processes are not bound to the same CPU. A
// process that is killed frees its CPUs.
func TestPinApart(t *testing.T) {
	all := allowedCPUs()
	if len(all) < 2 {
		t.Skip("two CPUs are needed that can be listed")
	}
	cmd := exec.Command(os.Args[0], "pinned")
	cmd.Env = append(os.Environ(), roleVar+"=parent", "SPACE="+space(), "TMPDIR="+t.TempDir())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	lines := bufio.NewScanner(out)
	lines.Scan() // a number of a process
	lines.Scan()
	cpus := func(p *Pool) string {
		done, err := p.Do(t.Context(), Task{Stage: "cpus"}, one, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		return string(done.Values)
	}
	want := []string{fmt.Sprintf("[%d]", all[0]), fmt.Sprintf("[%d]", all[1])}
	if got := []string{lines.Text(), cpus(pool(t, Options{CPUs: 1, Pin: true, space: space()}))}; !slices.Equal(got, want) {
		t.Errorf("CPUs of the two: %v, want %v", got, want)
	}
	cmd.Process.Kill()
	cmd.Wait()
	if got := cpus(pool(t, Options{CPUs: 1, Pin: true, space: space()})); got != want[0] {
		t.Errorf("after the first was killed: %v, want %v", got, want[0])
	}
}

// one is a grant of one CPU.
var one = resource.Grant{CPUs: 1}

// TestGrants: a worker has as many threads as it has CPUs, is bound to as many, and sees the
// GPUs of its grant alone, with its part of their memory. A worker is used again for an equal
// grant, and ended when others need its CPUs or its GPU.
func TestGrants(t *testing.T) {
	all := allowedCPUs()
	if len(all) < 2 {
		t.Skip("two CPUs are needed that can be listed")
	}
	p := pool(t, Options{CPUs: 2, Pin: true, Threads: Threads, space: space()})
	gpu := func(cpus int, memory int64, ids ...string) resource.Grant {
		g := resource.Grant{CPUs: cpus, GPUMemory: memory}
		for _, id := range ids {
			g.GPUs = append(g.GPUs, resource.GPU{ID: id, Memory: 80})
		}
		return g
	}
	do := func(g resource.Grant) (pid int, got string) {
		t.Helper()
		done, err := p.Do(t.Context(), Task{Stage: "grant"}, g, "", func(m Progress) { pid, _ = strconv.Atoi(m.Text) })
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(done.Values, &got); err != nil {
			t.Fatal(err)
		}
		return pid, got
	}
	small, got := do(gpu(1, 20, "GPU-a"))
	if want := fmt.Sprintf("threads 1, CPUs [%d], GPUs \"GPU-a\", share 0.2500", all[0]); got != want {
		t.Errorf("a part of a GPU: %s, want %s", got, want)
	}
	cpu, got := do(one)
	if want := fmt.Sprintf("threads 1, CPUs [%d], GPUs \"\", share ", all[1]); got != want {
		t.Errorf("a CPU: %s, want %s", got, want)
	}
	if again, _ := do(gpu(1, 20, "GPU-a")); again != small || !alive(cpu) {
		t.Errorf("an equal grant went to process %d, want %d", again, small)
	}
	beside, _ := do(gpu(1, 60, "GPU-a")) // 20 + 60 fit into 80, but 3 CPUs do not into 2
	if alive(small) == alive(cpu) {
		t.Errorf("of two idle workers, one must have ended: %v, %v", alive(small), alive(cpu))
	}
	alone, _ := do(gpu(1, 0, "GPU-a"))
	await(t, "the end of all others on the GPU", func() bool { return !alive(beside) && !alive(small) })
	other, _ := do(gpu(1, 70, "GPU-b"))
	if !alive(alone) {
		t.Error("a worker on another GPU was ended")
	}
	two, got := do(resource.Grant{CPUs: 2})
	if want := fmt.Sprintf("threads 2, CPUs [%d %d], GPUs \"\", share ", all[0], all[1]); got != want || alive(other) || alive(alone) {
		t.Errorf("two CPUs: %s, want %s; others live: %v, %v", got, want, alive(other), alive(alone))
	}
	if _, err := p.Do(t.Context(), Task{Stage: "grant"}, resource.Grant{CPUs: 3}, "", nil); err == nil || !strings.Contains(err.Error(), "needs 3 CPUs") {
		t.Errorf("three CPUs of two: %v", err)
	}
	// Two that each need both CPUs run one after the other.
	var group sync.WaitGroup
	for range 2 {
		group.Go(func() {
			if pid, _ := do(resource.Grant{CPUs: 2}); pid != two {
				t.Errorf("process %d, want %d", pid, two)
			}
		})
	}
	group.Wait()
}

// TestCrowdedGPU: idle workers on a GPU are ended until the new one fits, and no more of them.
func TestCrowdedGPU(t *testing.T) {
	p := pool(t, Options{CPUs: 9})
	do := func(memory int64) (pid int) {
		t.Helper()
		g := resource.Grant{CPUs: 1, GPUMemory: memory, GPUs: []resource.GPU{{ID: "a", Memory: 80}}}
		if _, err := p.Do(t.Context(), Task{Stage: "echo"}, g, "", func(m Progress) { pid, _ = strconv.Atoi(m.Text) }); err != nil {
			t.Fatal(err)
		}
		return pid
	}
	pids := []int{do(20), do(30), do(25)}
	last := do(40)
	living := 0
	for _, pid := range append(pids, last) {
		if alive(pid) {
			living++
		}
	}
	if living != 2 || !alive(last) { // 40 and one of 25 (20 and 30 end first)
		t.Errorf("%d workers live", living)
	}
}

func TestPin(t *testing.T) {
	all := allowedCPUs()
	if len(all) == 0 {
		t.Skip("CPUs cannot be listed on this system")
	}
	p := pool(t, Options{CPUs: 1, Pin: true, Env: Threads(1), space: space()})
	for stage, want := range map[string]string{"cpus": fmt.Sprintf("[%d]", all[0]), "env": `"1"`} {
		done, err := p.Do(t.Context(), Task{Stage: stage}, one, "", nil)
		if err != nil || string(done.Values) != want {
			t.Errorf("%s: got %s, %v; want %s", stage, done.Values, err, want)
		}
	}
	if d := cmp.Diff(all, allowedCPUs()); d != "" {
		t.Errorf("this process moved (-want +got):\n%s", d)
	}
}

func TestBadWorkers(t *testing.T) {
	for name, c := range map[string]struct {
		command []string
		want    string
	}{
		"none":     {[]string{filepath.Join(t.TempDir(), "none")}, "worker 0 cannot be started: "},
		"silent":   {[]string{"sh", "-c", "echo 'loading the plugin' >&2; sleep 60"}, "worker 0 sent nothing for 500ms after its start: loading the plugin"},
		"stranger": {[]string{"sh", "-c", "echo hallo"}, "worker 0 does not speak this program's protocol"},
		"other":    {[]string{"sh", "-c", `echo '{"hello":{"protocol":99}}'`}, `worker 0 is of another build than the program that started it ("", protocol 99, not "", protocol 4)`},
		"dying":    {[]string{"sh", "-c", "echo 'no such plugin' >&2; exit 4"}, "worker 0 ended with status 4 during its start: no such plugin"},
		"closing":  {[]string{"sh", "-c", "exec >&-; sleep 60"}, "worker 0 was killed by signal 9"},
	} {
		t.Run(name, func(t *testing.T) {
			p := pool(t, Options{CPUs: 1, Command: c.command, Start: 500 * time.Millisecond, Grace: 100 * time.Millisecond})
			_, err := p.Do(t.Context(), Task{Stage: "echo"}, one, "", nil)
			if err == nil || !strings.HasPrefix(err.Error(), c.want) || Class(err) != ClassStart {
				t.Errorf("got %v, class %s; want %q", err, Class(err), c.want)
			}
			_, words, _ := strings.Cut(c.want, "start: ")
			if stderr := Diagnostics(err).Stderr; !strings.Contains(stderr, words) {
				t.Errorf("standard error %q", stderr)
			}
		})
	}
	p := pool(t, Options{CPUs: 1, Command: []string{"sh", "-c", `echo '{"hello":{"protocol":4}}'; read x; echo '{"hello":{"protocol":4}}'; sleep 60`}})
	if _, err := p.Do(t.Context(), Task{Stage: "echo"}, one, "", nil); Class(err) != ClassProtocol {
		t.Errorf("a second hello: got %v", err)
	}
	for _, n := range []int{0, 1_000_000_000} {
		if _, err := NewPool(Options{CPUs: n}); err == nil {
			t.Errorf("a pool of %d workers", n)
		}
	}
}

// alive reports whether a process runs; one that only waits to be reaped does not.
func alive(pid int) bool {
	if pid == 0 || syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || !bytes.Contains(stat, []byte(") Z"))
}

// await fails the test unless f becomes true within two seconds.
func await(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("still waiting for %s", what)
		}
	}
}

// lockedBuffer is a buffer that several goroutines may write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
