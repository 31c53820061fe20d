package layout

import (
	"fmt"
	"strings"

	"ablate/runner/stage"
	"ablate/runner/store"
)

// An Action is a stage with its parameters and inputs, which one or more trials need.
type Action struct {
	Name   string // structural name
	Kind   stage.Kind
	Params stage.Params // parameters of the stage
	Lines  []string     // stage.Lines of Params
	Inputs []Input
	Trials []string // ids of the trials that need it, in the order of the study
	Views  []string // for each of these trials, one view
	Turn   int      // position in the order of running: actions of lower turns run first
	Cost   float64  // estimated seconds on one core

	index int // in Graph.Actions
}

// An Input is an action whose artifact another action reads.
type Input struct {
	Name   string // name of the input in the stage that reads it
	Action *Action
}

// Label describes an action for people: its stage, and the first row and seed that need
// it.
func (a *Action) Label() string {
	return strings.TrimSpace(string(a.Kind) + " " + a.Rows())
}

// Rows describes the rows and seeds that need an action: the first, and how many more.
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

// Key returns the store's key of an action whose inputs have been computed. output
// returns the artifact of an input; it may be nil if the action has no inputs.
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
