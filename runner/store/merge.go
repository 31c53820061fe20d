package store

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Merged is what [Store.Merge] took over.
type Merged struct {
	Copied    Size       `json:"copied"`    // results that were copied
	Present   int        `json:"present"`   // results that were here already
	Conflicts []Conflict `json:"conflicts"` // actions with other bytes here; these stay
	Damaged   []Unread   `json:"damaged"`   // results of the other store that cannot be read, and were not copied
	Failures  int        `json:"failures"`  // records of failures that were copied
	Journals  int        `json:"journals"`  // journals that were copied
	Studies   int        `json:"studies"`   // studies of the other store
}

// Conflict is an action that has different results in two stores.
type Conflict struct {
	Action     ActionID `json:"action"`
	Stage      string   `json:"stage"`
	Kept       OutputID `json:"kept"`       // artifact of this store
	Other      OutputID `json:"other"`      // artifact of the other store
	Difference string   `json:"difference"` // first file in which they differ; empty if that is not known
	Elsewhere  bool     `json:"elsewhere"`  // they were computed in different environments
}

// Unread is a result that cannot be read.
type Unread struct {
	Action ActionID `json:"action"`
	Stage  string   `json:"stage"` // empty if its entry cannot be read
	Error  string   `json:"error"`
}

// merging is how many artifacts Merge copies at a time.
const merging = 4

// Merge copies the results of another store into this one: index entries with their
// artifacts, whose digests are checked while they are copied, records of failures, journals
// and roots of studies. What is here stays as it is. The other store is only read. A merge
// that is stopped or killed can simply be done again. It calls progress with the number of
// entries of the other store that are done.
func (s *Store) Merge(ctx context.Context, other *Store, progress func(done, total int)) (*Merged, error) {
	if err := s.prepare(); err != nil {
		return nil, err
	}
	index, err := other.index(ctx, func(int, int) {})
	if err != nil {
		return nil, err
	}
	m := &Merged{Conflicts: []Conflict{}, Damaged: []Unread{}}
	var mu sync.Mutex
	done := 0
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(merging)
	for _, x := range index {
		if gctx.Err() != nil {
			break
		}
		group.Go(func() error {
			add, err := s.mergeEntry(gctx, other, x)
			if err != nil {
				return err
			}
			mu.Lock()
			add(m)
			done++
			progress(done, len(index))
			mu.Unlock()
			return nil
		})
	}
	if err := errors.Join(group.Wait(), context.Cause(ctx)); err != nil {
		return nil, err
	}
	slices.SortFunc(m.Conflicts, func(a, b Conflict) int {
		return cmp.Or(cmp.Compare(a.Stage, b.Stage), bytes.Compare(a.Action[:], b.Action[:]))
	})
	slices.SortFunc(m.Damaged, func(a, b Unread) int {
		return cmp.Or(cmp.Compare(a.Stage, b.Stage), bytes.Compare(a.Action[:], b.Action[:]))
	})
	folders, err := s.mergeStudies(other, m)
	if err != nil {
		return nil, err
	}
	return m, s.mergeFailures(other, folders, m)
}

// mergeEntry copies one result. It returns a function that counts what became of it.
func (s *Store) mergeEntry(ctx context.Context, other *Store, x indexed) (func(*Merged), error) {
	damaged := func(stage string, err error) (func(*Merged), error) {
		return func(m *Merged) { m.Damaged = append(m.Damaged, Unread{x.id, stage, err.Error()}) }, nil
	}
	if !x.intact {
		// An entry of an earlier format is of no use to this version.
		if _, err := other.Index(x.id); Damaged(err) {
			return damaged("", err)
		}
		return func(*Merged) {}, nil
	}
	key, err := ParseKey(x.Key)
	if err != nil {
		return damaged("", fmt.Errorf("its key is of another version: %w", err))
	}
	have, err := s.Lookup(x.id)
	switch {
	case err == nil && have.Output == x.Output:
		return func(m *Merged) { m.Present++ }, nil
	case err == nil:
		return s.conflict(other, key.Stage, have, x.Entry), nil
	case !errors.Is(err, ErrNotFound):
		return nil, err
	}
	m, err := other.manifest(x.Output)
	if errors.Is(err, ErrNotFound) {
		return damaged(key.Stage, err)
	} else if err != nil {
		return nil, err
	}
	w, err := s.Begin(key)
	if err != nil {
		return nil, err
	}
	defer w.Abort()
	for _, f := range m {
		switch err := copyFile(ctx, other.files(x.Output), w.Dir(), f); {
		case errors.As(err, new(*readError)):
			return damaged(key.Stage, fmt.Errorf("artifact %s: %w", x.Output.Short(), err))
		case err != nil:
			return nil, s.fail(err)
		}
	}
	e, err := w.Commit(ctx, Commit{Made: x.Made, Build: x.Build, Written: string(m.encode())})
	if err != nil {
		return nil, err
	}
	if !e.Rejected.IsZero() { // a process has computed it meanwhile
		return s.conflict(other, key.Stage, e, x.Entry), nil
	}
	return func(m *Merged) { m.Copied.add(x.Bytes) }, nil
}

// conflict returns a function that counts a conflict.
func (s *Store) conflict(other *Store, stage string, have, its Entry) func(*Merged) {
	c := Conflict{Action: its.Action, Stage: stage, Kept: have.Output, Other: its.Output, Elsewhere: have.Made != its.Made}
	a, err := s.manifest(have.Output)
	b, oerr := other.manifest(its.Output)
	if err == nil && oerr == nil {
		c.Difference = difference(a, b)
	}
	return func(m *Merged) { m.Conflicts = append(m.Conflicts, c) }
}

// readError is an error of reading a file that is copied.
type readError struct{ err error }

func (e *readError) Error() string { return e.err.Error() }
func (e *readError) Unwrap() error { return e.err }

// copyFile copies a file of an artifact and compares it with its digest. The error is a
// *readError if the file cannot be read or differs.
func copyFile(ctx context.Context, from, to string, f file) error {
	name := filepath.Join(from, filepath.FromSlash(f.path))
	if info, err := os.Lstat(name); err != nil {
		return &readError{err}
	} else if !info.Mode().IsRegular() {
		return &readError{fmt.Errorf("%s is %w", f.path, errNoFile)}
	}
	r, err := os.Open(name)
	if err != nil {
		return &readError{err}
	}
	defer r.Close()
	target := filepath.Join(to, filepath.FromSlash(f.path))
	if err := os.MkdirAll(filepath.Dir(target), 0o777); err != nil {
		return err
	}
	w, err := os.OpenFile(target, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	defer w.Close()
	h := sha256.New()
	buf := make([]byte, 1<<20)
	var size int64
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n, err := r.Read(buf)
		size += int64(n)
		h.Write(buf[:n])
		if _, err := w.Write(buf[:n]); err != nil {
			return err
		}
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return &readError{err}
		}
	}
	if size != f.size || !bytes.Equal(h.Sum(nil), f.sum[:]) {
		return &readError{fmt.Errorf("%s differs from its digest", f.path)}
	}
	return w.Close()
}
