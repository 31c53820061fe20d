package engine

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"ablate/models/checkpoint"
)

func put(t *testing.T, name, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return name
}

func safetensors(header, data string) string {
	var size [8]byte
	binary.LittleEndian.PutUint64(size[:], uint64(len(header)))
	return string(size[:]) + header + data
}

// TestSeal: equal tensors have equal bytes, whatever the order of the header is.
func TestSeal(t *testing.T) {
	const a, b = `"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}`, `"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}`
	const meta, atem = `"__metadata__":{"x":"1","<":"é"}`, `"__metadata__":{"<":"é","x":"1"}`
	var sealed []string
	for _, header := range []string{"{" + a + "," + b + "," + meta + "}", "{" + atem + "," + b + "," + a + "}   ", "{ " + b + "," + a + "," + meta + "}"} {
		dir := t.TempDir()
		name := put(t, filepath.Join(dir, "checkpoint", "w.safetensors"), safetensors(header, "12345678"))
		files, err := Seal(t.Context(), dir)
		if err != nil || len(files) != 1 || files[0].Path != "checkpoint/w.safetensors" || files[0].Written != int64(8+len(header)+8) {
			t.Fatalf("%+v, %v", files, err)
		}
		text, err := os.ReadFile(name)
		if err != nil || int64(len(text)) != files[0].Size {
			t.Fatalf("%d bytes, want %d; %v", len(text), files[0].Size, err)
		}
		sealed = append(sealed, string(text))
		tensors, err := checkpoint.ReadFile(name)
		if err != nil || string(tensors["b"].Data) != "5678" {
			t.Errorf("%v, %v", tensors, err)
		}
	}
	if sealed[0] != sealed[1] || sealed[0] != sealed[2] {
		t.Errorf("%q", sealed)
	}
	for want, make := range map[string]func(dir string) error{
		"out/l is a link":        func(dir string) error { return os.Symlink("/etc/passwd", filepath.Join(dir, "l")) },
		"out/f is not a regular": func(dir string) error { return syscall.Mkfifo(filepath.Join(dir, "f"), 0o666) },
		"out/a b: the name must": func(dir string) error { return os.WriteFile(filepath.Join(dir, "a b"), nil, 0o666) },
		"out/.x: the name must":  func(dir string) error { return os.Mkdir(filepath.Join(dir, ".x"), 0o777) },
		"more than 8 levels":     func(dir string) error { return os.MkdirAll(filepath.Join(dir, "1/2/3/4/5/6/7/8/9"), 0o777) },
		"it has no header":       func(dir string) error { return os.WriteFile(filepath.Join(dir, "w.safetensors"), []byte("abc"), 0o666) },
		"not a whole safetensors": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "w.safetensors"), []byte(safetensors("{}", "")[:9]), 0o666)
		},
		"header is not valid": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "w.safetensors"), []byte(safetensors("{]", "")), 0o666)
		},
		"hard link": func(dir string) error {
			name := filepath.Join(t.TempDir(), "x")
			if err := os.WriteFile(name, nil, 0o666); err != nil {
				return err
			}
			return os.Link(name, filepath.Join(dir, "x"))
		},
	} {
		dir := t.TempDir()
		if err := make(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := Seal(t.Context(), dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

func FuzzSortHeader(f *testing.F) {
	f.Add([]byte(safetensors(`{"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":1}`, "1234")))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		name := filepath.Join(dir, "x.safetensors")
		if err := os.WriteFile(name, data, 0o666); err != nil {
			t.Fatal(err)
		}
		n, err := sortHeader(name)
		if err != nil {
			return
		}
		once, _ := os.ReadFile(name)
		again, err := sortHeader(name)
		twice, _ := os.ReadFile(name)
		if err != nil || again != n || int64(len(once)) != n || !bytes.Equal(once, twice) {
			t.Errorf("sorted again: %d bytes and then %d, %v", n, again, err)
		}
	})
}

func picture(t *testing.T, name string) []byte {
	t.Helper()
	if err := drawPicture(name, 1); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestPNG: a picture has 8 bits of red, green and blue, and is whole.
func TestPNG(t *testing.T) {
	name := filepath.Join(t.TempDir(), "p.png")
	whole := picture(t, name)
	if w, h, err := checkPNG(name); w != 64 || h != 64 || err != nil {
		t.Errorf("%d×%d, %v", w, h, err)
	}
	for i := range whole {
		if err := os.WriteFile(name, whole[:i], 0o666); err != nil {
			t.Fatal(err)
		}
		if _, _, err := checkPNG(name); err == nil {
			t.Fatalf("the first %d of %d bytes are a whole picture", i, len(whole))
		}
		turned := bytes.Clone(whole)
		turned[i] ^= 4
		if err := os.WriteFile(name, turned, 0o666); err != nil {
			t.Fatal(err)
		}
		if _, _, err := checkPNG(name); err == nil {
			t.Fatalf("byte %d of %d can change", i, len(whole))
		}
	}
}

func FuzzCheckPNG(f *testing.F) {
	dir := f.TempDir()
	name := filepath.Join(dir, "p.png")
	if err := drawPicture(name, 1); err != nil {
		f.Fatal(err)
	}
	b, _ := os.ReadFile(name)
	f.Add(b)
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(name, data, 0o666); err != nil {
			t.Fatal(err)
		}
		if w, h, err := checkPNG(name); err == nil && (w < 1 || h < 1 || w > mostSide || h > mostSide) {
			t.Errorf("%d×%d", w, h)
		}
	})
}

