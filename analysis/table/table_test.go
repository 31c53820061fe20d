package table_test

import (
	"bytes"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ablate/analysis/table"
)

func sample() *table.Table {
	return &table.Table{Meta: map[string]string{"study": "quickstart", "schema": "1"}, Columns: []*table.Column{
		{Name: "arm", Kind: table.String, Strings: []string{"a", "b <i>", "ü, \"q\""}, Doc: "row"},
		{Name: "alignment", Kind: table.Float, Floats: []float64{.5, 0, -1e-300}, Valid: []bool{true, false, true}, Unit: "share", Better: "higher", Assume: "normal"},
		{Name: "n", Kind: table.Int, Ints: []int64{1, 1 << 60, -2}},
		{Name: "control", Kind: table.Bool, Bools: []bool{true, false, true}},
		{Name: "start", Kind: table.Time, Times: []time.Time{time.UnixMicro(1).UTC(), time.UnixMicro(0).UTC(), time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)}},
	}}
}

func TestRoundTrip(t *testing.T) {
	for name, tab := range map[string]*table.Table{
		"full":    sample(),
		"no rows": {Meta: map[string]string{}, Columns: []*table.Column{{Name: "x", Kind: table.Float}}},
	} {
		path := filepath.Join(t.TempDir(), "t.arrow")
		if err := table.WriteFile(path, tab); err != nil {
			t.Fatal(err)
		}
		got, err := table.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(tab, got); d != "" {
			t.Errorf("%s: mismatch (-want +got):\n%s", name, d)
		}
		var a, b bytes.Buffer
		if err := table.Write(&a, tab); err != nil {
			t.Fatal(err)
		}
		if err := table.Write(&b, got); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a.Bytes(), b.Bytes()) {
			t.Errorf("%s: written again it has other bytes", name)
		}
	}
}

func TestCheck(t *testing.T) {
	bad := sample()
	bad.Columns[2].Ints = bad.Columns[2].Ints[:2]
	if err := table.Write(&bytes.Buffer{}, bad); err == nil || !strings.Contains(err.Error(), `"n"`) {
		t.Errorf("a short column is accepted: %v", err)
	}
	bad = sample()
	bad.Columns[4].Kind = 9
	if err := table.Write(&bytes.Buffer{}, bad); err == nil || !strings.Contains(err.Error(), `"start"`) {
		t.Errorf("a column of no kind is accepted: %v", err)
	}
}

func TestDamagedFile(t *testing.T) {
	var b bytes.Buffer
	if err := table.Write(&b, sample()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "trials.arrow")
	for _, cut := range []int{0, 7, b.Len() / 2, b.Len() - 3} {
		if err := os.WriteFile(path, b.Bytes()[:cut], 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := table.ReadFile(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("cut at %d: %v, want an error that names the file", cut, err)
		}
	}
}

// TestFlippedBytes damages each byte in turn: whatever a file states of itself,
// reading it neither panics nor takes memory beyond what the file's size allows.
func TestFlippedBytes(t *testing.T) {
	var b bytes.Buffer
	if err := table.Write(&b, sample()); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	for i := range b.Bytes() {
		for _, flip := range []byte{1, 8, 0x20, 0x7f, 0x80, 0xff} {
			in := bytes.Clone(b.Bytes())
			in[i] ^= flip
			runtime.ReadMemStats(&before)
			tab, err := table.Read(in)
			runtime.ReadMemStats(&after)
			if took := after.TotalAlloc - before.TotalAlloc; took > 16<<20 {
				t.Fatalf("byte %d ^ %#x: reading %d bytes took %d", i, flip, len(in), took)
			}
			if err == nil {
				if err := table.Write(io.Discard, tab); err != nil {
					t.Errorf("byte %d ^ %#x: read but cannot be written: %v", i, flip, err)
				}
			}
		}
	}
}

func TestText(t *testing.T) {
	tab := sample()
	tab.Columns[1].Floats[0] = math.Inf(1)
	var b bytes.Buffer
	if err := table.CSV(&b, tab); err != nil {
		t.Fatal(err)
	}
	want := "arm,alignment,n,control,start\na,+Inf,1,true,1970-01-01T00:00:00.000001Z\nb <i>,,1152921504606846976,false,1970-01-01T00:00:00Z\n\"ü, \"\"q\"\"\",-1e-300,-2,true,2026-01-02T03:04:05.000006Z\n"
	if d := cmp.Diff(want, b.String()); d != "" {
		t.Errorf("CSV mismatch (-want +got):\n%s", d)
	}
	b.Reset()
	if err := table.JSON(&b, tab); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), `{"arm": "a", "alignment": null, "n": 1,`) {
		t.Errorf("JSON: %s", b.String())
	}
}

// Python is a Python with pyarrow: ABLATE_TEST_PYTHON, else python3.
func python(t *testing.T) string {
	name := os.Getenv("ABLATE_TEST_PYTHON")
	if name == "" {
		name = "python3"
	}
	if err := exec.Command(name, "-c", "import pyarrow").Run(); err != nil {
		if os.Getenv("ABLATE_TEST_STRICT") == "1" {
			t.Fatalf("%s has no pyarrow: set ABLATE_TEST_PYTHON to a Python that has it", name)
		}
		t.Skipf("%s has no pyarrow: set ABLATE_TEST_PYTHON to a Python that has it", name)
	}
	return name
}

func TestPyarrowReadsIt(t *testing.T) {
	py := python(t)
	path := filepath.Join(t.TempDir(), "t.arrow")
	if err := table.WriteFile(path, sample()); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(py, "-c", `
import sys, pyarrow.ipc as ipc
t = ipc.open_file(sys.argv[1]).read_all()
print(t.num_rows, t.column("arm").to_pylist(), t.column("alignment").to_pylist(), t.column("n").to_pylist())
print(t.schema.field("alignment").metadata, t.schema.metadata)
`, path).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	want := "3 ['a', 'b <i>', 'ü, \"q\"'] [0.5, None, -1e-300] [1, 1152921504606846976, -2]\n" +
		"{b'unit': b'share', b'better': b'higher', b'assume': b'normal'} {b'schema': b'1', b'study': b'quickstart'}\n"
	if d := cmp.Diff(want, string(out)); d != "" {
		t.Errorf("mismatch (-want +got):\n%s", d)
	}
}

func FuzzRead(f *testing.F) {
	var b bytes.Buffer
	if err := table.Write(&b, sample()); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add(b.Bytes()[:b.Len()/2])
	f.Fuzz(func(t *testing.T, in []byte) {
		tab, err := table.Read(in)
		if err == nil {
			if err := table.Write(&bytes.Buffer{}, tab); err != nil {
				t.Errorf("read but cannot be written: %v", err)
			}
		}
	})
}
