package store

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

// ErrNotFound matches every miss, whatever its reason; see [MissError].
var ErrNotFound = errors.New("not in the store")

// Reason is the reason of a miss.
type Reason string

const (
	Missing         Reason = "missing"             // it was never computed, or was deleted
	CorruptEntry    Reason = "corrupt index entry" // the index entry cannot be read or fails its sum
	Incomplete      Reason = "incomplete artifact" // the entry exists, but not all files of its artifact
	CorruptArtifact Reason = "corrupt artifact"    // bytes on disk differ from their digests
)

// MissError is a miss with its reason. It matches [ErrNotFound]. Callers should warn of
// any reason but Missing: something has damaged the store. Computing the action again
// repairs it.
type MissError struct {
	ID     string // full id of the action or artifact
	Reason Reason
	Detail string // the damage, with the name of the file; may be empty
	Moved  string // new path of the damaged artifact; empty if it was not moved

	unmoved error // why the damaged artifact could not be moved
}

func (e *MissError) Error() string {
	s := fmt.Sprintf("%s: %s", e.ID[:min(len(e.ID), shortLen)], e.Reason)
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	if e.Moved != "" {
		s += " (moved to " + e.Moved + ")"
	}
	if e.unmoved != nil {
		s += fmt.Sprintf(" (it cannot be moved away: %v)", e.unmoved)
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

// NondeterminismError reports that one action gave two different outputs, with
// Commit.Strict set. The store keeps the first.
type NondeterminismError struct {
	Action     ActionID
	Stage      string
	Have, Got  OutputID
	Difference string // first file in which the outputs differ
}

func (e *NondeterminismError) Error() string {
	return fmt.Sprintf("%s %s gave %s and now %s: equal inputs must give equal bytes (%s)",
		e.Stage, e.Action.Short(), e.Have.Short(), e.Got.Short(), e.Difference)
}

// Diagnose adds the store's folder and advice to an error of the file system, such as a
// full disk, a broken one, or a folder that cannot be written. It returns other errors, including nil,
// unchanged. Call it with errors of stages, which write into [Writer.Dir].
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
	case errors.Is(err, syscall.EIO), errors.Is(err, syscall.ESTALE):
		what = "the disk or the file server does not work: see the log of the system, and run again when it works, or name another folder with --store or ABLATE_STORE"
	case errors.Is(err, fs.ErrPermission):
		what = "the folder cannot be written: let its owner share it (chmod -R g+rwX), or name another folder with --store or ABLATE_STORE"
	default:
		return err
	}
	return &diagnosis{dir: dir, what: what, err: err}
}

// unreadable is like fail, for an error of reading.
func (s *Store) unreadable(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return &diagnosis{dir: s.dir, what: "a file cannot be read: give this user the permission to read the folder, or name another with --store or ABLATE_STORE", err: err}
	}
	return s.fail(err)
}

// diagnosis is an error with advice.
type diagnosis struct {
	dir, what string
	err       error
}

func (d *diagnosis) Error() string { return fmt.Sprintf("store %s: %s (%v)", d.dir, d.what, d.err) }
func (d *diagnosis) Unwrap() error { return d.err }
