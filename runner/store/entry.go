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

// Entry is an entry of the index: the output of an action.
type Entry struct {
	Action ActionID
	Output OutputID
	Files  int    // number of files of the output
	Bytes  int64  // total size of these files in bytes
	Made   string // environment in which the output was computed, as lines; not part of the key
	Build  string // build of the program that computed the output, on one line
	Key    string // Key.Text of the action; its hash is Action

	// Only Commit sets the following fields. They are not stored. The caller should warn
	// of them.
	Replaced   OutputID // earlier output of the action, which differed from Output and is lost
	Rejected   OutputID // output that was computed now, which differs from Output and was not kept
	Difference string   // first file in which that output and Output differ
}

// Stage returns the kind of stage from the key. It is empty if this version cannot parse
// the key.
func (e Entry) Stage() string {
	k, err := ParseKey(e.Key)
	if err != nil {
		return ""
	}
	return k.Stage
}

// encode returns the text of an entry, of which there is exactly one. The last line is
// the checksum of the others.
func (e Entry) encode() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\naction %s\noutput %s\nfiles %d\nbytes %d\nmade %s\nbuild %s\nkey %d\n%s", entryFormat,
		e.Action, e.Output, e.Files, e.Bytes, strconv.Quote(e.Made), strconv.Quote(e.Build), len(e.Key), e.Key)
	b.WriteString(sumLineOf(b.String()))
	return b.Bytes()
}

// sumLineOf returns the last line of an entry, which is the same in every format.
func sumLineOf(head string) string { return fmt.Sprintf("sum %x\n", sha256.Sum256([]byte(head))) }

// errOtherFormat is the error of an intact entry that an earlier or later version wrote.
var errOtherFormat = errors.New("entry of another format")

// parseEntry parses the output of encode and accepts no other text.
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
		return Entry{}, errors.New("entry: incomplete")
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
	// This checks the sum, the lengths and the spelling of the numbers.
	if !bytes.Equal(e.encode(), data) {
		return Entry{}, errors.New("entry: sum does not match")
	}
	return e, nil
}
