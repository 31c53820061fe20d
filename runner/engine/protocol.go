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

// A Request is the file request.json: what to do.
type Request struct {
	Protocol  int                     `json:"protocol"`
	Verb      string                  `json:"verb"`
	Action    string                  `json:"action"`            // name of the action, the same in each attempt
	Attempt   int                     `json:"attempt"`           // from 1
	Require   []string                `json:"require,omitempty"` // parts of the protocol that the engine must know, or refuse
	Emit      []string                `json:"emit,omitempty"`    // what to write into emit/: "noise", "samples"
	Keep      []int                   `json:"keep,omitempty"`    // steps whose checkpoints train writes too
	Params    map[string]any          `json:"params"`            // all parameters that are used, nested
	Sampler   map[string]any          `json:"samples,omitempty"` // parameters of sample, for the images that a trainer draws of its own weights ("emit:samples")
	Seeds     map[string]int64        `json:"seeds,omitempty"`   // of the random streams of train, in [1, 2³¹)
	Inputs    map[string]RequestInput `json:"inputs"`            // by role
	Resources RequestResources        `json:"resources"`
	SaveEvery float64                 `json:"save_every_s"` // seconds between two savings of a training's state; 0: only when it is stopped
	Grace     float64                 `json:"grace_s"`      // seconds to save and end after stop has appeared
	Silence   float64                 `json:"silence_s"`    // seconds without progress after which the program counts as hung
	Time      float64                 `json:"time_s"`       // seconds that the task may take; 0: no limit
}

// A RequestInput is an input of a request.
type RequestInput struct {
	Path string  `json:"path"`           // relative to the attempt folder
	ID   string  `json:"id"`             // of the artifact
	Rows int     `json:"rows,omitempty"` // number of rows
	Base *string `json:"base"`           // role of the checkpoint that this one is based on; null if there is none
}

// RequestResources are what a task may use.
type RequestResources struct {
	GPUs   int     `json:"gpus"`
	CPUs   int     `json:"cpus"`
	Memory float64 `json:"memory_gib,omitempty"`
	Port   int     `json:"port"` // a free port, for the processes of a training
}

// A Row is a line of rows.jsonl of an input. Which fields it has depends on the role.
type Row struct {
	Index    int             `json:"index"`
	Prompt   string          `json:"prompt,omitempty"`
	Negative string          `json:"negative,omitempty"`
	Seed     int64           `json:"seed,omitempty"`
	File     string          `json:"file,omitempty"` // relative to the role's folder
	Score    *float64        `json:"score,omitempty"`
	Label    string          `json:"label,omitempty"`
	Meta     json.RawMessage `json:"meta,omitempty"`
	Better   *int            `json:"better,omitempty"` // of pairs: index of the better image
	Worse    *int            `json:"worse,omitempty"`
	Weight   *float64        `json:"weight,omitempty"`
}

// An OutputRow is a line of rows.jsonl of an output, or of a curve.
type OutputRow struct {
	Index     int                        `json:"index"`
	File      string                     `json:"file,omitempty"`      // relative to the role's folder
	Truncated bool                       `json:"truncated,omitempty"` // the text encoder has not read the whole prompt
	Values    map[string]json.RawMessage `json:"values,omitempty"`    // by column, a number or a verdict
	Error     string                     `json:"error,omitempty"`     // why there is no value
}

// A Result is the file result.json, the last act of a program.
type Result struct {
	Protocol    int               `json:"protocol"`
	Status      string            `json:"status"`             // "ok", "stopped", "diverged", "refused" or "failed"
	Class       string            `json:"class,omitempty"`    // of "failed": "memory", "device", "unavailable", "data" or "program"
	Message     string            `json:"message,omitempty"`  // for people
	Step        int               `json:"step,omitempty"`     // of "stopped" and "diverged"
	Outputs     map[string]Output `json:"outputs,omitempty"`  // by role
	Resolved    map[string]any    `json:"resolved,omitempty"` // parameters as the live program has them
	Seeds       map[string]int64  `json:"seeds,omitempty"`    // that were used
	ResumedFrom int               `json:"resumed_from,omitempty"`
	Facts       map[string]any    `json:"facts,omitempty"`       // stored with the attempt
	Environment *Environment      `json:"environment,omitempty"` // stored with the attempt
	Hardware    map[string]any    `json:"hardware,omitempty"`    // stored with the attempt
	Sources     map[string]string `json:"sources,omitempty"`     // digests of files that were loaded, by path
}

// An Output is what a program says that it has written for a role.
type Output struct {
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
}

// Progress is a line of progress.jsonl.
type Progress struct {
	Step    int                `json:"step,omitempty"`
	Of      int                `json:"of,omitempty"`
	Metrics map[string]float64 `json:"metrics,omitempty"`
	Note    string             `json:"note,omitempty"`
}

// A Stop is the file stop: the request to save and end.
type Stop struct {
	Why   string  `json:"why"` // "preempted", "limit" or "user"
	Grace float64 `json:"grace_s"`
}

// Statuses of a result.
const (
	OK       = "ok"
	Stopped  = "stopped"
	Diverged = "diverged"
	Refused  = "refused"
	Failed   = "failed"
)

// Classes of a failure. The last four are given by ablate only.
const (
	Memory      = "memory"
	Device      = "device"
	Unavailable = "unavailable"
	Data        = "data"
	Program     = "program"
	Silent      = "silent"   // no progress for too long
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
