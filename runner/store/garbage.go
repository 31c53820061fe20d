package store

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// GC has the options of [Store.Garbage].
type GC struct {
	Age        time.Duration // nothing younger is garbage
	Forget     []string      // names of studies, or of their folders, that need nothing any more
	Quarantine bool          // damaged files are garbage
	Progress   func(done, total int)
}

// leastAge is the least GC.Age while a process uses the store. A process that has just found
// a result of another study lists it in its study's roots within seconds.
const leastAge = time.Hour

// Size is a number of things and their size together.
type Size struct {
	Count int   `json:"count"`
	Bytes int64 `json:"bytes"`
}

func (z *Size) add(bytes int64) {
	z.Count++
	z.Bytes += bytes
}

// Garbage is what no study of a store needs, and what is needed.
type Garbage struct {
	Studies []StudySize `json:"studies"` // by folder
	Needed  Size        `json:"needed"`  // artifacts that at least one study needs
	Shared  Size        `json:"shared"`  // those of them that several studies need
	Spared  Size        `json:"spared"`  // artifacts that no study needs and that stay, because they are young or in use

	Entries    int  `json:"entries"`    // index entries to remove
	Artifacts  Size `json:"artifacts"`  // artifacts to remove
	States     Size `json:"states"`     // states of unfinished trainings to remove
	Failures   int  `json:"failures"`   // records of failures to remove
	Dead       int  `json:"dead"`       // claims and announcements of processes that have ended, to remove
	Quarantine Size `json:"quarantine"` // damaged files to remove

	s          *Store
	o          GC
	entries    []garbageEntry
	artifacts  []item
	states     []item
	failures   []item
	quarantine []item
}

// Bytes returns the size of everything that is to be removed.
func (g *Garbage) Bytes() int64 { return g.Artifacts.Bytes + g.States.Bytes + g.Quarantine.Bytes }

// StudySize is what a study needs.
type StudySize struct {
	Study     string `json:"study"`  // its name
	Folder    string `json:"folder"` // of its results, below studies/
	Needed    Size   `json:"needed"` // artifacts that it needs
	Alone     Size   `json:"alone"`  // those of them that no other study needs
	Forgotten bool   `json:"forgotten"`
}

// RootsError reports studies of which the store does not know what they need.
type RootsError struct{ Studies []string }

func (e *RootsError) Error() string {
	return fmt.Sprintf("the store does not know what these studies need, because they ran with an earlier version or were never finished: %s. Run each of them once ('ablate run' computes nothing that the store has), or name it with --forget, if nothing of it is needed any more",
		strings.Join(e.Studies, ", "))
}

// AgeError reports a GC.Age that is too small while a process uses the store.
type AgeError struct {
	Age       time.Duration
	Processes int
}

func (e *AgeError) Error() string {
	return fmt.Sprintf("the age is %v, and must be at least %v while a process uses the store, as %d now: wait until they end, or give a larger --age", e.Age, leastAge, e.Processes)
}

// ForgetError reports a name that is not exactly one study.
type ForgetError struct {
	Name    string
	Studies []string // folders
}

func (e *ForgetError) Error() string {
	return fmt.Sprintf("%q is not one study of the store; its studies have the folders %s", e.Name, strings.Join(e.Studies, ", "))
}

// item is a file or folder that may be garbage. It is removed only if it did not change.
type item struct {
	path string
	time time.Time // of its last change
	size int64
}

type garbageEntry struct {
	id ActionID
	item
}

