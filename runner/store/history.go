package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Entries returns every entry of the index that can be read, sorted by action.
// Whether their artifacts are there is not checked.
func (s *Store) Entries() ([]Entry, error) {
	var all []Entry
	names, err := filepath.Glob(filepath.Join(s.dir, "actions", "??", "*"))
	if err != nil {
		return nil, s.fail(err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, s.fail(err)
		}
		// What cannot be read is a miss for Lookup, and no history.
		if e, err := parseEntry(data); err == nil && e.Action.String() == filepath.Base(name) {
			all = append(all, e)
		}
	}
	return all, nil
}

// Attempts returns the attempts of every study's journal.
func (s *Store) Attempts() ([]Attempt, error) {
	var all []Attempt
	root := filepath.Join(s.dir, "studies")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() != "journal" {
			return err
		}
		events, _, err := ReadJournal(filepath.Dir(path))
		all = append(all, Attempts(events)...)
		return err
	})
	if err != nil {
		return nil, s.fail(err)
	}
	return all, nil
}
