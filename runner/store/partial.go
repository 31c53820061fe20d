package store

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
)

// Partial returns the folder in which an attempt at an action may keep its state, for the
// next attempt in the same environment. Another environment may round differently, so that
// its states would give other bytes.
func (s *Store) Partial(id ActionID, environment string) (string, error) {
	sum := sha256.Sum256([]byte(environment))
	dir := filepath.Join(s.partial(id), fmt.Sprintf("%x", sum[:6]))
	return dir, s.fail(s.mkdir(dir))
}

// RemovePartial removes all states of an action, which has its result. If that fails, a
// later process removes them.
func (s *Store) RemovePartial(id ActionID) { _ = os.RemoveAll(s.partial(id)) }

func (s *Store) partial(id ActionID) string { return filepath.Join(s.dir, "partial", id.String()) }

// sweepPartial removes the states of actions that have results: those of a process that died
// between its commit and their removal, or that computed an action which another process
// had finished meanwhile.
func (s *Store) sweepPartial() {
	names, _ := s.list(filepath.Join(s.dir, "partial"))
	for _, name := range names {
		if id, err := ParseActionID(name); err == nil {
			if _, err := s.Index(id); err == nil {
				s.RemovePartial(id)
			}
		}
	}
}
