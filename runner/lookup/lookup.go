// Package lookup finds which results (artifacts) of a study's actions are in a store, and
// checks them for damage.
package lookup

import (
	"context"
	"errors"
	"slices"

	"golang.org/x/sync/errgroup"

	"ablate/runner/failure"
	"ablate/runner/layout"
	"ablate/runner/store"
)

// Output is an action's artifact.
type Output struct {
	ID     store.OutputID
	Action store.ActionID
	Dir    string // folder of its files, which are not checked yet
	Made   string // environment in which it was computed
}

// Damage is an artifact that is in the index and cannot be read.
type Damage struct {
	Action *layout.Action
	Err    error
}

// Found has the artifacts of a graph that are in a store.
type Found struct {
	Outputs map[string]Output        // by an action's structural name
	Failed  map[string]store.Failure // recorded failures of actions without an artifact whose inputs were found, by structural name
	Damaged []Damage

	unreadable map[string]bool // by structural name, set by Check
}

// Collect finds the artifacts of a graph's actions in the index of a store. It reads no
// artifact, so it also finds damaged ones. This way it also finds the artifacts that were
// computed from a damaged one.
func Collect(g *layout.Graph, s *store.Store, backend string) (*Found, error) {
	f := &Found{Outputs: map[string]Output{}, Failed: map[string]store.Failure{}, unreadable: map[string]bool{}}
	for _, a := range g.Actions {
		if !f.ready(a) {
			continue
		}
		id := a.Key(backend, f.id).ID()
		e, err := s.Lookup(id)
		if store.Damaged(err) {
			f.Damaged = append(f.Damaged, Damage{a, err})
			e, err = s.Index(id)
		}
		if err == nil {
			f.Outputs[a.Name] = Output{ID: e.Output, Action: id, Dir: s.Path(e.Output), Made: e.Made}
			continue
		}
		if !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
		if failure, ok := s.Failed(id); ok {
			f.Failed[a.Name] = failure
		}
	}
	return f, nil
}

// id returns the id of an action's artifact.
func (f *Found) id(a *layout.Action) store.OutputID { return f.Outputs[a.Name].ID }

// ready reports whether all inputs of an action were found.
func (f *Found) ready(a *layout.Action) bool {
	return !slices.ContainsFunc(a.Inputs, func(in layout.Input) bool { _, ok := f.Outputs[in.Action.Name]; return !ok })
}

// Check compares the files from which tables are made with their digests. It adds
// artifacts with damaged files to Damaged; Dir does not return these.
func (f *Found) Check(ctx context.Context, g *layout.Graph, s *store.Store) error {
	errs := make([]error, len(g.Actions))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for i, a := range g.Actions {
		out, ok := f.Outputs[a.Name]
		if !ok {
			continue
		}
		group.Go(func() error {
			if _, errs[i] = s.Files(ctx, out.ID, a.Kind.Def().Tabled); errs[i] != nil && !errors.Is(errs[i], store.ErrNotFound) {
				return errs[i]
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for i, err := range errs {
		if err == nil {
			continue
		}
		a := g.Actions[i]
		f.unreadable[a.Name] = true
		if !slices.ContainsFunc(f.Damaged, func(d Damage) bool { return d.Action == a }) {
			f.Damaged = append(f.Damaged, Damage{a, err})
		}
	}
	return nil
}

// Diverged reports whether one of the actions is a training that diverged.
func (f *Found) Diverged(actions []*layout.Action) bool {
	return slices.ContainsFunc(actions, func(a *layout.Action) bool {
		return failure.Class(f.Failed[a.Name].Class) == failure.Diverged
	})
}

// Unreadable reports whether Check found files of an action's artifact damaged.
func (f *Found) Unreadable(a *layout.Action) bool { return f.unreadable[a.Name] }

// Dir returns the folder of an action's artifact. It returns false if there is none, or
// if it is damaged. a may be nil.
func (f *Found) Dir(a *layout.Action) (string, bool) {
	if a == nil || f.unreadable[a.Name] {
		return "", false
	}
	out, ok := f.Outputs[a.Name]
	return out.Dir, ok
}

// Next returns the id of an action whose inputs are there and whose artifact is not, so
// that a run would compute it next; otherwise false.
func (f *Found) Next(a *layout.Action, backend string) (store.ActionID, bool) {
	if _, ok := f.Outputs[a.Name]; ok || !f.ready(a) {
		return store.ActionID{}, false
	}
	return a.Key(backend, f.id).ID(), true
}

// Verified returns the folder of an action's artifact after comparing all of its bytes
// with their digests. It is empty if there is no artifact or it is damaged.
func (f *Found) Verified(ctx context.Context, s *store.Store, a *layout.Action) (string, error) {
	if _, ok := f.Dir(a); !ok {
		return "", nil
	}
	dir, err := s.Artifact(ctx, f.Outputs[a.Name].ID)
	if errors.Is(err, store.ErrNotFound) {
		return "", nil
	}
	return dir, err
}