// Garbage finds what no study of the store needs. It changes nothing. If it is not known
// what a study needs, the error is a [*RootsError].
func (s *Store) Garbage(ctx context.Context, o GC) (*Garbage, error) {
	if o.Progress == nil {
		o.Progress = func(int, int) {}
	}
	live, err := s.Live()
	if err != nil {
		return nil, err
	}
	live = slices.DeleteFunc(live, func(l Live) bool { return l.Stale })
	if o.Age < 0 || o.Age < leastAge && len(live) > 0 {
		return nil, &AgeError{o.Age, len(live)}
	}
	needs, err := s.allNeeds(o.Forget)
	if err != nil {
		return nil, err
	}
	index, err := s.index(ctx, o.Progress)
	if err != nil {
		return nil, err
	}
	busy, err := s.busy()
	if err != nil {
		return nil, err
	}
	g := &Garbage{Studies: []StudySize{}, s: s, o: o}
	before := time.Now().Add(-o.Age)
	needed, sizes := g.measure(index, needs)
	stay := func(x indexed) bool { return needed[x.id] || busy[x.id] || x.time.After(before) }
	keep, inputs := reach(index, stay)
	named := map[OutputID]bool{}
	for _, x := range index {
		if !keep[x.id] {
			g.entries = append(g.entries, garbageEntry{x.id, item{path: x.path, time: x.time}})
			continue
		}
		named[x.Output] = true
	}
	for _, in := range inputs {
		named[in] = true
	}
	g.Entries = len(g.entries)
	need := needs.union()
	for _, find := range []func() error{
		func() error { return g.findArtifacts(ctx, named, sizes, before) },
		func() error { return g.findActions("partial", &g.states, need, busy, before) },
		func() error { return g.findActions("failed", &g.failures, need, busy, before) },
		func() error { return g.findQuarantine(before) },
		func() (err error) { g.Dead, err = s.countDead(); return err },
	} {
		if err := find(); err != nil {
			return nil, err
		}
	}
	for _, x := range g.states {
		g.States.add(x.size)
	}
	for _, x := range g.quarantine {
		g.Quarantine.add(x.size)
	}
	g.Failures = len(g.failures)
	return g, nil
}

// findArtifacts finds the artifacts that no entry names.
func (g *Garbage) findArtifacts(ctx context.Context, named map[OutputID]bool, needed map[OutputID]int64, before time.Time) error {
	paths, err := g.s.shards("artifacts")
	if err != nil {
		return err
	}
	for i, p := range paths {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		g.o.Progress(i, len(paths))
		id, err := ParseOutputID(filepath.Base(p))
		if err != nil {
			continue
		}
		if _, err := os.Lstat(p); absent(err) {
			continue
		} else if err != nil {
			return g.s.unreadable(err)
		}
		if _, ok := needed[id]; ok {
			continue
		}
		at := touched(p)
		if named[id] || at.After(before) {
			g.Spared.add(sizeOf(p))
			continue
		}
		x := item{p, at, sizeOf(p)}
		g.artifacts = append(g.artifacts, x)
		g.Artifacts.add(x.size)
	}
	return nil
}

// findActions finds files and folders that are named after actions which are neither
// needed nor busy.
func (g *Garbage) findActions(part string, list *[]item, need, busy map[ActionID]bool, before time.Time) error {
	names, err := g.s.list(filepath.Join(g.s.dir, part))
	if err != nil {
		return err
	}
	for _, name := range names {
		id, err := ParseActionID(name)
		if err != nil || need[id] || busy[id] {
			continue
		}
		p := filepath.Join(g.s.dir, part, name)
		if at := touched(p); at.Before(before) {
			*list = append(*list, item{p, at, sizeOf(p)})
		}
	}
	return nil
}

// findQuarantine finds damaged files. They are as old as their move to quarantine/, which
// does not change the time of their last write.
func (g *Garbage) findQuarantine(before time.Time) error {
	if !g.o.Quarantine {
		return nil
	}
	names, err := g.s.list(filepath.Join(g.s.dir, "quarantine"))
	if err != nil {
		return err
	}
	for _, name := range names {
		p := filepath.Join(g.s.dir, "quarantine", name)
		var st unix.Stat_t
		if err := unix.Lstat(p, &st); err != nil {
			continue
		}
		if moved := time.Unix(st.Ctim.Unix()); moved.Before(before) {
			g.quarantine = append(g.quarantine, item{p, touched(p), sizeOf(p)})
		}
	}
	return nil
}

// sizeOf returns the size of all files under path. What cannot be read counts as empty.
func sizeOf(path string) (n int64) {
	_ = filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if info, err := d.Info(); err == nil {
				n += info.Size()
			}
		}
		return nil
	})
	return n
}
