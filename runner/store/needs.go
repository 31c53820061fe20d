package store

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// studyNeeds is what a study needs.
type studyNeeds struct {
	Study
	folder    string
	forgotten bool
	actions   map[ActionID]bool
}

type allNeeds []studyNeeds

func (a allNeeds) union() map[ActionID]bool {
	all := map[ActionID]bool{}
	for _, n := range a {
		for id := range n.actions {
			all[id] = true
		}
	}
	return all
}

// allNeeds returns what the studies of the store need, those of forget nothing.
func (s *Store) allNeeds(forget []string) (allNeeds, error) {
	root := filepath.Join(s.dir, "studies")
	names, err := s.list(root)
	if err != nil {
		return nil, err
	}
	var all allNeeds
	var unknown []string
	hits := map[string]int{}
	for _, folder := range names {
		dir := filepath.Join(root, folder)
		if !ran(dir) {
			continue
		}
		st, err := ReadStudy(dir)
		if err != nil {
			return nil, s.unreadable(err)
		}
		n := studyNeeds{Study: st, folder: folder}
		for _, name := range forget {
			if name == folder || name == st.Study {
				n.forgotten = true
				hits[name]++
			}
		}
		switch n.actions, _, err = s.needs(dir); {
		case n.forgotten:
			n.actions = nil
		case errors.Is(err, fs.ErrNotExist):
			unknown = append(unknown, n.name())
		case err != nil:
			return nil, s.unreadable(err)
		}
		all = append(all, n)
	}
	for _, name := range forget {
		if hits[name] != 1 {
			e := &ForgetError{Name: name}
			for _, n := range all {
				e.Studies = append(e.Studies, n.folder)
			}
			return nil, e
		}
	}
	if unknown != nil {
		return nil, &RootsError{unknown}
	}
	live, err := s.Live()
	if err != nil {
		return nil, err
	}
	for _, l := range live {
		if i := slices.IndexFunc(all, func(n studyNeeds) bool { return n.folder == l.Study && n.forgotten }); i >= 0 && !l.Stale {
			return nil, fmt.Errorf("study %s cannot be forgotten now: process %d on %s computes it", all[i].name(), l.PID, l.Host)
		}
	}
	return all, nil
}

func (n studyNeeds) name() string {
	switch {
	case n.Study.Study == "":
		return n.folder
	case strings.NewReplacer("~1", "/", "~0", "~").Replace(n.folder) == n.Study.Study:
		return n.Study.Study
	}
	return fmt.Sprintf("%s (of %s, folder %s)", n.Study.Study, n.Root, n.folder)
}

// ran reports whether a study has computed anything. Studies whose results are imported
// have a folder, too, with their reports.
func ran(dir string) bool {
	for _, name := range []string{studyFile, rootsFile, "events"} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	return false
}

// reach returns the actions for which from is true and those that produced their inputs,
// and so on, and the artifacts that all of these read.
func reach(index []indexed, from func(indexed) bool) (map[ActionID]bool, []OutputID) {
	producers := map[OutputID][]int{}
	var todo []int
	for i, x := range index {
		if x.intact {
			producers[x.Output] = append(producers[x.Output], i)
		}
		if from(x) {
			todo = append(todo, i)
		}
	}
	seen := map[ActionID]bool{}
	var inputs []OutputID
	for len(todo) > 0 {
		x := index[todo[len(todo)-1]]
		todo = todo[:len(todo)-1]
		if seen[x.id] {
			continue
		}
		seen[x.id] = true
		for _, in := range x.inputs {
			inputs = append(inputs, in.Output)
			todo = append(todo, producers[in.Output]...)
		}
	}
	return seen, inputs
}

// measure sets the sizes of what each study needs, and returns the actions and the
// artifacts that any of them needs.
func (g *Garbage) measure(index []indexed, needs allNeeds) (actions map[ActionID]bool, size map[OutputID]int64) {
	actions, size = map[ActionID]bool{}, map[OutputID]int64{}
	by := map[OutputID]int{} // number of studies that need an artifact
	own := make([]map[OutputID]bool, len(needs))
	for i, n := range needs {
		reached, _ := reach(index, func(x indexed) bool { return n.actions[x.id] })
		own[i] = map[OutputID]bool{}
		for _, x := range index {
			if !reached[x.id] {
				continue
			}
			actions[x.id] = true
			if x.intact && !own[i][x.Output] {
				own[i][x.Output], size[x.Output] = true, x.Bytes
				by[x.Output]++
			}
		}
	}
	for i, n := range needs {
		z := StudySize{Study: cmp.Or(n.Study.Study, n.folder), Folder: n.folder, Forgotten: n.forgotten}
		for out := range own[i] {
			z.Needed.add(size[out])
			if by[out] == 1 {
				z.Alone.add(size[out])
			}
		}
		g.Studies = append(g.Studies, z)
	}
	for out, n := range by {
		g.Needed.add(size[out])
		if n > 1 {
			g.Shared.add(size[out])
		}
	}
	return actions, size
}

// busy returns the actions that a process computes, or has claimed.
func (s *Store) busy() (map[ActionID]bool, error) {
	busy := map[ActionID]bool{}
	live, err := s.Live()
	if err != nil {
		return nil, err
	}
	for _, l := range live {
		for _, a := range l.Actions {
			if !l.Stale {
				busy[a.Action] = true
			}
		}
	}
	claims, err := s.list(filepath.Join(s.dir, "claims"))
	if err != nil {
		return nil, err
	}
	for _, c := range claims {
		id, err := ParseActionID(c)
		if err != nil { // the token of a process that takes a claim
			continue
		}
		if owner, err := ownerOf(s.claim(id)); !absent(err) && !s.ended(owner) {
			busy[id] = true
		}
	}
	return busy, nil
}

// countDead counts what sweepClaims would remove.
func (s *Store) countDead() (int, error) {
	n := 0
	names, err := s.list(filepath.Join(s.dir, "live"))
	if err != nil {
		return 0, err
	}
	claims, err := s.list(filepath.Join(s.dir, "claims"))
	if err != nil {
		return 0, err
	}
	for _, c := range claims {
		if owner, err := ownerOf(filepath.Join(s.dir, "claims", c)); err == nil {
			names = append(names, owner)
		}
	}
	for _, name := range names {
		if s.ended(name) {
			n++
		}
	}
	return n, nil
}
