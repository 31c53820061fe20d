package cli_test

import (
	"bytes"
	"errors"
	"fmt"
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

	"ablate/models/modeltest"
	"ablate/runner/internal/diskfault"
)

// faults injects faults into a store and the processes that work on it.
type faults struct {
	*diskfault.Store
	t     *testing.T
	dir   string // with the program and the study
	lease time.Duration
	live  []*victim
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
	cmd.Env = append(os.Environ(), "ABLATE_PJRT_PLUGIN="+modeltest.Plugin(f.t), "ABLATE_LEASE="+f.lease.String())
	return cmd
}

// start starts a run, or a worker if there is a run file already.
func (f *faults) start() {
	args := append([]string{"run", "--store", f.Dir, "-j", "1", "--save-every", "1s"}, faultStudy...)
	if files, _ := filepath.Glob(filepath.Join(f.Dir, "studies", "*", "run.json")); len(files) > 0 && f.R.IntN(3) > 0 {
		args = []string{"worker", files[0], "-j", "1", "--save-every", "1s"}
	}
	v := &victim{cmd: f.command(args...), done: make(chan struct{})}
	v.cmd.Stdout, v.cmd.Stderr = &v.log, &v.log
	_, err := diskfault.Start(v.cmd, f.Dir, v.decide)
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
	return all[f.R.IntN(len(all))]
}

// inject injects one fault.
func (f *faults) inject() {
	v := f.some()
	kind := []string{"kill", "kill", "kill", "kill stage", "term", "stop", "flip", "flip", "clock", "write error", "write error"}[f.R.IntN(11)]
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
			if pid, err := strconv.Atoi(pids[f.R.IntN(len(pids))]); err == nil {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	case "stop": // beyond its lease; then it wakes up
		f.Stop(v.cmd.Process, 2*f.lease)
	case "flip":
		f.Flip()
		return
	case "clock":
		diskfault.Clock(f.R, f.Dir)
	case "write error": // once, or for a while, as on a disk that is full until somebody frees space
		v.mu.Lock()
		v.fault = diskfault.WriteError(f.R)
		v.left = 1 + f.R.IntN(2)*f.R.IntN(100)
		v.mu.Unlock()
	}
	f.Counts[kind]++
}

// TestFaults kills, stops and damages processes and files at random, and lets their operations
// on files fail, while runs and workers compute a study on one store. The table and all artifacts are those of an undisturbed run,
// and nothing that was finished has run twice. ABLATE_TEST_FAULTS is the number of faults and
// ABLATE_TEST_SEED the seed, which the test prints.
func TestFaults(t *testing.T) {
	number, r := diskfault.Random(t, 20)
	f := &faults{t: t, dir: t.TempDir(), lease: 2 * time.Second}
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
		f.Store = diskfault.NewStore(r, filepath.Join(f.dir, fmt.Sprint("store ", round)))
		for range 25 { // faults of one store, until the study is computed
			if n == number || len(outputs(t, f.Dir)) == len(outputs(t, alone)) {
				break
			}
			for f.some() == nil || len(f.live) < 2+f.R.IntN(4) {
				f.start()
			}
			time.Sleep(time.Duration(f.R.IntN(2500)) * time.Millisecond)
			f.inject()
			n++
		}
		f.Wait()
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
		if got := table(f.Dir); got != want {
			t.Errorf("table:\n%s\nof an undisturbed run:\n%s", got, want)
		}
		if d := cmp.Diff(outputs(t, alone), outputs(t, f.Dir)); d != "" {
			t.Errorf("artifacts (-want +got):\n%s", d)
		}
		if list, err := f.Twice(); err != nil || len(list) > 0 {
			t.Errorf("finished, and started again: %q; %v", list, err)
		}
		t.Logf("store %d after %d faults: %v", round, n, f.Counts)
		if t.Failed() {
			return
		}
	}
}
