package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// A claim is a folder claims/ACTION with an empty file that is named after its owner. It
// is made elsewhere and renamed into place, so that it has its owner from the first moment
// on, and of several processes that try, one succeeds. An empty folder is no claim: rename
// replaces it. Nobody but the owner removes the file of a live owner, and whoever takes a
// lost claim removes the file by its name, so that no claim of a third process can be
// removed by mistake.
//
// A claim saves work and nothing else. Two processes that both believe to have one
// compute the same action twice; the commit keeps the first result.

// ClaimedError reports that another process computes an action.
type ClaimedError struct {
	Action ActionID
	Owner  string // name of the process
}

func (e *ClaimedError) Error() string {
	return fmt.Sprintf("%s is being computed by process %s", e.Action.Short(), e.Owner)
}

// Claim claims an action for this process, which must release it. If a live process has
// it, the error is a [*ClaimedError].
func (p *Presence) Claim(id ActionID) error {
	s := p.s
	dir := s.claim(id)
	made := s.tempName()
	defer os.RemoveAll(made)
	if err := s.folder(made); err != nil {
		return s.fail(err)
	}
	f, err := os.Create(filepath.Join(made, s.self))
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		return s.fail(err)
	}
	for range 10 { // again if another process released or took the claim meanwhile
		err := syscall.Rename(made, dir) // os.Rename refuses the name of an empty folder
		if err == nil {
			return nil
		}
		if !errors.Is(err, fs.ErrExist) && !errors.Is(err, syscall.ENOTEMPTY) && !errors.Is(err, syscall.ENOTDIR) {
			return s.fail(&os.LinkError{Op: "rename", Old: made, New: dir, Err: err})
		}
		owners, err := os.ReadDir(dir)
		if errors.Is(err, syscall.ENOTDIR) {
			if was, err := os.Lstat(dir); err == nil {
				s.quarantine(dir, was, id.Short())
			}
			continue
		}
		if err != nil && !absent(err) {
			return s.unreadable(err)
		}
		for _, o := range owners {
			if o.Name() == s.self { // of an attempt of this process that could not release it
				return nil
			}
			if !p.lost(o.Name()) {
				return &ClaimedError{Action: id, Owner: o.Name()}
			}
			s.at("taking")
			if err := os.RemoveAll(filepath.Join(dir, o.Name())); err != nil {
				return s.fail(err)
			}
		}
	}
	return &ClaimedError{Action: id, Owner: "unknown"}
}

// Release ends this process' claim of an action. If another process has taken the claim
// because this one was thought dead, it stays.
func (p *Presence) Release(id ActionID) error {
	dir := p.s.claim(id)
	if err := remove(filepath.Join(dir, p.s.self)); err != nil {
		return p.s.fail(err)
	}
	err := os.Remove(dir)
	if absent(err) || errors.Is(err, fs.ErrExist) || errors.Is(err, syscall.ENOTEMPTY) {
		return nil
	}
	return p.s.fail(err)
}

func (s *Store) claim(id ActionID) string { return filepath.Join(s.dir, "claims", id.String()) }

// sweepClaims removes announcements and claims of processes that certainly have ended.
func (s *Store) sweepClaims() {
	names, _ := s.list(filepath.Join(s.dir, "live"))
	for _, name := range names {
		if s.ended(name) {
			_ = os.RemoveAll(s.live(name))
		}
	}
	claims, _ := s.list(filepath.Join(s.dir, "claims"))
	for _, c := range claims {
		dir := filepath.Join(s.dir, "claims", c)
		owners, _ := s.list(dir)
		for _, o := range owners {
			if s.ended(o) {
				_ = os.RemoveAll(filepath.Join(dir, o))
			}
		}
		if len(owners) == 0 {
			_ = os.Remove(dir)
		}
	}
}

// ended reports whether a process has certainly ended: it is of this machine and gone, or
// its announcement is very old.
func (s *Store) ended(process string) bool {
	_, beat, err := s.look(process)
	return err == nil && gone(process, beat)
}
