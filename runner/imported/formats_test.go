package imported

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ablate/analysis/table"
	"ablate/runner/rows"
)

func check(t *testing.T, r *Results, want map[string]string, problems, notes []string) {
	t.Helper()
	if d := cmp.Diff(want, values(r)); d != "" {
		t.Errorf("values: mismatch (-want +got):\n%s", d)
	}
	p, n := said(r)
	if d := cmp.Diff(problems, p); d != "" {
		t.Errorf("problems: mismatch (-want +got):\n%s", d)
	}
	if d := cmp.Diff(notes, n); d != "" {
		t.Errorf("notes: mismatch (-want +got):\n%s", d)
	}
}

// TestWandBCSV: the runs table of W&B, whose settings have one value in each arm.
func TestWandBCSV(t *testing.T) {
	want := map[string]string{
		"dpo@1 eval/fid": "10.5", "dpo@1 eval/aligned": "0.625", "dpo@1 train/loss": "0.125",
		"dpo@2 eval/fid": "10.25", "dpo@2 eval/aligned": "0.6875", "dpo@2 train/loss": "0.0625",
		"dpo@3 eval/fid": "10.75", "dpo@3 eval/aligned": "0.75", "dpo@3 train/loss": "0.09375",
		"sft@1 eval/fid": "12.5", "sft@1 eval/aligned": "0.5", "sft@1 train/loss": "0.25",
		"sft@2 eval/fid": "12", "sft@2 eval/aligned": "0.4375", "sft@2 train/loss": "-",
	}
	check(t, read(t, Options{}, "testdata/wandb.csv"), want, []string{
		`unfinished: wandb.csv:4: the run "dpo-s3" is "crashed"; allowed: finished; it is left out; wait until it ends, run it again, or ask for unfinished runs`,
		`missing seed: wandb.csv:6: sft has 2 seeds and lacks 3; only seeds that two arms share are compared in pairs; add the missing runs if that is not intended`,
		`not finite: wandb.csv:7: train/loss of sft@2 is NaN; allowed: a finite number; the run counts as one without this value; if it diverged, that is right`,
		`unfinished: wandb.csv:8: the run "sft-s3" is "running"; allowed: finished; it is left out; wait until it ends, run it again, or ask for unfinished runs`,
	}, []string{
		`wandb.csv: runs of W&B; the arm is the column "method", the seed is the column "seed"`,
		`wandb.csv: columns that have texts are not metrics: resume_from`,
		`taken to be settings and not metrics, because all runs of an arm have the same value: batch_size, lr; if that is wrong, name the metrics to read`,
	})

	// Unfinished runs that are asked for: one of them repeats a run, and stops the import.
	r := read(t, Options{Unfinished: true, Metrics: []string{"eval/fid"}, Axes: []string{"lr"}}, "testdata/wandb.csv")
	p, _ := said(r)
	if len(r.Runs) != 6 || len(p) != 3 || p[1] != "duplicate: wandb.csv:5: eval/fid of dpo[lr=0.0001]@3 is here and in testdata/wandb.csv:4; allowed: one value for each arm, axes, seed and metric; remove one of them, or name the column in which the two runs differ as an axis" {
		t.Errorf("%d runs, problems:\n%s", len(r.Runs), strings.Join(p, "\n"))
	}
}

// TestWandBNames: without columns for them, arms and seeds are in the names of runs.
func TestWandBNames(t *testing.T) {
	path := write(t, "w.csv", "\ufeffName,State,fid\ndpo-s1,finished,1\ndpo_seed2,finished,2\nsft-seed-1,finished,3\nlost,finished,4\n")
	p, _ := said(read(t, Options{}, path))
	if d := cmp.Diff([]string{
		`missing seed: w.csv:4: sft has 1 seed and lacks 2; only seeds that two arms share are compared in pairs; add the missing runs if that is not intended`,
		`row: w.csv:5: the name "lost" has no seed, and no column is one of seeds; allowed: a column such as seed, or names such as ARM-s3; name the column with seed=COLUMN, or give a pattern`,
	}, p); d != "" {
		t.Error(d)
	}
	r := read(t, Options{Pattern: regexp.MustCompile(`^(?P<arm>[a-z]+)-lr(?P<lr>[^-]+)-(?P<seed>\d)$`)}, write(t, "w.csv", "Name,State,fid\ndpo-lr1e4-1,finished,1\ndpo-lr0.5-1,finished,2\n"))
	if d := cmp.Diff(map[string]string{"dpo[lr=0.5]@1 fid": "2", "dpo[lr=10000]@1 fid": "1"}, values(r)); d != "" {
		t.Error(d)
	}
}

