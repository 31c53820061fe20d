package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// Live is what a running process says about itself in live/PROCESS, for other processes
// and for people.
type Live struct {
	Process string    `json:"process"` // name of the process
	Host    string    `json:"host"`
	PID     int       `json:"pid"`
	Job     string    `json:"job,omitempty"` // job of a cluster's scheduler, such as "slurm 12_3"
	Study   string    `json:"study"`         // name of the study's folder below studies/
	Started time.Time `json:"started"`
	Slots   int       `json:"slots,omitempty"` // number of actions that it computes at a time

	Finished int           `json:"finished"` // number of actions with an outcome, of Total
	Total    int           `json:"total"`
	Ran      int           `json:"ran"`     // number of actions that this process has computed
	Failed   int           `json:"failed"`  // number of actions that failed in this process
	Actions  []LiveAction  `json:"actions"` // what it computes now
	Age      time.Duration `json:"-"`       // time since the last heartbeat, by the clock of the file server
	Stale    bool          `json:"-"`       // the process has ended, or has missed so many heartbeats that others take its claims
}

// LiveAction is an action that a process computes.
type LiveAction struct {
	Action ActionID  `json:"action"`
	Name   string    `json:"name"` // structural name
	Stage  string    `json:"stage"`
	View   string    `json:"view,omitempty"` // row and seed of the first trial that needs it
	Since  time.Time `json:"since"`
	Reached
	Rate float64 `json:"rate,omitempty"` // steps a second, lately; 0 if it is not known

	seen []reached // of the last rateTime
}

// Reached is how far an action is.
type Reached struct {
	Step      int      `json:"step,omitempty"`
	Total     int      `json:"total,omitempty"`     // number of steps; 0 if it is not known
	Unit      string   `json:"unit,omitempty"`      // what is counted instead of steps of a training, such as images
	Compiling bool     `json:"compiling,omitempty"` // a computation is being compiled, which may take minutes
	Metrics   []Metric `json:"metrics,omitempty"`   // of a training, at the last point of its curve, the loss first
}

// Metric is the value of a metric of a training.
type Metric struct {
	Name  string   `json:"name"`
	Value *float64 `json:"value"` // null if it is not finite, because the training has diverged
}

// reached is a step at the time at which it was reported.
type reached struct {
	step int
	at   time.Time
}

// rateTime is the time over which Rate is measured: long enough for a few steps, short
// enough that the rate follows a machine that others use too.
const rateTime = 20 * time.Second

// Advance records how far the action is. Compilations do not lower Rate.
func (a *LiveAction) Advance(now time.Time, r Reached) {
	if r.Compiling || a.Compiling || r.Step < a.Step || r.Total != a.Total {
		a.seen, a.Rate = nil, 0
	}
	if r.Metrics == nil {
		r.Metrics = a.Metrics
	}
	a.Reached = r
	a.seen = append(a.seen, reached{r.Step, now})
	for len(a.seen) > 2 && now.Sub(a.seen[1].at) >= rateTime {
		a.seen = a.seen[1:]
	}
	first := a.seen[0]
	if d := now.Sub(first.at).Seconds(); d > 0 {
		a.Rate = float64(r.Step-first.step) / d
	}
}

// lease is the time without a heartbeat after which a process has lost its claims. A file
// server may be slow for some seconds, but not for a minute. ABLATE_LEASE sets another one.
const lease = time.Minute

// A process has thirty heartbeats in a lease. Another process must be seen to miss
// leastSeen of them, by the clock of this one, before it is taken for dead, so that a jump
// of the file server's clock alone ends no lease.
const (
	beats     = 30
	leastSeen = 3
)

// newsPerBeat is how often in the time of a heartbeat a change may be written.
const newsPerBeat = 4

// leaseTime returns the lease that the environment sets, or the usual one.
func leaseTime() (time.Duration, error) {
	text := os.Getenv("ABLATE_LEASE")
	if text == "" {
		return lease, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < time.Second {
		return 0, fmt.Errorf("ABLATE_LEASE is %q: set a duration of at least 1s, such as 60s, after which others take over the work of a process that is silent", text)
	}
	return d, nil
}

// Presence is the announcement of this process in a store. While it is open, the process
// is alive for others, and may claim actions.
type Presence struct {
	s     *Store
	owner string // file with the name of this process, to which claims are links
	quit  chan struct{}
	done  sync.WaitGroup

	mu   sync.Mutex
	live Live
	f    *os.File
	size int // of the longest text that was written

	changed bool // live is not what was written last

	held map[ActionID]bool // actions that this process has claimed and not released

	beat   time.Time // of the last heartbeat, by the file server's clock
	beaten time.Time // the same moment by the clock of this process
	seen   map[string]sighting
}

// sighting is what this process has seen of another one.
type sighting struct {
	beat  time.Time // its last heartbeat; zero if it has no file
	since time.Time // when that was first seen
}

// Announce announces this process and keeps the announcement fresh until Close. Process,
// Host, PID and Started of l are set. A store has one presence of a process at a time.
func (s *Store) Announce(l Live) (*Presence, error) {
	if err := s.prepare(); err != nil {
		return nil, err
	}
	for _, dir := range []string{"live", "claims"} {
		if err := s.mkdir(filepath.Join(s.dir, dir)); err != nil {
			return nil, s.fail(err)
		}
	}
	l.Process, l.PID, l.Started = s.self, os.Getpid(), time.Now()
	l.Host, _ = os.Hostname() // an empty name does no harm
	p := &Presence{s: s, owner: s.tempName(), live: l, quit: make(chan struct{}), held: map[ActionID]bool{}, seen: map[string]sighting{}}
	if err := errors.Join(writeNew(p.owner, []byte(s.self), s.shared()), p.write()); err != nil {
		return nil, s.fail(err)
	}
	p.done.Go(func() {
		tick := time.NewTicker(s.heartbeat() / newsPerBeat)
		defer tick.Stop()
		for i := 1; ; i++ {
			select {
			case <-p.quit:
				return
			case <-tick.C:
				if i%newsPerBeat == 0 || p.news() {
					_ = p.write() // the next one may succeed; until then the announcement ages
				}
			}
		}
	})
	return p, nil
}

// Update changes what the process says about itself, which is written soon.
func (p *Presence) Update(change func(*Live)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.live)
	p.changed = true
}

