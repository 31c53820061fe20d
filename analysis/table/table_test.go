package table_test

import (
	"bytes"
	"errors"
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
		{Name: "alignment", Kind: table.Float, Floats: []float64{.5, 0, -1e-300}, Valid: []bool{true, false, true}, Unit: "share", Better: "higher", Range: table.Share, Depends: "n"},
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

// TestFlippedBytes damages each byte in turn: reading neither panics nor takes more memory than
// the file's size allows.
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

func TestCodes(t *testing.T) {
	c := &table.Column{Strings: []string{"b", "b", "a", "b", "", "a"}}
	codes, values := c.Codes()
	if d := cmp.Diff([]int32{0, 0, 1, 0, 2, 1}, codes); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"b", "a", ""}, values); d != "" {
		t.Error(d)
	}
}

// python returns a Python with libraries that read tables: ABLATE_TEST_PYTHON, else python3. It
// skips the test without one, or fails it with ABLATE_TEST_STRICT=1.
func python(t *testing.T) string {
	name := os.Getenv("ABLATE_TEST_PYTHON")
	if name == "" {
		name = "python3"
	}
	if err := exec.Command(name, "-c", "import pyarrow, pandas, polars, duckdb").Run(); err != nil {
		if os.Getenv("ABLATE_TEST_STRICT") == "1" {
			t.Fatalf("%s lacks one of pyarrow, pandas, polars and duckdb: set ABLATE_TEST_PYTHON to a Python that has them", name)
		}
		t.Skipf("%s lacks one of pyarrow, pandas, polars and duckdb: set ABLATE_TEST_PYTHON to a Python that has them", name)
	}
	return name
}

// TestPythonReadsIt checks that pyarrow, pandas and polars read the Arrow file unchanged,
// duckdb through pyarrow, and the Parquet file directly.
func TestPythonReadsIt(t *testing.T) {
	py := python(t)
	dir := t.TempDir()
	path, pq := filepath.Join(dir, "t.arrow"), filepath.Join(dir, "t.parquet")
	if err := table.WriteFile(path, sample()); err != nil {
		t.Fatal(err)
	}
	var b, again bytes.Buffer
	if err := errors.Join(table.Parquet(&b, sample()), table.Parquet(&again, sample()), os.WriteFile(pq, b.Bytes(), 0o666)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.Bytes(), again.Bytes()) {
		t.Error("the same table gives another Parquet file")
	}
	for name, tc := range map[string]struct{ script, want string }{
		"pyarrow": {`
import pyarrow.ipc as ipc, pyarrow.parquet as pq
for t in (ipc.open_file(sys.argv[1]).read_all(), pq.read_table(sys.argv[2])):
    print(t.num_rows, t.column("arm").to_pylist(), t.column("alignment").to_pylist(), t.column("n").to_pylist(), t.column("control").to_pylist())
    meta = dict(t.schema.field("alignment").metadata)
    meta.pop(b"PARQUET:field_id", None)
    print(sorted(meta.items()), t.schema.metadata[b"study"], t.column("start").to_pylist()[2])
`, strings.Repeat("3 ['a', 'b <i>', 'ü, \"q\"'] [0.5, None, -1e-300] [1, 1152921504606846976, -2] [True, False, True]\n"+
			"[(b'better', b'higher'), (b'depends', b'n'), (b'range', b'share'), (b'unit', b'share')] b'quickstart' 2026-01-02 03:04:05.000006+00:00\n", 2)},
		"pandas": {`
import pandas as pd
for t in (pd.read_feather(sys.argv[1]), pd.read_parquet(sys.argv[2])):
    print(list(t.arm), list(t.alignment.isna()), t.alignment.sum(), list(t.n), t.start.iloc[2])
`, strings.Repeat("['a', 'b <i>', 'ü, \"q\"'] [False, True, False] 0.5 [1, 1152921504606846976, -2] 2026-01-02 03:04:05.000006+00:00\n", 2)},
		"polars": {`
import polars as pl
for t in (pl.read_ipc(sys.argv[1]), pl.read_parquet(sys.argv[2])):
    print(t["arm"].to_list(), t["alignment"].to_list(), t["n"].to_list(), t["control"].to_list(), t["start"].to_list()[2])
`, strings.Repeat("['a', 'b <i>', 'ü, \"q\"'] [0.5, None, -1e-300] [1, 1152921504606846976, -2] [True, False, True] 2026-01-02 03:04:05.000006+00:00\n", 2)},
		"duckdb": {`
import duckdb, pyarrow.ipc as ipc
arrow = ipc.open_file(sys.argv[1]).read_all()
for source in ("arrow", f"'{sys.argv[2]}'"):
    print(duckdb.sql(f"select arm, alignment, n, control from {source} order by n").fetchall())
`, strings.Repeat("[('ü, \"q\"', -1e-300, -2, True), ('a', 0.5, 1, True), ('b <i>', None, 1152921504606846976, False)]\n", 2)},
	} {
		out, err := exec.Command(py, "-c", "import sys"+tc.script, path, pq).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v: %s", name, err, out)
		} else if d := cmp.Diff(tc.want, string(out)); d != "" {
			t.Errorf("%s: mismatch (-want +got):\n%s", name, d)
		}
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
