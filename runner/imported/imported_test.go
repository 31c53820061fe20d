package imported

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ablate/analysis/stats"
	"ablate/analysis/table"
	"ablate/runner/rows"
)

// write writes a file into a new folder.
func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t *testing.T, o Options, paths ...string) *Results {
	t.Helper()
	r, err := Read(t.Context(), paths, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// values are the values of each run by its view and metric, as CSV writes them; with
// the number of samples where it is known.
func values(r *Results) map[string]string {
	out := map[string]string{}
	for _, x := range r.Runs {
		for i, v := range x.Values {
			key := r.View(x) + " " + r.Metrics[i].Name
			c := &table.Column{Kind: table.Float, Floats: []float64{v.Value}}
			switch {
			case !v.Known:
				out[key] = "-"
			case v.N > 0:
				out[key] = rows.Text(c, 0) + " of " + rows.Text(&table.Column{Kind: table.Int, Ints: []int64{v.N}}, 0)
			default:
				out[key] = rows.Text(c, 0)
			}
		}
	}
	return out
}

// said returns problems and notes as texts, with the base names of files.
func said(r *Results) (problems, notes []string) {
	for _, p := range r.Problems.List {
		p.File = filepath.Base(p.File)
		problems = append(problems, string(p.Kind)+": "+p.String())
	}
	return problems, r.Notes
}

// TestTables reads the same four runs from tables of each shape and format.
func TestShapes(t *testing.T) {
	four := map[string]string{"dpo@1 fid": "10.5 of 64", "dpo@2 fid": "10.25 of 64", "sft@1 fid": "12 of 64", "sft@2 fid": "12.5 of 64"}
	swept := map[string]string{"dpo[lr=0.0001]@1 fid": "10", "dpo[lr=0.001]@1 fid": "11"}
	for name, c := range map[string]struct {
		file, text string
		o          Options
		want       map[string]string
		note       string
	}{
		"long": {"r.csv", "arm,seed,metric,value,n\ndpo,1,fid,10.5,64\ndpo,2,fid,10.25,64\nsft,1,fid,12,64\nsft,2,fid,12.5,64\n", Options{}, four, "r.csv: a row for each value"},
		"wide": {"r.csv", "arm,seed,fid,fid.n\ndpo,1,10.5,64\ndpo,2,10.25,64\nsft,1,12,64\nsft,2,12.5,64.0\n", Options{}, four, "r.csv: a row for each run, with the metrics fid"},
		"renamed, in capitals, with tabs and a mark": {"r.tsv", "\ufeffMethod\trandom_seed\tfid\tN\ndpo\t1\t10.5\t64\ndpo\t2\t10.25\t64\nsft\t1\t12\t64\nsft\t2\t12.5\t64\n",
			Options{Columns: map[string]string{"arm": "method", "seed": "random_seed"}}, four, "r.tsv: a row for each run, with the metrics fid"},
		"semicolons": {"r.csv", "arm;seed;fid;n\ndpo;1;10.5;64\ndpo;2;10.25;64\nsft;1;12;64\nsft;2;12.5;64\n", Options{}, four, "r.csv: a row for each run, with the metrics fid"},
		"jsonl": {"r.jsonl", `{"arm":"dpo","seed":1,"metric":"fid","value":10.5,"n":64}` + "\n" + `{"arm":"dpo","seed":2,"metric":"fid","value":10.25,"n":64}` + "\n\n" +
			`{"arm":"sft","seed":1,"metric":"fid","value":12,"n":64}` + "\n" + `{"value":1.25e1,"n":64,"arm":"sf\u0074","seed":"2","metric":"fid"}`, Options{}, four, "r.jsonl: a row for each value"},
		"images":          {"r.csv", "arm,seed,prompt,ok\na,1,p,true\na,1,p,False\na,1,q,1\na,1,q,\n", Options{}, map[string]string{"a@1 ok": "0.6666666666666666 of 3"}, "r.csv: a row for each image, with the metrics ok"},
		"long by prompt":  {"r.csv", "arm,seed,metric,value,prompt,n\na,1,ok,0.5,p,4\na,1,ok,1,q,12\na,1,fid,3,,\n", Options{}, map[string]string{"a@1 ok": "0.875 of 16", "a@1 fid": "3"}, "r.csv: a row for each value; rows with a prompt are samples, which are summed"},
		"axes by prefix":  {"r.csv", "arm,seed,axis.lr,fid\ndpo,1,1e-4,10\ndpo,1,0.001,11\n", Options{}, swept, "r.csv: a row for each run, with the metrics fid"},
		"axes by option":  {"r.csv", "arm,seed,lr,fid\ndpo,1,1e-4,10\ndpo,1,0.001,11\n", Options{Axes: []string{"lr"}}, swept, "r.csv: a row for each run, with the metrics fid"},
		"axes by mapping": {"r.csv", "arm,seed,learning rate,fid\ndpo,1,1e-4,10\ndpo,1,0.001,11\n", Options{Columns: map[string]string{"axis.lr": "learning rate"}}, swept, "r.csv: a row for each run, with the metrics fid"},
		"nested jsonl":    {"r.jsonl", `{"arm":"dpo","seed":1,"axis":{"lr":1e-4},"fid":10,"tags":["}\"]",1]}` + "\n" + `{"arm":"dpo","seed":1,"axis":{"lr":0.001},"fid":11,"tags":null}`, Options{}, swept, "r.jsonl: columns that have texts are not metrics: tags"},
		"texts":           {"r.csv", ",arm,seed,fid,commit\n0,a,1,2,ab\n1,a,2,3,cd\n", Options{}, map[string]string{"a@1 fid": "2", "a@2 fid": "3"}, "r.csv: columns that have texts are not metrics: commit"},
		"a row's number":  {"r.csv", ",arm,seed,fid,commit\n0,a,1,2,ab\n1,a,2,3,cd\n", Options{}, map[string]string{"a@1 fid": "2", "a@2 fid": "3"}, `r.csv: columns that number rows or steps or name files are not metrics: ""`},
		"seeds of pandas": {"r.csv", "arm,seed,fid\na,1.0,2\na,2.0,3\n", Options{}, map[string]string{"a@1 fid": "2", "a@2 fid": "3"}, "2 seeds are written as in 3.0, which is read as 3, as no other number follows a point"},
		"pairs of seeds":  {"r.csv", "arm,seed,fid\na,1.0,2\na,1.1,3\n", Options{}, map[string]string{"a@1.0 fid": "2", "a@1 fid": "3"}, "r.csv: a row for each run, with the metrics fid"},
		"some metrics": {"r.csv", "arm,seed,fid,kid,steps\na,1,2,3,9\na,2,3,4,9\n", Options{Metrics: []string{"fid"}, Ignore: []string{"steps"}},
			map[string]string{"a@1 fid": "2", "a@2 fid": "3"}, "left out by the options: kid, steps"},
		"arms renamed": {"r.csv", "arm,seed,fid\na/b,1,2\n", Options{Arms: map[string]string{"a/b": "a b"}}, map[string]string{"a b@1 fid": "2"}, "r.csv: a row for each run, with the metrics fid"},
	} {
		t.Run(name, func(t *testing.T) {
			r := read(t, c.o, write(t, c.file, c.text))
			if err := r.Err(); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, values(r)); d != "" {
				t.Errorf("mismatch (-want +got):\n%s", d)
			}
			if !strings.Contains(strings.Join(r.Notes, "\n"), c.note) {
				t.Errorf("the notes are %q, want among them %q", r.Notes, c.note)
			}
		})
	}
}

// TestImages: sums by prompt, with categories, of images.csv and of images.parquet,
// which pandas made of it.
func TestImages(t *testing.T) {
	for _, file := range []string{"testdata/images.csv", "testdata/images.parquet"} {
		r := read(t, Options{}, file)
		if p, _ := said(r); len(p) > 0 {
			t.Fatal(p)
		}
		if d := cmp.Diff(map[string]string{"a red circle": "colour", "two blue squares": "count", "a cat, on grass": "background"}, r.Categories); d != "" {
			t.Error(d)
		}
		want := Run{Arm: "dpo", Seed: stats.Seed{Pretraining: 3, Feedback: 3}, Values: []Value{
			{Known: true, Value: .5, N: 6, Prompts: []PromptSum{{"a cat, on grass", 0, 2}, {"a red circle", 2, 2}, {"two blue squares", 1, 2}}},
			{Known: true, Value: .285, N: 6, Prompts: []PromptSum{{"a cat, on grass", .51, 2}, {"a red circle", .76, 2}, {"two blue squares", .44000000000000006, 2}}},
		}}
		if d := cmp.Diff(want, r.Runs[5]); d != "" || len(r.Runs) != 6 {
			t.Errorf("%s: %d runs, the last: mismatch (-want +got):\n%s", file, len(r.Runs), d)
		}
	}
}

// TestProblems checks the exact text of each problem.
func TestProblems(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		o    Options
		want []string
	}{
		"values": {"arm,seed,fid\na,1,abc\na,2,\"1,5\"\na,3,1e400\na,4,2\n", Options{}, []string{
			`value: r.csv:2: the value "abc" of fid is not a number; allowed: a decimal number up to 1e100, true, false, or an empty cell where there is no value; correct the cell`,
			`missing metric: r.csv:2: 3 of 4 runs have no value of fid: a@1, a@2, a@3; comparisons of the metric leave them out; add the values if that is not intended`,
			`value: r.csv:3: the value "1,5" of fid is not a number; allowed: a decimal number up to 1e100, true, false, or an empty cell where there is no value; write a decimal point`,
			`value: r.csv:4: the value "1e400" of fid is not a number; allowed: a decimal number up to 1e100, true, false, or an empty cell where there is no value; correct the cell`,
		}},
		"rows": {"arm,seed,fid\na,1\n,1,2\na,,2\na,-1,2\na,1,2\na,2,3,4\na,3,\"x\"y\n", Options{}, []string{
			`row: r.csv:2: it has 2 cells under 3 columns; allowed: a cell for each column; quote cells that have commas, and leave missing ones empty`,
			`row: r.csv:3: the arm is missing; allowed: a name; write the name of the arm into each row`,
			`row: r.csv:4: the seed is missing; allowed: a whole number, or two as in 1.2 for pretraining 1 and feedback 2; write the seed into each row`,
			`row: r.csv:5: the seed "-1" is not a seed; allowed: a whole number from 0 on, or two as in 1.2 for pretraining 1 and feedback 2; correct the seed`,
			`row: r.csv:7: it has 4 cells under 3 columns; allowed: a cell for each column; quote cells that have commas, and leave missing ones empty`,
			`row: r.csv:8: it does not parse, at column 7 of line 8: extraneous or missing " in quoted-field; allowed: CSV as in RFC 4180; double the quotes within a quoted cell`,
		}},
		"duplicates": {"arm,seed,axis.lr,fid\na,1,0.10,2\na,1,1e-1,2\n", Options{}, []string{
			`duplicate: r.csv:3: fid of a[lr=0.1]@1 is here and in r.csv:2; allowed: one value for each arm, axes, seed and metric; remove one of them, or name the column in which the two runs differ as an axis`,
		}},
		"not finite": {"arm,seed,fid\na,1,NaN\na,2,-inf\na,3,3\n", Options{}, []string{
			`not finite: r.csv:2: fid of a@1 is NaN; allowed: a finite number; the run counts as one without this value; if it diverged, that is right`,
			`not finite: r.csv:3: fid of a@2 is -Inf; allowed: a finite number; the run counts as one without this value; if it diverged, that is right`,
		}},
		"a sample": {"arm,seed,prompt,score\na,1,p,NaN\na,1,p,0.5\n", Options{}, []string{
			`not finite: r.csv:2: score of a sample of a@1 is NaN; allowed: a finite number; the sample is left out of the mean and of n; where the scorer failed, score again`,
		}},
		"missing seeds": {"arm,seed,fid\na,1,2\na,2,3\nb,1,2\nb,3,3\n", Options{}, []string{
			`missing seed: r.csv:2: a has 2 seeds and lacks 3; only seeds that two arms share are compared in pairs; add the missing runs if that is not intended`,
			`missing seed: r.csv:4: b has 2 seeds and lacks 2; only seeds that two arms share are compared in pairs; add the missing runs if that is not intended`,
		}},
		"categories": {"arm,seed,prompt,category,aligned\na,1,p,x,1\na,1,p,,1\na,1,p,y,0\n", Options{}, []string{
			`categories: r.csv:4: the prompt "p" has the category "y", and "x" in r.csv:2; allowed: one category for each prompt; correct one of them`,
		}},
		"arms": {"arm,seed,fid\na/b,1,2\na/b,2,3\n\" [x]\",1,2\n\" [x]\",2,3\n", Options{}, []string{
			`name: r.csv:2: "a/b" is not the name of an arm; allowed: a name without [ ] @ / , and control characters that neither begins nor ends with a space; rename the arm, for example to "a-b"`,
			`name: r.csv:4: "[x]" is not the name of an arm; allowed: a name without [ ] @ / , and control characters that neither begins nor ends with a space; rename the arm, for example to "x"`,
		}},
		"directions": {"arm,seed,shininess\na,1,2\na,2,3\n", Options{}, []string{
			`direction: r.csv:1: it is unknown whether a higher or a lower shininess is better; allowed: higher, lower; describe the metric; until then no run is called better by it`,
		}},
		"ranges": {"arm,seed,accuracy\na,1,.5\na,2,50\n", Options{Describe: map[string]Description{"accuracy": {Range: Share}}}, []string{
			`range: r.csv:3: accuracy of a@2 is 50, and its range is declared as share; allowed: values from 0 to 1; correct the value or the declared range`,
		}},
		"counts": {"arm,seed,metric,value,n\na,1,fid,2,0.5\na,2,fid,2,0\na,3,fid,2,8\n", Options{}, []string{
			`value: r.csv:2: "0.5" is not a number of samples; allowed: a whole number from 1 to 1e9, or an empty cell; correct the cell`,
			`missing metric: r.csv:2: 2 of 3 runs have no value of fid: a@1, a@2; comparisons of the metric leave them out; add the values if that is not intended`,
			`value: r.csv:3: "0" is not a number of samples; allowed: a whole number from 1 to 1e9, or an empty cell; correct the cell`,
		}},
		"columns": {"method,fid\na,2\n", Options{}, []string{
			`unreadable: r.csv:1: it has no column "arm" among method, fid; allowed: a column with the arm of each row; name it with --columns arm=COLUMN`,
			`unreadable: r.csv:1: it has no column "seed" among method, fid; allowed: a column with the seed of each row; name it with --columns seed=COLUMN`,
		}},
		"roles": {"arm,seed,fid\na,1,2\n", Options{Columns: map[string]string{"n": "count", "axis.lr": "rate"}, Axes: []string{"beta"}}, []string{
			`unreadable: r.csv:1: it has no column "beta" among arm, seed, fid; allowed: a column with the axis.beta of each row; name it with --columns axis.beta=COLUMN`,
			`unreadable: r.csv:1: it has no column "count" among arm, seed, fid; allowed: a column with the n of each row; name it with --columns n=COLUMN`,
			`unreadable: r.csv:1: it has no column "rate" among arm, seed, fid; allowed: a column with the axis.lr of each row; name it with --columns axis.lr=COLUMN`,
		}},
		"twice":      {"arm,seed,fid,fid\na,1,2,2\n", Options{}, []string{`unreadable: r.csv:1: the column "fid" is there twice; allowed: columns of different names; rename or remove one`}},
		"no rows":    {"arm,seed,fid\n", Options{}, []string{`unreadable: r.csv:1: it has no rows; allowed: one row or more below the names of the columns; check how it was written`}},
		"empty":      {"", Options{}, []string{`unreadable: r.csv: it is empty; allowed: a line with the names of the columns, then the rows; check how it was written`}},
		"no metric":  {"arm,seed\na,1\n", Options{}, []string{`unreadable: r.csv:1: it has no column of a metric among arm, seed; allowed: the columns metric and value, or a column for each metric; name the columns with --columns metric=COLUMN,value=COLUMN`}},
		"a misnomer": {"arm,seed,fid\na,1,2\n", Options{Metrics: []string{"FID"}}, []string{`unreadable: r.csv: no run has the metric "FID"; allowed: metrics of the files, fid; correct the name`, `unreadable: r.csv:1: it has no column of a metric among arm, seed, fid; allowed: the columns metric and value, or a column for each metric; name the columns with --columns metric=COLUMN,value=COLUMN`}},
		"names":      {"arm,seed,axis.fid,fid,seed.feedback\na,1,2,2,3\n", Options{}, []string{`name: r.csv:1: "fid" is the name of a metric and of an axis; allowed: one column of each name; rename one, or leave it out`, `name: r.csv:1: "seed.feedback" is the name of a metric and of a column that every study has; allowed: one column of each name; rename one, or leave it out`, `direction: r.csv:1: it is unknown whether a higher or a lower seed.feedback is better; allowed: higher, lower; describe the metric; until then no run is called better by it`}},
		"two ways":   {"arm,seed,fid,kid\na,1,2,\na,1.0,,3\n", Options{}, []string{`missing metric: r.csv:2: 1 of 2 runs have no value of kid: a@1; comparisons of the metric leave them out; add the values if that is not intended`, `duplicate: r.csv:3: the seed of a@1 is written with .0 here or in r.csv:2 and without in the other; allowed: one way to write a seed; write seeds as whole numbers`, `missing metric: r.csv:3: 1 of 2 runs have no value of fid: a@1; comparisons of the metric leave them out; add the values if that is not intended`}},
		"not UTF-8":  {"arm,seed,fid\ngr\xfcn,1,2\n", Options{}, []string{`name: r.csv:2: the arm "gr\xfcn" is not UTF-8; allowed: UTF-8; save the file as UTF-8`}},
	} {
		t.Run(name, func(t *testing.T) {
			got, _ := said(read(t, c.o, write(t, "r.csv", c.text)))
			for i := range got { // where the other line is, a path
				got[i] = regexp.MustCompile(`\S*/r\.csv`).ReplaceAllString(got[i], "r.csv")
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("mismatch (-want +got):\n%s", d)
			}
		})
	}
}

