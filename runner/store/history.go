package store

import (
	"errors"
	"os"
	"path/filepath"
)

// Entries returns all entries of the index that can be read, sorted by action. It does
// not check that their artifacts exist.
func (s *Store) Entries() ([]Entry, error) {
	var all []Entry
	root := filepath.Join(s.dir, "actions")
	shards, err := s.list(root)
	if err != nil {
		return nil, err
	}
	for _, shard := range shards {
		names, err := s.list(filepath.Join(root, shard))
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			id, err := ParseActionID(name)
			if err != nil {
				continue
			}
			switch e, err := s.Index(id); {
			case err == nil:
				all = append(all, e)
			case !errors.Is(err, ErrNotFound): // an entry that cannot be read is a miss, and is left out
				return nil, err
			}
		}
	}
	return all, nil
}

// Attempts returns the attempts of the journals of all studies.
func (s *Store) Attempts() ([]Attempt, error) {
	var all []Attempt
	root := filepath.Join(s.dir, "studies")
	names, err := s.list(root)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		events, _, err := ReadJournal(filepath.Join(root, name))
		if err != nil {
			return nil, s.unreadable(err)
		}
		all = append(all, Attempts(events)...)
	}
	return all, nil
}

// list returns the sorted names in a folder. It returns none if the folder does not exist
// or is not a folder.
func (s *Store) list(dir string) ([]string, error) {
	found, err := os.ReadDir(dir)
	if err != nil && !absent(err) {
		return nil, s.unreadable(err)
	}
	var names []string
	for _, d := range found {
		names = append(names, d.Name())
	}
	return names, nil
}
