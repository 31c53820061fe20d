package table_test

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"ablate/analysis/table"
)

// TestReadPandas reads a file of testdata/pandas.py: two row groups, dictionaries, nulls and
// NaN, and columns that a table cannot have.
func TestReadPandas(t *testing.T) {
	b, err := os.ReadFile("testdata/pandas.parquet")
	if err != nil {
		t.Fatal(err)
	}
	got, left, err := table.ReadParquet(b)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	want := []*table.Column{
		{Name: "arm", Kind: table.String, Strings: []string{"dpo", "dpo", "", "all data"}, Valid: []bool{true, true, false, true}},
		{Name: "seed", Kind: table.Int, Ints: []int64{1, 2, 0, 4}, Valid: []bool{true, true, false, true}},
		{Name: "fid", Kind: table.Float, Floats: []float64{1.5, 0, math.NaN(), -2e-300}, Valid: []bool{true, false, true, true}},
		{Name: "small", Kind: table.Float, Floats: []float64{.5, 1, 2, 3}},
		{Name: "aligned", Kind: table.Bool, Bools: []bool{true, false, false, true}, Valid: []bool{true, false, true, true}},
		{Name: "index", Kind: table.Int, Ints: []int64{1, 2, 3, 3_000_000_000}},
		{Name: "large", Kind: table.Int, Ints: []int64{1, 2, 3, 1 << 40}},
		{Name: "prompt", Kind: table.String, Strings: []string{"a red circle", "zwei grüne Kreise", "a red circle", ""}},
		{Name: "empty", Kind: table.Int, Ints: make([]int64, 4), Valid: make([]bool, 4)},
		{Name: "start", Kind: table.Time, Times: []time.Time{start, start, start, start}},
		{Name: "of.clip", Kind: table.Float, Floats: []float64{.25, 0, 0, 1}, Valid: []bool{true, false, false, true}},
		{Name: "__index_level_0__", Kind: table.Int, Ints: []int64{10, 11, 12, 13}},
	}
	if d := cmp.Diff(want, got.Columns, cmpopts.EquateNaNs()); d != "" {
		t.Errorf("mismatch (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"day", "tags.list.element"}, left); d != "" {
		t.Errorf("left out: mismatch (-want +got):\n%s", d)
	}
}

// TestReadParquetFile reads two columns of a file, one of them a field of a struct.
func TestReadParquetFile(t *testing.T) {
	got, left, err := table.ReadParquetFile("testdata/pandas.parquet", "of.clip", "seed", "nothing")
	if err != nil {
		t.Fatal(err)
	}
	want := []*table.Column{
		{Name: "seed", Kind: table.Int, Ints: []int64{1, 2, 0, 4}, Valid: []bool{true, true, false, true}},
		{Name: "of.clip", Kind: table.Float, Floats: []float64{.25, 0, 0, 1}, Valid: []bool{true, false, false, true}},
	}
	if d := cmp.Diff(want, got.Columns); d != "" {
		t.Errorf("mismatch (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"arm", "fid", "small", "aligned", "index", "large", "prompt", "empty", "start", "day", "tags.list.element", "__index_level_0__"}, left); d != "" {
		t.Errorf("left out: mismatch (-want +got):\n%s", d)
	}
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, _, err := table.ReadParquetFile(empty); err == nil || err.Error() != "it is not an intact Parquet file: it does not begin with PAR1" {
		t.Error(err)
	}
}

// TestParquetRoundTrip checks that ReadParquet reads what Parquet writes.
func TestParquetRoundTrip(t *testing.T) {
	var b bytes.Buffer
	if err := table.Parquet(&b, sample()); err != nil {
		t.Fatal(err)
	}
	got, left, err := table.ReadParquet(b.Bytes())
	if err != nil || len(left) > 0 {
		t.Fatal(left, err)
	}
	onlyValues := cmpopts.IgnoreFields(table.Column{}, "Unit", "Better", "Range", "Depends", "Doc")
	if d := cmp.Diff(sample().Columns, got.Columns, onlyValues); d != "" {
		t.Errorf("mismatch (-want +got):\n%s", d)
	}
}

// TestDamagedParquet damages each byte in turn: reading never panics, and takes no more memory
// than a small file is allowed.
func TestDamagedParquet(t *testing.T) {
	var own bytes.Buffer
	if err := table.Parquet(&own, sample()); err != nil {
		t.Fatal(err)
	}
	pandas, err := os.ReadFile("testdata/pandas.parquet")
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	for name, b := range map[string][]byte{"own": own.Bytes(), "pandas": pandas} {
		for i := 0; i < len(b); i += 7 {
			for _, flip := range []byte{1, 0x80} {
				in := bytes.Clone(b)
				in[i] ^= flip
				runtime.ReadMemStats(&before)
				table.ReadParquet(in)
				runtime.ReadMemStats(&after)
				if took := after.TotalAlloc - before.TotalAlloc; took > 512<<20 {
					t.Errorf("%s, byte %d ^ %#x: reading %d bytes took %d", name, i, flip, len(in), took)
				}
			}
		}
	}
	b := own.Bytes()
	for _, cut := range []int{0, 3, 11, len(b) / 2, len(b) - 1} {
		if _, _, err := table.ReadParquet(b[:cut]); err == nil || !strings.HasPrefix(err.Error(), "it is not an intact Parquet file: ") {
			t.Errorf("cut at %d: %v", cut, err)
		}
	}
}

// TestParquetFooter checks that a footer that declares more than it has is an error before
// memory is allocated for it.
func TestParquetFooter(t *testing.T) {
	for name, footer := range map[string]string{
		"a list of 2^27 structs": "\x29\xfc\x80\x80\x80\x40",
		"a text of 2^27 bytes":   "\x28\x80\x80\x80\x40",
		"structs without end":    strings.Repeat("\x1c", 100),
		"a map":                  "\x1b\x01\x55\x02\x02\x00",
		"no end":                 "\x15\x02",
	} {
		file := "PAR1" + footer + string([]byte{byte(len(footer)), 0, 0, 0}) + "PAR1"
		_, _, err := table.ReadParquet([]byte(file))
		if want := "it is not an intact Parquet file: its footer states more than it has"; err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
}

func FuzzReadParquet(f *testing.F) {
	b, err := os.ReadFile("testdata/pandas.parquet")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	var own bytes.Buffer
	if err := table.Parquet(&own, sample()); err != nil {
		f.Fatal(err)
	}
	f.Add(own.Bytes())
	f.Fuzz(func(t *testing.T, in []byte) {
		tab, _, err := table.ReadParquet(in)
		if err == nil {
			if err := table.Write(&bytes.Buffer{}, tab); err != nil {
				t.Errorf("read but cannot be written: %v", err)
			}
		}
	})
}
