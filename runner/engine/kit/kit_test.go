package kit

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ablate/runner/engine"
)

// put writes a file below a folder.
func put(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, []byte(text), 0o666)); err != nil {
		t.Fatal(err)
	}
}

// TestRun: how a task ends is its result, whatever happens.
func TestRun(t *testing.T) {
	for name, c := range map[string]struct {
		request string
		do      func(t *Task) error
		want    engine.Result
	}{
		"done":                {`"params": {"dark": 0.5}`, func(*Task) error { return nil }, engine.Result{Status: engine.OK}},
		"unknown parameter":   {`"params": {"dork": 0.5}`, nil, engine.Result{Status: engine.Refused, Message: "params: dork: there is no such parameter"}},
		"value":               {`"params": {"dark": 2}`, nil, engine.Result{Status: engine.Refused, Message: "params: dark: 2; must be"}},
		"unknown requirement": {`"params": {}, "require": ["emit:smell"]`, nil, engine.Result{Status: engine.Refused, Message: `ink does not understand "emit:smell"`}},
		"unknown emit":        {`"params": {}, "emit": ["noise"]`, nil, engine.Result{Status: engine.Refused, Message: `ink does not understand "emit:noise"`}},
		"refused":             {`"params": {}`, func(*Task) error { return Refuse("row %d", 3) }, engine.Result{Status: engine.Refused, Message: "row 3"}},
		"failed":              {`"params": {}`, func(*Task) error { return errors.New("no ink") }, engine.Result{Status: engine.Failed, Class: engine.Program, Message: "no ink"}},
		"panic":               {`"params": {}`, func(*Task) error { panic("no ink") }, engine.Result{Status: engine.Failed, Class: engine.Program, Message: "internal error: no ink"}},
		"stopped":             {`"params": {}`, func(*Task) error { return &End{Status: engine.Stopped, Step: 7} }, engine.Result{Status: engine.Stopped, Step: 7, Message: "stopped"}},
		"data": {`"params": {}`, func(*Task) error {
			return &End{Status: engine.Failed, Class: engine.Data, Err: errors.New("no picture")}
		},
			engine.Result{Status: engine.Failed, Class: engine.Data, Message: "no picture"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			put(t, dir, "request.json", `{"protocol": 1, "verb": "score", `+c.request+`, "later": 1}`)
			e := &Engine{Description: engine.Description{Protocols: []int{1}, Name: "ink", Verbs: map[string]*engine.Verb{"score": {Revision: 1, Columns: map[string]engine.Column{"ink": {}},
				Params: json.RawMessage(`{"type": "object", "properties": {"dark": {"type": "number", "maximum": 1, "default": 0.2}}}`)}}},
				Do: func(_ context.Context, task *Task) error { return c.do(task) }}
			if err := e.Main(t.Context(), []string{"run", dir}); err != nil {
				t.Fatal(err)
			}
			data, err := os.ReadFile(filepath.Join(dir, "result.json"))
			if err != nil {
				t.Fatal(err)
			}
			got, err := engine.ParseResult(data)
			if err != nil {
				t.Fatal(err)
			}
			if got.Status != c.want.Status || got.Class != c.want.Class || got.Step != c.want.Step || !strings.HasPrefix(got.Message, c.want.Message) {
				t.Errorf("the result is %+v, want %+v", got, c.want)
			}
		})
	}
}

