package store

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// FuzzEntry: an entry that is parsed encodes to the same bytes, and belongs to its key.
func FuzzEntry(f *testing.F) {
	key, _ := sample()
	e := Entry{Action: key.ID(), Output: OutputID{7}, Files: 3, Bytes: 12, Key: key.Text()}
	f.Add(e.encode())
	f.Add(Entry{}.encode())
	f.Add([]byte(entryFormat + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := parseEntry(data)
		if err == nil && (!bytes.Equal(e.encode(), data) || e.Action != sumOf(e.Key)) {
			t.Errorf("read %+v", e)
		}
	})
}

// FuzzKey: a key that is parsed has the same text, so a text is always parsed to the same
// key.
func FuzzKey(f *testing.F) {
	key, _ := sample()
	f.Add(key.Text())
	f.Add(Key{Stage: "a\nb", Lines: []string{`"`, "x \xff"}, Inputs: []Input{{"\t", OutputID{1}}}}.Text())
	f.Add(keyFormat + "\nstage \nrevision 0\nbackend \n")
	f.Fuzz(func(t *testing.T, text string) {
		k, err := ParseKey(text)
		if err == nil && k.Text() != text {
			t.Errorf("read %+v", k)
		}
		k = Key{Stage: text, Lines: []string{text}, Inputs: []Input{{Name: text}}, Backend: text}
		if back, err := ParseKey(k.Text()); err != nil || canonical(back) != canonical(k) {
			t.Errorf("%+v is read as %+v, %v", k, back, err)
		}
	})
}

// FuzzManifest: a manifest that is parsed encodes to the same bytes, and no path leads
// out of the folder.
func FuzzManifest(f *testing.F) {
	f.Add(manifest{{path: "a/b", size: 3, sum: sumOf("abc")}, {path: "c\n\xff", sum: sumOf("")}}.encode())
	f.Add(manifest{}.encode())
	f.Add(manifest{{path: "../a"}}.encode())
	f.Add(manifest{{path: "b"}, {path: "a"}}.encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := parseManifest(data)
		if err != nil {
			return
		}
		if !bytes.Equal(m.encode(), data) {
			t.Errorf("read %+v", m)
		}
		for _, file := range m {
			if !safePath(file.path) {
				t.Errorf("path %q", file.path)
			}
		}
	})
}

func TestParseManifestRefuses(t *testing.T) {
	good := manifest{{path: "a", size: 1, sum: sumOf("a")}, {path: "b", size: 1, sum: sumOf("b")}}
	if m, err := parseManifest(good.encode()); err != nil || len(m) != 2 || m.bytes() != 2 {
		t.Fatalf("got %v, %v", m, err)
	}
	for name, bad := range map[string]manifest{
		"outside": {{path: "../a"}}, "absolute": {{path: "/a"}}, "itself": {{path: "."}}, "empty": {{path: ""}},
		"not clean": {{path: "a//b"}}, "twice": {{path: "a"}, {path: "a"}}, "unsorted": {{path: "b"}, {path: "a"}},
		"negative": {{path: "a", size: -1}}, "nul": {{path: "a\x00"}},
	} {
		if _, err := parseManifest(bad.encode()); err == nil {
			t.Errorf("%s was read", name)
		}
	}
}

func FuzzStudy(f *testing.F) {
	f.Add([]byte(`{"study":"first","root":"/m","backend":"xla:cpu"}`))
	f.Add([]byte(`{"study":1}`))
	f.Add([]byte(""))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, studyFile), data, 0o666); err != nil {
			t.Fatal(err)
		}
		if st, err := ReadStudy(dir); err != nil && st != (Study{}) {
			t.Errorf("%+v beside %v", st, err)
		}
	})
}
