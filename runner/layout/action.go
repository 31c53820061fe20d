package layout

import (
	"encoding/hex"
	"fmt"
	"strings"

	"ablate/runner/stage"
	"ablate/runner/store"
)

// An Action is a stage with its parameters and inputs, which one or more trials need. A
// study of 100,000 trials has more than a million of them, so they are kept small: what
// equal ones share is in a Spec.
type Action struct {
	*Spec
	Name   Name      // structural name
	Inputs []*Action // actions whose artifacts it reads; Spec.Reads has their names
	Trial  *Trial    // the first trial that needs it, in the order of the study; nil if none does
	Others int32     // number of further trials that need it
	Turn   int32     // position in the order of running: actions of lower turns run first

	index int32 // in Graph.Actions
	last  int32 // number of the last trial that needs it, from 1
}

// A Spec is what an action does, whatever it reads.
type Spec struct {
	Kind   stage.Kind
	Params stage.Params // parameters of the stage
	Reads  []string     // names of the inputs in the stage
	Cost   float64      // estimated seconds on one core

	hash Name // of kind, revision, Lines and Reads
}

// Lines returns the lines of the parameters in keys. They are made each time, because those
// of a large study would take more memory than everything else.
func (s *Spec) Lines() []string { return stage.Lines(s.Params) }

// A Trial is a trial that needs an action, for people.
type Trial struct {
	ID   string
	View string // the first row and seed that shows it
}

// Name is the structural name of an action: a SHA-256 of its Spec and of the names of its
// inputs.
type Name [32]byte

// String returns the name in hexadecimal digits.
func (n Name) String() string { return hex.EncodeToString(n[:]) }

// MarshalText returns the name in hexadecimal digits.
func (n Name) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, n[:]), nil }

// UnmarshalText reads what MarshalText returns.
func (n *Name) UnmarshalText(text []byte) error {
	if len(text) != 2*len(n) {
		return fmt.Errorf("%.80q is no name of an action: it has not %d digits", text, 2*len(n))
	}
	_, err := hex.Decode(n[:], text)
	return err
}

// Short returns the first twelve digits, for logs.
func (n Name) Short() string { return hex.EncodeToString(n[:6]) }

// An Input is an action whose artifact another action reads.
type Input struct {
	Name   string // name of the input in the stage that reads it
	Action *Action
}

// Index returns the position of the action in its graph.
func (a *Action) Index() int { return int(a.index) }

// Label describes an action for people: its stage, and the first row and seed that need
// it.
func (a *Action) Label() string {
	return strings.TrimSpace(string(a.Kind) + " " + a.Rows())
}

// View returns the first row and seed that need an action; empty if none does.
func (a *Action) View() string {
	if a.Trial == nil {
		return ""
	}
	return a.Trial.View
}

// Rows describes the rows and seeds that need an action: the first, and how many more.
func (a *Action) Rows() string {
	if a.Others == 0 {
		return a.View()
	}
	return fmt.Sprintf("%s and %d more", a.View(), a.Others)
}

// Key returns the store's key of an action whose inputs have been computed. output
// returns the artifact of an input; it may be nil if the action has no inputs.
func (a *Action) Key(backend string, output func(*Action) store.OutputID) store.Key {
	d := a.Kind.Def()
	k := store.Key{Stage: string(a.Kind), Revision: d.Revision, Lines: a.Lines()}
	if d.Backend {
		k.Backend = backend
	}
	if len(a.Inputs) > 0 {
		k.Inputs = make([]store.Input, len(a.Inputs))
	}
	for i, in := range a.Inputs {
		k.Inputs[i] = store.Input{Name: a.Reads[i], Output: output(in)}
	}
	return k
}
