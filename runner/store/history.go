package store

import (
	"errors"
	"os"
	"path/filepath"
)

// Entries returns every entry of the index that can be read, sorted by action.
// Whether their artifacts are there is not checked.
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
			case !errors.Is(err, ErrNotFound): // what cannot be read is a miss, and no history
				return nil, err
			}
		}
	}
	return all, nil
}

// Attempts returns the attempts of every study's journal. What is not a journal
// there is no history: a folder of that name is a study's of the first version,
// whose results lay in each other's folders.
func (s *Store) Attempts() ([]Attempt, error) {
	var all []Attempt
	root := filepath.Join(s.dir, "studies")
	names, err := s.list(root)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		events, _, err := ReadJournal(filepath.Join(root, name))
		if errors.Is(err, errNoJournal) {
			continue
		}
		if err != nil {
			return nil, s.unreadable(err)
		}
		all = append(all, Attempts(events)...)
	}
	return all, nil
}

// list returns the names in a folder, sorted; none where it is not there, or is no
// folder.
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