// TestWandBJSONL: runs of the public API, whose summary alone has results.
func TestWandBJSONL(t *testing.T) {
	check(t, read(t, Options{Columns: map[string]string{"arm": "algo.name"}, Axes: []string{"train.lr"}}, "testdata/wandb.jsonl"), map[string]string{
		"nft[train.lr=0.0001]@1 eval.fid": "10.5", "nft[train.lr=0.0001]@1 eval.clip": "0.25",
		"nft[train.lr=0.0001]@2 eval.fid": "-", "nft[train.lr=0.0001]@2 eval.clip": "0.3125",
		"awm[train.lr=0.001]@1 eval.fid": "11.25", "awm[train.lr=0.001]@1 eval.clip": "0.21875",
	}, []string{
		`not finite: wandb.jsonl:2: eval.fid of nft[train.lr=0.0001]@2 is NaN; allowed: a finite number; the run counts as one without this value; if it diverged, that is right`,
		`unfinished: wandb.jsonl:3: the run "old-sea-3" is "failed"; allowed: finished; it is left out; wait until it ends, run it again, or ask for unfinished runs`,
		`missing seed: wandb.jsonl:4: awm[train.lr=0.001] has 1 seed and lacks 2; only seeds that two arms share are compared in pairs; add the missing runs if that is not intended`,
	}, []string{`wandb.jsonl: runs of W&B; the arm is the column "config.algo.name", the seed is the column "config.train.seed"`})
}

// TestTensorBoard: event files of tensorboardX and tensorboard, some scalars of them
// tensors of one value.
func TestTensorBoard(t *testing.T) {
	const third = "0.3333333432674408" // a float32
	check(t, read(t, Options{}, "testdata/tensorboard"), map[string]string{
		"all data@1 eval/fid": "20.25", "all data@1 train/loss": third, "all data@1 eval/clip": "-",
		"all data@2 eval/fid": "20.5", "all data@2 train/loss": "0.25", "all data@2 eval/clip": "-",
		"dpo@1 eval/fid": "10.25", "dpo@1 train/loss": third, "dpo@1 eval/clip": "0.5",
		"dpo@2 eval/fid": "10.5", "dpo@2 train/loss": "0.25", "dpo@2 eval/clip": "-",
	}, []string{
		`missing metric: events.out.tfevents.0:5: 3 of 4 runs have no value of eval/clip: all data@1, all data@2, dpo@2; comparisons of the metric leave them out; add the values if that is not intended`,
	}, []string{
		`tensorboard: tags without one number, such as pictures, are not used: histogram, notes/text_summary`,
		`tensorboard: event files of TensorBoard; a value is the last of its tag`,
	})
	for _, path := range []string{"testdata/tensorboard/dpo", "testdata/tensorboard/dpo/seed_1", "testdata/tensorboard/dpo/seed_1/events.out.tfevents.0"} {
		if r := read(t, Options{}, path); r.Err() != nil || r.Runs[0].Arm != "dpo" {
			t.Errorf("%s: %v, %v", path, r.Err(), r.Runs)
		}
	}
}

// TestDamagedEvents: a file that ends within a record is a warning, a wrong checksum an
// error; what can be read is used.
func TestDamagedEvents(t *testing.T) {
	whole, err := os.ReadFile("testdata/tensorboard/dpo/seed_2/events.out.tfevents.0")
	if err != nil {
		t.Fatal(err)
	}
	flipped := func(i int) []byte {
		b := bytes.Clone(whole)
		b[i] ^= 1
		return b
	}
	first := 12 + int(binary.LittleEndian.Uint64(whole)) + 4 // the length of the first record
	second := first + 12 + int(binary.LittleEndian.Uint64(whole[first:])) + 4
	for name, c := range map[string]struct {
		b       []byte
		fid     string
		problem string
	}{
		"cut":      {whole[:len(whole)-1], "10.5", "truncated: events.out.tfevents.0:6: the file ends within a record; allowed: whole records; the records before it are used; check that the run ended"},
		"a value":  {flipped(second + 12), "10.5", "row: events.out.tfevents.0:3: the checksum of the record is wrong; allowed: TFRecords of tensorflow.Event; copy the file again from where it was written"},
		"a length": {flipped(second), "", "row: events.out.tfevents.0:3: the checksum of the length of the record is wrong; allowed: TFRecords of tensorflow.Event; copy the file again from where it was written"},
	} {
		dir := filepath.Join(t.TempDir(), "dpo-s2")
		if err := os.Mkdir(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "events.out.tfevents.0"), c.b, 0o666); err != nil {
			t.Fatal(err)
		}
		r := read(t, Options{}, dir)
		if p, _ := said(r); len(p) != 1 || p[0] != c.problem {
			t.Errorf("%s: %s", name, strings.Join(p, "\n"))
		}
		if got := values(r)["dpo@2 eval/fid"]; got != c.fid {
			t.Errorf("%s: fid is %q, want %q", name, got, c.fid)
		}
	}
}

