//go:build amd64 || arm64

package run

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ablate/runner/internal/diskfault"
	"ablate/runner/launch"
	"ablate/runner/layout"
	"ablate/runner/resource"
	"ablate/runner/stage"
	"ablate/runner/store"
)

// noop is a worker whose stages do nothing: each writes one file of 1 KB, whose bytes depend on
// its parameters and on what it reads.
type noop struct{ most time.Duration } // longest duration of a stage

func (n noop) Do(ctx context.Context, t launch.Task, _ resource.Grant, _ string, _ func(launch.Progress)) (launch.Reply, error) {
	text := string(t.Params)
	for _, name := range slices.Sorted(maps.Keys(t.Inputs)) {
		data, err := os.ReadFile(filepath.Join(t.Inputs[name], "file"))
		if err != nil {
			return launch.Reply{}, err
		}
		text += name + string(data)
	}
	if n.most > 0 {
		time.Sleep(rand.N(n.most))
	}
	sum := sha256.Sum256([]byte(text))
	if err := os.WriteFile(filepath.Join(t.Out, "file"), bytes.Repeat(sum[:], 32), 0o666); err != nil {
		return launch.Reply{}, err
	}
	manifest, err := store.Written(ctx, t.Out)
	if err != nil {
		return launch.Reply{}, err
	}
	values, err := json.Marshal(Made{Manifest: manifest})
	return launch.Reply{Values: values}, err
}

// noopGraph returns actions of which every third reads none, one or two others.
func noopGraph(n int) *layout.Graph {
	first := stage.Kinds()[0]
	g := layout.Empty()
	for i := range n {
		var in []layout.Input
		for k := range i % 3 {
			in = append(in, layout.Input{Name: fmt.Sprint("input ", k), Action: g.Actions[i*(k+1)/3]})
		}
		g.Add(first, stage.PromptsParams{Seed: int64(i + 1), List: "noop", Rows: 1}, in...)
	}
	return g
}

// noopRun runs the actions on a store.
func noopRun(ctx context.Context, dir string, g *layout.Graph, w Worker) (*Outcome, error) {
	s, err := store.Open(dir)
	if err != nil {
		return nil, err
	}
	study, err := s.ClaimStudy("noop", filepath.Dir(dir), "xla:cpu")
	if err != nil {
		return nil, err
	}
	j, err := s.OpenJournal(study)
	if err != nil {
		return nil, err
	}
	defer j.Close()
	out, err := Run(ctx, g, s, j, w, Options{Room: resource.NewAllocator(resource.Capacity{CPUs: 2}), Backend: "xla:cpu", Study: filepath.Base(study)})
	if err != nil {
		return nil, err
	}
	for _, f := range out.Failures {
		err = errors.Join(err, f.Err)
	}
	return out, err
}

// noopFaults injects faults into a store and the processes that run no-op actions on it.
type noopFaults struct {
	*diskfault.Store
	t     *testing.T
	lease time.Duration
	live  []*noopProcess
}

// A noopProcess is a process that runs the actions.
type noopProcess struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	out  bytes.Buffer
	fail atomic.Pointer[diskfault.Fault] // of its next operation on a file of the store; nil for none
	weak bool                            // its operations can fail
}

func (f *noopFaults) start() {
	p := &noopProcess{cmd: exec.Command(os.Args[0], "-test.run=^TestNoopFaults$"), done: make(chan struct{}), weak: f.R.IntN(2) == 0}
	p.cmd.Env = append(os.Environ(), "ABLATE_RUN_TEST_STORE="+f.Dir)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	if !p.weak {
		if err := p.cmd.Start(); err != nil {
			f.t.Fatal(err)
		}
	} else if _, err := diskfault.Start(p.cmd, f.Dir, func(diskfault.Op) diskfault.Fault {
		if fault := p.fail.Swap(nil); fault != nil {
			return *fault
		}
		return diskfault.Fault{}
	}); err != nil {
		f.t.Fatal(err)
	}
	go func() { _ = p.cmd.Wait(); close(p.done) }()
	f.live = append(f.live, p)
}

