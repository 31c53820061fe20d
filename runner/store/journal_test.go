package store

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// at is a time of a journal.
func at(seconds int) time.Time { return time.Unix(1000+int64(seconds), 0).UTC() }

func journal(t *testing.T) (*Journal, string) {
	t.Helper()
	s := open(t, scratch(t))
	dir, err := s.ClaimStudy("quickstart", "/m", "xla:cpu")
	if err != nil {
		t.Fatal(err)
	}
	j, err := s.OpenJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j, dir
}

func TestJournal(t *testing.T) {
	j, dir := journal(t)
	a, b := ActionID{1}, ActionID{2}
	var want []Event
	for _, e := range []Event{
		{Kind: Started, Time: at(0), Action: a, Stage: "pretrain", Trial: "0a1b", Worker: 1, Device: "cpu", Backend: "xla:cpu", Versions: "v", CPU: "c"},
		{Kind: Started, Time: at(1), Action: b, Stage: "sample"},
		{Kind: Failed, Time: at(3), Action: a, Error: "out of\nmemory"},
		{Kind: Interrupted, Time: at(4), Action: b},
		{Kind: Started, Time: at(5), Action: a, Stage: "pretrain", Worker: 2},
		{Kind: Finished, Time: at(9), Action: a, Output: "ff"},
		{Kind: Started, Time: at(10), Action: b, Stage: "sample"},
	} {
		if err := j.Append(e); err != nil {
			t.Fatal(err)
		}
		e.Process = j.process
		want = append(want, e)
	}
	got, unread, err := ReadJournal(dir)
	if err != nil || unread != 0 {
		t.Fatalf("%d unread, %v", unread, err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("events mismatch (-want +got):\n%s", d)
	}
	type row struct {
		Stage, Device, Error string
		Worker, Number       int
		Start                time.Time
		Seconds              float64
		Outcome              Outcome
	}
	rows := func(events []Event) (rows []row) {
		for _, a := range Attempts(events) {
			rows = append(rows, row{a.Stage, a.Device, a.Error, a.Worker, a.Number, a.Time, a.Seconds, a.Outcome})
		}
		return rows
	}
	table := []row{
		{"pretrain", "cpu", "out of\nmemory", 1, 1, at(0), 3, OutcomeFailed},
		{"sample", "", "", 0, 1, at(1), 3, OutcomeInterrupted},
		{"pretrain", "", "", 2, 2, at(5), 4, OutcomeOK},
		{"sample", "", "", 0, 2, at(10), 0, OutcomeRunning},
	}
	if d := cmp.Diff(table, rows(got)); d != "" {
		t.Errorf("attempts mismatch (-want +got):\n%s", d)
	}
	// The same from a process that is gone: what never ended was cut off.
	for i := range got {
		got[i].Process = machine() + "-1-1" // process 1 did not start at tick 1
		if startTime(1) == "0" {
			got[i].Process = machine() + "-999999999-1"
		}
	}
	table[3].Outcome = OutcomeInterrupted
	if d := cmp.Diff(table, rows(got)); d != "" {
		t.Errorf("attempts mismatch (-want +got):\n%s", d)
	}
	// A second start without an end between, and an end without a start.
	odd := rows([]Event{got[0], got[4], got[5], got[3]})
	if len(odd) != 3 || odd[0].Outcome != OutcomeInterrupted || odd[1].Outcome != OutcomeOK || odd[1].Number != 2 || odd[2].Outcome != OutcomeInterrupted {
		t.Errorf("attempts %+v", odd)
	}
}

// TestJournalTorn: an incomplete line loses only that line, even if another process
// writes after it.
func TestJournalTorn(t *testing.T) {
	j, dir := journal(t)
	e := Event{Kind: Started, Time: at(0), Action: ActionID{1}}
	for range 2 {
		if err := j.Append(e); err != nil {
			t.Fatal(err)
		}
	}
	name := journalFile(j, dir)
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	line := len(data) / 2
	for cut := 1; cut < line-1; cut++ { // a line begins and ends with an end
		if err := os.WriteFile(name, data[:len(data)-cut], 0o666); err != nil {
			t.Fatal(err)
		}
		if events, unread, err := ReadJournal(dir); err != nil || len(events) != 1 || unread != 1 {
			t.Fatalf("cut %d: %d events, %d unread, %v", cut, len(events), unread, err)
		}
		again, err := (&Store{self: j.process}).OpenJournal(dir)
		if err != nil {
			t.Fatal(err)
		}
		e.Kind = Finished
		if err := again.Append(e); err != nil {
			t.Fatal(err)
		}
		again.Close()
		events, _, err := ReadJournal(dir)
		if err != nil || events[len(events)-1].Kind != Finished {
			t.Fatalf("cut %d: %+v, %v", cut, events, err)
		}
	}
	if events, unread, err := ReadJournal(scratch(t)); err != nil || len(events) != 0 || unread != 0 {
		t.Errorf("no journal: %v, %d, %v", events, unread, err)
	}
	if err := j.Append(Event{Kind: "happened"}); err == nil {
		t.Error("an unknown kind was written")
	}
}

// journalFile is the path of a journal.
func journalFile(j *Journal, dir string) string {
	return filepath.Join(journals(dir), j.process+journalSuffix)
}

// TestJournalsMerge: the events of several processes are merged by time, and those of one
// process keep their order though its clock was set back.
func TestJournalsMerge(t *testing.T) {
	j, dir := journal(t)
	other, err := (&Store{self: "other"}).OpenJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for _, e := range []struct {
		j      *Journal
		at     int
		action byte
	}{{j, 0, 1}, {j, 5, 2}, {other, 3, 3}, {j, 1, 4}, {other, 6, 5}} {
		if err := e.j.Append(Event{Kind: Started, Time: at(e.at), Action: ActionID{e.action}}); err != nil {
			t.Fatal(err)
		}
	}
	write(t, journals(dir), map[string]string{".nfs0001": "{", "folder.jsonl/x": ""})
	events, unread, err := ReadJournal(dir)
	if err != nil || unread != 0 {
		t.Fatalf("%d unread, %v", unread, err)
	}
	var order []byte
	for _, e := range events {
		order = append(order, e.Action[0])
	}
	if want := []byte{1, 3, 2, 4, 5}; !bytes.Equal(order, want) {
		t.Errorf("order %d, want %d", order, want)
	}
}

// TestJournalTogether: lines of several writers do not mix.
func TestJournalTogether(t *testing.T) {
	j, dir := journal(t)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			own, err := (&Store{self: "other"}).OpenJournal(dir)
			if err != nil {
				t.Error(err)
				return
			}
			defer own.Close()
			for range 25 {
				for _, j := range []*Journal{own, j} {
					if err := j.Append(Event{Kind: Started, Time: at(0), Action: ActionID{1}, Error: strings.Repeat("x", 3000)}); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	group.Wait()
	if events, unread, err := ReadJournal(dir); err != nil || len(events) != 200 || unread != 0 {
		t.Errorf("%d events, %d unread, %v", len(events), unread, err)
	}
}

// FuzzReadEvents: any input is read as events and unreadable lines. Every event could
// have been written, and is read again from what it is written as.
func FuzzReadEvents(f *testing.F) {
	f.Add([]byte(`{"kind":"started","time":"2026-01-02T03:04:05Z","action":"` + ActionID{1}.String() + `"}` + "\n{\n\n"))
	f.Add([]byte(`{"kind":"happened"}` + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		events, unread := parseEvents(data)
		if len(events)+unread > bytes.Count(data, []byte("\n"))+1 {
			t.Fatalf("%d events, %d unread", len(events), unread)
		}
		for _, e := range events {
			if !e.Kind.valid() || e.Action.IsZero() || e.Time.IsZero() {
				t.Errorf("event %+v", e)
			}
		}
		for _, a := range Attempts(events) {
			if a.Number < 1 || a.Seconds < 0 || a.Outcome == "" {
				t.Errorf("attempt %+v", a)
			}
		}
	})
}