// news reports whether something has changed that is not written yet.
func (p *Presence) news() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.changed
}

// Close removes the announcement. Claims must have been released before.
func (p *Presence) Close() error {
	close(p.quit)
	p.done.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	var err error
	if p.f != nil {
		err = p.f.Close()
	}
	return p.s.fail(errors.Join(err, remove(p.path()), remove(p.owner)))
}

func (p *Presence) path() string { return p.s.live(p.s.self) }

func (s *Store) live(process string) string { return filepath.Join(s.dir, "live", process) }

// write writes the announcement, which is a heartbeat. It overwrites the same file, so
// that a reader on another machine, who opens it, gets its true time from a network file
// system.
func (p *Presence) write() (err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.f != nil && !named(p.f, p.path()) { // somebody has removed it
		p.f.Close()
		p.f = nil
	}
	if p.f == nil {
		if p.f, err = os.OpenFile(p.path(), os.O_RDWR|os.O_CREATE, 0o644); err != nil {
			p.f = nil
			return err
		}
		if share := p.s.shared() & 0o044; share != 0 {
			_ = p.f.Chmod(0o600 | share)
		}
	}
	p.changed = false
	text, err := json.Marshal(p.live)
	if err != nil {
		return err
	}
	p.size = max(p.size, len(text)+1)
	block := append(text, bytes.Repeat([]byte{' '}, p.size-len(text))...) // what is left of a longer text
	block[p.size-1] = '\n'
	if _, err = p.f.WriteAt(block, 0); err != nil {
		return err
	}
	info, err := p.f.Stat()
	if err == nil {
		p.beat, p.beaten = info.ModTime(), time.Now()
	}
	return err
}

// named reports whether an open file still has a name.
func named(f *os.File, name string) bool {
	now, err := os.Stat(name)
	if err != nil {
		return !absent(err)
	}
	mine, err := f.Stat()
	return err == nil && os.SameFile(now, mine)
}

// remove removes a file if it exists.
func remove(name string) error {
	if err := os.Remove(name); !absent(err) {
		return err
	}
	return nil
}

// look reads the announcement of a process. If it has none, the text is empty and the
// time zero.
func (s *Store) look(process string) (text []byte, beat time.Time, err error) {
	f, err := os.Open(s.live(process))
	if absent(err) {
		return nil, time.Time{}, nil
	}
	if err != nil {
		return nil, time.Time{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, time.Time{}, err
	}
	if !info.Mode().IsRegular() || info.Size() > mostText {
		return nil, time.Time{}, fmt.Errorf("%s is %w of the store", s.live(process), errNoFile)
	}
	text = make([]byte, info.Size())
	n, err := f.ReadAt(text, 0)
	if n < len(text) && err != nil {
		text = nil // the next look may succeed; the time counts
	}
	return text, info.ModTime(), nil
}

// lost reports whether a process has lost its claims: it has ended, as far as this
// machine knows, or has had no heartbeat for a lease.
func (p *Presence) lost(process string) bool {
	var beat time.Time
	if isProcess(process) {
		if dead(process + "-x") {
			return true
		}
		var err error
		if _, beat, err = p.s.look(process); err != nil {
			return false
		}
		if p.s.cached != nil {
			beat = p.s.cached(process, beat)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	was, known := p.seen[process]
	if !known || !was.beat.Equal(beat) {
		p.seen[process] = sighting{beat, time.Now()}
		return false
	}
	watched := time.Since(was.since)
	if watched > p.s.lease {
		return true
	}
	return !beat.IsZero() && watched >= leastSeen*p.s.heartbeat() && p.now().Sub(beat) > p.s.lease
}

func (s *Store) heartbeat() time.Duration { return s.lease / beats }

// now returns the time of the file server.
func (p *Presence) now() time.Time { return p.beat.Add(time.Since(p.beaten)) }

// Live returns the announcements of all processes that use the store, the earliest start
// first. Those of dead processes, which a later run removes, are marked Stale. Ages are
// measured by the clock of this machine, which may differ from the file server's.
func (s *Store) Live() ([]Live, error) {
	names, err := s.list(filepath.Join(s.dir, "live"))
	if err != nil {
		return nil, err
	}
	var all []Live
	for _, name := range names {
		text, beat, err := s.look(name)
		if err != nil || beat.IsZero() {
			continue
		}
		l := Live{Process: name}
		_ = json.Unmarshal(text, &l) // what is torn is read at the next look
		l.Process, l.Age = name, time.Since(beat)
		l.Stale = dead(name+"-x") || l.Age > s.lease
		all = append(all, l)
	}
	slices.SortStableFunc(all, func(a, b Live) int { return a.Started.Compare(b.Started) })
	return all, nil
}