// TestManyProblems: 20 of a kind are listed, the others counted.
func TestManyProblems(t *testing.T) {
	r := read(t, Options{}, write(t, "r.csv", "arm,seed,fid\na,1,2\n"+strings.Repeat("a,1,2\n", 30)+strings.Repeat("a,x,3\n", 5)+strings.Repeat("b,1,y\n", 25)+"b,2,1\n"))
	if n, more := len(r.Problems.List), r.Problems.Unlisted; n != 20+5+20+2 || more[Duplicate] != 10 || more[BadValue] != 5 || r.Problems.Errors() != 60 {
		t.Errorf("%d are listed and %v are not, of %d errors", n, more, r.Problems.Errors())
	}
	if err := r.Err(); err == nil || !strings.HasPrefix(err.Error(), "the results cannot be imported, for 60 reasons; the first: ") {
		t.Error(err)
	}
	if _, _, err := r.Tables("study"); err == nil {
		t.Error("tables are made of results with errors")
	}
}

// TestOrder: rows in another order give the same bytes.
func TestOrder(t *testing.T) {
	b, err := os.ReadFile("testdata/images.csv")
	if err != nil {
		t.Fatal(err)
	}
	head, rest, _ := strings.Cut(string(b), "\n")
	rows := strings.SplitAfter(strings.TrimSuffix(rest, "\n")+"\n", "\n")
	rows = rows[:len(rows)-1]
	var first []byte
	for i := range 20 {
		r := rand.New(rand.NewPCG(uint64(i), 0))
		r.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
		got := tables(t, read(t, Options{}, write(t, "r.csv", head+"\n"+strings.Join(rows, ""))))
		if first == nil {
			first = got
		}
		if !bytes.Equal(first, got) {
			t.Fatal("rows in another order give other tables")
		}
	}
}

