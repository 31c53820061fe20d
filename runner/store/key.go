package store

import (
	"crypto/sha256"
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
	fmt.Fprintf(&b, "%s\nstage %s\nrevision %d\nbackend %s\n", keyFormat, part(k.Stage), k.Revision, part(k.Backend))
	lines := slices.Clone(k.Lines)
	slices.Sort(lines)
	for _, l := range lines {
		fmt.Fprintf(&b, "set %s\n", part(l))
	}
	inputs := slices.Clone(k.Inputs)
	slices.SortFunc(inputs, func(x, y Input) int {
		if c := strings.Compare(x.Name, y.Name); c != 0 {
			return c
		}
		return slices.Compare(x.Output[:], y.Output[:])
	})
	for _, in := range inputs {
		fmt.Fprintf(&b, "input %s %s\n", in.Output, part(in.Name))
	}
	return b.String()
}

// ID returns the SHA-256 of Text.
func (k Key) ID() ActionID { return sha256.Sum256([]byte(k.Text())) }

// part spells s on one line, so that no two strings are spelled alike.
func part(s string) string {
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
