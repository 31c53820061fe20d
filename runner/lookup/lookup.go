// Package lookup finds which results (artifacts) of a study's actions are in a store, and
// checks them for damage.
package lookup

import (
	"context"
	"errors"
	"iter"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"ablate/runner/failure"
	"ablate/runner/layout"
	"ablate/runner/store"
)

// Output is an action's artifact. A run, which needs no more, has the ID alone.
type Output struct {
	ID     store.OutputID
	Action store.ActionID
	Made   string // environment in which it was computed
}

// Outputs are artifacts of the actions of a graph.
type Outputs struct {
	graph *layout.Graph
	place []int32           // by the position of the action, that of its artifact in list, from 1; 0 if it has none
	list  []*kept           // in blocks, so that nothing is copied while a large run goes on
	used  int               // number of places in list
	n     int               // number of artifacts; list has removed ones too
	texts []string          // environments, each once
	made  map[string]uint32 // their places in texts
}

// kept is a block of outputs in little memory: a large study has more than a million of them.
type kept struct {
	ids     [block]store.OutputID
	actions []store.ActionID // nil while all are zero
	made    [block]uint32    // places in Outputs.texts
}

// block is the number of outputs of a block.
const block = 256

// at returns the output of a place in list, from 1.
func (o *Outputs) at(place int32) Output {
	k, i := o.list[(place-1)/block], (place-1)%block
	out := Output{ID: k.ids[i], Made: o.texts[k.made[i]]}
	if k.actions != nil {
		out.Action = k.actions[i]
	}
	return out
}

// NewOutputs returns no artifacts yet, of a graph.
func NewOutputs(g *layout.Graph) *Outputs {
	return &Outputs{graph: g, place: make([]int32, len(g.Actions)), made: map[string]uint32{}}
}

// Get returns the artifact of an action; false if there is none.
func (o *Outputs) Get(a *layout.Action) (Output, bool) {
	i := o.graph.Position(a)
	if i < 0 || o.place[i] == 0 {
		return Output{}, false
	}
	return o.at(o.place[i]), true
}

// Has reports whether an action has an artifact.
func (o *Outputs) Has(a *layout.Action) bool {
	_, ok := o.Get(a)
	return ok
}

// ID returns the id of the artifact of an action; zero if there is none.
func (o *Outputs) ID(a *layout.Action) store.OutputID {
	out, _ := o.Get(a)
	return out.ID
}

// Set sets the artifact of an action of the graph.
func (o *Outputs) Set(a *layout.Action, out Output) {
	place := &o.place[o.graph.Position(a)]
	if *place == 0 {
		if o.used == block*len(o.list) {
			o.list = append(o.list, &kept{})
		}
		o.used++
		*place = int32(o.used)
		o.n++
	}
	made, ok := o.made[out.Made]
	if !ok {
		made = uint32(len(o.texts))
		o.made[out.Made], o.texts = made, append(o.texts, out.Made)
	}
	k, i := o.list[(*place-1)/block], (*place-1)%block
	k.ids[i], k.made[i] = out.ID, made
	if k.actions == nil && out.Action != (store.ActionID{}) {
		k.actions = make([]store.ActionID, block)
	}
	if k.actions != nil {
		k.actions[i] = out.Action
	}
}

// Remove removes the artifact of an action of the graph, if it has one.
func (o *Outputs) Remove(a *layout.Action) {
	if place := &o.place[o.graph.Position(a)]; *place > 0 {
		*place = 0
		o.n--
	}
}

// Len returns the number of artifacts.
func (o *Outputs) Len() int { return o.n }

// All returns all artifacts with their actions, in the order of the graph.
func (o *Outputs) All() iter.Seq2[*layout.Action, Output] {
	return func(yield func(*layout.Action, Output) bool) {
		for i, place := range o.place {
			if place > 0 && !yield(o.graph.Actions[i], o.at(place)) {
				return
			}
		}
	}
}

// ready reports whether all inputs of an action have artifacts.
func (o *Outputs) ready(a *layout.Action) bool {
	return !slices.ContainsFunc(a.Inputs, func(in *layout.Action) bool { return !o.Has(in) })
}

// Damage is an artifact that is in the index and cannot be read.
type Damage struct {
	Action *layout.Action
	Err    error
}

// Found has the artifacts of a graph that are in a store.
type Found struct {
	*Outputs
	Failed  map[*layout.Action]store.Failure // recorded failures of actions without an artifact whose inputs were found
	Damaged []Damage

	store      *store.Store
	unreadable map[*layout.Action]bool // set by Check
	before     *Snapshot
	folders    *store.Folders // of the store, before anything else was looked at
	known      []*known       // by position, what is the same as in before
}

// known is a sighting that still holds.
type known struct {
	*sighting
	changed bool // files that tables are made from look otherwise; set by Check
}

// None returns that nothing was found.
func None() *Found { return &Found{Outputs: NewOutputs(&layout.Graph{})} }