// TestRows: what is wrong with the rows of an output is found.
func TestRows(t *testing.T) {
	want := []Row{{Index: 0}, {Index: 1}}
	columns := map[string]Column{"x": {Kind: "real"}, "ok": {Kind: "verdict"}}
	row := func(i int, x, ok string) string {
		return fmt.Sprintf(`{"index": %d, "values": {"x": %s, "ok": %s}}`+"\n", i, x, ok)
	}
	for text, wrong := range map[string]string{
		row(0, "1", `"good"`) + row(1, "-2.5e3", `"skip"`):                "",
		row(0, "1", `"good"`) + `{"index": 1, "error": "safety checker"}`: "",
		row(0, "1", `"good"`):                                                 "out/scores: rows.jsonl: it has 1 rows, and the input 2: the row of index 1 is missing",
		row(1, "1", `"good"`) + row(0, "1", `"good"`):                         "rows.jsonl:1: index 1; must be 0",
		row(0, "1", `"good"`) + row(1, "1", `"good"`) + row(2, "1", `"good"`): "rows.jsonl:3: index 2: the input has 2 rows only",
		row(0, "NaN", `"good"`):                                               "invalid character",
		row(0, "1e999", `"good"`):                                             "column x: 1e999; must be a finite number",
		row(0, `"1"`, `"good"`):                                               `column x: "1"; must be a finite number`,
		row(0, "null", `"good"`):                                              "column x: null; must be a finite number",
		row(0, "1", `"fine"`):                                                 `column ok: "fine"; must be "good", "bad" or "skip"`,
		`{"index": 0, "values": {"x": 1}}`:                                    "column ok is missing",
		`{"index": 0, "values": {"x": 1, "ok": "good", "y": 1}}`:              `unknown column "y"; the description has ok, x`,
		`{"index": 0, "values": {"x": 1, "ok": "` + strings.Repeat("a", mostLine) + `"}}`: "rows.jsonl:1: bufio.Scanner: token too long",
	} {
		dir := filepath.Join(t.TempDir(), "scores")
		put(t, filepath.Join(dir, rowsFile), text)
		got, err := ReadScores(dir, want, columns)
		if wrong == "" && (err != nil || got["x"][0].Number != 1 || got["ok"][0].Verdict != "good" || got["x"][1].Number != -2500 && got["x"][1].Error == "") ||
			wrong != "" && (err == nil || !strings.Contains(err.Error(), wrong)) {
			t.Errorf("%.200s: %v, error %v, want %s", text, got, err, wrong)
		}
	}
	for text, wrong := range map[string]string{
		`{"step": 1, "loss": 0.5}` + "\n" + `{"step": 3, "loss": 0.25, "x.y": 1}`: "",
		`{"step": 2, "loss": 0.5}` + "\n" + `{"step": 2, "loss": 0.25}`:           "rows.jsonl:2: step 2 comes after step 2",
		`{"loss": 0.5}`:              "step is 0; must be a whole number from 1",
		`{"step": 1, "loss": "low"}`: "a line has numbers only",
		``:                           "rows.jsonl is empty: a training",
	} {
		dir := filepath.Join(t.TempDir(), "curves")
		put(t, filepath.Join(dir, rowsFile), text)
		if got, err := ReadCurve(dir); wrong == "" && (err != nil || len(got) != 2 || got[1].Step != 3 || got[1].Metrics["x.y"] != 1) || wrong != "" && (err == nil || !strings.Contains(err.Error(), wrong)) {
			t.Errorf("%s: %v, error %v, want %s", text, got, err, wrong)
		}
	}
}

func FuzzRows(f *testing.F) {
	f.Add([]byte(`{"index": 0, "values": {"x": 1}}` + "\n" + `{"index": 1, "error": "no"}`))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(filepath.Join(dir, rowsFile), data, 0o666); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadScores(dir, []Row{{Index: 0}, {Index: 1}}, map[string]Column{"x": {Kind: "real"}}); err == nil && len(got["x"]) != 2 {
			t.Errorf("%v", got)
		}
		if got, err := ReadCurve(dir); err == nil && len(got) == 0 {
			t.Error("a curve without points")
		}
		_, _ = ReadPictures(dir, []Row{{Index: 0}})
	})
}

func FuzzParseResult(f *testing.F) {
	f.Add([]byte(`{"protocol": 1, "status": "ok", "outputs": {"images": {"files": 1, "bytes": 2}}, "resolved": {"a": {"b": 1}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if r, err := ParseResult(data); err == nil {
			if _, err := json.Marshal(r); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestLog: a log keeps its beginning and its end, and of a progress bar its last state.
func TestLog(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	l := newLog(f)
	l.write([]byte("first\n10%\r50%\r100%\r\nnext"))
	l.write([]byte(" line\n"))
	for i := range 150_000 {
		l.write(fmt.Appendf(nil, "%06d %s\n", i, strings.Repeat("x", 72)))
	}
	l.write([]byte("last"))
	if got := l.tail(); !strings.HasSuffix(got, "\n  last") || strings.Count(got, "\n") != 12 {
		t.Errorf("tail %q", got)
	}
	l.close()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	if !strings.HasPrefix(text, "first\n100%\nnext line\n000000 x") || !strings.HasSuffix(text, "x\nlast\n") || !strings.Contains(text, " bytes are left out]\n") || len(text) < 4<<20 || len(text) > 6<<20 {
		t.Errorf("a log of %d bytes, which begins with %.60q", len(text), text)
	}
}
