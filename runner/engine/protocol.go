package engine

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Names in an attempt folder.
const (
	requestFile  = "request.json"
	resultFile   = "result.json"
	progressFile = "progress.jsonl"
	stopFile     = "stop"
	logFile      = "log"
	rowsFile     = "rows.jsonl"
	filesName    = "files"

	inFolder    = "in"
	outFolder   = "out"
	emitFolder  = "emit"
	stateFolder = "state"
	workFolder  = "work"
	tmpFolder   = "tmp"
)

// Limits of what an engine writes.
const (
	mostResult = 1 << 20   // bytes of a result
	mostLine   = 64 << 10  // bytes of a line of rows or progress
	mostFiles  = 1_000_000 // of outputs
	mostDepth  = 8         // levels of folders of outputs
	mostSide   = 8192      // pixels of a picture
)

// A Request is the file request.json: the task. ablate writes it.
type Request struct {
	Protocol  int                      `json:"protocol"`          // version of the protocol
	Verb      string                   `json:"verb"`              // "load", "sample", "train", "score" or "embed"
	Action    string                   `json:"action"`            // name of the action, the same in each attempt
	Attempt   int                      `json:"attempt"`           // number of the attempt, from 1
	Require   []string                 `json:"require,omitempty"` // optional parts of the protocol that the task needs; an engine that does not know one refuses the task
	Emit      []string                 `json:"emit,omitempty"`    // what the program also writes into emit/: "noise" or "samples"
	Keep      []int                    `json:"keep,omitempty"`    // steps after which train also writes a checkpoint
	Params    map[string]any           `json:"params"`            // every parameter that the task uses, nested, with defaults filled in
	Sampler   map[string]any           `json:"samples,omitempty"` // parameters of sample with which a trainer draws images of its own weights ("emit:samples")
	Seeds     map[string]int64         `json:"seeds,omitempty"`   // seeds of the random streams of train by name, in [1, 2³¹)
	Inputs    map[string]RequestInput  `json:"inputs"`            // inputs by role
	Scorers   map[string]RequestScorer `json:"scorers,omitempty"` // programs that train may ask for scores, by name: "reward"
	Resources RequestResources         `json:"resources"`         // what the task may use of the machine
	SaveEvery float64                  `json:"save_every_s"`      // seconds between two savings of a training's state; 0: only when it is asked to stop
	Grace     float64                  `json:"grace_s"`           // seconds that a training has to save and end after the file stop has appeared
	Silence   float64                  `json:"silence_s"`         // seconds without progress and output after which the program counts as hung
	Time      float64                  `json:"time_s"`            // seconds that the task may take; 0: no limit
}

// A RequestInput is an input of a request.
type RequestInput struct {
	Path string  `json:"path"`           // folder of the input, relative to the attempt folder
	ID   string  `json:"id"`             // id of the artifact from which it comes
	Rows int     `json:"rows,omitempty"` // number of rows of rows.jsonl; absent where the role has none
	Base *string `json:"base"`           // role of the checkpoint on which this one is based; null if there is none
}

// A RequestScorer is an engine that a training starts, and asks for the scores of its images.
type RequestScorer struct {
	Command []string       `json:"command"` // that starts it; it does the tasks in the folders that its standard input names
	Params  map[string]any `json:"params"`  // parameters of score, for the requests
	Column  string         `json:"column"`  // of its scores, the one that counts: a number that is better when it is higher
}

// RequestResources are what a task may use of the machine.
type RequestResources struct {
	GPUs   int     `json:"gpus"`                 // number of GPUs, those of CUDA_VISIBLE_DEVICES
	CPUs   int     `json:"cpus"`                 // number of CPUs
	Memory float64 `json:"memory_gib,omitempty"` // main memory in GiB; absent if it is not limited
	Port   int     `json:"port"`                 // port that was free a moment ago, for the processes of a training
}

// A Row is a line of rows.jsonl of an input. Its fields depend on the role. ablate writes it.
type Row struct {
	Index    int             `json:"index"`              // number of the row; rows of outputs name it
	Prompt   string          `json:"prompt,omitempty"`   // text of the prompt
	Negative string          `json:"negative,omitempty"` // what an image should not show
	Seed     int64           `json:"seed,omitempty"`     // seed of the row's random numbers, in [1, 2³¹)
	File     string          `json:"file,omitempty"`     // picture, relative to the role's folder
	Score    *float64        `json:"score,omitempty"`    // reward of an image that train learns from
	Label    string          `json:"label,omitempty"`    // label of an image: "good" or "bad"
	Meta     json.RawMessage `json:"meta,omitempty"`     // further fields of the user's file of prompts; train gets none
	Better   *int            `json:"better,omitempty"`   // of pairs: index of the better image
	Worse    *int            `json:"worse,omitempty"`    // of pairs: index of the worse image
	Weight   *float64        `json:"weight,omitempty"`   // of pairs: weight of the pair
}

// An OutputRow is a line of rows.jsonl of the outputs images, scores and features. The engine
// writes it.
type OutputRow struct {
	Index     int                        `json:"index"`               // index of the input's row
	File      string                     `json:"file,omitempty"`      // of images: the picture, relative to the role's folder
	Truncated bool                       `json:"truncated,omitempty"` // of images: the text encoder has not read the whole prompt
	Values    map[string]json.RawMessage `json:"values,omitempty"`    // of scores: by column, a number or "good", "bad" or "skip"
	Error     string                     `json:"error,omitempty"`     // why the row has no value
}

