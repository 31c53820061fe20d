package diskfault

import (
	"bufio"
	"encoding/json"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"
)

// A Store injects faults into a store and the processes that work on it, and records them.
type Store struct {
	R       *rand.Rand
	Dir     string
	Damaged map[string]bool // artifacts, index entries and journals of which a byte was changed
	Counts  map[string]int  // of faults by kind
	asleep  sync.WaitGroup  // stopped processes that are to wake up
}

// NewStore returns a store without faults.
func NewStore(r *rand.Rand, dir string) *Store {
	return &Store{R: r, Dir: dir, Damaged: map[string]bool{}, Counts: map[string]int{}}
}

// Flip changes one byte of a file of the store, each kind of file with the same probability.
func (s *Store) Flip() {
	kind, damaged, ok := flip(s.R, s.Dir)
	for _, name := range damaged {
		s.Damaged[name] = true
	}
	if ok {
		s.Counts["flip in "+kind]++
	}
}

// Stop stops a process, which wakes up after a time.
func (s *Store) Stop(p *os.Process, wakes time.Duration) {
	_ = p.Signal(syscall.SIGSTOP)
	s.asleep.Go(func() {
		time.Sleep(wakes)
		_ = p.Signal(syscall.SIGCONT)
	})
}

// Wait waits until all stopped processes have woken up.
func (s *Store) Wait() { s.asleep.Wait() }

// Twice returns the actions that were started after they had been finished, though no byte of
// them was changed. Journals in which a byte was changed do not count.
func (s *Store) Twice() ([]string, error) {
	type event struct {
		Kind, Action, Output string
		Time                 time.Time
	}
	finished := map[string]event{}
	started := map[string]time.Time{} // last
	files, err := filepath.Glob(filepath.Join(s.Dir, "studies", "*", "events", "*.jsonl"))
	if err != nil {
		return nil, err
	}
	for _, name := range files {
		if s.Damaged[filepath.Base(name)] {
			continue
		}
		file, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		for lines := bufio.NewScanner(file); lines.Scan(); {
			var e event
			if json.Unmarshal(lines.Bytes(), &e) != nil {
				continue
			}
			switch was, ok := finished[e.Action]; {
			case e.Kind == "started" && e.Time.After(started[e.Action]):
				started[e.Action] = e.Time
			case e.Kind == "finished" && (!ok || e.Time.Before(was.Time)):
				finished[e.Action] = e
			}
		}
		file.Close()
	}
	maps.DeleteFunc(finished, func(action string, e event) bool {
		return s.Damaged[action] || s.Damaged[e.Output] || !started[action].After(e.Time)
	})
	return slices.Sorted(maps.Keys(finished)), nil
}
