// Package status describes how far a study is, also while other processes compute it.
package status

import (
	"slices"

	"ablate/runner/failure"
	"ablate/runner/layout"
	"ablate/runner/lookup"
	"ablate/runner/plan"
	"ablate/runner/project"
	"ablate/runner/store"
)

// Status is the state of a study.
type Status struct {
	Backend   string       `json:"backend"` // class of backend of the results
	Actions   Counts       `json:"actions"` // of all stages of all trials; trials share actions
	Rows      []Row        `json:"rows"`    // of the table, in its order
	Processes []store.Live `json:"processes"`
	Failures  []Failure    `json:"failures"`
	Seconds   float64      `json:"seconds"` // estimated computation that is left, on one core
	Guess     bool         `json:"guess"`   // no action of some stage has run in this study: seconds is a guess
}

// Counts are numbers of actions or trials.
type Counts struct {
	Total   int `json:"total"`
	Done    int `json:"done"`              // their results are in the store
	Running int `json:"running"`           // a live process computes them, or an action of the trial
	Failed  int `json:"failed"`            // they failed, or an action of the trial
	Stopped int `json:"stopped,omitempty"` // trials that were stopped early (halving); they are not among those that are done
}

// Left returns how many are neither done, nor stopped, nor failed.
func (c Counts) Left() int { return c.Total - c.Done - c.Stopped - c.Failed }

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
	found, err := p.Find(p.Graph, class)
	if err != nil {
		return nil, err
	}
	s := &Status{Backend: class, Processes: []store.Live{}, Failures: []Failure{}, Actions: Counts{Total: len(p.Graph.Actions)}}
	running := map[*layout.Action]bool{}
	all, err := p.Store.Live()
	if err != nil {
		return nil, err
	}
	for _, l := range all {
		if l.Stale {
			continue
		}
		l.Actions = slices.DeleteFunc(l.Actions, func(a store.LiveAction) bool {
			mine := named(p.Graph, a.Name)
			return mine == nil || found.Has(mine)
		})
		if len(l.Actions) == 0 && l.Study != p.Folder() {
			continue
		}
		for _, a := range l.Actions {
			running[named(p.Graph, a.Name)] = true
		}
		s.Processes = append(s.Processes, l)
	}
	var left []*layout.Action
	for _, a := range p.Graph.Actions {
		done := found.Has(a)
		f, failed := found.Failed[a]
		switch {
		case done:
			s.Actions.Done++
		case running[a]:
			s.Actions.Running++
			left = append(left, a)
		case failed:
			s.Actions.Failed++
			s.Failures = append(s.Failures, Failure{f, failure.Final(f, build)})
		default:
			left = append(left, a)
		}
	}
	s.rows(p, found, running)
	if len(left) == 0 { // the journals of a large study are long
		return s, nil
	}
	s.Seconds, s.Guess, err = plan.Seconds(p.Dir, class, left)
	return s, err
}

// named returns the action of a graph that a process names; nil if the graph lacks it.
func named(g *layout.Graph, text string) *layout.Action {
	var name layout.Name
	if name.UnmarshalText([]byte(text)) != nil {
		return nil
	}
	return g.Action(name)
}

// rows counts the trials of each row.
func (s *Status) rows(p project.Project, found *lookup.Found, running map[*layout.Action]bool) {
	index := map[string]int{}
	for _, v := range p.Study.Views {
		row := v.Row()
		i, ok := index[row]
		if !ok {
			i = len(s.Rows)
			index[row] = i
			s.Rows = append(s.Rows, Row{Row: row})
		}
		c := &s.Rows[i].Trials
		c.Total++
		done, runs, failed := true, false, false
		for _, a := range p.Graph.Chains[v.Trial.ID()].Actions() {
			done = done && found.Has(a)
			runs = runs || running[a]
			_, bad := found.Failed[a]
			failed = failed || bad
		}
		switch {
		case done && v.Stopped:
			c.Stopped++
		case done && !v.Cut: // a trial that is cut waits until it is decided whether its row stops
			c.Done++
		case runs:
			c.Running++
		case failed:
			c.Failed++
		}
	}
}
