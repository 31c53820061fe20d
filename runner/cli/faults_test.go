package cli_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ablate/runner/internal/diskfault"
)

// faults injects faults into a store and the processes that work on it.
type faults struct {
	t     *testing.T
	r     *rand.Rand
	dir   string // with the program and the study
	store string
	lease time.Duration
	live  []*victim

	damaged map[string]bool // artifacts, index entries and journals of which a byte was changed
	counts  map[string]int  // of faults by kind
	sleep   sync.WaitGroup  // stopped processes that are to wake up
}

// A victim is a run or a worker.
type victim struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	log  bytes.Buffer

	mu    sync.Mutex
	fault diskfault.Fault // of the next operations on files of the store, its own and its workers'
	left  int             // number of these operations
}

// decide is called before each operation on a file of the store.
func (v *victim) decide(o diskfault.Op) diskfault.Fault {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.left == 0 || o.Name == diskfault.Remove {
		return diskfault.Fault{}
	}
	v.left--
	return v.fault
}

func (v *victim) alive() bool {
	select {
	case <-v.done:
		return false
	default:
		return true
	}
}

var faultStudy = []string{"mini", "--set", "model.shapes.steps=2000", "--backend", "xla:cpu"}

// command returns a run of the study.
func (f *faults) command(args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(f.dir, "ablate"), args...)
	cmd.Dir = f.dir
	cmd.Env = append(os.Environ(), "ABLATE_PJRT_PLUGIN="+plugin(f.t), "ABLATE_LEASE="+f.lease.String())
	return cmd
}

// start starts a run, or a worker if there is a run file already.
func (f *faults) start() {
	args := append([]string{"run", "--store", f.store, "-j", "1", "--save-every", "1s"}, faultStudy...)
	if files, _ := filepath.Glob(filepath.Join(f.store, "studies", "*", "run.json")); len(files) > 0 && f.r.IntN(3) > 0 {
		args = []string{"worker", files[0], "-j", "1", "--save-every", "1s"}
	}
	v := &victim{cmd: f.command(args...), done: make(chan struct{})}
	v.cmd.Stdout, v.cmd.Stderr = &v.log, &v.log
	_, err := diskfault.Start(v.cmd, f.store, v.decide)
	if errors.Is(err, errors.ErrUnsupported) { // on another system, without write errors
		err = v.cmd.Start()
	}
	if err != nil {
		f.t.Fatal(err)
	}
	go func() { _ = v.cmd.Wait(); close(v.done) }()
	f.live = append(f.live, v)
}

// some returns a process that is alive, or nil.
func (f *faults) some() *victim {
	var all []*victim
	for _, v := range f.live {
		if v.alive() {
			all = append(all, v)
		}
	}
	f.live = all
	if len(all) == 0 {
		return nil
	}
	return all[f.r.IntN(len(all))]
}

