// Package kept reads and writes the tables of studies that this repository keeps, each in
// the folder results of the study. They contain only the data from which an ablation
// table is made. With them the tables in the READMEs can be recomputed when the analysis
// changes, without repeating runs that took hours.
//
// trials.arrow.zst is trials.arrow, compressed. samples.parquet has the verdicts of the
// gold on images, and curves.parquet the metrics of the probes of fine-tunings.
package kept

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/klauspost/compress/zstd"

	"ablate/analysis/table"
	"ablate/runner/result"
)

const trialsFile, samplesFile, curvesFile = "trials.arrow.zst", "samples.parquet", "curves.parquet"

// Write writes tables into a folder.
func Write(dir string, t *result.Tables) error {
	set, stage, metric := t.Samples.Column("set"), t.Curves.Column("stage"), t.Curves.Column("metric")
	var trials, samples, curves bytes.Buffer
	z, err := zstd.NewWriter(&trials, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return err
	}
	judged := part(t.Samples, func(row int) bool { return set.Strings[row] == result.Alignment },
		"trial", "set", "prompt", "category", "seen", "verdict", "proxy")
	probed := part(t.Curves, func(row int) bool {
		return stage.Strings[row] == "finetune" && slices.Contains([]string{"kl", "proxy", "gold"}, metric.Strings[row])
	}, "trial", "stage", "step", "metric", "value")
	if err := errors.Join(table.Write(z, t.Trials), z.Close(), table.Parquet(&samples, judged), table.Parquet(&curves, probed), os.MkdirAll(dir, 0o777)); err != nil {
		return err
	}
	for name, b := range map[string]*bytes.Buffer{trialsFile: &trials, samplesFile: &samples, curvesFile: &curves} {
		if err := os.WriteFile(filepath.Join(dir, name), b.Bytes(), 0o666); err != nil {
			return err
		}
	}
	return nil
}

// Read reads the tables in a folder.
func Read(dir string) (*result.Tables, error) {
	t := &result.Tables{}
	for _, f := range []struct {
		name string
		to   **table.Table
		read func(b []byte) (*table.Table, error)
	}{{trialsFile, &t.Trials, compressed}, {samplesFile, &t.Samples, parquet}, {curvesFile, &t.Curves, parquet}} {
		b, err := os.ReadFile(filepath.Join(dir, f.name))
		if err == nil {
			*f.to, err = f.read(b)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Join(dir, f.name), err)
		}
	}
	return t, nil
}

func compressed(b []byte) (*table.Table, error) {
	z, err := zstd.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	if b, err = io.ReadAll(z); err != nil {
		return nil, err
	}
	return table.Read(b)
}

func parquet(b []byte) (*table.Table, error) {
	t, _, err := table.ReadParquet(b)
	return t, err
}

// part returns a table with some rows and columns of t.
func part(t *table.Table, row func(int) bool, columns ...string) *table.Table {
	var rows []int
	for i := range t.Rows() {
		if row(i) {
			rows = append(rows, i)
		}
	}
	out := &table.Table{Meta: t.Meta}
	for _, name := range columns {
		c := *t.Column(name)
		c.Strings, c.Floats, c.Ints, c.Bools, c.Valid = of(c.Strings, rows), of(c.Floats, rows), of(c.Ints, rows), of(c.Bools, rows), of(c.Valid, rows)
		out.Columns = append(out.Columns, &c)
	}
	return out
}

// of returns the values of some rows.
func of[V any](list []V, rows []int) []V {
	if list == nil {
		return nil
	}
	out := make([]V, len(rows))
	for i, r := range rows {
		out[i] = list[r]
	}
	return out
}
