package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
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

	Seconds float64 `json:"seconds,omitempty"` // duration of an attempt that ended, by a monotonic clock

	Environment string `json:"environment,omitempty"` // lines that describe everything that may change the last digits of a result

	Output string `json:"output,omitempty"` // output id of a finished attempt
	Error  string `json:"error,omitempty"`  // error of a failed attempt
}

// Journal is an append-only file of events, one JSON object per line. Several processes
// of one machine may write it at the same time, because every event is a single write at
// the end of the file. The file is not synced: its last lines may be lost if the machine
// crashes, but not if the process does. On a network file system, simultaneous writes of
// two machines may overwrite each other. No result depends on the journal.
type Journal struct {
	dir     string
	process string

	mu sync.Mutex
	f  *os.File
}

// OpenJournal opens or creates the journal of a study, in the folder that ClaimStudy returned.
func (s *Store) OpenJournal(studyDir string) (*Journal, error) {
	name := journalPath(studyDir)
	if err := regularJournal(name); err != nil && !absent(err) {
		return nil, s.fail(err)
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o666)
	if err != nil {
		return nil, s.fail(err)
	}
	if share := s.shared() & 0o066; share != 0 {
		// In a shared store, the owner of the journal gives other users permission to
		// write it.
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
	// The line begins with a newline. If another process died in the middle of its line,
	// only that line is lost.
	if _, err := j.f.Write(slices.Concat([]byte{'\n'}, line, []byte{'\n'})); err != nil {
		return fmt.Errorf("journal: %w", diagnose(j.dir, err))
	}
	return nil
}

// Close closes the file.
func (j *Journal) Close() error { return j.f.Close() }

// ReadJournal returns the events of a study in the order in which they were written, and
// the number of lines that could not be read. A process that dies or a full disk may
// leave an incomplete line. A journal that does not exist has no events.
func ReadJournal(studyDir string) (events []Event, unread int, err error) {
	name := journalPath(studyDir)
	if err := regularJournal(name); absent(err) {
		return nil, 0, nil
	} else if err != nil {
		return nil, 0, fmt.Errorf("journal: %w", err)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, 0, fmt.Errorf("journal: %w", err)
	}
	defer f.Close()
	return readEvents(f)
}

// regularJournal returns an error if the journal is not a regular file, because opening a
// pipe or a device may block for ever.
func regularJournal(name string) error {
	info, err := os.Lstat(name)
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is %w: move it away", name, errNoJournal)
	}
	return err
}

// errNoJournal is the error of a journal that is not a regular file.
var errNoJournal = errors.New("not a file")

// readEvents reads lines of events and skips lines that are not events.
func readEvents(r io.Reader) (events []Event, unread int, err error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, 0, fmt.Errorf("journal: %w", err)
	}
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
	return events, unread, nil
}

func journalPath(studyDir string) string { return studyDir + string(os.PathSeparator) + "journal" }
