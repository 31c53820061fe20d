package main

import (
	"bytes"
	"context"
	"encoding/json"
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

// write is the stage: it writes one file of 1 KB.
func write(ctx context.Context, t launch.Task, _ func(launch.Progress)) (json.RawMessage, error) {
	if err := os.WriteFile(filepath.Join(t.Out, "file"), bytes.Repeat([]byte(t.Action[:8]), 128), 0o666); err != nil {
		return nil, err
	}
	manifest, err := store.Written(ctx, t.Out)
	if err != nil {
		return nil, err
	}
	return json.Marshal(run.Made{Manifest: manifest})
}

// serve runs the stage in a worker process.
func serve() error { return launch.ServeStdio(context.Background(), write, launch.ServeOptions{}) }

// inside runs the stage in this process.
type inside struct{}

func (inside) Do(ctx context.Context, t launch.Task, _ resource.Grant, _ string, progress func(launch.Progress)) (launch.Reply, error) {
	values, err := write(ctx, t, progress)
	return launch.Reply{Values: values}, err
}

// slots is the number of actions that are computed at the same time.
const slots = 2

// actions computes n actions in a new store in dir, and looks them up again. done is called
// between the two.
func actions(dir string, w run.Worker, n int, done func()) (t timing, err error) {
	s, err := store.Open(filepath.Join(dir, "store"))
	if err != nil {
		return t, err
	}
	study, err := s.ClaimStudy("bench", dir, "xla:cpu")
	if err != nil {
		return t, err
	}
	j, err := s.OpenJournal(study)
	if err != nil {
		return t, err
	}
	defer j.Close()
	g := layout.Empty()
	for i := range n {
		g.Add(stage.Kinds()[0], stage.PromptsParams{Seed: int64(i + 1), List: "bench", Rows: 1}) // reads no other stage
	}
	o := run.Options{Room: resource.NewAllocator(resource.Capacity{CPUs: slots}), Backend: "xla:cpu", Study: "bench"}
	used, start := spent(), time.Now()
	out, err := run.Run(context.Background(), g, s, j, w, o)
	if err != nil || out.Ran != n {
		return t, fmt.Errorf("%d of %d actions ran, %d failed: %w", out.Ran, n, len(out.Failures), err)
	}
	t.rate, t.jobs = float64(n)/time.Since(start).Seconds(), n
	done()
	t.processor = (spent() - used) / float64(n)
	start = time.Now()
	out, err = run.Run(context.Background(), g, s, j, w, o)
	if err != nil || out.Cached != n {
		return t, fmt.Errorf("%d of %d actions were found: %w", out.Cached, n, err)
	}
	t.nothing = time.Since(start).Seconds()
	return t, nil
}

// pooled computes n actions in worker processes, as a run does. The workers are started
// before.
func pooled(dir string, n int) (timing, error) {
	pool, err := launch.NewPool(launch.Options{CPUs: slots, Pin: true})
	if err != nil {
		return timing{}, err
	}
	defer pool.Close()
	if _, err := actions(filepath.Join(dir, "warm"), pool, 10*slots, func() {}); err != nil {
		return timing{}, err
	}
	// The processor time of a worker is known when it has ended.
	return actions(filepath.Join(dir, "all"), pool, n, func() { _ = pool.Close() })
}

// disk writes n files of 1 KB and syncs them one after the other.
func disk(dir string, n int) (time.Duration, error) {
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
	return time.Since(start), nil
}
