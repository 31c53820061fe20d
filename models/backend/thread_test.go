//go:build cgo

package backend

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"
)

// usage is the measurement of a child process during its computation.
type usage struct {
	Share float64 // CPU time by wall time, of the whole process
	Pools int     // ticks of 10 ms in threads of XLA's pools
	Bits  uint64  // of the result
}

// measure runs matrix products and a convolution for a second, and prints what
// they used. It is the body of a child process.
func measure() error {
	b, err := Open(Choice{Name: CPU, Plugin: os.Getenv(childPlugin)})
	if err != nil {
		return err
	}
	fn, err := NewFn(b, "load", 0, func(in []*graph.Node) []*graph.Node {
		x := in[0]
		for range 3 {
			x = graph.Tanh(graph.Dot(x, in[1]))
		}
		y := graph.Convolve(in[2], in[3]).PadSame().Done()
		return []*graph.Node{graph.Add(graph.ReduceAllSum(x), graph.ReduceAllSum(y))}
	})
	if err != nil {
		return err
	}
	in := []*tensors.Tensor{ramp(768, 768), ramp(768, 768), ramp(16, 32, 32, 32), ramp(3, 3, 32, 32)}
	var u usage
	step := func() error {
		out, err := fn.Call(in...)
		if err == nil {
			u.Bits = uint64(math.Float32bits(Float32s(out[0])[0]))
			Free(out...)
		}
		return err
	}
	if err := step(); err != nil { // compiles, on further threads
		return err
	}
	pools, cpu, start := poolTicks(), cpuTime(), time.Now()
	for time.Since(start) < time.Second {
		if err := step(); err != nil {
			return err
		}
	}
	u.Share = (cpuTime() - cpu).Seconds() / time.Since(start).Seconds()
	u.Pools = poolTicks() - pools
	return json.NewEncoder(os.Stdout).Encode(u)
}

// ramp returns an array of small numbers of both signs.
func ramp(dims ...int) *tensors.Tensor {
	n := 1
	for _, d := range dims {
		n *= d
	}
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(i%7-3) / 100
	}
	return tensors.FromFlatDataAndDimensions(v, dims...)
}

func cpuTime() time.Duration {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r) // cannot fail for this process
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// poolTicks returns the CPU time of the threads that XLA named, in ticks of 10 ms.
func poolTicks() (ticks int) {
	files, _ := filepath.Glob("/proc/self/task/*/stat")
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue // a thread that has ended
		}
		name, rest, _ := strings.Cut(string(b), ") ")
		if !strings.Contains(name, "(tf_") {
			continue
		}
		fields := strings.Fields(rest)
		user, _ := strconv.Atoi(fields[11])
		system, _ := strconv.Atoi(fields[12])
		ticks += user + system
	}
	return ticks
}

// An action computes with one thread, and its bytes are those of a computation with more
// threads. NPROC=1 must reach XLA's thread pools for that.
func TestOneThread(t *testing.T) {
	plugin := needPlugin(t)
	run := func(env ...string) (u usage) {
		out, errs, err := child(t, "measure", plugin, env...)
		if err != nil {
			t.Fatalf("child: %v\n%s", err, errs)
		}
		if err := json.Unmarshal([]byte(out), &u); err != nil {
			t.Fatal(err)
		}
		return u
	}
	one := run("NPROC=1", "GOMAXPROCS=2")
	four := run("NPROC=4", "GOMAXPROCS=2")
	if one.Pools > 5 || one.Share > 1.2 {
		t.Errorf("with NPROC=1 XLA's pools took %d ticks and the process %.2f cores: want none, and 1 core", one.Pools, one.Share)
	}
	if four.Pools < 10 {
		t.Errorf("with NPROC=4 XLA's pools took %d ticks: the measurement sees nothing", four.Pools)
	}
	if one.Bits != four.Bits {
		t.Errorf("the result depends on the number of threads: %x and %x", one.Bits, four.Bits)
	}
}
