package native

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ablate/runner/engine"
)

// TestEstimate: the memory that the engine estimates is that of a task which is then done, within 15 %,
// at three sizes of drawing, and of training; of all weights if ABLATE_TEST_LONG is 1. The sizes are such
// that most of it is not what compiling has left in the process, which differs by a third from time to time.
func TestEstimate(t *testing.T) {
	d := drawer(t, diffusionProgram(t))
	load := map[string]any{"name": stored(t, "sd-tiny")}
	base := engine.TaskInput{ID: "base", Files: filepath.Join(d.must(engine.Task{Verb: engine.Load}, fmt.Sprintf(`{"name": %q}`, load["name"])), "checkpoint")}
	folder := t.TempDir()
	score := 1.
	rgb := make([]uint8, 3*64*64)
	for i := range rgb {
		rgb[i] = uint8(i / 50)
	}
	if err := writePicture(filepath.Join(folder, "0.png"), picture(rgb, 64, 64)); err != nil {
		t.Fatal(err)
	}
	image := engine.TaskInput{ID: "images", Files: folder, Rows: []engine.Row{{Index: 0, Prompt: "a red cat", File: "files/0.png", Score: &score}}}
	prompts := engine.TaskInput{ID: "prompts"}
	for i := range 16 {
		prompts.Rows = append(prompts.Rows, engine.Row{Index: i, Prompt: "a red cat", Seed: int64(1 + i)})
	}
	sizes := []struct{ verb, params string }{
		{engine.Sample, `{"steps": 2, "guidance": 3, "width": 96, "height": 64, "batch": 12}`},
		{engine.Sample, `{"steps": 2, "guidance": 3, "width": 96, "height": 64, "batch": 8}`},
		{engine.Sample, `{"steps": 2, "guidance": 3, "width": 96, "height": 96, "batch": 8}`},
		{engine.Train, `{"steps": 2, "batch": 8, "micro": 8, "size": 128, "lora": {"rank": 4}}`},
	}
	if os.Getenv("ABLATE_TEST_LONG") == "1" {
		sizes = append(sizes, struct{ verb, params string }{engine.Train, `{"steps": 2, "batch": 16, "micro": 8, "size": 96, "lora": {"rank": 0}}`})
	}
	for _, c := range sizes {
		q := engine.Task{Verb: c.verb, Seeds: map[string]int64{"init": 3, "order": 4, "noise": 5}, Inputs: map[string]engine.TaskInput{engine.BaseRole: base, engine.ImagesRole: image}}
		ask := engine.EstimateTask{Verb: c.verb, Load: load, CPUs: 1}
		if c.verb == engine.Sample {
			q.Seeds, q.Inputs, ask.Rows = nil, map[string]engine.TaskInput{engine.CheckpointRole: base, engine.PromptsRole: prompts}, len(prompts.Rows)
		}
		var err error
		if ask.Params, err = d.d.Verbs[c.verb].Complete(json.RawMessage(c.params)); err != nil {
			t.Fatal(err)
		}
		said, err := d.e.Estimate(t.Context(), "", "", []engine.EstimateTask{ask}, func(int) {})
		if err != nil || said[0].Error != "" || said[0].Flops == 0 || said[0].Disk == 0 {
			t.Fatalf("%s: %+v, %v", c.params, said, err)
		}
		end, peaks := make(chan struct{}), make(chan int64)
		go func() {
			peak := int64(0)
			for {
				peak = max(peak, children())
				select {
				case <-end:
					peaks <- peak
					return
				case <-time.After(5 * time.Millisecond):
				}
			}
		}()
		d.must(q, c.params)
		close(end)
		used := <-peaks
		t.Logf("%s %s: %.3f GB estimated, %.3f used", c.verb, c.params, float64(said[0].Memory)/1e9, float64(used)/1e9)
		if math.Abs(float64(said[0].Memory-used)) > .15*float64(used) {
			t.Errorf("%s %s: %d bytes estimated, %d used", c.verb, c.params, said[0].Memory, used)
		}
	}
}

// children is the memory of this process' children in bytes, without mapped files.
func children() (sum int64) {
	list, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range list {
		text, _ := os.ReadFile(filepath.Join(dir, "status")) // it may have ended
		if strings.Contains(string(text), fmt.Sprintf("\nPPid:\t%d\n", os.Getpid())) {
			sum += anonymous(string(text))
		}
	}
	return sum
}

// TestEstimatedOperations: each method has an estimate of its operations, in proportion to its steps, and
// what cannot be estimated says why. Nothing is compiled: the tasks are said to have a GPU.
func TestEstimatedOperations(t *testing.T) {
	d := drawer(t, diffusionProgram(t))
	ask := func(verb, params string, load map[string]any, rows int) engine.EstimateTask {
		all, err := d.d.Verbs[verb].Complete(json.RawMessage(params))
		if err != nil {
			t.Fatalf("%s: %v", params, err)
		}
		return engine.EstimateTask{Verb: verb, Params: all, Load: load, Rows: rows, CPUs: 1, GPUs: 1}
	}
	tiny := map[string]any{"name": tinyName}
	var tasks []engine.EstimateTask
	var methods []string
	if err := json.Unmarshal([]byte(list(latent)), &methods); err != nil {
		t.Fatal(err)
	}
	for _, name := range methods {
		for _, steps := range []int{20, 40} {
			tasks = append(tasks, ask(engine.Train, fmt.Sprintf(`{"method": %q, "steps": %d, "batch": 8, "size": 32, "rollout": {"images": 32}, "sampler": {"steps": 6}}`, name, steps), tiny, 0))
		}
	}
	n := len(tasks)
	tasks = append(tasks, ask(engine.Sample, `{"steps": 4, "guidance": 1, "width": 32, "height": 32}`, tiny, 8), ask(engine.Sample, `{"steps": 4, "guidance": 3, "width": 32, "height": 32}`, tiny, 8),
		ask(engine.Sample, `{}`, map[string]any{"name": filepath.Join(t.TempDir(), "lost")}, 8), ask(engine.Sample, `{}`, nil, 8))
	for _, batch := range []int{8, 1} {
		two := ask(engine.Train, fmt.Sprintf(`{"method": %q, "steps": 20, "batch": %d, "size": 32, "rollout": {"images": 32}, "sampler": {"steps": 6}}`, methods[0], batch), tiny, 0)
		two.GPUs = 2
		tasks = append(tasks, two)
	}
	said, err := d.e.Estimate(t.Context(), "", "", tasks, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	if ratio := said[n+4].Flops / said[0].Flops; ratio < .99 || ratio > 1.05 {
		t.Errorf("on two GPUs, %v times the operations", ratio)
	}
	if !strings.Contains(said[n+5].Error, "the task has 2 GPUs") {
		t.Errorf("a batch of one image on two GPUs: %+v", said[n+5])
	}
	for i, name := range methods {
		once, twice := said[2*i], said[2*i+1]
		if once.Error != "" || once.Flops < 1e9 || once.Disk == 0 || once.Memory != 0 {
			t.Errorf("%s: %+v", name, once)
		}
		if ratio := twice.Flops / once.Flops; ratio < 1.9 || ratio > 2.1 {
			t.Errorf("%s: twice the steps have %v times the operations", name, ratio)
		}
	}
	if ratio := said[n+1].Flops / said[n].Flops; ratio < 1.3 || ratio > 2 {
		t.Errorf("with guidance, %v times the operations", ratio)
	}
	if !strings.Contains(said[n+2].Error, "there is no folder") || said[n+3].Error != "another engine loads the model" {
		t.Errorf("%+v", said[n+2:])
	}
}
