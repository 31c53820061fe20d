package table_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"ablate/analysis/table"
)

// TestParquetBytes writes columns with more text than a default dictionary page. With that
// limit the library would list encodings in the order of a map, which differs for one column in
// eight; sixteen do not all agree by chance.
func TestParquetBytes(t *testing.T) {
	tab := &table.Table{}
	texts := make([]string, 3000)
	for i := range texts {
		texts[i] = fmt.Sprintf("%600d", i)
	}
	for i := range 16 {
		tab.Columns = append(tab.Columns, &table.Column{Name: fmt.Sprint("c", i), Kind: table.String, Strings: texts})
	}
	var first bytes.Buffer
	for i := range 5 {
		var b bytes.Buffer
		if err := table.Parquet(&b, tab); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = b
		} else if !bytes.Equal(first.Bytes(), b.Bytes()) {
			t.Fatal("the same table gives another Parquet file")
		}
	}
}

// TestLargeParquet has more rows than a row group, and a third of its scores is missing.
func TestLargeParquet(t *testing.T) {
	py := python(t)
	prompt, score := &table.Column{Name: "a.prompt", Kind: table.String}, &table.Column{Name: "score", Kind: table.Float}
	for i := range 140_000 {
		prompt.Strings = append(prompt.Strings, fmt.Sprint("prompt ", i))
		score.Floats, score.Valid = append(score.Floats, float64(i)/4), append(score.Valid, i%3 > 0)
	}
	var b bytes.Buffer
	if err := table.Parquet(&b, &table.Table{Columns: []*table.Column{prompt, score}}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "t.parquet")
	if err := os.WriteFile(path, b.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(py, "-c", `
import sys, duckdb
print(duckdb.sql(f"""select count(*), count(score), sum(score), count(distinct "a.prompt"),
	bool_and(case when i % 3 = 0 then score is null else score = i / 4 end)
	from (select *, replace("a.prompt", 'prompt ', '')::int i from '{sys.argv[1]}')""").fetchall())`, path).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	// The sum of i/4 over those i below 140,000 that 3 does not divide.
	if want := "[(140000, 93333, 1633321666.75, 140000, True)]\n"; string(out) != want {
		t.Errorf("duckdb reads %s, want %s", out, want)
	}
}

// full is a writer that fails after left bytes, as a full disk does.
type full struct{ left int }

var errFull = errors.New("no space left")

func (f *full) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestParquetOnFullDisk(t *testing.T) {
	var b bytes.Buffer
	if err := table.Parquet(&b, sample()); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, b.Len() / 2, b.Len() - 1} {
		if err := table.Parquet(&full{n}, sample()); !errors.Is(err, errFull) {
			t.Errorf("room for %d of %d bytes: %v, want %v", n, b.Len(), err, errFull)
		}
	}
}