// Collect finds the artifacts of a graph's actions in the index of a store. It reads no
// artifact, so it also finds damaged ones. This way it also finds the artifacts that were
// computed from a damaged one. What is in a snapshot, which may be nil, is not read again if
// it looks the same.
func Collect(g *layout.Graph, s *store.Store, backend string, before *Snapshot) (*Found, error) {
	f := &Found{Outputs: NewOutputs(g), Failed: map[*layout.Action]store.Failure{}, store: s, unreadable: map[*layout.Action]bool{},
		before: before, folders: s.Folders(), known: make([]*known, len(g.Actions))}
	f.recall()
	for i, a := range g.Actions {
		if !f.ready(a) {
			continue
		}
		if k := f.known[i]; k != nil && f.follows(a) {
			f.Set(a, k.Output)
			continue
		}
		f.known[i] = nil
		id := a.Key(backend, f.ID).ID()
		e, err := s.Lookup(id)
		if store.Damaged(err) {
			f.Damaged = append(f.Damaged, Damage{a, err})
			e, err = s.Index(id)
		}
		if err == nil {
			f.Set(a, Output{ID: e.Output, Action: id, Made: e.Made})
			continue
		}
		if !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
		if failure, ok := s.Failed(id); ok {
			f.Failed[a] = failure
		}
	}
	return f, nil
}

// recall finds out which sightings of the snapshot still hold.
func (f *Found) recall() {
	if f.before == nil {
		return
	}
	for i, a := range f.graph.Actions {
		if s := f.before.find(a.Name, i); s != nil {
			f.known[i] = &known{sighting: s}
		}
	}
	var same *store.Folders // those whose results need no look
	if f.before.glance {
		same = f.before.folders.Both(f.folders)
	}
	const block = 512
	var group errgroup.Group
	group.SetLimit(2 * runtime.GOMAXPROCS(0))
	for list := range slices.Chunk(f.known, block) {
		group.Go(func() error {
			for i, k := range list {
				if k == nil || same != nil && same.Have(k.Action, k.ID) {
					continue
				}
				if !f.store.There(k.Action, k.ID, k.seen) {
					list[i] = nil
				}
			}
			return nil
		})
	}
	_ = group.Wait() // no function returns an error
}

// follows reports whether the inputs of an action are those that it had in the snapshot:
// then its key is the same.
func (f *Found) follows(a *layout.Action) bool {
	for _, in := range a.Inputs {
		if k := f.known[in.Index()]; k == nil || k.ID != f.ID(in) {
			return false
		}
	}
	return true
}

// Check compares the files from which tables are made with their digests. It adds
// artifacts with damaged files to Damaged; Dir does not return these.
func (f *Found) Check(ctx context.Context, g *layout.Graph, s *store.Store) error {
	errs := make([]error, len(g.Actions))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for i, a := range g.Actions {
		out, ok := f.Get(a)
		if !ok {
			continue
		}
		group.Go(func() error {
			if k := f.known[i]; k != nil {
				if k.changed = !s.Whole(out.ID, k.seen); !k.changed {
					return nil
				}
			}
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
		f.unreadable[a] = true
		if !slices.ContainsFunc(f.Damaged, func(d Damage) bool { return d.Action == a }) {
			f.Damaged = append(f.Damaged, Damage{a, err})
		}
	}
	return nil
}

// Diverged reports whether one of the actions is a training that diverged.
func (f *Found) Diverged(actions []*layout.Action) bool {
	return slices.ContainsFunc(actions, func(a *layout.Action) bool {
		return failure.Class(f.Failed[a].Class) == failure.Diverged
	})
}

// Unreadable reports whether Check found files of an action's artifact damaged.
func (f *Found) Unreadable(a *layout.Action) bool { return f.unreadable[a] }

// Dir returns the folder of an action's artifact. It returns false if there is none, or
// if it is damaged. a may be nil.
func (f *Found) Dir(a *layout.Action) (string, bool) {
	if a == nil || f.unreadable[a] {
		return "", false
	}
	out, ok := f.Get(a)
	return f.store.Path(out.ID), ok
}

// Next returns the id of an action whose inputs are there and whose artifact is not, so
// that a run would compute it next; otherwise false.
func (f *Found) Next(a *layout.Action, backend string) (store.ActionID, bool) {
	if f.Has(a) || !f.ready(a) {
		return store.ActionID{}, false
	}
	return a.Key(backend, f.ID).ID(), true
}

// Verified returns the folder of an action's artifact after comparing all of its bytes
// with their digests. It is empty if there is no artifact or it is damaged.
func (f *Found) Verified(ctx context.Context, s *store.Store, a *layout.Action) (string, error) {
	if _, ok := f.Dir(a); !ok {
		return "", nil
	}
	dir, err := s.Artifact(ctx, f.ID(a))
	if errors.Is(err, store.ErrNotFound) {
		return "", nil
	}
	return dir, err
}