// TestReadTensor: a tensor has its values in a field of their own or as bytes. One
// value with a shape of three stands for three.
func TestReadTensor(t *testing.T) {
	for name, c := range map[string]struct {
		text string // in Go's notation of bytes
		want float64
		is   bool
	}{
		"float":           {"\x08\x01\x2d\x00\x00\x40\x3f", .75, true},
		"packed double":   {"\x08\x02\x32\x08\x00\x00\x00\x00\x00\x00\xe0\x3f", .5, true},
		"packed int":      {"\x08\x03\x3a\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", -1, true},
		"int64 as bytes":  {"\x08\x09\x22\x08\x07\x00\x00\x00\x00\x00\x00\x00", 7, true},
		"bool":            {"\x08\x0a\x58\x01", 1, true},
		"shape of one":    {"\x08\x01\x12\x04\x12\x02\x08\x01\x2d\x00\x00\x40\x3f", .75, true},
		"shape of three":  {"\x08\x01\x12\x04\x12\x02\x08\x03\x2d\x00\x00\x40\x3f", 0, false},
		"two floats":      {"\x08\x01\x2d\x00\x00\x40\x3f\x2d\x00\x00\x40\x3f", 0, false},
		"a text":          {"\x08\x07\x42\x01x", 0, false},
		"another's field": {"\x08\x02\x2d\x00\x00\x40\x3f", 0, false},
	} {
		if got, is, err := readTensor([]byte(c.text)); err != nil || is != c.is || is && got != c.want {
			t.Errorf("%s: %v, %v, %v, want %v, %v", name, got, is, err, c.want, c.is)
		}
	}
}

// TestFoldersOfRun: a tag that a run has in two folders is called by both.
func TestFoldersOfRun(t *testing.T) {
	b, err := os.ReadFile("testdata/tensorboard/dpo/seed_2/events.out.tfevents.0")
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	for _, dir := range []string{"x_seed1/train", "x_seed1/eval", "x_seed2/eval"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, dir, "tfevents"), b, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	r := read(t, Options{Metrics: []string{"train/eval/fid", "eval/eval/fid"}}, root)
	if d := cmp.Diff(map[string]string{"x@1 eval/eval/fid": "10.5", "x@1 train/eval/fid": "10.5", "x@2 eval/eval/fid": "10.5", "x@2 train/eval/fid": "-"}, values(r)); d != "" {
		t.Error(d)
	}
}

// TestHydra: a multirun of hydra-core 1.3.8 over method, learning rate and seed.
func TestHydra(t *testing.T) {
	want := map[string]string{}
	for arm, fid := range map[string][2]float64{"dpo": {11, 20}, "nft": {9, 18}} {
		for i, lr := range []string{"0.001", "0.01"} {
			for seed, more := range map[string]float64{"1": .125, "2": .25} {
				x := fid[i] + more
				view := arm + "[train.lr=" + lr + "]@" + seed
				number := func(x float64) string { return rows.Text(&table.Column{Kind: table.Float, Floats: []float64{x}}, 0) }
				want[view+" eval.fid"], want[view+" loss"] = number(x)+" of 64", number(x/100)
				if x > 20 {
					want[view+" loss"] = "-"
				}
			}
		}
	}
	check(t, read(t, Options{}, "testdata/hydra"), want, []string{
		`not finite: metrics.json: loss of dpo[train.lr=0.01]@1 is NaN; allowed: a finite number; the run counts as one without this value; if it diverged, that is right`,
		`not finite: metrics.json: loss of dpo[train.lr=0.01]@2 is NaN; allowed: a finite number; the run counts as one without this value; if it diverged, that is right`,
	}, []string{
		"hydra: jobs of Hydra; the arm is the key method, the seed is the key seed, axes are train.lr",
		"hydra: overrides that all jobs share are not axes: epochs",
	})
	// Keys that no job has.
	r := read(t, Options{Columns: map[string]string{"arm": "train.warmup", "seed": "sed"}, Axes: []string{"x"}}, "testdata/hydra")
	p, _ := said(r)
	if d := cmp.Diff([]string{
		`unreadable: overrides.yaml: no job has a value of "sed" for its seed; allowed: a key of the configuration, such as epochs, method, seed, train.lr; name another, as in seed=KEY`,
		`unreadable: overrides.yaml: no job has a value of "train.warmup" for its arm; allowed: a key of the configuration, such as epochs, method, seed, train.lr; name another, as in arm=KEY`,
		`unreadable: overrides.yaml: no job has a value of "x", which is to be an axis; allowed: a key of the configuration, such as epochs, method, seed, train.lr; correct the name of the axis`,
	}, p); d != "" {
		t.Error(d)
	}
	r = read(t, Options{File: "none.csv"}, "testdata/hydra/0")
	if p, _ := said(r); len(p) != 1 || p[0] != "unfinished: overrides.yaml: the job of dpo@1 has no metrics; allowed: none.csv; run it again, or name the file with the metrics" {
		t.Errorf("problems:\n%s", strings.Join(p, "\n"))
	}
}

