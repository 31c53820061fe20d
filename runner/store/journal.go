package store

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// EventKind is the kind of an event of an attempt at an action.
type EventKind string

const (
	Started     EventKind = "started"
	Finished    EventKind = "finished"
	Failed      EventKind = "failed"
	Interrupted EventKind = "interrupted"
)

// valid reports whether k is one of the kinds above.
func (k EventKind) valid() bool {
	return slices.Contains([]EventKind{Started, Finished, Failed, Interrupted}, k)
}

// Event is one line of a journal. Kind, Time and Action are always set. Fields that do
// not apply or are not known are zero.
type Event struct {
	Kind     EventKind `json:"kind"`
	Time     time.Time `json:"time"`
	Process  string    `json:"process"` // name of the process that wrote the event; set by Append
	Action   ActionID  `json:"action"`
	Stage    string    `json:"stage,omitempty"`
	Trial    string    `json:"trial,omitempty"` // id of the first trial that needs the action
	View     string    `json:"view,omitempty"`  // row and seed of that trial
	Worker   int       `json:"worker,omitempty"`
	Cost     float64   `json:"cost,omitempty"` // estimated cost of the action in seconds, to predict the time of other actions
	Device   string    `json:"device,omitempty"`
	Backend  string    `json:"backend,omitempty"`
	Versions string    `json:"versions,omitempty"`
	CPU      string    `json:"cpu,omitempty"`
	Engine   string    `json:"engine,omitempty"` // name in the study of the engine that computes the action
	GPUs     int       `json:"gpus,omitempty"`   // that an engine has for it
	GPU      string    `json:"gpu,omitempty"`    // model of the machine's GPUs, if the action has one

	Seconds float64 `json:"seconds,omitempty"` // duration of an attempt that ended, by a monotonic clock

	Environment string `json:"environment,omitempty"` // lines that describe everything that may change the last digits of a result

	Output string `json:"output,omitempty"` // output id of a finished attempt
	Error  string `json:"error,omitempty"`  // error of a failed attempt
	Class  string `json:"class,omitempty"`  // kind of that failure
}

// Journal is the file to which one process appends its events, one JSON object per line.
// Every process has a file of its own, so that no process can damage what another one
// wrote, on any file system. The file is not synced: its last lines may be lost if the
// machine crashes, but not if the process does. No result depends on a journal.
type Journal struct {
	dir     string
	process string

	mu sync.Mutex
	f  *os.File
}

// OpenJournal opens or creates this process' journal of a study, in the folder that
// ClaimStudy returned.
func (s *Store) OpenJournal(studyDir string) (*Journal, error) {
	dir := journals(studyDir)
	if err := s.folder(dir); err != nil {
		return nil, s.fail(fmt.Errorf("%w: is it a file? Then move it away", err))
	}
	f, err := os.OpenFile(filepath.Join(dir, s.self+journalSuffix), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o666)
	if err != nil {
		return nil, s.fail(err)
	}
	if share := s.shared() & 0o044; share != 0 {
		// In a shared store, others may read the journal, whatever the umask.
		if info, err := f.Stat(); err == nil && info.Mode()&share != share {
			_ = f.Chmod(info.Mode() | share)
		}
	}
	return &Journal{dir: s.dir, process: s.self, f: f}, nil
}

// Append writes one event. It may be called from several goroutines.
func (j *Journal) Append(e Event) error {
	if !e.Kind.valid() {
		return fmt.Errorf("journal: unknown kind of event %q", e.Kind)
	}
	e.Process = j.process
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	// The line begins with a newline, so that an incomplete line, which a full disk leaves,
	// does not spoil the next one.
	if _, err := j.f.Write(slices.Concat([]byte{'\n'}, line, []byte{'\n'})); err != nil {
		return fmt.Errorf("journal: %w", diagnose(j.dir, err))
	}
	return nil
}

// Close closes the file.
func (j *Journal) Close() error { return j.f.Close() }

// ReadJournal returns the events of a study from the journals of all processes, and the
// number of lines that could not be read. The events of a process are in the order in
// which it wrote them; those of several processes are merged by their times. A process
// that dies or a full disk may leave an incomplete line.
func ReadJournal(studyDir string) (events []Event, unread int, err error) {
	dir := journals(studyDir)
	files, err := os.ReadDir(dir)
	if err != nil && !absent(err) {
		return nil, 0, fmt.Errorf("journal: %w", err)
	}
	type timed struct {
		Event
		when time.Time // Time, but never before that of an earlier event of the process, whose clock may jump
	}
	var all []timed
	for _, d := range files {
		if !d.Type().IsRegular() || !strings.HasSuffix(d.Name(), journalSuffix) {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, d.Name()))
		if err != nil {
			return nil, 0, fmt.Errorf("journal: %w", err)
		}
		some, n := parseEvents(data)
		unread += n
		var last time.Time
		for _, e := range some {
			if e.Time.After(last) {
				last = e.Time
			}
			all = append(all, timed{e, last})
		}
	}
	slices.SortStableFunc(all, func(a, b timed) int { return a.when.Compare(b.when) })
	for _, e := range all {
		events = append(events, e.Event)
	}
	return events, unread, nil
}

// parseEvents parses lines of events and skips lines that are not events.
func parseEvents(data []byte) (events []Event, unread int) {
	for line := range bytes.Lines(data) {
		// A last line without a newline is incomplete, even if it can be parsed.
		whole, ok := bytes.CutSuffix(line, []byte{'\n'})
		if ok && len(whole) == 0 {
			continue
		}
		var e Event
		if !ok || json.Unmarshal(whole, &e) != nil || !e.Kind.valid() || e.Action.IsZero() || e.Time.IsZero() {
			unread++
			continue
		}
		events = append(events, e)
	}
	return events, unread
}

const journalSuffix = ".jsonl"

// journals returns the folder of the journals of a study.
func journals(studyDir string) string { return filepath.Join(studyDir, "events") }
