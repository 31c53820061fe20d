// Package verify checks results in a store: it computes a sample of a study's actions
// again and compares bytes, and compares the other artifacts with their digests. It
// replaces nothing in the store.
package verify

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"ablate/runner/failure"
	"ablate/runner/launch"
	"ablate/runner/layout"
	"ablate/runner/lookup"
	"ablate/runner/resource"
	"ablate/runner/run"
	"ablate/runner/store"
)

// Result is what a verification found.
type Result struct {
	Recomputed int          `json:"recomputed"` // actions that were computed again and gave the same bytes
	Checked    int          `json:"checked"`    // artifacts whose files have their digests
	Elsewhere  int          `json:"elsewhere"`  // actions that cannot be computed again here, because another environment computed them
	Missing    int          `json:"missing"`    // actions without a result
	Different  []Difference `json:"different"`  // actions that were computed again and gave other bytes
	Damaged    []Problem    `json:"damaged"`    // results whose artifacts differ from their digests, and were moved to quarantine/
	Failed     []Problem    `json:"failed"`     // actions that failed when they were computed again
}

// Verification verifies the results of a graph's actions in a store.
type Verification struct {
	Result
	g     *layout.Graph
	s     *store.Store
	found *lookup.Found
}

// New returns a verification of the results that were found.
func New(g *layout.Graph, s *store.Store, found *lookup.Found) *Verification {
	return &Verification{Result: Result{Different: []Difference{}, Damaged: []Problem{}, Failed: []Problem{}}, g: g, s: s, found: found}
}

// Difference is an action that gave other bytes than before.
type Difference struct {
	Action     store.ActionID `json:"action"`
	Stage      string         `json:"stage"`
	Trial      string         `json:"trial"`      // row and seed of the first trial that needs it
	Difference string         `json:"difference"` // first file that differs
}

// Problem is an action whose result could not be verified.
type Problem struct {
	Action store.ActionID `json:"action"`
	Stage  string         `json:"stage"`
	Trial  string         `json:"trial"` // row and seed of the first trial that needs it
	Error  string         `json:"error"`
}

// Selection are the actions that are computed again.
type Selection struct {
	All    bool
	Sample int    // number of actions, if not All
	Seed   uint64 // by which they are chosen
}

// Select returns the actions to compute again: a sample of those that this environment has
// computed, with as many threads as they need now. It counts the actions that another environment has computed. The same seed
// selects the same of equal actions.
func (v *Verification) Select(m run.Machine, need run.Needs, sel Selection) (sample []*layout.Action) {
	order := map[*layout.Action]int{}
	for i, a := range v.g.Actions {
		order[a] = i
		out, ok := v.found.Get(a)
		switch {
		case !ok:
		case out.Made != m.Of(a, need(a)):
			v.Elsewhere++
		default:
			sample = append(sample, a)
		}
	}
	if sel.All || sel.Sample >= len(sample) {
		return sample
	}
	// Sorted by name, so that the choice does not depend on the order of arms.
	slices.SortFunc(sample, func(a, b *layout.Action) int { return bytes.Compare(a.Name[:], b.Name[:]) })
	rand.New(rand.NewPCG(sel.Seed, 0)).Shuffle(len(sample), func(i, j int) { sample[i], sample[j] = sample[j], sample[i] })
	sample = sample[:sel.Sample]
	slices.SortFunc(sample, func(a, b *layout.Action) int { return cmp.Compare(order[a], order[b]) })
	return sample
}

// checking is how many artifacts Check reads at a time.
const checking = 4

