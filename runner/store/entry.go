package store

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
)

// entryFormat is the first line of an index entry.
const entryFormat = "ablate entry 1"

// Entry is a line of the index: what an action produced.
type Entry struct {
	Action ActionID
	Output OutputID
	Files  int    // number of files of the artifact
	Bytes  int64  // their size together
	Key    string // Key.Text of the action, from which Action follows

	// Replaced is set by Commit alone, and is not stored: the output that the index
	// named before, other than Output, whose bytes are lost. It deserves a warning.
	Replaced OutputID
}

// Stage returns the kind of stage, read from the key.
func (e Entry) Stage() string {
	for line := range strings.Lines(e.Key) {
		if s, ok := strings.CutPrefix(line, "stage "); ok {
			return strings.TrimSuffix(s, "\n")
		}
	}
	return ""
}

// encode writes the one spelling of an entry; its last line is the sum of the others.
func (e Entry) encode() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\naction %s\noutput %s\nfiles %d\nbytes %d\nkey %d\n%s", entryFormat,
		e.Action, e.Output, e.Files, e.Bytes, len(e.Key), e.Key)
	fmt.Fprintf(&b, "sum %x\n", sha256.Sum256(b.Bytes()))
	return b.Bytes()
}

// parseEntry reads what encode writes and nothing else.
func parseEntry(data []byte) (Entry, error) {
	const sumLine = len("sum ") + 2*sha256.Size + len("\n")
	if len(data) < sumLine {
		return Entry{}, errors.New("entry: too short")
	}
	head := string(data[:len(data)-sumLine])
	rest, ok := strings.CutPrefix(head, entryFormat+"\n")
	if !ok {
		return Entry{}, fmt.Errorf("entry: first line is not %q", entryFormat)
	}
	var e Entry
	var action, output string
	var keyLen int
	fields := strings.SplitN(rest, "\n", 6)
	if len(fields) != 6 {
		return Entry{}, errors.New("entry: torn")
	}
	for i, f := range []struct {
		format string
		to     any
	}{{"action %s", &action}, {"output %s", &output}, {"files %d", &e.Files}, {"bytes %d", &e.Bytes}, {"key %d", &keyLen}} {
		if _, err := fmt.Sscanf(fields[i], f.format, f.to); err != nil {
			return Entry{}, fmt.Errorf("entry line %d: %w", i+2, err)
		}
	}
	var err error
	if e.Action, err = ParseActionID(action); err != nil {
		return Entry{}, fmt.Errorf("entry: %w", err)
	}
	if e.Output, err = ParseOutputID(output); err != nil {
		return Entry{}, fmt.Errorf("entry: %w", err)
	}
	e.Key = fields[5]
	if e.Action != sha256.Sum256([]byte(e.Key)) {
		return Entry{}, errors.New("entry: key does not belong to the action")
	}
	// The sum, the lengths and the spelling of the numbers are all checked at once.
	if !bytes.Equal(e.encode(), data) {
		return Entry{}, errors.New("entry: sum does not match")
	}
	return e, nil
}
