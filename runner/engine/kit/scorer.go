package kit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"ablate/runner/engine"
)

// A Scorer is another engine, which gives the images of a training their scores: it does tasks of the
// verb score, which are laid for it as ablate lays them for a worker.
type Scorer struct {
	spec   engine.RequestScorer
	folder string
	count  int
	in     io.WriteCloser
	ended  chan error
}

// Scorer starts the scorer of a name, "reward" in a study. Close ends it.
func (t *Task) Scorer(ctx context.Context, name string) (*Scorer, error) {
	spec, ok := t.Scorers[name]
	if !ok || len(spec.Command) == 0 {
		return nil, Refuse("%s needs the scorer %q, and the task names none", t.Verb, name)
	}
	folder, err := t.Scratch("scorer-" + name)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, spec.Command[0], spec.Command[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr // the log of the task
	s := &Scorer{spec: spec, folder: folder, ended: make(chan error, 1)}
	if s.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("the scorer: %w", err)
	}
	go func() { s.ended <- cmd.Wait() }()
	return s, nil
}

// Score returns the scores of pictures, whose files are PNG, and their prompts; nil where the scorer
// has none.
func (s *Scorer) Score(files, prompts []string) ([]*float64, error) {
	s.count++
	dir := filepath.Join(s.folder, fmt.Sprint(s.count))
	const images = "in/" + engine.ImagesRole
	for _, name := range []string{images + "/files", "out", "emit", "state", "work", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.FromSlash(name)), 0o777); err != nil {
			return nil, err
		}
	}
	var rows bytes.Buffer
	for i, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		name := fmt.Sprintf("files/%d.png", i)
		if err := os.WriteFile(filepath.Join(dir, images, name), data, 0o666); err != nil {
			return nil, err
		}
		line, err := json.Marshal(engine.Row{Index: i, Prompt: prompts[i], File: name})
		if err != nil {
			return nil, err
		}
		rows.Write(append(line, '\n'))
	}
	q := engine.Request{Protocol: engine.Protocol, Verb: engine.Score, Action: "scorer", Attempt: 1, Params: s.spec.Params,
		Inputs: map[string]engine.RequestInput{engine.ImagesRole: {Path: images, ID: "drawn", Rows: len(files)}}}
	if err := errors.Join(os.WriteFile(filepath.Join(dir, images, "rows.jsonl"), rows.Bytes(), 0o666), WriteJSON(filepath.Join(dir, "request.json"), q)); err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintln(s.in, dir); err != nil {
		return nil, fmt.Errorf("the scorer: %w", err)
	}
	result, err := s.result(filepath.Join(dir, "result.json"))
	if err != nil {
		return nil, err
	}
	if result.Status != engine.OK {
		end := &End{Status: engine.Failed, Class: engine.Program, Err: fmt.Errorf("the scorer: %s: %s", result.Status, result.Message)}
		if result.Class != "" {
			end.Class = result.Class
		}
		return nil, end
	}
	values, err := s.values(filepath.Join(dir, "out", "scores", "rows.jsonl"))
	if err == nil && len(values) != len(files) {
		err = fmt.Errorf("the scorer: it scored %d of %d images", len(values), len(files))
	}
	return values, errors.Join(err, os.RemoveAll(dir))
}

// result waits for the result of a task.
func (s *Scorer) result(name string) (r engine.Result, err error) {
	var exit error
	for ended := false; ; {
		data, err := os.ReadFile(name)
		switch {
		case err == nil:
			return r, json.Unmarshal(data, &r)
		case !errors.Is(err, os.ErrNotExist):
			return r, err
		case ended:
			return r, fmt.Errorf("the scorer ended without a result: %v", exit)
		}
		select {
		case exit = <-s.ended:
			s.ended <- exit
			ended = true // it may have written the result before
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// values reads the scores of a task's images, in their order.
func (s *Scorer) values(name string) ([]*float64, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var out []*float64
	for line := range bytes.Lines(data) {
		var row struct {
			Values map[string]json.RawMessage `json:"values"`
		}
		if err := json.Unmarshal(line, &row); err != nil {
			return nil, fmt.Errorf("the scorer: %w", err)
		}
		var x *float64
		if raw, ok := row.Values[s.spec.Column]; ok {
			if err := json.Unmarshal(raw, &x); err != nil {
				return nil, fmt.Errorf("the scorer: %s of image %d is %s: must be a number", s.spec.Column, len(out), raw)
			}
		}
		out = append(out, x)
	}
	return out, nil
}

// Close ends the scorer.
func (s *Scorer) Close() error {
	err := s.in.Close()
	return errors.Join(err, <-s.ended)
}