// TestHydraTables: the metrics of a job in a table, one with a row for each step and
// one with a row for each image.
func TestHydraTables(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"steps":  {"step,seed,fid,fid.n\n1,3,20,64\n2,3,10,64\n3,3,,\n", "10 of 64"},
		"images": {"prompt,fid\np,1\np,2\n", "1.5 of 2"},
		"long":   {"metric,value\nfid,3\n", "3"},
	} {
		root := t.TempDir()
		if err := os.CopyFS(root, os.DirFS("testdata/hydra/0")); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, "eval.csv"), []byte(c.text), 0o666); err != nil {
			t.Fatal(err)
		}
		r := read(t, Options{File: "eval.csv", Metrics: []string{"fid"}}, root)
		if d := cmp.Diff(map[string]string{"dpo@1 fid": c.want}, values(r)); d != "" || r.Err() != nil {
			t.Errorf("%s: %v %s", name, r.Err(), d)
		}
	}
}

func TestOverride(t *testing.T) {
	for in, want := range map[string][2]string{
		"a.b=1": {"a.b", "1"}, "+a=x=y": {"a", "x=y"}, "++a='x y'": {"a", "x y"}, "~a": {"a", "null"}, "db@src=sql": {"db.src", "sql"}, "a=": {"a", ""},
	} {
		if key, value := override(in); key != want[0] || value != want[1] {
			t.Errorf("%s: %q, %q", in, key, value)
		}
	}
}

// TestJSONL: lines that are not objects, keys that come twice, and late columns.
func TestJSONL(t *testing.T) {
	r := read(t, Options{}, write(t, "r.jsonl", `{"arm":"a","seed":1,"fid":Infinity}
[1]
{"arm":"a","seed":2,"fid":2,
{"arm":"a","seed":2,"seed":3,"fid":2}
{"arm":"a","seed":4,"note":"NaN \" \\","kid":1}
`))
	p, _ := said(r)
	if d := cmp.Diff([]string{
		`missing metric: r.jsonl:1: 1 of 2 runs have no value of kid: a@1; comparisons of the metric leave them out; add the values if that is not intended`,
		`not finite: r.jsonl:1: fid of a@1 is +Inf; allowed: a finite number; the run counts as one without this value; if it diverged, that is right`,
		`row: r.jsonl:2: "[1]" is not a JSON object; allowed: an object in each line; write one object a line, without commas between the lines`,
		`row: r.jsonl:3: "{\"arm\":\"a\",\"seed\":2,\"fid\":2," is not a JSON object; allowed: an object in each line; write one object a line, without commas between the lines`,
		`row: r.jsonl:4: the key "seed" occurs twice; allowed: each key once; remove one`,
		`missing metric: r.jsonl:5: 1 of 2 runs have no value of fid: a@4; comparisons of the metric leave them out; add the values if that is not intended`,
	}, p); d != "" {
		t.Error(d)
	}
}

// TestLongRow: a quote that is never closed does not make a row of a whole file.
func TestLongRow(t *testing.T) {
	f := io.MultiReader(strings.NewReader("arm,seed,fid\na,1,\""), io.LimitReader(endless{}, 1<<40))
	c, err := rows.CSV(f)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Next(); err == nil || err.Error() != "a row has more than 16.8 MB; allowed: shorter rows; close the quotes of its cells" {
		t.Error(err)
	}
}

// endless is text without end.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
		if i%80 == 0 {
			p[i] = '\n'
		}
	}
	return len(p), nil
}
