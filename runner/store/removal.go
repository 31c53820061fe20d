package store

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Remove removes garbage that [Store.Garbage] found, and what processes that have ended
// left. It calls progress with the number of things that it has removed.
//
// Everything is renamed into tmp/ before it is removed: all index entries first, then the
// artifacts that no entry names then. So a process that is killed in between leaves no
// entry whose artifact is half removed; what it left in tmp/ is removed later. What a study
// has come to need since Garbage stays, and so does what has changed.
func (g *Garbage) Remove(ctx context.Context, progress func(done, total int)) error {
	s := g.s
	if err := s.prepare(); err != nil {
		return err
	}
	s.sweepClaims()
	r := removal{s: s, dir: s.tempName(), progress: progress, total: len(g.entries) + len(g.artifacts) + len(g.states) + len(g.failures) + len(g.quarantine)}
	if err := s.folder(r.dir); err != nil {
		return s.fail(err)
	}
	defer os.RemoveAll(r.dir)
	if err := r.takeEntries(ctx, g); err != nil {
		return err
	}
	s.at("entries taken")
	if err := r.removeArtifacts(ctx, g.artifacts); err != nil {
		return err
	}
	busy, err := s.busy()
	if err != nil {
		return err
	}
	for _, list := range [][]item{g.states, g.failures, g.quarantine} {
		for _, x := range list {
			if id, err := ParseActionID(filepath.Base(x.path)); err == nil && busy[id] {
				r.done()
				continue
			}
			if err := r.remove(ctx, x); err != nil {
				return err
			}
		}
	}
	return nil
}

// removal is the state of a Remove.
type removal struct {
	s        *Store
	dir      string // in tmp
	progress func(done, total int)
	n, total int
}

func (r *removal) done() {
	r.n++
	r.progress(r.n, r.total)
}

// takeEntries moves entries out of the index, and puts those back that a study needs now.
func (r *removal) takeEntries(ctx context.Context, g *Garbage) error {
	var taken []garbageEntry
	back := func(x garbageEntry) error {
		if err := place(r.path(x.item), x.path); err != nil && !errors.Is(err, fs.ErrExist) {
			return r.s.fail(err)
		}
		return nil
	}
	undo := func(cause error) error {
		for _, x := range taken {
			cause = errors.Join(cause, back(x))
		}
		return cause
	}
	for _, x := range g.entries {
		if ctx.Err() != nil {
			return undo(context.Cause(ctx))
		}
		if ok, err := r.take(x.item); err != nil {
			return undo(err)
		} else if ok {
			taken = append(taken, x)
		}
		r.done()
	}
	r.s.at("taken")
	// A run that began meanwhile has written its roots by now, or finds nothing of these.
	needs, err := r.s.allNeeds(g.o.Forget)
	if err != nil {
		return undo(err)
	}
	busy, err := r.s.busy()
	if err != nil {
		return undo(err)
	}
	need := needs.union()
	for _, x := range taken {
		if need[x.id] || busy[x.id] {
			if err := back(x); err != nil {
				return err
			}
		}
	}
	return nil
}

// removeArtifacts removes the artifacts that no entry names now.
func (r *removal) removeArtifacts(ctx context.Context, list []item) error {
	index, err := r.s.index(ctx, func(int, int) {})
	if err != nil {
		return err
	}
	named := map[string]bool{}
	for _, x := range index {
		if x.intact {
			named[x.Output.String()] = true
		}
		for _, in := range x.inputs {
			named[in.Output.String()] = true
		}
	}
	for _, x := range list {
		if named[filepath.Base(x.path)] {
			r.done()
			continue
		}
		if err := r.remove(ctx, x); err != nil {
			return err
		}
	}
	return nil
}

// remove removes a file or folder, unless it has changed: also in the moment before it is moved
// away, and then it goes back. A commit of equal bytes changes the time of an artifact.
func (r *removal) remove(ctx context.Context, x item) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	defer r.done()
	if ok, err := r.take(x); !ok || err != nil {
		return err
	}
	r.s.at("moved")
	away := r.path(x)
	if !touched(away).Equal(x.time) {
		_ = place(away, x.path) // unless there is a newer one
	}
	return r.s.fail(os.RemoveAll(away))
}

// take moves a file or folder away, unless it has changed or is gone.
func (r *removal) take(x item) (bool, error) {
	if !touched(x.path).Equal(x.time) {
		return false, nil
	}
	r.s.at("taking")
	err := os.Rename(x.path, r.path(x))
	if absent(err) {
		return false, nil
	}
	return err == nil, r.s.fail(err)
}

// path returns where a file or folder lies before it is removed.
func (r *removal) path(x item) string {
	return filepath.Join(r.dir, filepath.Base(filepath.Dir(filepath.Dir(x.path)))+"-"+filepath.Base(filepath.Dir(x.path))+"-"+filepath.Base(x.path))
}
