package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Failure is the record of an action that failed, after all attempts of a run. It lies in
// failed/ACTION until the action has a result or is to be retried.
type Failure struct {
	Action   ActionID  `json:"action"`
	Stage    string    `json:"stage"`
	View     string    `json:"view"`     // row and seed of the first trial that needs the action
	Class    string    `json:"class"`    // kind of failure
	Error    string    `json:"error"`    // what went wrong, in one or more lines
	Tail     string    `json:"tail"`     // last lines of the worker's standard error; may be empty
	Log      string    `json:"log"`      // path of the log, from the store's folder; empty if there is none
	Attempts int       `json:"attempts"` // of the run that recorded the failure
	Time     time.Time `json:"time"`
	Process  string    `json:"process"` // name of the process; set by Fail
	Build    string    `json:"build"`   // build of the program
}

// Most lengths of the texts of a failure in bytes; the beginning of an error and the end of
// a log say the most.
const (
	mostError   = 16 << 10
	mostTail    = 4 << 10
	mostFailure = 256 << 10 // size of a file, larger than any record
)

// Fail records a failure. It replaces the record of an earlier one.
func (s *Store) Fail(f Failure) error {
	if err := s.prepare(); err != nil {
		return err
	}
	f.Process = s.self
	f.Error = strings.ToValidUTF8(f.Error[:min(len(f.Error), mostError)], "?")
	f.Tail = strings.ToValidUTF8(f.Tail[max(0, len(f.Tail)-mostTail):], "?")
	return s.writeFailure(f)
}

// writeFailure writes the record of a failure.
func (s *Store) writeFailure(f Failure) error {
	data, err := json.Marshal(f)
	if err != nil {
		return err
	}
	if err := s.mkdir(filepath.Join(s.dir, "failed")); err != nil {
		return s.fail(err)
	}
	tmp := s.tempName()
	if err := writeSynced(tmp, append(data, '\n'), s.shared()); err != nil {
		return s.fail(errors.Join(err, os.RemoveAll(tmp)))
	}
	return s.fail(os.Rename(tmp, s.failed(f.Action)))
}

// Failed returns the record of an action's failure. A record that cannot be read counts as
// none, so that the action is tried again.
func (s *Store) Failed(id ActionID) (Failure, bool) {
	data, err := readRegular(s.failed(id), mostFailure)
	if err != nil {
		return Failure{}, false
	}
	f, err := parseFailure(data)
	return f, err == nil && f.Action == id
}

func parseFailure(data []byte) (Failure, error) {
	var f Failure
	if err := json.Unmarshal(data, &f); err != nil {
		return Failure{}, fmt.Errorf("failure: %w", err)
	}
	if f.Action.IsZero() || f.Class == "" || f.Error == "" {
		return Failure{}, errors.New("failure: it names no action, class or error")
	}
	return f, nil
}

// Failures returns all records of failures, the earliest first.
func (s *Store) Failures() ([]Failure, error) {
	names, err := s.list(filepath.Join(s.dir, "failed"))
	if err != nil {
		return nil, err
	}
	var all []Failure
	for _, name := range names {
		if id, err := ParseActionID(name); err == nil {
			if f, ok := s.Failed(id); ok {
				all = append(all, f)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b Failure) int { return a.Time.Compare(b.Time) })
	return all, nil
}

// Retry removes the record of an action's failure, so that the next run tries it again. It
// is not an error if there is none.
func (s *Store) Retry(id ActionID) error { return s.fail(remove(s.failed(id))) }

func (s *Store) failed(id ActionID) string { return filepath.Join(s.dir, "failed", id.String()) }
