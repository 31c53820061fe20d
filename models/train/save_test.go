package train_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gomlx/gomlx/pkg/core/graph"

	"ablate/models/checkpoint"
	"ablate/models/modeltest"
	"ablate/models/nn"
	"ablate/models/train"
)

// saved is a training of a square with one parameter of two axes and a bias.
func saved(t *testing.T) (*train.Trainer, *train.State) {
	t.Helper()
	params := []nn.Param{{Name: "p", Shape: []int{2, 3}}, {Name: "q", Shape: []int{2}}}
	trainer, err := train.New(modeltest.Backend(t), train.Step{Name: "saved", Params: params, Loss: func(w nn.Weights, _ train.Sets, _ train.Nodes) *graph.Node {
		return graph.Add(graph.ReduceAllSum(graph.Square(w.At("p"))), graph.ReduceAllSum(graph.Square(w.At("q"))))
	}})
	if err != nil {
		t.Fatal(err)
	}
	state, err := trainer.Start(nn.Values{"p": {1, 2, 3, 4, 5, 6}, "q": {7, 8}}, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(state.Free)
	return trainer, state
}

func update(context.Context, int) (train.Inputs, train.Options, []float64, error) {
	return nil, train.Default(.1), nil, nil
}

// TestSavedState: a state has the values of the step after which it was saved, although the
// training goes on while the disk writes it.
func TestSavedState(t *testing.T) {
	trainer, state := saved(t)
	file := filepath.Join(t.TempDir(), "state")
	var want nn.Values
	l := train.Loop{Trainer: trainer, State: state, Steps: 20, Batch: update,
		After: func(step int) error {
			if step == 10 {
				want = trainer.Weights(state)
			}
			return nil
		},
		Resume: train.Resume{File: file, Due: func(steps int) bool { return steps == 3 || steps == 11 }}}
	if _, err := l.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := checkpoint.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	p, err := got["params.p"].Float32()
	if err != nil || !slices.Equal(p, want["p"]) {
		t.Errorf("the state after step 11 has %v, want %v; %v", p, want["p"], err)
	}
	now := trainer.Weights(state)
	if slices.Equal(now["p"], want["p"]) {
		t.Error("the training did not go on")
	}
	first := 0
	l.Batch = func(ctx context.Context, step int) (train.Inputs, train.Options, []float64, error) {
		if first == 0 {
			first = step
		}
		return update(ctx, step)
	}
	l.Resume.Due = nil
	if _, err := l.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if again := trainer.Weights(state); first != 11 || !slices.Equal(again["p"], now["p"]) {
		t.Errorf("continued with step %d, it ends with %v, want %v", first, again["p"], now["p"])
	}
}

// TestUnsavedState: a training whose state cannot get its name ends with an error, also if its
// last step is taken by then, and leaves no other file.
func TestUnsavedState(t *testing.T) {
	for name, at := range map[string]int{"in the middle": 2, "at the end": 6} {
		trainer, state := saved(t)
		dir := t.TempDir()
		file := filepath.Join(dir, "state")
		l := train.Loop{Trainer: trainer, State: state, Steps: 6, Batch: update,
			After:  func(step int) error { return os.MkdirAll(filepath.Join(file, "taken"), 0o777) },
			Resume: train.Resume{File: file, Due: func(steps int) bool { return steps == at }}}
		if curve, err := l.Run(t.Context()); err == nil || curve != nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: curve %v, error %v", name, curve, err)
		}
		if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
			t.Errorf("%s: %v are left; %v", name, files, err)
		}
	}
}

// TestOtherOrder: a state with kernels in another device's order is refused, and not read as if they were in this one's.
func TestOtherOrder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state")
	for k, ohwi := range []bool{true, false} {
		params := nn.Ordered([]nn.Param{{Name: "kernel", Shape: []int{3, 3, 64, 32}}}, ohwi)
		trainer, err := train.New(modeltest.Backend(t), train.Step{Name: "kernels", Params: params, Loss: func(w nn.Weights, _ train.Sets, _ train.Nodes) *graph.Node {
			return graph.ReduceAllSum(graph.Square(w.At("kernel")))
		}})
		if err != nil {
			t.Fatal(err)
		}
		state, err := trainer.Start(nn.Values{"kernel": make([]float32, params[0].Size())}, false)
		if err != nil {
			t.Fatal(err)
		}
		defer state.Free()
		l := train.Loop{Trainer: trainer, State: state, Steps: 2}
		if k == 0 {
			if err := l.Save(file, 1); err != nil {
				t.Fatal(err)
			}
		} else if _, err := l.Load(file); err == nil || !strings.Contains(err.Error(), ".kernel: it has the shape [32 3 3 64], and [3 3 64 32] on this device") {
			t.Errorf("%v", err)
		}
	}
}