// Check compares all artifacts with their digests. Damaged ones are moved to
// quarantine/. It calls progress with the number of artifacts that are done.
func (v *Verification) Check(ctx context.Context, progress func(done, total int)) error {
	first := map[store.OutputID]*layout.Action{} // actions may share an artifact
	var ids []store.OutputID
	for _, a := range v.g.Actions {
		out, ok := v.found.Get(a)
		if !ok {
			v.Missing++
			continue
		}
		if first[out.ID] == nil {
			first[out.ID] = a
			ids = append(ids, out.ID)
		}
	}
	errs := make([]error, len(ids))
	var mu sync.Mutex
	done := 0
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(checking)
	for i, id := range ids {
		group.Go(func() error {
			if _, errs[i] = v.s.Artifact(ctx, id); errs[i] != nil && !errors.Is(errs[i], store.ErrNotFound) {
				return errs[i]
			}
			mu.Lock()
			defer mu.Unlock()
			done++
			progress(done, len(ids))
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for i, err := range errs {
		if err == nil {
			v.Checked++
			continue
		}
		v.Damaged = append(v.Damaged, v.problem(first[ids[i]], err))
	}
	return nil
}

// id returns the id of an action that has an artifact.
func (v *Verification) id(a *layout.Action) store.ActionID {
	out, _ := v.found.Get(a)
	return out.Action
}

func (v *Verification) problem(a *layout.Action, err error) Problem {
	return Problem{v.id(a), string(a.Kind), a.Rows(), err.Error()}
}

// Options of computing actions again.
type Options struct {
	Room    *resource.Allocator // what the actions may use of the machine
	Need    run.Needs           // what they need
	Timeout time.Duration
	Backend string // class
	Events  func(run.Event)
}

// Recompute computes actions again and compares the bytes with their artifacts. Failures
// of actions are in the result. Actions whose artifacts or inputs are damaged are left out;
// Check has found them.
func (v *Verification) Recompute(ctx context.Context, sample []*layout.Action, w run.Worker, o Options) error {
	var mu sync.Mutex
	finished := 0
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(o.Room.Capacity().CPUs)
	for _, a := range sample {
		group.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			diff, err := v.recompute(ctx, a, w, o)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			mu.Lock()
			finished++
			e := run.Event{Action: a, Kind: run.Finished, Finished: finished, Total: len(sample)}
			switch {
			case errors.Is(err, store.ErrNotFound):
			case err != nil:
				e.Kind, e.Err = run.Failed, err
				v.Failed = append(v.Failed, v.problem(a, err))
			case diff != "":
				e.Kind, e.Err = run.Failed, fmt.Errorf("it gives other bytes than before: %s", diff)
				v.Different = append(v.Different, Difference{v.id(a), string(a.Kind), a.Rows(), diff})
			default:
				v.Recomputed++
			}
			mu.Unlock()
			o.Events(e)
			return nil
		})
	}
	err := group.Wait()
	slices.SortFunc(v.Different, func(a, b Difference) int { return cmp.Or(cmp.Compare(a.Trial, b.Trial), cmp.Compare(a.Stage, b.Stage)) })
	slices.SortFunc(v.Failed, func(a, b Problem) int { return cmp.Or(cmp.Compare(a.Trial, b.Trial), cmp.Compare(a.Stage, b.Stage)) })
	return err
}

// recompute computes an action in a folder that is removed afterwards. It returns the first
// file that differs, or "" if none does. If its artifact or an input is damaged, the error
// is store.ErrNotFound.
func (v *Verification) recompute(ctx context.Context, a *layout.Action, w run.Worker, o Options) (string, error) {
	key := a.Key(o.Backend, v.found.ID)
	e, err := v.s.Lookup(key.ID())
	if err != nil {
		return "", err
	}
	params, err := json.Marshal(a.Params)
	if err != nil {
		return "", fmt.Errorf("%s: parameters: %w", a.Kind, err)
	}
	t := launch.Task{Action: key.ID().Short(), Stage: string(a.Kind), Params: params, Inputs: map[string]string{}, Store: v.s.Dir()}
	for i, in := range a.Inputs {
		if t.Inputs[a.Reads[i]], err = v.s.Artifact(ctx, v.found.ID(in)); err != nil {
			return "", err
		}
	}
	files, err := v.s.Begin(key)
	if err != nil {
		return "", err
	}
	defer files.Abort()
	t.Out = files.Dir()
	g, err := o.Room.Acquire(ctx, o.Need(a))
	if err != nil {
		return "", err
	}
	defer o.Room.Give(g)
	o.Events(run.Event{Action: a, Kind: run.Started})
	if o.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, o.Timeout, failure.TimeoutError{Limit: o.Timeout})
		defer cancel()
	}
	reply, err := w.Do(ctx, t, g, string(a.Kind), func(p launch.Progress) {
		if p.Warning == "" && p.Resumed == 0 {
			o.Events(run.Event{Action: a, Kind: run.Working, Progress: p})
		}
	})
	if err != nil {
		return "", v.s.Diagnose(failure.Declassify(err))
	}
	var made run.Made
	if err := json.Unmarshal(reply.Values, &made); err != nil {
		return "", fmt.Errorf("%s: the worker's reply: %w", a.Kind, err)
	}
	return files.Compare(ctx, made.Manifest, e)
}
