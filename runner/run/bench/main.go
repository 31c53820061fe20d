// Bench measures how many actions a second a run can compute, store and record if the
// stages themselves cost nothing: each writes one file of 1 KB. It prints the rate, and its
// ratio to the rate at which the disk syncs such files one after the other.
//
//	go run ./runner/run/bench [-n 10000] [-dir DIR]
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"ablate/runner/launch"
	"ablate/runner/layout"
	"ablate/runner/resource"
	"ablate/runner/run"
	"ablate/runner/stage"
	"ablate/runner/store"
)

func main() {
	n := flag.Int("n", 10000, "`number` of actions")
	dir := flag.String("dir", ".", "`folder` on the disk to measure")
	flag.Parse()
	if err := bench(*dir, *n); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// worker writes one file of 1 KB for each task, in this process.
type worker struct{}

func (worker) Do(ctx context.Context, t launch.Task, _ resource.Grant, _ string, _ func(launch.Progress)) (launch.Reply, error) {
	if err := os.WriteFile(filepath.Join(t.Out, "file"), bytes.Repeat([]byte(t.Action[:8]), 128), 0o666); err != nil {
		return launch.Reply{}, err
	}
	manifest, err := store.Written(ctx, t.Out)
	if err != nil {
		return launch.Reply{}, err
	}
	values, err := json.Marshal(run.Made{Manifest: manifest})
	return launch.Reply{Values: values}, err
}

func bench(dir string, n int) error {
	tmp, err := os.MkdirTemp(dir, "bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	s, err := store.Open(filepath.Join(tmp, "store"))
	if err != nil {
		return err
	}
	study, err := s.ClaimStudy("bench", tmp, "xla:cpu")
	if err != nil {
		return err
	}
	j, err := s.OpenJournal(study)
	if err != nil {
		return err
	}
	defer j.Close()
	first := stage.Kinds()[0] // reads no other stage
	g := layout.Empty()
	for i := range n {
		g.Add(first, stage.PromptsParams{Seed: int64(i + 1), List: "bench", Rows: 1})
	}
	start := time.Now()
	out, err := run.Run(context.Background(), g, s, j, worker{}, run.Options{Room: resource.NewAllocator(resource.Capacity{CPUs: 2}), Backend: "xla:cpu", Study: "bench"})
	if err != nil || out.Ran != n {
		return fmt.Errorf("%d ran, %d failed: %w", out.Ran, len(out.Failures), err)
	}
	rate := float64(n) / time.Since(start).Seconds()
	start = time.Now()
	again, err := run.Run(context.Background(), g, s, j, worker{}, run.Options{Room: resource.NewAllocator(resource.Capacity{CPUs: 2}), Backend: "xla:cpu", Study: "bench"})
	if err != nil || again.Cached != n {
		return fmt.Errorf("%d cached: %w", again.Cached, err)
	}
	cached := float64(n) / time.Since(start).Seconds()
	syncs, err := disk(tmp, 500)
	if err != nil {
		return err
	}
	fmt.Printf("%.0f actions/s computed and stored, %.0f actions/s found in the store; %.0f files/s written and synced one by one on this disk: %.1f times as many actions\n",
		rate, cached, syncs, rate/syncs)
	return nil
}

// disk returns how many files of 1 KB a second can be written and synced one after the other.
func disk(dir string, n int) (float64, error) {
	data := make([]byte, 1024)
	start := time.Now()
	for i := range n {
		f, err := os.Create(filepath.Join(dir, fmt.Sprint("file ", i)))
		if err != nil {
			return 0, err
		}
		if _, err := f.Write(data); err != nil {
			return 0, err
		}
		if err := f.Sync(); err != nil {
			return 0, err
		}
		if err := f.Close(); err != nil {
			return 0, err
		}
	}
	return float64(n) / time.Since(start).Seconds(), nil
}
