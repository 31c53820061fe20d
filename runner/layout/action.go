package layout

import (
	"fmt"
	"strings"

	"ablate/runner/stage"
	"ablate/runner/store"
)

// An Action is one stage of one or more trials.
type Action struct {
	Name   string // structural name
	Kind   stage.Kind
	Params stage.Params // what the stage's code reads
	Lines  []string     // stage.Lines of Params
	Inputs []Input
	Trials []string // ids of the trials that need it, in the order of the study
	Views  []string // one view of each of these trials
	Turn   int      // when it is wanted: actions of lower turns run first
	Cost   float64  // rough seconds on one core

	index int // in Graph.Actions
}

// An Input is an action whose artifact another reads.
type Input struct {
	Name   string // in the stage that reads it
	Action *Action
}

// Label is what people see of an action: its stage and the row and seed that
// need it first.
func (a *Action) Label() string {
	return strings.TrimSpace(string(a.Kind) + " " + a.Rows())
}

// Rows names the rows and seeds that need an action: the first, and how many more.
func (a *Action) Rows() string {
	switch n := len(a.Views); n {
	case 0:
		return ""
	case 1:
		return a.Views[0]
	default:
		return fmt.Sprintf("%s and %d more", a.Views[0], n-1)
	}
}

// Key is the store's key of an action whose inputs have become artifacts; output gives the
// artifact of each, and may be nil for an action that reads none.
func (a *Action) Key(backend string, output func(*Action) store.OutputID) store.Key {
	d := a.Kind.Def()
	k := store.Key{Stage: string(a.Kind), Revision: d.Revision, Lines: a.Lines}
	if d.Backend {
		k.Backend = backend
	}
	for _, in := range a.Inputs {
		k.Inputs = append(k.Inputs, store.Input{Name: in.Name, Output: output(in.Action)})
	}
	return k
}
