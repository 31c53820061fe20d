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

// EventKind says what happened to an attempt at an action.
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

// Event is one line of a journal. Kind, Time and Action are always there; what is
// not known yet, or does not apply, stays zero.
type Event struct {
	Kind     EventKind `json:"kind"`
	Time     time.Time `json:"time"`
	Process  string    `json:"process"` // who wrote it; filled in by Append
	Action   ActionID  `json:"action"`
	Stage    string    `json:"stage,omitempty"`
	Trial    string    `json:"trial,omitempty"` // id of the first trial that needs it
	View     string    `json:"view,omitempty"`  // and its row and seed
	Worker   int       `json:"worker,omitempty"`
	Cost     float64   `json:"cost,omitempty"` // of the action, in the runner's own unit, to expect that of others
	Device   string    `json:"device,omitempty"`
	Backend  string    `json:"backend,omitempty"`
	Versions string    `json:"versions,omitempty"`
	CPU      string    `json:"cpu,omitempty"`

	Seconds float64 `json:"seconds,omitempty"` // of an attempt that ended, by a clock that nobody sets

	Environment string `json:"environment,omitempty"` // lines of what may change the last digits of a result

	Output string `json:"output,omitempty"` // of a finished attempt
	Error  string `json:"error,omitempty"`  // of a failed one
}

// Journal is an append-only file of events, one JSON object a line, that several
// processes of one machine may write at once: every event is a single write at the
// file's end. It is not synced: the last lines may be lost with the machine, never
// with the process. On a network file system, writes of two machines at the same
// moment may cover each other; the journal is history, and no result depends on it.
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
		// Whoever made the journal gives the others of a shared store their rights.
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
	// The line begins with an end, in case another process died in the middle of its
	// own: only that one is lost.
	if _, err := j.f.Write(slices.Concat([]byte{'\n'}, line, []byte{'\n'})); err != nil {
		return fmt.Errorf("journal: %w", diagnose(j.dir, err))
	}
	return nil
}

// Close closes the file.
func (j *Journal) Close() error { return j.f.Close() }

// ReadJournal returns the events of a study in the order in which they were
// written, and how many lines could not be read: a process that dies, or a full
// disk, may tear one. A journal that does not exist has no events.
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

// regularJournal looks at what is in the place of a journal: opening a pipe or a
// device there may never end.
func regularJournal(name string) error {
	info, err := os.Lstat(name)
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is %w: move it away", name, errNoJournal)
	}
	return err
}

// errNoJournal is what a folder is in the place of a journal.
var errNoJournal = errors.New("not a file")

// readEvents reads lines of events, skipping what is not one.
func readEvents(r io.Reader) (events []Event, unread int, err error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, 0, fmt.Errorf("journal: %w", err)
	}
	for line := range bytes.Lines(data) {
		// A last line without its end is torn even where it happens to parse.
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