// some returns a process that is alive, or nil.
func (f *noopFaults) some() *noopProcess {
	f.live = slices.DeleteFunc(f.live, func(p *noopProcess) bool {
		select {
		case <-p.done:
			if text := p.out.String(); strings.Contains(text, "goroutine ") || strings.Contains(text, "panic") {
				f.t.Errorf("a stack trace:\n%s", text)
			}
			return true
		default:
			return false
		}
	})
	if len(f.live) == 0 {
		return nil
	}
	return f.live[f.R.IntN(len(f.live))]
}

func (f *noopFaults) inject() {
	p := f.some()
	kind := []string{"kill", "kill", "kill", "stop", "flip", "flip", "clock", "write error", "write error", "write error"}[f.R.IntN(10)]
	if p == nil {
		return
	}
	switch kind {
	case "kill":
		_ = p.cmd.Process.Kill()
	case "stop": // beyond its lease; then it wakes up
		f.Stop(p.cmd.Process, f.lease*3/2)
	case "flip":
		f.Flip()
		return
	case "clock":
		diskfault.Clock(f.R, f.Dir)
	case "write error":
		if !p.weak {
			return
		}
		fault := diskfault.WriteError(f.R)
		p.fail.Store(&fault)
	}
	f.Counts[kind]++
}

// noopActions is the number of actions of a store.
const noopActions = 1200

// TestNoopFaults kills and stops processes many times a second, changes bytes, moves clocks and
// lets operations on files fail, while five processes at once run no-op actions on a store. All
// artifacts are those of an undisturbed run, and nothing that was finished has run twice.
// ABLATE_TEST_FAULTS is the number of faults and ABLATE_TEST_SEED the seed, which the test prints.
func TestNoopFaults(t *testing.T) {
	g := noopGraph(noopActions)
	if dir := os.Getenv("ABLATE_RUN_TEST_STORE"); dir != "" { // one of the processes
		err := diskfault.Enter()
		if err == nil {
			_, err = noopRun(context.Background(), dir, g, noop{20 * time.Millisecond})
		}
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	const lease = time.Second
	t.Setenv("ABLATE_LEASE", lease.String())
	root, err := os.MkdirTemp("/dev/shm", "noop-*") // a disk would mostly sync
	if err != nil {
		root = t.TempDir()
	}
	defer os.RemoveAll(root)
	outputs := func(dir string) map[string]string {
		all := map[string]string{}
		for range 3 { // again if bytes were changed that no action reads
			out, err := noopRun(t.Context(), dir, g, noop{})
			if err != nil {
				t.Fatalf("the last run: %v", err)
			}
			s, err := store.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			clear(all)
			for a, o := range out.Outputs.All() {
				if _, err := s.Artifact(t.Context(), o.ID); err == nil {
					all[a.Name.String()] = o.ID.String()
				}
			}
			if len(all) == noopActions {
				break
			}
		}
		return all
	}
	want := outputs(filepath.Join(root, "alone"))
	if len(want) != noopActions {
		t.Fatalf("%d outputs", len(want))
	}
	number, r := diskfault.Random(t, 60)
	for round, n := 0, 0; n < number; round++ {
		f := &noopFaults{Store: diskfault.NewStore(r, filepath.Join(root, fmt.Sprint("store ", round))), t: t, lease: lease}
		begin := time.Now()
		for ; n < number; n++ {
			for f.some() == nil || len(f.live) < 5 {
				f.start()
			}
			time.Sleep(time.Duration(f.R.IntN(100)) * time.Millisecond)
			f.inject()
			if done, _ := filepath.Glob(filepath.Join(f.Dir, "actions", "*", "*")); len(done) == noopActions {
				break
			}
		}
		f.Wait()
		for _, p := range f.live {
			select {
			case <-p.done:
			case <-time.After(time.Minute):
				t.Fatalf("a process does not end:\n%s", &p.out)
			}
		}
		took := time.Since(begin)
		f.some()
		if d := cmp.Diff(want, outputs(f.Dir)); d != "" {
			t.Errorf("artifacts (-want +got):\n%s", d)
		}
		if list, err := f.Twice(); err != nil || len(list) > 0 {
			t.Errorf("finished, and started again: %q; %v", list, err)
		}
		t.Logf("store %d after %d faults, %v: %v", round, n, took.Round(time.Millisecond), f.Counts)
		if t.Failed() {
			return
		}
		if err := os.RemoveAll(f.Dir); err != nil {
			t.Fatal(err)
		}
	}
}