func tables(t *testing.T, r *Results) []byte {
	t.Helper()
	trials, prompts, err := r.Tables("study")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	for _, x := range []*table.Table{trials, prompts} {
		if err := table.Write(&b, x); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

// TestTables has the columns of both tables.
func TestTables(t *testing.T) {
	r := read(t, Options{Describe: map[string]Description{"fid": {Unit: "distance²", Doc: "by Inception"}}}, write(t, "r.csv",
		"arm,seed,metric,value,n,prompt,category,axis.lr,axis.opt\nb,1.2,fid,3,,,,,\na,2,fid,2.5,10,,,1e-4,adam w\na,2,ok,1,,p,x,1e-4,adam w\na,2,ok,0,,q,,1e-4,adam w\n"))
	trials, prompts, err := r.Tables("study")
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	for _, x := range []*table.Table{trials, prompts} {
		if err := table.CSV(&got, x); err != nil {
			t.Fatal(err)
		}
	}
	ids := regexp.MustCompile(`[0-9a-f]{64}`).ReplaceAllString(got.String(), "ID")
	want := `arm,view,trial,control,lr,opt,seed.pretraining,seed.feedback,fid,fid.n,ok,ok.n
a,"a[lr=0.0001,opt=""adam w""]@2",ID,false,0.0001,adam w,2,2,2.5,10,0.5,2
b,b@1.2,ID,false,,,1,2,3,,,
trial,prompt,category,metric,sum,n
ID,p,x,ok,1,1
ID,q,,ok,0,1
`
	if d := cmp.Diff(want, ids); d != "" {
		t.Errorf("mismatch (-want +got):\n%s", d)
	}
	// printf 'study\nb@1.2' | sha256sum
	if id := trials.Column("trial").Strings[1]; id != "0f3b1a33cf70f05ae7a2c10a333b0b7e2e8ad07a86d0a01369aeba7c07170a00" {
		t.Error(id)
	}
	fid := trials.Column("fid")
	if fid.Unit != "distance²" || fid.Better != "lower" || fid.Doc != "by Inception" || fid.Kind != table.Float {
		t.Errorf("fid is %+v", fid)
	}
}

// TestArms: arms are listed as the files have them, and not by their names.
func TestArms(t *testing.T) {
	got := read(t, Options{}, write(t, "b.csv", "arm,seed,acc\nlast,1,.5\nfirst,1,.6\nlast,2,.5\n"), write(t, "a.csv", "arm,seed,acc\nearly,1,.5\nfirst,2,.6\n")).Arms
	if want := []string{"last", "first", "early"}; !slices.Equal(got, want) {
		t.Errorf("the arms are %q, want %q", got, want)
	}
}

// TestArmName: the pattern is that of the study language.
func TestArmName(t *testing.T) {
	b, err := os.ReadFile("../../experiments/schema/study.cue")
	if err != nil {
		t.Fatal(err)
	}
	if want := `#ArmName: #"` + armName.String() + `"#`; !strings.Contains(string(b), want) {
		t.Errorf("study.cue does not have %s", want)
	}
}

// TestOptions checks the errors of options that are not valid.
func TestOptions(t *testing.T) {
	for want, o := range map[string]Options{
		`format "xls" is unknown; allowed: csv, hydra, jsonl, parquet, tensorboard, wandb`:                               {Format: "xls"},
		`name=x: unknown role "name"; allowed: arm, seed, metric, value, n, prompt, category, image, axis.NAME`:          {Columns: map[string]string{"name": "x"}},
		`arm=: the name of the column is missing; write arm=COLUMN`:                                                      {Columns: map[string]string{"arm": ""}},
		`pattern "x" has no group (?P<arm>…), by which it finds the arm of a run; add one, and (?P<seed>…) for its seed`: {Pattern: regexp.MustCompile("x")},
		`metric "fid": its range "huge" is unknown; allowed: share, positive, any`:                                       {Describe: map[string]Description{"fid": {Range: "huge"}}},
		`metric "fid": its direction "up" is unknown; allowed: higher, lower, or nothing where neither is better`:        {Describe: map[string]Description{"fid": {Better: "up"}}},
	} {
		if _, err := Read(t.Context(), nil, o); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// TestFiles checks the problems of paths that do not contain results.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "model.bin"), []byte{0, 1, 2}, 0o666); err != nil {
		t.Fatal(err)
	}
	got, _ := said(read(t, Options{}, filepath.Join(dir, "none.csv"), dir, filepath.Join(dir, "model.bin")))
	want := []string{
		"unreadable: none.csv: it cannot be read: no such file or directory; allowed: a file or folder that exists and may be read; correct the path or its permissions",
		"unreadable: " + filepath.Base(dir) + ": it has no results; allowed: *.csv, *.tsv, *.jsonl, *.ndjson and *.parquet, event files of TensorBoard, or the jobs of a Hydra multirun with their .hydra folders; give the folder or the file that has them",
		"unreadable: model.bin: its format is not recognised; allowed: csv, hydra, jsonl, parquet, tensorboard, wandb, none of them compressed; name the format",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("mismatch (-want +got):\n%s", d)
	}
}

// TestFolder: the tables of a folder are read. If the folder has jobs of Hydra, its
// tables are not read, and a note says so.
func TestFolder(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"a.csv": "arm,seed,fid\nx,1,2\n", "b/c.jsonl": `{"arm":"x","seed":2,"fid":3}`, "b/notes.txt": "a,b\n"} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, []byte(text), 0o666)); err != nil {
			t.Fatal(err)
		}
	}
	if d := cmp.Diff(map[string]string{"x@1 fid": "2", "x@2 fid": "3"}, values(read(t, Options{}, dir))); d != "" {
		t.Error(d)
	}
	r := read(t, Options{}, "testdata")
	want := "testdata: it is read as a folder of hydra; tables beside the runs are not read: images.csv, images.parquet, wandb.csv, wandb.jsonl"
	if got := r.Notes[len(r.Notes)-1]; got != want {
		t.Errorf("the note is %q, want %q", got, want)
	}
}

