package store

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

// ErrNotFound is what every miss is, whatever its reason; see [MissError].
var ErrNotFound = errors.New("not in the store")

// Reason says why something was not found.
type Reason string

const (
	Missing         Reason = "missing"             // it was never computed, or was deleted
	CorruptEntry    Reason = "corrupt index entry" // the index entry cannot be read or fails its sum
	Incomplete      Reason = "incomplete artifact" // the entry is there, its files are not
	CorruptArtifact Reason = "corrupt artifact"    // bytes on disk differ from their digests
)

// MissError is a miss with its reason. It matches [ErrNotFound]. Any reason but
// Missing is worth a warning: something damaged the store, and it is mended by
// computing again.
type MissError struct {
	ID     string // of the action or artifact, in full
	Reason Reason
	Detail string // what exactly is wrong, naming the file; may be empty
	Moved  string // where the damaged artifact lies now; empty where it was not moved
}

func (e *MissError) Error() string {
	s := fmt.Sprintf("%s: %s", e.ID[:min(len(e.ID), shortLen)], e.Reason)
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	if e.Moved != "" {
		s += " (moved to " + e.Moved + ")"
	}
	return s
}

// Is makes errors.Is(err, ErrNotFound) true.
func (e *MissError) Is(target error) bool { return target == ErrNotFound }

// Damaged reports whether err is a miss caused by damage rather than absence.
func Damaged(err error) bool {
	var miss *MissError
	return errors.As(err, &miss) && miss.Reason != Missing
}

// NondeterminismError says that one action gave two outputs, under Commit.Strict.
// The store keeps the first.
type NondeterminismError struct {
	Action     ActionID
	Stage      string
	Have, Got  OutputID
	Difference string // the first file in which they differ
}

func (e *NondeterminismError) Error() string {
	return fmt.Sprintf("%s %s gave %s and now %s: equal inputs must give equal bytes (%s)",
		e.Stage, e.Action.Short(), e.Have.Short(), e.Got.Short(), e.Difference)
}

// Diagnose adds to an error of the file system the folder of the store and what to
// do about it, where that is known: a full disk, a folder that cannot be written.
// Other errors, nil included, come back as they are. Stages that write into
// [Writer.Dir] pass their errors through it.
func (s *Store) Diagnose(err error) error { return diagnose(s.dir, err) }

func diagnose(dir string, err error) error {
	var known *diagnosis
	var what string
	switch {
	case err == nil || errors.As(err, &known):
		return err
	case errors.Is(err, syscall.ENOSPC):
		what = "the disk is full: free some space, or name another folder with --store or ABLATE_STORE"
	case errors.Is(err, syscall.EDQUOT):
		what = "the disk quota is used up: free some space, or name another folder with --store or ABLATE_STORE"
	case errors.Is(err, syscall.EROFS):
		what = "the folder cannot be written: its file system is read-only; name another folder with --store or ABLATE_STORE"
	case errors.Is(err, fs.ErrPermission):
		what = "the folder cannot be written: let its owner share it (chmod -R g+rwX), or name another folder with --store or ABLATE_STORE"
	default:
		return err
	}
	return &diagnosis{dir: dir, what: what, err: err}
}

// unreadable is fail for an error met while reading.
func (s *Store) unreadable(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return &diagnosis{dir: s.dir, what: "a file cannot be read: give this user the permission to read the folder, or name another with --store or ABLATE_STORE", err: err}
	}
	return s.fail(err)
}

// diagnosis is an error that already says what to do.
type diagnosis struct {
	dir, what string
	err       error
}

func (d *diagnosis) Error() string { return fmt.Sprintf("store %s: %s (%v)", d.dir, d.what, d.err) }
func (d *diagnosis) Unwrap() error { return d.err }
