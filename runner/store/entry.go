package store

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// entryFormat is the first line of an index entry.
const entryFormat = "ablate entry 2"

// Entry is a line of the index: what an action produced.
type Entry struct {
	Action ActionID
	Output OutputID
	Files  int    // number of files of the artifact
	Bytes  int64  // their size together
	Made   string // environment in which it was computed: lines, no part of the key
	Build  string // program that computed it; one line
	Key    string // Key.Text of the action, from which Action follows

	// What follows is set by Commit alone, is not stored, and deserves a warning.
	Replaced   OutputID // that the index named before, other than Output, whose bytes are lost
	Rejected   OutputID // that was computed now, other than Output, and not kept
	Difference string   // first file in which they differ
}

// Stage returns the kind of stage, read from the key; it is empty for a key that this
// version does not read.
func (e Entry) Stage() string {
	k, err := ParseKey(e.Key)
	if err != nil {
		return ""
	}
	return k.Stage
}

// encode writes the one spelling of an entry; its last line is the sum of the others.
func (e Entry) encode() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\naction %s\noutput %s\nfiles %d\nbytes %d\nmade %s\nbuild %s\nkey %d\n%s", entryFormat,
		e.Action, e.Output, e.Files, e.Bytes, strconv.Quote(e.Made), strconv.Quote(e.Build), len(e.Key), e.Key)
	b.WriteString(sumLineOf(b.String()))
	return b.Bytes()
}

// sumLineOf is the last line of an entry, in every format.
func sumLineOf(head string) string { return fmt.Sprintf("sum %x\n", sha256.Sum256([]byte(head))) }

// errOtherFormat is what the entry of an earlier or later program is: whole, and
// no answer.
var errOtherFormat = errors.New("entry of another format")

// parseEntry reads what encode writes and nothing else.
func parseEntry(data []byte) (Entry, error) {
	const sumLine = len("sum ") + 2*sha256.Size + len("\n")
	if len(data) < sumLine {
		return Entry{}, errors.New("entry: too short")
	}
	head := string(data[:len(data)-sumLine])
	rest, ok := strings.CutPrefix(head, entryFormat+"\n")
	if !ok {
		if strings.HasPrefix(head, "ablate entry ") && string(data[len(head):]) == sumLineOf(head) {
			return Entry{}, errOtherFormat
		}
		return Entry{}, fmt.Errorf("entry: first line is not %q", entryFormat)
	}
	var e Entry
	var action, output string
	var keyLen int
	fields := strings.SplitN(rest, "\n", 8)
	if len(fields) != 8 {
		return Entry{}, errors.New("entry: torn")
	}
	for i, f := range []struct {
		format string
		to     any
	}{{"action %s", &action}, {"output %s", &output}, {"files %d", &e.Files}, {"bytes %d", &e.Bytes}, {"made %q", &e.Made}, {"build %q", &e.Build}, {"key %d", &keyLen}} {
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
	e.Key = fields[7]
	if e.Action != sha256.Sum256([]byte(e.Key)) {
		return Entry{}, errors.New("entry: key does not belong to the action")
	}
	// The sum, the lengths and the spelling of the numbers are all checked at once.
	if !bytes.Equal(e.encode(), data) {
		return Entry{}, errors.New("entry: sum does not match")
	}
	return e, nil
}
