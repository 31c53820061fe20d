package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// mergeFailures copies the records of failures of actions that have neither a result nor a
// failure here, with their logs. folders are the folders of studies in this store, by those
// in the other one.
func (s *Store) mergeFailures(other *Store, folders map[string]string, m *Merged) error {
	all, err := other.Failures()
	if err != nil {
		return err
	}
	for _, f := range all {
		_, failed := s.Failed(f.Action)
		_, err := s.Index(f.Action)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		if failed || err == nil {
			continue
		}
		if parts := strings.SplitN(filepath.ToSlash(f.Log), "/", 3); len(parts) == 3 && parts[0] == "studies" && folders[parts[1]] != "" && safePath(parts[2]) {
			log := filepath.Join("studies", folders[parts[1]], parts[2])
			if err := s.takeOver(filepath.Join(other.dir, f.Log), filepath.Join(s.dir, log)); err != nil {
				return err
			}
			f.Log = log
		}
		if err := s.writeFailure(f); err != nil {
			return err
		}
		m.Failures++
	}
	return nil
}

// mergeStudies copies journals, and adds the roots of studies to those here. It returns the
// folders of studies in this store, by those in the other one.
func (s *Store) mergeStudies(other *Store, m *Merged) (map[string]string, error) {
	names, err := other.list(filepath.Join(other.dir, "studies"))
	if err != nil {
		return nil, err
	}
	folders := map[string]string{}
	for _, name := range names {
		from := filepath.Join(other.dir, "studies", name)
		st, err := ReadStudy(from)
		if err != nil {
			return nil, other.unreadable(err)
		}
		if st == (Study{}) {
			continue // it never ran, or its results are imported
		}
		m.Studies++
		to, err := s.settle(st)
		if err != nil {
			return nil, err
		}
		folders[name] = filepath.Base(to)
		// Before the journals, whose actions would become roots of a study that has none.
		if err := s.mergeRoots(other, from, to); err != nil {
			return nil, err
		}
		n, err := s.mergeJournals(from, to)
		if err != nil {
			return nil, err
		}
		m.Journals += n
		// What decides which seeds of a study run must not be lost.
		if err := s.takeOver(filepath.Join(from, "rounds.json"), filepath.Join(to, "rounds.json")); err != nil {
			return nil, err
		}
	}
	return folders, nil
}

// mergeRoots adds the roots of a study of another store to those here. If it is not known
// what the study needs in one of the stores, nothing is added, so that it stays unknown.
func (s *Store) mergeRoots(other *Store, from, to string) error {
	if _, _, err := s.needs(to); err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if _, err := os.Lstat(journals(to)); err == nil {
			return nil
		}
	}
	need, _, err := other.needs(from)
	if err != nil {
		if need == nil {
			return err
		}
		return nil
	}
	var ids []ActionID
	for id := range need {
		ids = append(ids, id)
	}
	return s.AddRoots(to, ids)
}

// mergeJournals copies the journals that are not here, or of which more has been written.
func (s *Store) mergeJournals(from, to string) (n int, err error) {
	names, err := s.list(journals(from))
	if err != nil {
		return 0, err
	}
	for _, name := range names {
		a, b := filepath.Join(journals(from), name), filepath.Join(journals(to), name)
		info, err := os.Lstat(a)
		if err != nil || !info.Mode().IsRegular() || !strings.HasSuffix(name, journalSuffix) {
			continue
		}
		if have, err := os.Lstat(b); err == nil && have.Size() >= info.Size() {
			continue
		}
		if err := s.replace(a, b); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// settle returns the folder of a study of another store, and makes it if it is not here. A
// folder of another study is left alone, even if its module is not on this machine.
func (s *Store) settle(st Study) (string, error) {
	if !safePath(strings.TrimPrefix(st.Study, "./")) {
		return "", fmt.Errorf("study name %q: must be a relative path", st.Study)
	}
	plain, own := s.studyFolders(st.Study, st.Root)
	for _, dir := range []string{plain, own} {
		have, err := ReadStudy(dir)
		if err != nil {
			return "", s.fail(err)
		}
		if have.Study == st.Study && have.Root == st.Root {
			return dir, nil
		}
	}
	for _, dir := range []string{plain, own} {
		if have, err := ReadStudy(dir); err != nil || have != (Study{}) {
			continue
		}
		if err := s.mkdir(dir); err != nil {
			return "", s.fail(err)
		}
		data, err := json.Marshal(st)
		if err != nil {
			return "", err
		}
		tmp := s.tempName()
		defer os.Remove(tmp) // if this fails, a later run removes it
		if err := writeSynced(tmp, append(data, '\n'), s.shared()); err != nil {
			return "", s.fail(err)
		}
		return dir, s.fail(place(tmp, filepath.Join(dir, studyFile)))
	}
	return "", fmt.Errorf("store %s: the folders %s and %s of study %s both belong to other studies: move one away", s.dir, plain, own, st.Study)
}

// takeOver copies a file that is not here, if the other store has it.
func (s *Store) takeOver(from, to string) error {
	if _, err := os.Lstat(to); err == nil {
		return nil
	}
	if info, err := os.Lstat(from); err != nil || !info.Mode().IsRegular() {
		return nil
	}
	return s.replace(from, to)
}

// replace copies a file atomically.
func (s *Store) replace(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return s.unreadable(err)
	}
	if err := s.mkdir(filepath.Dir(to)); err != nil {
		return s.fail(err)
	}
	tmp := s.tempName()
	if err := writeSynced(tmp, data, s.shared()); err != nil {
		return s.fail(errors.Join(err, os.RemoveAll(tmp)))
	}
	return s.fail(os.Rename(tmp, to))
}
