package compare_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"ablate/analysis/compare"
	"ablate/analysis/table"
)

// side is a table of rows with known values: trials of 1000 images that start from the given
// pretrained model, "" where it is unknown.
type side struct {
	table *table.Table
	model string
	first int64 // the first seed
	trial string
}

func newSide(model string, first int64, trial string) *side {
	s := &side{table: &table.Table{}, model: model, first: first, trial: trial}
	for _, c := range []table.Column{{Name: "arm", Kind: table.String}, {Name: "view", Kind: table.String}, {Name: "trial", Kind: table.String},
		{Name: "seed.pretraining", Kind: table.Int}, {Name: "seed.feedback", Kind: table.Int}, {Name: "finetune.beta", Kind: table.Float, Valid: []bool{}},
		{Name: compare.Model, Kind: table.String, Valid: []bool{}},
		{Name: "alignment", Kind: table.Float, Better: "higher", Range: table.Share, Valid: []bool{}}, {Name: "alignment.n", Kind: table.Int},
		{Name: "fidelity.recall", Kind: table.Float, Better: "higher", Range: table.Share, Depends: "n", Valid: []bool{}}, {Name: "fidelity.recall.n", Kind: table.Int}} {
		s.table.Columns = append(s.table.Columns, &c)
	}
	return s
}

// row adds a row with values of alignment and recall by seed.
func (s *side) row(label string, beta float64, alignment, recall []float64) *side {
	c := s.table.Column
	str := func(name, v string) { c(name).Strings = append(c(name).Strings, v) }
	for i := range alignment {
		seed := s.first + int64(i)
		str("arm", label)
		str("view", fmt.Sprintf("%s@%d", label, seed))
		str("trial", fmt.Sprintf("%s-%s-%d", s.trial, label, seed))
		str(compare.Model, fmt.Sprintf("%s-%d", s.model, seed))
		c(compare.Model).Valid = append(c(compare.Model).Valid, s.model != "")
		for _, name := range []string{"seed.pretraining", "seed.feedback"} {
			c(name).Ints = append(c(name).Ints, seed)
		}
		for name, v := range map[string]float64{"alignment": alignment[i], "fidelity.recall": recall[i], "finetune.beta": beta} {
			c(name).Floats, c(name).Valid = append(c(name).Floats, v), append(c(name).Valid, !math.IsNaN(v))
		}
		for _, name := range []string{"alignment.n", "fidelity.recall.n"} {
			c(name).Ints = append(c(name).Ints, 1000)
		}
	}
	return s
}

func (s *side) side(name string) compare.Side {
	return compare.Side{Name: name, Trials: s.table, Parameters: []string{"finetune.beta"}}
}

