package stage

import (
	"maps"
	"slices"
	"strings"
)

// Made are facts of how an engine made a result, each a name and a value on one line. They are kept
// beside the result, and are no part of it or of what identifies it.
type Made map[string]bool

// Names of the facts.
const (
	MadeSource    = "source"   // digest of the program's files
	MadePackages  = "packages" // digest of the interpreter and packages
	MadeHardware  = "hardware" // devices, as the engine names them, or the processor
	MadeResumed   = "resumed"  // step of the state from which a training went on, of an engine that does so approximately
	MadeMoved     = "moved"    // what was another one before a training went on: "packages" or "hardware"
	MadeUnseeded  = "unseeded" // the engine's verb that has no seed
	MadeSandbox   = "sandbox"  // "declared" where the program ran behind walls, else "none"
	MadeFacts     = "facts"    // JSON of other facts
	madeBegin     = "engine "  // of a line
	mostMadeFacts = 16 << 10   // bytes of other facts
)

// add adds a fact.
func (m Made) add(name, value string) {
	if m != nil {
		m[madeBegin+name+" "+strings.Join(strings.Fields(value), " ")] = true
	}
}

// String returns the facts as lines.
func (m Made) String() string {
	var b strings.Builder
	for _, line := range slices.Sorted(maps.Keys(m)) {
		b.WriteString(line + "\n")
	}
	return b.String()
}

// MadeLines returns the facts from lines, which may have others between them, as "NAME VALUE".
func MadeLines(lines string) (facts []string) {
	for line := range strings.Lines(lines) {
		if fact, ok := strings.CutPrefix(line, madeBegin); ok {
			facts = append(facts, strings.TrimSpace(fact))
		}
	}
	return facts
}

// MadeOf returns the values of a fact from lines.
func MadeOf(lines, name string) (values []string) {
	for _, fact := range MadeLines(lines) {
		if v, ok := strings.CutPrefix(fact, name+" "); ok {
			values = append(values, v)
		}
	}
	return values
}
