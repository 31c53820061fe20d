package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// indexed is an entry of the index.
type indexed struct {
	id     ActionID
	path   string
	time   time.Time
	intact bool // Entry is set
	Entry
	inputs []Input
}

// index reads the whole index. Entries that are damaged or of an earlier format are not
// intact; one of a later format is an error.
func (s *Store) index(ctx context.Context, progress func(done, total int)) ([]indexed, error) {
	paths, err := s.shards("actions")
	if err != nil {
		return nil, err
	}
	var all []indexed
	for i, p := range paths {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		progress(i, len(paths))
		id, err := ParseActionID(filepath.Base(p))
		if err != nil {
			continue
		}
		info, err := os.Lstat(p)
		if absent(err) {
			continue
		} else if err != nil {
			return nil, s.unreadable(err)
		}
		x := indexed{id: id, path: p, time: info.ModTime()}
		switch x.Entry, err = s.Index(id); {
		case err == nil:
			x.intact = true
			if k, err := ParseKey(x.Key); err == nil {
				x.inputs = k.Inputs
			}
		case !errors.Is(err, ErrNotFound):
			return nil, err
		case s.later(p):
			return nil, fmt.Errorf("store %s: the entry %s is of a later version of ablate, and this version cannot know which results it names: use the later version", s.dir, p)
		}
		all = append(all, x)
	}
	return all, nil
}

// later reports whether a file begins as an entry of a later format.
func (s *Store) later(path string) bool {
	var mine, its int
	data, err := readRegular(path, mostText)
	if err != nil {
		return false
	}
	first, _, _ := bytes.Cut(data, []byte("\n"))
	const format = "ablate entry %d"
	if _, err := fmt.Sscanf(entryFormat, format, &mine); err != nil {
		return false
	}
	n, err := fmt.Sscanf(string(first), format, &its)
	return n == 1 && err == nil && its > mine
}

// shards returns the paths of all files or folders of a part of the store that has a
// folder for each two digits.
func (s *Store) shards(part string) (paths []string, err error) {
	root := filepath.Join(s.dir, part)
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
			paths = append(paths, filepath.Join(root, shard, name))
		}
	}
	return paths, nil
}
