package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// The roots of a study are the actions that it needs. They lie in its folder of results,
// so that [Store.Garbage] knows them without the study's CUE file: modules in other places
// share a store. A run writes them when it begins and when it ends. What it computes in
// between, also in other processes, is in the journals.

const (
	rootsFile = "roots"
	mostRoots = 1 << 30 // bytes; 16 million actions
)

// roots are the content of a roots file.
type roots struct {
	ids  map[ActionID]bool
	read map[string]int64 // number of bytes of each journal whose events are accounted for, by the file's name
}

// encode returns the text of r, of which there is exactly one: the sorted ids, one a line,
// and then the journals.
func (r roots) encode() []byte {
	var b bytes.Buffer
	ids := slices.SortedFunc(maps.Keys(r.ids), func(x, y ActionID) int { return bytes.Compare(x[:], y[:]) })
	for _, id := range ids {
		b.WriteString(id.String() + "\n")
	}
	for _, name := range slices.Sorted(maps.Keys(r.read)) {
		fmt.Fprintf(&b, "%s%d %s\n", journalWord, r.read[name], strconv.Quote(name))
	}
	return b.Bytes()
}

const journalWord = "journal "

// parseRoots parses the output of encode and accepts no other text.
func parseRoots(data []byte) (roots, error) {
	r := roots{map[ActionID]bool{}, map[string]int64{}}
	n := 0
	for line := range strings.Lines(string(data)) {
		n++
		line = strings.TrimSuffix(line, "\n")
		if rest, ok := strings.CutPrefix(line, journalWord); ok {
			size, quoted, _ := strings.Cut(rest, " ")
			name, err := strconv.Unquote(quoted)
			if err == nil {
				r.read[name], err = strconv.ParseInt(size, 10, 64)
			}
			if err != nil || r.read[name] < 0 {
				return roots{}, fmt.Errorf("line %d: must be a journal's size and name", n)
			}
			continue
		}
		id, err := ParseActionID(line)
		if err != nil {
			return roots{}, fmt.Errorf("line %d: %w", n, err)
		}
		r.ids[id] = true
	}
	if !bytes.Equal(r.encode(), data) {
		return roots{}, errors.New("its lines are not in order, or the last one is incomplete")
	}
	return r, nil
}

// readRoots returns the roots in a study's folder of results. If there are none, the error
// is fs.ErrNotExist.
func readRoots(studyDir string) (roots, error) {
	name := filepath.Join(studyDir, rootsFile)
	data, err := readRegular(name, mostRoots)
	if absent(err) {
		return roots{}, fs.ErrNotExist
	}
	var r roots
	if err == nil {
		r, err = parseRoots(data)
	}
	if err != nil {
		return r, fmt.Errorf("%s: %w: run the whole study again, without --only and --seed, and it is written again", name, err)
	}
	return r, nil
}

// AddRoots adds actions to the roots of a study. Earlier roots stay if the store still has
// something of them; actions of the study's journals become roots. A roots file that
// cannot be read is an error, and stays until [Store.SetRoots] replaces it.
func (s *Store) AddRoots(studyDir string, ids []ActionID) error {
	need, read, err := s.needs(studyDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return s.fail(err)
	}
	maps.DeleteFunc(need, func(id ActionID, _ bool) bool { return !s.has(id) })
	for _, id := range ids {
		need[id] = true
	}
	return s.writeRoots(studyDir, roots{need, read})
}

// SetRoots replaces the roots of a study by all actions that it needs on a class of
// backend. Earlier roots that were computed on another class stay, and what other
// processes compute now.
func (s *Store) SetRoots(studyDir string, ids []ActionID, class string) error {
	old, read, err := s.needs(studyDir)
	if err != nil && read == nil {
		return s.fail(err)
	}
	need := s.ofOtherClasses(old, class)
	alive, err := s.alive()
	if err != nil {
		return err
	}
	delete(alive, s.self)
	events, _, err := s.eventsAfter(studyDir, read, alive)
	if err != nil {
		return err
	}
	for _, e := range events {
		if s.has(e.Action) {
			need[e.Action] = true
		}
	}
	for _, id := range ids {
		need[id] = true
	}
	return s.writeRoots(studyDir, roots{need, read})
}