// TestTask: a task reads its inputs, and knows when to save.
func TestTask(t *testing.T) {
	dir, base := t.TempDir(), "checkpoint.base"
	task := &Task{Dir: dir, begun: time.Now(), Request: engine.Request{Verb: engine.Sample, SaveEvery: 3600, Params: map[string]any{"steps": 3.},
		Inputs: map[string]engine.RequestInput{"checkpoint": {Path: "in/checkpoint", Base: &base}, base: {Path: "in/checkpoint.base"}, "images": {Path: "in/images"}}}}
	put(t, dir, "in/images/rows.jsonl", `{"index": 4, "file": "files/a.png", "prompt": "ink"}`+"\n"+`{"index": 5}`)
	rows, err := task.Rows("images")
	if err != nil || len(rows) != 2 || rows[0].File != filepath.Join(dir, "in/images/files/a.png") || rows[1].Index != 5 || rows[1].File != "" {
		t.Errorf("rows %+v, %v", rows, err)
	}
	if chain := task.Chain("checkpoint"); len(chain) != 2 || filepath.Base(chain[0]) != base {
		t.Errorf("the chain of the checkpoint is %q", chain)
	}
	end := &End{}
	if _, err := task.Rows("prompts"); !errors.As(err, &end) || end.Status != engine.Refused {
		t.Errorf("rows of no input: %v", err)
	}
	var params struct {
		Steps int `json:"steps"`
		Batch int `json:"batch"`
	}
	params.Batch = 8
	if err := task.Decode(&params); err != nil || params.Steps != 3 || params.Batch != 8 {
		t.Errorf("parameters %+v, %v", params, err)
	}
	var none struct{}
	if err := task.Decode(&none); err == nil {
		t.Error("a parameter is not read, and nobody says so")
	}
	if save, stop := task.Due(); save || stop {
		t.Error("it saves at once")
	}
	task.begun = time.Now().Add(-2 * time.Hour)
	if save, stop := task.Due(); !save || stop {
		t.Error("it does not save after its time")
	}
	put(t, dir, "stop", "{}")
	if save, stop := task.Due(); !save || !stop {
		t.Error("it does not stop when it is asked to")
	}
	if err := errors.Join(task.Progress(engine.Progress{Step: 1, Of: 2}), task.Progress(engine.Progress{Note: "loading"})); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "progress.jsonl")); err != nil || string(got) != "{\"step\":1,\"of\":2}\n{\"note\":\"loading\"}\n" {
		t.Errorf("progress %q, %v", got, err)
	}
}

// TestScorer: a training gets a number for each picture from the program that its task names, none where
// that program has none, and its failures.
func TestScorer(t *testing.T) {
	// The program gives each image the number of bytes of its file, and fails in its third task.
	const program = `n=0; while read dir; do n=$((n+1)); mkdir -p $dir/out/scores
a=$(wc -c < $dir/in/images/files/0.png); grep -q '"prompt":"ink"' $dir/in/images/rows.jsonl && grep -q '"dark":0.5' $dir/request.json || exit 3
printf '{"index": 0, "values": {"size": %d, "other": 9}}\n{"index": 1, "error": "no picture"}\n' $a > $dir/out/scores/rows.jsonl
if [ $n = 3 ]; then echo '{"protocol": 1, "status": "failed", "class": "data", "message": "no ink"}' > $dir/r; else echo '{"protocol": 1, "status": "ok"}' > $dir/r; fi
mv $dir/r $dir/result.json; [ $n = 3 ] && exit 7; done`
	dir := t.TempDir()
	task := &Task{Dir: dir, Request: engine.Request{Verb: engine.Train, Scorers: map[string]engine.RequestScorer{
		engine.RewardScorer: {Command: []string{"sh", "-c", program}, Params: map[string]any{"dark": .5}, Column: "size"}}}}
	put(t, dir, "a.png", "1234567")
	put(t, dir, "b.png", "12")
	files, prompts := []string{filepath.Join(dir, "a.png"), filepath.Join(dir, "b.png")}, []string{"ink", "paper"}
	end := &End{}
	if _, err := task.Scorer(t.Context(), "gold"); !errors.As(err, &end) || end.Status != engine.Refused {
		t.Errorf("a scorer that the task does not name: %v", err)
	}
	s, err := task.Scorer(t.Context(), engine.RewardScorer)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got, err := s.Score(files, prompts); err != nil || len(got) != 2 || got[0] == nil || *got[0] != 7 || got[1] != nil {
			t.Errorf("scores %v, %v; want 7 and none", got, err)
		}
	}
	if _, err := s.Score(files, prompts); !errors.As(err, &end) || end.Class != engine.Data || !strings.Contains(err.Error(), "no ink") {
		t.Errorf("a failed task: %v", err)
	}
	if _, err := s.Score(files, prompts); err == nil {
		t.Error("a program that has ended gives scores")
	}
	if err := s.Close(); err == nil || !strings.Contains(err.Error(), "7") {
		t.Errorf("Close of a program that ended with 7: %v", err)
	}
}