func diffed(t *testing.T, a, b *side) *compare.Diff {
	t.Helper()
	d, err := compare.NewDiff(a.side("A"), b.side("B"), compare.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// known is the result of scipy for a comparison (testdata/diff.py).
type known struct {
	A, B                          []float64
	MeanA, MeanB, Mean, Low, High float64
	P, PCorrected                 float64
}

func (k known) check(t *testing.T, what string, v compare.DiffValue) {
	t.Helper()
	d := v.Difference
	if d == nil || d.P == nil {
		t.Fatalf("%s: no test: %+v", what, v)
	}
	got := []float64{v.A.Mean, v.B.Mean, d.Mean, d.Low, d.High, *d.P}
	for i, want := range []float64{k.MeanA, k.MeanB, k.Mean, k.Low, k.High, k.P} {
		if math.Abs(got[i]-want) > 1e-9 {
			t.Errorf("%s: number %d is %.12g, want %.12g", what, i, got[i], want)
		}
	}
	if k.PCorrected != 0 && (d.PCorrected == nil || math.Abs(*d.PCorrected-k.PCorrected) > 1e-9) {
		t.Errorf("%s: corrected p %v, want %.12g", what, d.PCorrected, k.PCorrected)
	}
	if math.Abs(v.A.Mean-v.B.Mean-d.Mean) > 1e-12 {
		t.Errorf("%s: %g less %g is not %g", what, v.A.Mean, v.B.Mean, d.Mean)
	}
}

// TestDiffKnown compares differences with scipy's: paired by seed where trials start from the
// same pretrained models, else by Welch's test, on the scale of shares.
func TestDiffKnown(t *testing.T) {
	b, err := os.ReadFile("testdata/diff.json")
	if err != nil {
		t.Fatal(err)
	}
	var ref struct {
		Paired, Welch []known
		Unequal       known
	}
	if err := json.Unmarshal(b, &ref); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what   string
		model  string
		first  int64
		want   []known
		shares string
	}{
		{"the same models", "m", 1, ref.Paired, compare.SameModel},
		{"other models", "o", 1, ref.Welch, compare.Nothing},
		{"models that are not known", "", 1, ref.Welch, compare.Nothing},
		{"other seeds of the same model", "m", 11, ref.Welch, compare.Nothing},
	} {
		a := newSide("m", 1, "x").row("row", 1, c.want[0].A, c.want[1].A)
		d := diffed(t, a, newSide(c.model, c.first, "y").row("row", 1, c.want[0].B, c.want[1].B))
		if d.Family != 2 || d.Rows[0].Shares != c.shares {
			t.Errorf("%s: shares %q, a family of %d", c.what, d.Rows[0].Shares, d.Family)
		}
		for i, m := range []string{"alignment", "fidelity.recall"} {
			c.want[i].check(t, c.what+", "+m, d.Rows[0].Values[m])
		}
	}
	nothing := slices.Repeat([]float64{math.NaN()}, 5)
	d := diffed(t, newSide("m", 1, "x").row("row", 1, ref.Unequal.A, nothing[:4]), newSide("o", 1, "y").row("row", 1, ref.Unequal.B, nothing))
	ref.Unequal.check(t, "four and five seeds", d.Rows[0].Values["alignment"])
}

// TestDiffPairs checks that values are over the seeds that the difference uses, and that rows
// with the same trials are identical where all their artifacts and values are.
func TestDiffPairs(t *testing.T) {
	long, short := []float64{.4, .52, .61, .57, .66}, []float64{.44, .58, .47}
	d := diffed(t, newSide("m", 1, "x").row("row", 1, long, long), newSide("m", 2, "y").row("row", 1, short, short))
	v := d.Rows[0].Values["alignment"]
	if got := strings.Join(v.A.Seeds, " "); got != "2 3 4" || got != strings.Join(v.B.Seeds, " ") || got != strings.Join(v.Difference.Seeds, " ") {
		t.Errorf("seeds %v, %v and %v", v.A.Seeds, v.B.Seeds, v.Difference.Seeds)
	}
	if math.Abs(v.A.Mean-v.B.Mean-v.Difference.Mean) > 1e-12 {
		t.Errorf("%g less %g is not %g", v.A.Mean, v.B.Mean, v.Difference.Mean)
	}
	same := func(change func(*table.Table)) compare.DiffRow {
		b := newSide("m", 1, "x").row("row", 1, short, short)
		change(b.table)
		return diffed(t, newSide("m", 1, "x").row("row", 1, short, short), b).Rows[0]
	}
	for what, c := range map[string]struct {
		change func(*table.Table)
		same   bool
	}{
		"equal":          {func(*table.Table) {}, true},
		"another value":  {func(b *table.Table) { b.Column("alignment").Floats[1] += .01 }, false},
		"another model":  {func(b *table.Table) { b.Column(compare.Model).Strings[1] = "other" }, false},
		"models unknown": {func(b *table.Table) { b.Column(compare.Model).Valid = []bool{false, false, false} }, true},
	} {
		if r := same(c.change); r.Same != c.same || r.Shares != compare.SameTrials {
			t.Errorf("%s: same %v, shares %q", what, r.Same, r.Shares)
		}
	}
	if d := diffed(t, newSide("m", 1, "x").row("row", 1, short, short), newSide("m", 1, "x").row("row", 1, short, short)); d.Family != 0 || d.Rows[0].Values["alignment"].Difference.PCorrected != nil {
		t.Errorf("equal rows are tested: %+v", d)
	}
}

// TestDiffRows checks which rows and parameters differ, that repeated rows are one comparison,
// and that numbers of samples must be equal.
func TestDiffRows(t *testing.T) {
	x, y := []float64{.44, .58, .47}, []float64{.52, .61, .57}
	a := newSide("m", 1, "x").row("both", 1, x, x).row("gone", 1, x, x).row("more", 2, y, x)
	b := newSide("m", 1, "y").row("new", 1, x, x).row("more", 2, x, x).row("both", .5, y, y)
	d := diffed(t, a, b)
	var labels []string
	for _, r := range d.Rows {
		labels = append(labels, r.Row)
	}
	if got := fmt.Sprint(labels, d.OnlyA, d.OnlyB, d.Family, d.Known); got != "[both more] [gone] [new] 4 true" {
		t.Errorf("rows %s", got)
	}
	if got := fmt.Sprint(d.Rows[0].Settings, d.Rows[1].Settings); got != "[{finetune.beta 1 0.5}] []" {
		t.Errorf("parameters %s", got)
	}
	// Two rows of the same trials.
	for i, v := range a.table.Column("view").Strings {
		if strings.HasPrefix(v, "gone") {
			a.table.Column("view").Strings[i] = strings.Replace(v, "gone", "again", 1)
			a.table.Column("trial").Strings[i] = a.table.Column("trial").Strings[i%3]
		}
	}
	for i, v := range b.table.Column("view").Strings {
		if strings.HasPrefix(v, "new") {
			b.table.Column("view").Strings[i] = strings.Replace(v, "new", "again", 1)
			b.table.Column("trial").Strings[i] = b.table.Column("trial").Strings[6+i]
		}
	}
	if d := diffed(t, a, b); d.Family != 4 || d.Rows[1].Row != "again" || d.Rows[1].SameAs != "both" || *d.Rows[1].Values["alignment"].Difference.P != *d.Rows[0].Values["alignment"].Difference.P {
		t.Errorf("a row that repeats another: %+v", d.Rows[1])
	}
	for i := range b.table.Column("fidelity.recall.n").Ints {
		b.table.Column("fidelity.recall.n").Ints[i] = 7
	}
	v := diffed(t, a, b).Rows[0].Values["fidelity.recall"]
	if n, ok := noted(&compare.Table{Notes: diffed(t, a, b).Notes}, v.A.Notes, compare.Unequal); v.Difference != nil || !ok || n.N != 1000 || n.Of != 7 {
		t.Errorf("recall of 1000 and 7 samples: %+v", v)
	}
	b = newSide("m", 1, "y").row("other", 1, x, x)
	if _, err := compare.NewDiff(a.side("A"), b.side("B"), compare.Options{}); err == nil || err.Error() != "the tables have no row in common: A has both, again, more, and B has other" {
		t.Errorf("no common row: %v", err)
	}
	b = newSide("m", 1, "y").row("both", 1, x, x)
	b.table.Column("alignment").Better = "lower"
	if _, err := compare.NewDiff(a.side("A"), b.side("B"), compare.Options{}); err == nil || !strings.Contains(err.Error(), "in A alignment is better higher, and in B lower") {
		t.Errorf("another direction: %v", err)
	}
}

// TestDiffFewSeeds checks that nothing is tested with fewer than three seeds.
func TestDiffFewSeeds(t *testing.T) {
	for _, model := range []string{"m", "o"} {
		d := diffed(t, newSide("m", 1, "x").row("row", 1, []float64{.4, .5}, []float64{.9, .8}), newSide(model, 1, "y").row("row", 1, []float64{.5, .5}, []float64{.9, .7}))
		v := d.Rows[0].Values["alignment"].Difference
		if d.Family != 0 || v == nil || v.P != nil || v.Interval != compare.OverImages || v.Mean >= 0 || v.High <= v.Low {
			t.Errorf("model %s: %+v", model, v)
		}
	}
}

// TestDiffOtherPrompts checks that where two tables have different samples of prompts, the
// error of both counts, even if seeds start from the same pretrained models.
func TestDiffOtherPrompts(t *testing.T) {
	values := []float64{.5, .52, .49, .51}
	width := func(good [2]func(p int) float64) float64 {
		var sides [2]compare.Side
		for k, name := range []string{"A", "B"} {
			sides[k] = newSide("pretrained", 1, name).row("a", .1, values, values).side(name)
			sums := &table.Table{}
			for _, c := range []table.Column{{Name: "trial"}, {Name: "prompt"}, {Name: "category"}, {Name: "metric"}, {Name: "sum", Kind: table.Float}, {Name: "n", Kind: table.Int}} {
				sums.Columns = append(sums.Columns, &c)
			}
			for seed := range values {
				for p := range 20 {
					for column, v := range map[string]string{"trial": fmt.Sprintf("%s-a-%d", name, seed+1), "prompt": fmt.Sprint(name, p), "category": "all", "metric": "alignment"} {
						c := sums.Column(column)
						c.Strings = append(c.Strings, v)
					}
					sums.Column("sum").Floats, sums.Column("n").Ints = append(sums.Column("sum").Floats, good[k](p)), append(sums.Column("n").Ints, 50)
				}
			}
			sides[k].Samples = sums
		}
		d, err := compare.NewDiff(sides[0], sides[1], compare.Options{Sampled: true})
		if err != nil {
			t.Fatal(err)
		}
		x := d.Rows[0].Values["alignment"].Difference
		return x.High - x.Low
	}
	alike, apart := func(int) float64 { return 25 }, func(p int) float64 { return float64(50 * (p % 2)) }
	none, a, b := width([2]func(int) float64{alike, alike}), width([2]func(int) float64{apart, alike}), width([2]func(int) float64{alike, apart})
	if a < 2*none || math.Abs(a-b) > 1e-9 {
		t.Errorf("widths %g where prompts of no table differ, %g of A, %g of B", none, a, b)
	}
}
