package store

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestFailure: a failure is recorded until it is to be retried; the last one counts, and a
// damaged record is none.
func TestFailure(t *testing.T) {
	s := open(t, scratch(t))
	a, b := ActionID{1}, ActionID{2}
	if _, ok := s.Failed(a); ok {
		t.Error("a failure in an empty store")
	}
	first := Failure{Action: a, Stage: "finetune", View: "all data@1", Class: "lost", Error: "first", Time: at(2)}
	second := Failure{Action: a, Stage: "finetune", View: "all data@1", Class: "memory", Error: "second " + strings.Repeat("x", 2*mostError), Tail: strings.Repeat("y", 2*mostTail) + " end", Attempts: 3, Time: at(3), Build: "b"}
	other := Failure{Action: b, Stage: "draw", Class: "error", Error: "it\nfailed", Time: at(1)}
	for _, f := range []Failure{first, second, other} {
		if err := s.Fail(f); err != nil {
			t.Fatal(err)
		}
	}
	second.Process, other.Process = s.self, s.self
	second.Error, second.Tail = second.Error[:mostError], second.Tail[len(second.Tail)-mostTail:]
	all, err := open(t, s.Dir()).Failures()
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]Failure{other, second}, all); d != "" {
		t.Errorf("failures (-want +got):\n%s", d)
	}
	if left, _ := s.list(s.Dir() + "/tmp"); len(left) > 0 {
		t.Errorf("left %q", left)
	}
	for range 2 {
		if err := s.Retry(b); err != nil {
			t.Error(err)
		}
	}
	overwriteAs := func(text string) {
		if err := os.Chmod(s.failed(a), 0o666); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(s.failed(a), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for _, text := range []string{"", "{", "{}", `{"action":"` + b.String() + `","class":"x","error":"y"}`, strings.Repeat(" ", mostFailure+1)} {
		overwriteAs(text)
		if f, ok := s.Failed(a); ok {
			t.Errorf("%.40q is read as %+v", text, f)
		}
	}
	if all, err := s.Failures(); err != nil || len(all) != 0 {
		t.Errorf("%+v, %v", all, err)
	}
}

func FuzzParseFailure(f *testing.F) {
	f.Add([]byte(`{"action":"` + ActionID{1}.String() + `","class":"lost","error":"e","time":"2026-01-02T03:04:05Z"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if got, err := parseFailure(data); err == nil && (got.Action.IsZero() || got.Class == "" || got.Error == "") {
			t.Errorf("%+v", got)
		}
	})
}
