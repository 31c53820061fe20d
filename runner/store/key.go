package store

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// keyFormat is part of every action id. Raise it when the meaning of a key's text
// changes.
const keyFormat = "ablate action 2"

// Key is the identity of an action: everything that its output may depend on, and nothing
// else. Workers, devices and paths must not change the output and are not in the key.
type Key struct {
	Stage    string   // kind of stage, "finetune"
	Revision int      // revision of the stage's code, raised when its output changes
	Lines    []string // parameters of the stage, each "path value"; order does not matter
	Inputs   []Input  // artifacts that it reads; order does not matter
	Backend  string   // class of backend, "xla:cpu"; empty for a stage without a backend
}

// Input is an artifact that an action reads.
type Input struct {
	Name   string
	Output OutputID
}

// Text returns the readable lines that are hashed. Distinct keys have distinct texts:
// parts that contain control characters or begin with a quote are quoted.
func (k Key) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\nstage %s\nrevision %d\nbackend %s\n", keyFormat, quotePart(k.Stage), k.Revision, quotePart(k.Backend))
	lines := slices.Clone(k.Lines)
	slices.Sort(lines)
	for _, l := range lines {
		fmt.Fprintf(&b, "set %s\n", quotePart(l))
	}
	inputs := slices.Clone(k.Inputs)
	slices.SortFunc(inputs, func(x, y Input) int {
		if c := strings.Compare(x.Name, y.Name); c != 0 {
			return c
		}
		return slices.Compare(x.Output[:], y.Output[:])
	})
	for _, in := range inputs {
		fmt.Fprintf(&b, "input %s %s\n", in.Output, quotePart(in.Name))
	}
	return b.String()
}

// ParseKey parses the output of Text and accepts no other text.
func ParseKey(text string) (Key, error) {
	var k Key
	rest, ok := strings.CutPrefix(text, keyFormat+"\n")
	if !ok {
		return Key{}, fmt.Errorf("key: the first line is not %q", keyFormat)
	}
	n := 1
	for line := range strings.Lines(rest) {
		n++
		word, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if !ok {
			return Key{}, fmt.Errorf("key line %d: must be a word and a value", n)
		}
		if err := k.parseLine(word, value); err != nil {
			return Key{}, fmt.Errorf("key line %d: %s: %w", n, word, err)
		}
	}
	// This checks order, repetitions, and the spelling of numbers and quotes.
	if k.Text() != text {
		return Key{}, errors.New("key: not in canonical form")
	}
	return k, nil
}

// parseLine adds a line of a key's text to the key.
func (k *Key) parseLine(word, value string) (err error) {
	switch word {
	case "stage":
		k.Stage, err = unquotePart(value)
	case "revision":
		k.Revision, err = strconv.Atoi(value)
	case "backend":
		k.Backend, err = unquotePart(value)
	case "set":
		var line string
		line, err = unquotePart(value)
		k.Lines = append(k.Lines, line)
	case "input":
		hex, name, _ := strings.Cut(value, " ")
		var in Input
		if in.Output, err = ParseOutputID(hex); err != nil {
			return err
		}
		in.Name, err = unquotePart(name)
		k.Inputs = append(k.Inputs, in)
	default:
		err = errors.New("unknown word")
	}
	return err
}

// ID returns the SHA-256 of Text.
func (k Key) ID() ActionID { return sha256.Sum256([]byte(k.Text())) }

// quotePart writes s on one line, different strings differently.
func quotePart(s string) string {
	plain := !strings.HasPrefix(s, `"`)
	for _, r := range s {
		// A range loop returns ReplacementChar for invalid bytes. Quoting them makes the
		// text valid UTF-8.
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			plain = false
		}
	}
	if plain {
		return s
	}
	return strconv.Quote(s)
}

// unquotePart parses the output of quotePart.
func unquotePart(s string) (string, error) {
	if !strings.HasPrefix(s, `"`) {
		return s, nil
	}
	return strconv.Unquote(s)
}