// inject injects one fault.
func (f *faults) inject() {
	v := f.some()
	kind := []string{"kill", "kill", "kill", "kill stage", "term", "stop", "flip", "flip", "clock", "write error", "write error"}[f.r.IntN(11)]
	if v == nil && kind != "flip" {
		return
	}
	switch kind {
	case "kill":
		_ = v.cmd.Process.Kill()
	case "term":
		_ = v.cmd.Process.Signal(syscall.SIGTERM)
	case "kill stage":
		if pids := workers(f.t, filepath.Join(f.dir, "ablate")); len(pids) > 0 {
			if pid, err := strconv.Atoi(pids[f.r.IntN(len(pids))]); err == nil {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	case "stop": // beyond its lease; then it wakes up
		_ = v.cmd.Process.Signal(syscall.SIGSTOP)
		f.sleep.Go(func() {
			time.Sleep(2 * f.lease)
			_ = v.cmd.Process.Signal(syscall.SIGCONT)
		})
	case "flip":
		if !f.flip() {
			return
		}
	case "clock":
		diskfault.Clock(f.r, f.store)
	case "write error": // once, or for a while, as on a disk that is full until somebody frees space
		v.mu.Lock()
		v.fault = diskfault.WriteError(f.r)
		v.left = 1 + f.r.IntN(2)*f.r.IntN(100)
		v.mu.Unlock()
	}
	f.counts[kind]++
}

// flip changes one byte of a file of the store, each kind of file with the same probability.
func (f *faults) flip() bool {
	kind, damaged, ok := diskfault.Flip(f.r, f.store)
	for _, name := range damaged {
		f.damaged[name] = true
	}
	if ok {
		f.counts["flip in "+kind]++
	}
	return ok
}

// twice returns the actions that were started after they had been finished, though no byte
// of them was changed. Journals in which a byte was changed do not count.
func (f *faults) twice() (out []string) {
	type event struct {
		Kind, Action, Output string
		Time                 time.Time
	}
	finished := map[string]event{}
	started := map[string][]time.Time{}
	files, _ := filepath.Glob(filepath.Join(f.store, "studies", "*", "events", "*.jsonl"))
	for _, name := range files {
		if f.damaged[filepath.Base(name)] {
			continue
		}
		file, err := os.Open(name)
		if err != nil {
			f.t.Fatal(err)
		}
		for s := bufio.NewScanner(file); s.Scan(); {
			var e event
			if json.Unmarshal(s.Bytes(), &e) != nil {
				continue
			}
			switch e.Kind {
			case "started":
				started[e.Action] = append(started[e.Action], e.Time)
			case "finished":
				if was, ok := finished[e.Action]; !ok || e.Time.Before(was.Time) {
					finished[e.Action] = e
				}
			}
		}
		file.Close()
	}
	for action, e := range finished {
		if f.damaged[action] || f.damaged[e.Output] {
			continue
		}
		for _, at := range started[action] {
			if at.After(e.Time) {
				out = append(out, action[:12])
			}
		}
	}
	return out
}

// TestFaults kills, stops and damages processes and files at random, and lets their operations
// on files fail, while runs and workers compute a study on one store. The table and all artifacts are those of an undisturbed run,
// and nothing that was finished has run twice. ABLATE_TEST_FAULTS is the number of faults and
// ABLATE_TEST_SEED the seed, which the test prints.
func TestFaults(t *testing.T) {
	number, r := diskfault.Random(t, 20)
	f := &faults{t: t, r: r, dir: t.TempDir(), lease: 2 * time.Second, damaged: map[string]bool{}, counts: map[string]int{}}
	place(t, f.dir)
	table := func(store string) string {
		out, err := f.command(append([]string{"run", "--store", store}, faultStudy...)...).Output()
		s, _, ok := strings.Cut(string(out), "\nreport: ")
		if err != nil || !ok {
			var exit *exec.ExitError
			if errors.As(err, &exit) {
				out = append(out, exit.Stderr...)
			}
			t.Fatalf("the last run: %v\n%s", err, out)
		}
		return s
	}
	alone := filepath.Join(f.dir, "alone")
	want := table(alone)
	for round, n := 0, 0; n < number; round++ {
		f.store = filepath.Join(f.dir, fmt.Sprint("store ", round))
		f.damaged = map[string]bool{}
		for range 25 { // faults of one store, until the study is computed
			if n == number || len(outputs(t, f.store)) == len(outputs(t, alone)) {
				break
			}
			for f.some() == nil || len(f.live) < 2+f.r.IntN(4) {
				f.start()
			}
			time.Sleep(time.Duration(f.r.IntN(2500)) * time.Millisecond)
			f.inject()
			n++
		}
		f.sleep.Wait()
		for _, v := range f.live {
			select {
			case <-v.done:
			case <-time.After(3 * time.Minute):
				t.Fatalf("a process does not end:\n%s", &v.log)
			}
			if text := v.log.String(); strings.Contains(text, "goroutine ") || strings.Contains(text, "panic") {
				t.Errorf("a stack trace reaches the user:\n%s", text)
			}
		}
		f.live = nil
		if got := table(f.store); got != want {
			t.Errorf("table:\n%s\nof an undisturbed run:\n%s", got, want)
		}
		if d := cmp.Diff(outputs(t, alone), outputs(t, f.store)); d != "" {
			t.Errorf("artifacts (-want +got):\n%s", d)
		}
		if list := f.twice(); len(list) > 0 {
			t.Errorf("finished, and started again: %q", list)
		}
		t.Logf("store %d after %d faults: %v", round, n, f.counts)
		if t.Failed() {
			return
		}
	}
}