// A Result is the file result.json. Writing it is the last act of a program.
type Result struct {
	Protocol    int               `json:"protocol"`               // version of the protocol
	Status      string            `json:"status"`                 // "ok", "stopped", "diverged", "refused" or "failed"
	Class       string            `json:"class,omitempty"`        // of "failed": "memory", "device", "unavailable", "data" or "program"
	Message     string            `json:"message,omitempty"`      // reason, for people
	Step        int               `json:"step,omitempty"`         // last step, of "stopped" and "diverged"
	Outputs     map[string]Output `json:"outputs,omitempty"`      // what the program wrote, by role; compared with the folder
	Resolved    map[string]any    `json:"resolved,omitempty"`     // parameters as the live program has them, nested; compared with the request
	Seeds       map[string]int64  `json:"seeds,omitempty"`        // seeds that were used, by name; compared with the request
	ResumedFrom int               `json:"resumed_from,omitempty"` // step of the state from which the training went on
	Facts       map[string]any    `json:"facts,omitempty"`        // anything else, for people
	Environment *Environment      `json:"environment,omitempty"`  // interpreter and packages of this process, for people
	Hardware    map[string]any    `json:"hardware,omitempty"`     // devices of this process, for people
	Sources     map[string]string `json:"sources,omitempty"`      // SHA-256 of the program's own files that were loaded, by path, for 'ablate probe'
}

// An Output is what a program wrote for a role.
type Output struct {
	Files int   `json:"files"` // number of files
	Bytes int64 `json:"bytes"` // size of all files
}

// Progress is a line of progress.jsonl. The engine appends it.
type Progress struct {
	Step    int                `json:"step,omitempty"`    // steps or rows that are done
	Of      int                `json:"of,omitempty"`      // steps or rows of the whole task
	Metrics map[string]float64 `json:"metrics,omitempty"` // metrics of the step by name, such as the loss
	Note    string             `json:"note,omitempty"`    // what the program does now, for people
}

// A Stop is the file stop, which asks a program to save its state and to end. ablate writes it.
type Stop struct {
	Why   string  `json:"why"`     // reason: "preempted", "limit" or "user"
	Grace float64 `json:"grace_s"` // seconds until the program is ended
}

// Statuses of a result.
const (
	OK       = "ok"
	Stopped  = "stopped"
	Diverged = "diverged"
	Refused  = "refused"
	Failed   = "failed"
)

// Classes of a failure. The last five are given by ablate only.
const (
	Memory      = "memory"
	Device      = "device"
	Unavailable = "unavailable"
	Data        = "data"
	Program     = "program"
	Silent      = "silent"   // no progress for too long
	Late        = "late"     // it took longer than it may
	Disk        = "disk"     // the disk is full
	Contract    = "contract" // the outputs are not what the protocol asks for
)

// readSmall reads a regular file of at most n bytes.
func readSmall(name string, n int64) ([]byte, error) {
	f, err := openRegular(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, n+1))
	if err == nil && int64(len(data)) > n {
		err = fmt.Errorf("%s has more than %d bytes", filepath.Base(name), n)
	}
	return data, err
}

// openRegular opens a file that is no link, device or pipe: opening one of these may wait for
// ever or read what is not the engine's.
func openRegular(name string) (*os.File, error) {
	info, err := os.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", filepath.Base(name))
	}
	return os.Open(name)
}

// ParseResult reads a result.
func ParseResult(data []byte) (*Result, error) {
	r := &Result{}
	if err := json.Unmarshal(data, r); err != nil {
		return nil, err
	}
	switch {
	case r.Protocol != Protocol:
		return nil, fmt.Errorf("protocol is %d; must be %d", r.Protocol, Protocol)
	case r.Status != OK && r.Status != Stopped && r.Status != Diverged && r.Status != Refused && r.Status != Failed:
		return nil, fmt.Errorf("status is %q; must be \"ok\", \"stopped\", \"diverged\", \"refused\" or \"failed\"", r.Status)
	case r.Status == Failed && r.Class != Memory && r.Class != Device && r.Class != Unavailable && r.Class != Data && r.Class != Program:
		return nil, fmt.Errorf("class is %q; must be \"memory\", \"device\", \"unavailable\", \"data\" or \"program\"", r.Class)
	}
	return r, nil
}

// lines calls each with every line of a file of JSON lines.
func lines(name string, each func(number int, line []byte) error) error {
	f, err := openRegular(name)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is missing", filepath.Base(name))
	} else if err != nil {
		return err
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	s.Buffer(nil, mostLine)
	n := 0
	for s.Scan() {
		n++
		if line := bytes.TrimSpace(s.Bytes()); len(line) > 0 {
			if err := each(n, line); err != nil {
				return fmt.Errorf("%s:%d: %w", filepath.Base(name), n, err)
			}
		}
	}
	if err := s.Err(); err != nil {
		return fmt.Errorf("%s:%d: %w", filepath.Base(name), n+1, err)
	}
	return nil
}
