package store

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// A claim is a file claims/ACTION with the name of its owner. It is a link to a file that the
// owner wrote when it announced itself, so that it has its content from the first moment on,
// and of several processes that try, one succeeds.
//
// A claim saves work and nothing else. Two processes that both believe to have one compute the
// same action twice; the commit keeps the first result.

// ClaimedError reports that another process computes an action.
type ClaimedError struct {
	Action ActionID
	Owner  string // name of the process
}

func (e *ClaimedError) Error() string {
	return fmt.Sprintf("%s is being computed by process %s", e.Action.Short(), e.Owner)
}

// mostOwner is more than the length of any name of a process.
const mostOwner = 256

// Claim claims an action for this process, which must release it. If a live process has
// it, the error is a [*ClaimedError]; that process may be this one, because actions of a graph whose
// inputs have turned out to be the same are one action.
func (p *Presence) Claim(id ActionID) error {
	p.mu.Lock()
	held := p.held[id]
	p.held[id] = true
	p.mu.Unlock()
	if held {
		return &ClaimedError{Action: id, Owner: p.s.self}
	}
	err := p.claim(id)
	if err != nil {
		p.let(id)
	}
	return err
}

// let records that this process does not hold an action.
func (p *Presence) let(id ActionID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.held, id)
}

func (p *Presence) claim(id ActionID) error {
	s, name := p.s, p.s.claim(id)
	for range 10 { // again if another process released or took the claim meanwhile
		err := p.link(name)
		if !errors.Is(err, fs.ErrExist) {
			return s.fail(err)
		}
		owner, err := ownerOf(name)
		switch {
		case absent(err):
			continue
		case err != nil:
			return s.unreadable(err)
		case owner == s.self: // of an attempt of this process that could not release it
			return nil
		case !p.lost(owner):
			return &ClaimedError{Action: id, Owner: owner}
		}
		s.at("taking")
		if err := s.take(name, owner, p.link, p.lost); err != nil {
			return s.fail(err)
		}
	}
	return &ClaimedError{Action: id, Owner: "unknown"}
}

// link gives this process' owner file another name. Where links are not supported, it makes a
// copy.
func (p *Presence) link(name string) error {
	err := link(p.owner, name)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	if !absent(err) {
		copied := p.s.tempName()
		defer os.Remove(copied)
		if err := writeNew(copied, []byte(p.s.self), p.s.shared()); err != nil {
			return err
		}
		return place(copied, name)
	}
	if _, err := os.Lstat(p.owner); !absent(err) {
		return err
	}
	if err := writeNew(p.owner, []byte(p.s.self), p.s.shared()); err != nil && !errors.Is(err, fs.ErrExist) { // somebody has removed it
		return err
	}
	return link(p.owner, name)
}

// ownerOf reads the owner of a claim. What is no name of a process, because the file is
// damaged, is an owner without a heartbeat.
func ownerOf(name string) (string, error) {
	data, err := readRegular(name, mostOwner)
	if errors.Is(err, errNoFile) {
		return "(not a file)", nil
	}
	return string(data), err
}

// take removes the claim of an owner that has lost it. Only the process that has the token,
// a file that is made in the same way, may do so; it looks again whose claim it is, so that no
// claim of a third process is removed.
func (s *Store) take(name, owner string, link func(name string) error, lost func(process string) bool) error {
	token := fmt.Sprintf("%s.%x", name, sha256.Sum256([]byte(owner)))
	err := link(token)
	if errors.Is(err, fs.ErrExist) {
		if holder, err := ownerOf(token); err == nil && lost(holder) {
			return os.RemoveAll(token) // it died meanwhile
		}
		return nil
	}
	if err != nil {
		return err
	}
	if now, err := ownerOf(name); err == nil && now == owner {
		if err := os.RemoveAll(name); err != nil {
			return errors.Join(err, remove(token))
		}
	}
	return remove(token)
}

// Release ends this process' claim of an action. If another process has taken the claim
// because this one was thought dead, it stays.
func (p *Presence) Release(id ActionID) error {
	defer p.let(id)
	name := p.s.claim(id)
	if owner, err := ownerOf(name); err != nil || owner != p.s.self {
		if absent(err) {
			err = nil
		}
		return p.s.fail(err)
	}
	return p.s.fail(remove(name))
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
	copied := s.tempName()
	defer os.Remove(copied)
	link := func(name string) error {
		if err := writeNew(copied, []byte(s.self), s.shared()); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		return place(copied, name)
	}
	for _, c := range claims {
		name := filepath.Join(s.dir, "claims", c)
		if owner, err := ownerOf(name); err == nil && s.ended(owner) {
			_ = s.take(name, owner, link, s.ended)
		}
	}
}

// isProcess reports whether a text has the form of a process' name.
func isProcess(name string) bool {
	return strings.Count(name, "-") == 2 && !strings.ContainsAny(name, "/\x00\n")
}

// ended reports whether a process has certainly ended: it is of this machine and gone, or
// its announcement is very old.
func (s *Store) ended(process string) bool {
	if !isProcess(process) {
		return false
	}
	_, beat, err := s.look(process)
	return err == nil && gone(process, beat)
}
