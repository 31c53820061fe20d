package checkpoint

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// TestPending: a prepared file has the bytes of Encode, with those that were set later. The
// earlier file is there until it is published, and also after it was aborted or failed.
func TestPending(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state")
	earlier := map[string]Tensor{"a": Bytes([]byte("old"), 3)}
	if err := WriteFile(path, earlier); err != nil {
		t.Fatal(err)
	}
	want := map[string]Tensor{"a": Floats([]float32{1, 2}, 2), "b": Bytes([]byte("digest"), 6), "c": Floats(nil, 0)}
	given := sources(want)
	given["b"] = Source{"U8", []int{6}, func(w io.Writer) error { _, err := w.Write(make([]byte, 6)); return err }}
	holds := func(want map[string]Tensor) {
		t.Helper()
		var b bytes.Buffer
		if err := Encode(&b, want); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, b.Bytes()) {
			t.Errorf("the file has %q, want %q; %v", got, b.Bytes(), err)
		}
	}
	alone := func() {
		t.Helper()
		if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
			t.Errorf("%v are left; %v", files, err)
		}
	}
	prepare := func() *Pending {
		t.Helper()
		p, err := Prepare(path, given)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	p := prepare()
	holds(earlier)
	if err := p.Abort(); err != nil {
		t.Error(err)
	}
	alone()
	full := errors.New("full")
	for name, write := range map[string]func(io.Writer) error{
		"fails":             func(io.Writer) error { return full },
		"writes too little": func(w io.Writer) error { _, err := w.Write([]byte("12345")); return err },
		"writes too much":   func(w io.Writer) error { _, err := w.Write([]byte("1234567")); return err },
	} {
		if _, err := Prepare(path, map[string]Source{"b": {"U8", []int{6}, write}}); err == nil || name == "fails" && !errors.Is(err, full) {
			t.Errorf("a source that %s: %v", name, err)
		}
		alone()
	}
	holds(earlier)
	p = prepare()
	for name, b := range map[string]string{"b": "longer than 6", "none": ""} {
		if err := p.Set(name, []byte(b)); err == nil {
			t.Errorf("tensor %q is set to %q", name, b)
		}
	}
	if err := p.Set("b", []byte("digest")); err != nil {
		t.Fatal(err)
	}
	holds(earlier)
	if err := p.Publish(); err != nil {
		t.Fatal(err)
	}
	holds(want)
	alone()
}