// ofOtherClasses returns the actions that were computed on another class of backend, or
// from artifacts of one. Stages without a backend, such as a judge, have no class of their
// own.
func (s *Store) ofOtherClasses(ids map[ActionID]bool, class string) map[ActionID]bool {
	others := map[ActionID]bool{}
	keys := map[ActionID]Key{}
	made := map[OutputID]bool{} // on another class
	outputs := map[ActionID]OutputID{}
	for id := range ids {
		e, err := s.Index(id)
		if err != nil {
			continue
		}
		if k, err := ParseKey(e.Key); err == nil {
			keys[id], outputs[id] = k, e.Output
		}
	}
	for again := true; again; {
		again = false
		for id, k := range keys {
			if k.Backend != "" && k.Backend != class || slices.ContainsFunc(k.Inputs, func(in Input) bool { return made[in.Output] }) {
				others[id], again = true, true
				made[outputs[id]] = true
				delete(keys, id)
			}
		}
	}
	return others
}

func (s *Store) writeRoots(studyDir string, r roots) error {
	if err := s.prepare(); err != nil {
		return err
	}
	tmp := s.tempName()
	if err := writeSynced(tmp, r.encode(), s.shared()); err != nil {
		return s.fail(errors.Join(err, os.RemoveAll(tmp)))
	}
	return s.fail(os.Rename(tmp, filepath.Join(studyDir, rootsFile)))
}

// needs returns the actions that a study needs: its roots, the actions of its journals
// that these do not account for, and all actions of processes that are alive. It also
// returns how far it has read the journals. If the study has no roots file, it returns the
// actions of all journals, and the error is fs.ErrNotExist. If that file cannot be read, it
// does so, too, with another error.
func (s *Store) needs(studyDir string) (need map[ActionID]bool, read map[string]int64, err error) {
	r, rerr := readRoots(studyDir)
	if need = r.ids; need == nil {
		need = map[ActionID]bool{}
	}
	alive, err := s.alive()
	if err != nil {
		return nil, nil, err
	}
	events, read, err := s.eventsAfter(studyDir, r.read, alive)
	if err != nil {
		return nil, nil, err
	}
	for _, e := range events {
		need[e.Action] = true
	}
	return need, read, rerr
}

// eventsAfter returns the events of a study's journals after the bytes that were read
// before, and all events of some processes. It also returns how many bytes it has read.
func (s *Store) eventsAfter(studyDir string, before map[string]int64, whole map[string]bool) (events []Event, read map[string]int64, err error) {
	read = map[string]int64{}
	names, err := s.list(journals(studyDir))
	if err != nil {
		return nil, nil, err
	}
	for _, name := range names {
		process, ok := strings.CutSuffix(name, journalSuffix)
		path := filepath.Join(journals(studyDir), name)
		info, err := os.Lstat(path)
		if !ok || err != nil || !info.Mode().IsRegular() {
			continue
		}
		begin := before[name]
		if whole[process] || begin > info.Size() {
			begin = 0
		}
		data, err := readFrom(path, begin)
		if err != nil {
			return nil, nil, s.unreadable(err)
		}
		// A process may be writing the last line.
		data = data[:bytes.LastIndexByte(data, '\n')+1]
		some, _ := parseEvents(data)
		events = append(events, some...)
		read[name] = begin + int64(len(data))
	}
	return events, read, nil
}

// readFrom reads a file from a byte on.
func readFrom(name string, begin int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if _, err := f.Seek(begin, io.SeekStart); err != nil {
		return nil, err
	}
	return io.ReadAll(f)
}

// alive returns the names of all announced processes that have not certainly ended.
func (s *Store) alive() (map[string]bool, error) {
	names, err := s.list(filepath.Join(s.dir, "live"))
	alive := map[string]bool{}
	for _, name := range names {
		alive[name] = !s.ended(name)
	}
	return alive, err
}

// has reports whether the store has anything of an action: its entry, a state, or the
// record of its failure.
func (s *Store) has(id ActionID) bool {
	for _, name := range []string{s.action(id), s.partial(id), s.failed(id), s.claim(id)} {
		if _, err := os.Lstat(name); err == nil {
			return true
		}
	}
	return false
}
