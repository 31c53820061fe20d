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

// keyFormat salts every action id: raise it when the meaning of a key's text changes.
const keyFormat = "ablate action 2"

// Key is the identity of an action: everything that its output may depend on, and
// nothing else. What must not change the answer (workers, devices, paths) has no
// place in it.
type Key struct {
	Stage    string   // kind of stage, "finetune"
	Revision int      // of the stage's code; raised when its output changes
	Lines    []string // its own part of the trial, each "path value"; order does not matter
	Inputs   []Input  // the artifacts it reads; order does not matter
	Backend  string   // class of backend, "xla:cpu"; empty for a stage that computes without one
}

// Input is an artifact that an action reads, under the name it has there.
type Input struct {
	Name   string
	Output OutputID
}

// Text returns the readable lines that are hashed. Distinct keys have distinct
// texts: parts that hold control characters or begin with a quote are quoted.
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

// ParseKey reads what Text writes and nothing else.
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
			return Key{}, fmt.Errorf("key line %d: want a word and a value", n)
		}
		if err := k.parseLine(word, value); err != nil {
			return Key{}, fmt.Errorf("key line %d: %s: %w", n, word, err)
		}
	}
	// Order, repetitions and the spelling of numbers and quotes are all checked at once.
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

// quotePart spells s on one line, so that no two strings are spelled alike.
func quotePart(s string) string {
	plain := !strings.HasPrefix(s, `"`)
	for _, r := range s {
		// ReplacementChar is what invalid bytes look like; quoted, the text is valid UTF-8.
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			plain = false
		}
	}
	if plain {
		return s
	}
	return strconv.Quote(s)
}

// unquotePart reads what quotePart writes.
func unquotePart(s string) (string, error) {
	if !strings.HasPrefix(s, `"`) {
		return s, nil
	}
	return strconv.Unquote(s)
}
