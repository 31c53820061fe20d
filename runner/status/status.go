// Package status describes how far a study is, also while other processes compute it.
package status

import (
	"time"

	"ablate/runner/project"
	"ablate/runner/store"
)

// Status is the state of a study.
type Status struct {
	Backend   string       `json:"backend"` // class of backend of the results
	Actions   Counts       `json:"actions"` // of all stages of all trials; trials share actions
	Stages    []Stage      `json:"stages"`  // in the order of a trial
	Rows      []Row        `json:"rows"`    // of the table, in its order
	Processes []store.Live `json:"processes"`
	Failures  []Failure    `json:"failures"`
	PerMinute float64      `json:"perMinute"`         // number of stages that all processes together compute in a minute, lately; 0 if it is not known
	Seconds   float64      `json:"seconds"`           // estimated computation that is left, on one core
	Wall      float64      `json:"wall,omitempty"`    // estimated seconds until the end, with the processes that compute now; 0 if it is not known, or if none does
	Unknown   int          `json:"unknown,omitempty"` // actions that are left of engines that have not done any like them in this study: seconds and wall leave them out
	Guess     bool         `json:"guess"`             // no action of some stage has run in this study: seconds and wall are guesses
}

// Counts are numbers of actions or trials.
type Counts struct {
	Total   int `json:"total"`
	Done    int `json:"done"`              // their results are in the store
	Running int `json:"running"`           // a live process computes them, or an action of the trial
	Failed  int `json:"failed"`            // they failed, or an action of the trial
	Skipped int `json:"skipped,omitempty"` // actions that cannot run because an input failed
	Stopped int `json:"stopped,omitempty"` // trials that were stopped early (halving); they are not among those that are done
}

// Left returns how many are neither done, nor stopped, nor failed, and can run.
func (c Counts) Left() int { return c.Total - c.Done - c.Stopped - c.Failed - c.Skipped }

// Stage has the actions of one stage.
type Stage struct {
	Stage   string `json:"stage"`
	Actions Counts `json:"actions"`
}

// Row is a row of the table.
type Row struct {
	Row    string `json:"row"`
	Trials Counts `json:"trials"`
}

// Failure is the recorded failure of an action that a study needs.
type Failure struct {
	store.Failure
	Final bool `json:"final"` // runs do not try it again until 'ablate retry'
}

// New returns the status of a project, which must have its graph. build is this program's.
func New(p project.Project, class, build string) (*Status, error) {
	t := NewTracker(p, p.Graph, class, build).Glance()
	if err := t.Look(); err != nil {
		return nil, err
	}
	return t.Status(time.Now()), nil
}
