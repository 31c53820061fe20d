package project

import (
	"ablate/runner/layout"
	"ablate/runner/lookup"
	"ablate/runner/store"
)

// AddRoots records what a run that begins needs of the store, beside what was recorded
// before, so that 'ablate gc' leaves it alone. found has the results of todo, the actions
// that run.
func (p Project) AddRoots(class string, todo *layout.Graph, found *lookup.Found) error {
	if len(todo.Actions) < len(p.Graph.Actions) {
		var err error
		if found, err = lookup.Collect(p.Graph, p.Store, class); err != nil {
			return err
		}
	}
	return p.Store.AddRoots(p.Dir, p.roots(class, found))
}

// SetRoots records what the study needs of the store after a run. If all of its results
// are there, whatever else was recorded is needed no longer. found has the results of the
// whole study.
func (p Project) SetRoots(class string, found *lookup.Found) error {
	if !p.settled(class, found) {
		return p.Store.AddRoots(p.Dir, p.roots(class, found))
	}
	return p.Store.SetRoots(p.Dir, p.roots(class, found), class)
}

// roots returns the actions that have results, and those that would be computed next,
// which may have failed or left the state of a training.
func (p Project) roots(class string, found *lookup.Found) []store.ActionID {
	var ids []store.ActionID
	for _, a := range p.Graph.Actions {
		if out, ok := found.Get(a); ok {
			ids = append(ids, out.Action)
		} else if id, ok := found.Next(a, class); ok {
			ids = append(ids, id)
		}
	}
	return ids
}

// settled reports whether all actions have intact results, apart from those that failed and
// those that need these.
func (p Project) settled(class string, found *lookup.Found) bool {
	for _, a := range p.Graph.Actions {
		if _, next := found.Next(a, class); next {
			if _, failed := found.Failed[a]; !failed {
				return false
			}
		}
	}
	return len(found.Damaged) == 0
}
