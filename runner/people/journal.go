package people

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// An Answer is what a person says of the two sides of a task: "left", "right" or "tie".
type Answer struct {
	Alignment string `json:"alignment"` // which side shows better what the prompt says
	Fidelity  string `json:"fidelity"`  // which side looks more like real pictures
}

func (a Answer) check() error {
	for name, side := range map[string]string{Alignment: a.Alignment, Fidelity: a.Fidelity} {
		if side != Left && side != Right && side != Tie {
			return fmt.Errorf("%s is %q; must be %q, %q or %q", name, side, Left, Right, Tie)
		}
	}
	return nil
}

// What an answer says.
const (
	Left  = "left"
	Right = "right"
	Tie   = "tie"
)

// A record is a line of the file of answers.
type record struct {
	ID      string    `json:"id"`    // which the page makes, so that an answer that is sent twice counts once
	Rater   string    `json:"rater"` // name
	Task    int       `json:"task"`
	Answer  *Answer   `json:"answer"`  // null takes the last answer to the task back
	Seconds float64   `json:"seconds"` // that the person took
	Time    time.Time `json:"time"`
}

const answersFile = "answers.jsonl"

// A journal keeps the answers of a collection. An answer is on the disk when add returns.
type journal struct {
	mu   sync.Mutex
	f    *os.File
	size int64           // of the lines that are on the disk
	ids  map[string]bool // of records
	of   map[place]Given // answers that count

	syncing sync.Mutex // held while the disk writes, and before mu
	written []*written // records after size
}

// A place is a task as a rater answers it.
type place struct {
	rater string
	task  int
}

// Given is an answer that counts.
type Given struct {
	Answer
	Seconds float64
	Time    time.Time
	number  int // of the record, so that the last one is known
}

// openJournal opens the answers in a folder. alone says that the caller writes: then no other process may. A last line
// that was cut off when a computer stopped is removed: its answer was not confirmed to anybody.
func openJournal(dir string, alone bool) (*journal, error) {
	name, flags := filepath.Join(dir, answersFile), os.O_RDONLY
	if alone {
		flags = os.O_RDWR | os.O_CREATE
	}
	f, err := os.OpenFile(name, flags, 0o600)
	j := &journal{f: f, ids: map[string]bool{}, of: map[place]Given{}}
	if errors.Is(err, fs.ErrNotExist) {
		return j, nil // nobody has answered yet
	}
	if err != nil {
		return nil, err
	}
	if alone {
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			return nil, errors.Join(fmt.Errorf("%s is in use: another 'ablate label' serves the same comparison", name), f.Close())
		}
	}
	if err := j.read(name); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if alone {
		if err := f.Truncate(j.size); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		_, err = f.Seek(j.size, io.SeekStart)
	}
	return j, err
}

// read takes the records of the file.
func (j *journal) read(name string) error {
	in := bufio.NewReader(j.f)
	for line := 1; ; line++ {
		text, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		var r record
		d := json.NewDecoder(bytes.NewReader(text))
		d.DisallowUnknownFields()
		if err := d.Decode(&r); err != nil {
			return fmt.Errorf("%s:%d: it is no answer: %w: correct the line, or move the file away to begin again", name, line, err)
		}
		if r.Answer != nil {
			if err := r.Answer.check(); err != nil {
				return fmt.Errorf("%s:%d: %w", name, line, err)
			}
		}
		j.take(r)
		j.size += int64(len(text))
	}
}

// take makes a record count.
func (j *journal) take(r record) {
	at := place{r.Rater, r.Task}
	if j.ids[r.ID] = true; r.Answer == nil {
		delete(j.of, at)
		return
	}
	j.of[at] = Given{*r.Answer, r.Seconds, r.Time, len(j.ids)}
}

// add writes a record and waits for the disk. A record that is there already is not written again. After an error the file
// is as it was before. Records that arrive while the disk writes wait for it together, once.
func (j *journal) add(r record) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	p, err := j.write(r, append(text, '\n'))
	if err != nil || p == nil {
		return err
	}
	j.syncing.Lock()
	defer j.syncing.Unlock()
	j.mu.Lock()
	batch := slices.Clone(j.written)
	done := p.done
	j.mu.Unlock()
	if done {
		return p.err
	}
	err = j.f.Sync()
	j.mu.Lock()
	defer j.mu.Unlock()
	if err != nil {
		batch = j.written // those that were written meanwhile go, too
		err = errors.Join(err, j.cut())
	}
	for _, x := range batch {
		if x.done, x.err = true, err; err == nil {
			j.size += x.size
			j.take(x.r)
		}
	}
	j.written = j.written[len(batch):]
	return err
}

// A written record is in the file, and perhaps not on the disk yet.
type written struct {
	r    record
	size int64
	done bool
	err  error
}

// write appends a line, and returns nil for a record that is on the disk already.
func (j *journal) write(r record, text []byte) (*written, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.ids[r.ID] {
		return nil, nil
	}
	for _, x := range j.written {
		if x.r.ID == r.ID {
			return x, nil
		}
	}
	if _, err := j.f.Write(text); err != nil {
		end := j.size
		for _, x := range j.written {
			end += x.size
		}
		_, seek := j.f.Seek(end, io.SeekStart)
		return nil, errors.Join(err, j.f.Truncate(end), seek)
	}
	x := &written{r: r, size: int64(len(text))}
	j.written = append(j.written, x)
	return x, nil
}

// cut removes what is not on the disk.
func (j *journal) cut() error {
	_, err := j.f.Seek(j.size, io.SeekStart)
	return errors.Join(err, j.f.Truncate(j.size))
}

// given returns the answer to a task by a rater, if it counts.
func (j *journal) given(rater string, task int) (Given, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	g, ok := j.of[place{rater, task}]
	return g, ok
}

// last returns the task that a rater has answered last, and false where there is none.
func (j *journal) last(rater string) (task int, ok bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	at := 0
	for p, g := range j.of {
		if p.rater == rater && g.number > at {
			task, at, ok = p.task, g.number, true
		}
	}
	return task, ok
}

func (j *journal) close() error {
	if j.f == nil {
		return nil
	}
	return j.f.Close()
}
