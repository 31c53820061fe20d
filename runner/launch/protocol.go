package launch

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// protocol is the version of the protocol, which must be the same on both sides. They are
// the same binary unless Options.Command names another one.
const protocol = 4

// maxLine is the largest length of a line in bytes, so that invalid input cannot fill the
// memory.
const maxLine = 64 << 20

// Task is a task for a worker.
type Task struct {
	Action string            `json:"action"` // id, for messages
	Stage  string            `json:"stage"`  // kind of stage
	Params json.RawMessage   `json:"params,omitempty"`
	Inputs map[string]string `json:"inputs,omitempty"` // folders to read, by name
	Out    string            `json:"out,omitempty"`    // folder to write into

	// State is a folder that outlives the attempt, in which a long task saves its state every
	// Save seconds and when it is asked to stop, and from which it continues. Empty: it saves
	// nothing.
	State string  `json:"state,omitempty"`
	Save  float64 `json:"save,omitempty"`

	// For stages that engines compute.
	Store   string  `json:"store,omitempty"`   // folder of the store
	Attempt int     `json:"attempt,omitempty"` // number of the attempt in this run, from 1
	Grace   float64 `json:"grace,omitempty"`   // seconds that a training has to save its state when it is asked to stop; 0 for other tasks
	Limit   float64 `json:"limit,omitempty"`   // seconds that the task may take; 0: no limit
	Why     string  `json:"why,omitempty"`     // file that says, when the task is asked to stop, why
	Machine string  `json:"machine,omitempty"` // its processor, and what the task has of the machine
	CPUs    int     `json:"cpus,omitempty"`    // number of CPUs that the task may use, which may change the last digits of its results

	// Patience is the seconds that the task has to end when it is asked to stop, before its worker is
	// killed; 0: as the pool's options say.
	Patience float64 `json:"patience,omitempty"`
}

// String returns a name of the task for messages.
func (t Task) String() string {
	if t.Action == "" {
		return t.Stage
	}
	return t.Stage + " " + t.Action[:min(len(t.Action), 12)]
}

// Progress is the progress of a task. Total is 0 if it is not known.
type Progress struct {
	Step  int    `json:"step"`
	Total int    `json:"total,omitempty"`
	Text  string `json:"text,omitempty"` // what the numbers count; empty for the steps of a training

	Compiling bool     `json:"compiling,omitempty"` // a computation is being compiled, which may take minutes
	Metrics   []Metric `json:"metrics,omitempty"`   // of a training, at its last point; empty before the first

	// For the log; then the other fields are not set.
	Resumed int    `json:"resumed,omitempty"` // step of the saved state from which the task goes on
	Warning string `json:"warning,omitempty"`
}

// Metric is the value of a metric of a training.
type Metric struct {
	Name  string   `json:"name"`
	Value *float64 `json:"value"` // nil if it is not finite, because the training has diverged
}

// message is one line from a worker. Exactly one field is set.
type message struct {
	Hello    *hello    `json:"hello,omitempty"`
	Progress *Progress `json:"progress,omitempty"`
	Result   *result   `json:"result,omitempty"`
}

// hello is the first line of a worker.
type hello struct {
	Protocol int    `json:"protocol"`
	Build    string `json:"build,omitempty"` // SHA-256 of the program
}

// result is the last line about a task.
type result struct {
	Values json.RawMessage `json:"values,omitempty"`
	Err    *RemoteError    `json:"error,omitempty"`
}

// readLine returns the next line without its newline. The error is io.EOF if there is
// none, and io.ErrUnexpectedEOF if the stream ends within a line.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			return line[:len(line)-1], nil
		case len(line) > maxLine:
			return nil, fmt.Errorf("protocol: a line is longer than %d bytes", maxLine)
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && len(line) > 0:
			return nil, io.ErrUnexpectedEOF
		}
		return nil, err
	}
}

// readTask reads the next task that a pool sent.
func readTask(r *bufio.Reader) (Task, error) {
	line, err := readLine(r)
	if err != nil {
		return Task{}, err
	}
	var t Task
	if err := unmarshal(line, &t); err != nil {
		return Task{}, err
	}
	if t.Stage == "" {
		return Task{}, errors.New("protocol: a task without a stage")
	}
	return t, nil
}

// readMessage reads the next line of a worker.
func readMessage(r *bufio.Reader) (message, error) {
	line, err := readLine(r)
	if err != nil {
		return message{}, err
	}
	var m message
	if err := unmarshal(line, &m); err != nil {
		return message{}, err
	}
	n := 0
	for _, there := range []bool{m.Hello != nil, m.Progress != nil, m.Result != nil} {
		if there {
			n++
		}
	}
	if n != 1 {
		return message{}, fmt.Errorf("protocol: a line with %d messages: %.80q", n, line)
	}
	return m, nil
}

// unmarshal rejects unknown fields, which mean that the other side is another program.
func unmarshal(line []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("protocol: %.80q: %w", line, err)
	}
	if d.More() {
		return fmt.Errorf("protocol: %.80q: more than one value", line)
	}
	return nil
}

// writeLine writes v as one line, in one write.
func writeLine(w io.Writer, v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("protocol: %w", err)
	}
	_, err = w.Write(append(line, '\n'))
	return err
}
