package store

import (
	"context"
	"errors"
)

// Compare compares the files with the artifact of an entry, as its manifest lists it. It
// returns the first path at which they differ, or "" if they are equal. It changes nothing
// in the store, and the caller must call Abort or Commit as ever.
// written is the result of [Written] on the machine that wrote the files; empty if that is
// this process.
func (w *Writer) Compare(ctx context.Context, written string, e Entry) (string, error) {
	if w.done {
		return "", errors.New("store: comparison of a writer that is closed")
	}
	want, err := w.s.manifest(e.Output)
	if err != nil {
		return "", err
	}
	got, err := list(w.Dir())
	if err != nil {
		return "", w.s.fail(err)
	}
	for i := range got {
		if err := got[i].digest(ctx, w.Dir()); err != nil {
			return "", w.s.fail(err)
		}
	}
	if err := compareWritten(written, got); err != nil {
		return "", w.s.fail(err)
	}
	if got.id() == want.id() {
		return "", nil
	}
	return difference(want, got), nil
}