// TestSeveralFiles: a run's metrics may be in several files; its images too, with a
// warning; a file that is given twice is read once.
func TestSeveralFiles(t *testing.T) {
	a, b := write(t, "a.csv", "arm,seed,fid\nx,1,2\n"), write(t, "b.csv", "arm,seed,prompt,aligned\nx,1,p,1\n")
	c := write(t, "c.csv", "arm,seed,prompt,aligned\nx,1,p,0\n")
	r := read(t, Options{}, a, b, c, a)
	if d := cmp.Diff(map[string]string{"x@1 fid": "2", "x@1 aligned": "0.5 of 2"}, values(r)); d != "" {
		t.Error(d)
	}
	if p := r.Problems.List; len(p) != 1 || p[0].Kind != Split || p[0].File != c || r.Err() != nil {
		t.Error(p)
	}
	// A column that has only texts in one file may have numbers in another.
	r = read(t, Options{}, a, write(t, "d.csv", "arm,seed,fid,kid\nx,2,none,1\nx,1,none,2\n"))
	if d := cmp.Diff(map[string]string{"x@1 fid": "2", "x@2 fid": "-", "x@1 kid": "2", "x@2 kid": "1"}, values(r)); d != "" {
		t.Error(d)
	}
	r = read(t, Options{}, a, a)
	if !strings.Contains(strings.Join(r.Notes, "\n"), "is given twice and read once") {
		t.Error(r.Notes)
	}
}

func TestCancelled(t *testing.T) {
	why := errors.New("interrupted")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	for _, path := range []string{"testdata", "testdata/images.csv", "testdata/hydra", "testdata/tensorboard"} {
		if r, err := Read(ctx, []string{path}, Options{}); !errors.Is(err, why) || r != nil {
			t.Errorf("%s: %v, %v", path, r, err)
		}
	}
}