// BenchmarkSave saves the state of a training that has 1 GB: weights, two moments and the
// average of 62.5 million parameters. It reports how long the training stands still for it
// ("stops"), how long it takes until the state is on the disk ("saves") and how much memory the
// process takes meanwhile; and, for comparison, the times of the SHA-256 of 1 GB and of writing
// and syncing 1 GB.
func BenchmarkSave(b *testing.B) {
	const rows, columns = 15625, 4000
	params := []nn.Param{{Name: "p", Shape: []int{rows, columns}}}
	trainer, err := train.New(modeltest.Backend(b), train.Step{Name: "save", Params: params, Loss: func(w nn.Weights, _ train.Sets, _ train.Nodes) *graph.Node {
		return graph.ReduceAllSum(graph.Square(w.At("p")))
	}})
	if err != nil {
		b.Fatal(err)
	}
	state, err := trainer.Start(nn.Values{"p": make([]float32, rows*columns)}, true)
	if err != nil {
		b.Fatal(err)
	}
	defer state.Free()
	dir := b.TempDir()
	data := make([]byte, 1e9)
	for i := range data {
		data[i] = byte(i * i >> 3)
	}
	var stops, saves, hashes, writes time.Duration
	var held float64
	for b.Loop() {
		var from [2]time.Time // after each step
		var before float64
		l := train.Loop{
			Trainer: trainer, State: state, Steps: 2,
			Batch: func(_ context.Context, step int) (train.Inputs, train.Options, []float64, error) {
				if step == 1 {
					stops += time.Since(from[0])
				}
				return nil, train.Default(1e-3), nil, nil
			},
			After: func(step int) error {
				if step == 1 {
					before = memory(b, "VmRSS")
					forget(b)
				}
				from[step] = time.Now()
				return nil
			},
			Resume: train.Resume{File: filepath.Join(dir, "state"), Due: func(int) bool { return true }},
		}
		if _, err := l.Run(b.Context()); err != nil {
			b.Fatal(err)
		}
		saves += time.Since(from[1])
		held = max(held, memory(b, "VmHWM")-before)
		info, err := os.Stat(l.Resume.File)
		if err != nil || info.Size() < 1e9 {
			b.Fatal(info, err)
		}
		if err := os.Remove(l.Resume.File); err != nil { // so that the next one is not resumed
			b.Fatal(err)
		}
		start := time.Now()
		sha256.Sum256(data)
		hashes += time.Since(start)
		start = time.Now()
		write(b, filepath.Join(dir, "data"), data)
		writes += time.Since(start)
	}
	for name, d := range map[string]time.Duration{"stops-s": stops, "saves-s": saves, "sha256-s": hashes, "write-sync-s": writes} {
		b.ReportMetric(d.Seconds()/float64(b.N), name)
	}
	b.ReportMetric(held, "held-MB")
	b.ReportMetric(0, "ns/op")
}

// write writes and syncs a file.
func write(b *testing.B, name string, data []byte) {
	f, err := os.Create(name)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		b.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		b.Fatal(err)
	}
}

// memory returns a field of this process' status in MB (proc(5)).
func memory(b *testing.B, field string) float64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Skip(err)
	}
	for line := range strings.Lines(string(text)) {
		var kb float64
		if _, err := fmt.Sscanf(line, field+": %f kB", &kb); err == nil {
			return kb * 1024 / 1e6
		}
	}
	b.Fatalf("no %s in /proc/self/status", field)
	return 0
}

// forget resets the largest memory of this process, VmHWM.
func forget(b *testing.B) {
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		b.Skip(err)
	}
}
