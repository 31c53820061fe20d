package compare_test

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"ablate/analysis/compare"
	"ablate/analysis/table"
)

// study returns tables of arms with the given alignment by seed: 40 prompts of 5 images each,
// of which the first are good, in the number that the alignment requires.
func study(arms map[string][]float64, order []string, seeds [][2]int64) (trials, samples *table.Table) {
	str := func(name string) *table.Column { return &table.Column{Name: name, Kind: table.String, Valid: []bool{}} }
	arm, view, trial, reward := str("arm"), str("view"), str("trial"), str("reward.loss")
	control := &table.Column{Name: "control", Kind: table.Bool}
	p, f := &table.Column{Name: "seed.pretraining", Kind: table.Int}, &table.Column{Name: "seed.feedback", Kind: table.Int}
	bestOf := &table.Column{Name: "evaluate.bestOf", Kind: table.Int}
	metric := func(name string) (*table.Column, *table.Column) {
		return &table.Column{Name: name, Kind: table.Float, Better: "higher", Valid: []bool{}}, &table.Column{Name: name + ".n", Kind: table.Int, Valid: []bool{}}
	}
	a, an := metric("alignment")
	r, rn := metric("fidelity.recall")
	rr, rrn := metric("fidelity.recall.real")
	x, xn := metric("proxy")
	r.Depends, rr.Depends = "n", "n"
	a.Range, r.Range, rr.Range, x.Range = table.Share, table.Share, table.Share, table.Unit
	s := map[string]*table.Column{}
	samples = &table.Table{}
	for _, n := range []string{"trial", "set", "prompt", "category", "verdict"} {
		s[n] = &table.Column{Name: n, Kind: table.String}
		samples.Columns = append(samples.Columns, s[n])
	}
	seen := &table.Column{Name: "seen", Kind: table.Bool}
	proxy := &table.Column{Name: "proxy", Kind: table.Float, Valid: []bool{}}
	index := &table.Column{Name: "index", Kind: table.Int}
	samples.Columns = append(samples.Columns, seen, proxy, index)
	add := func(c *table.Column, v float64, ok bool) {
		c.Floats, c.Valid = append(c.Floats, v), append(c.Valid, ok)
	}
	count := func(c *table.Column, ok bool) { c.Ints, c.Valid = append(c.Ints, 200), append(c.Valid, ok) }
	for _, name := range order {
		for i, seed := range seeds {
			id := fmt.Sprintf("%s-%d", name, i)
			arm.Strings, arm.Valid = append(arm.Strings, name), append(arm.Valid, true)
			view.Strings, view.Valid = append(view.Strings, fmt.Sprintf("%s@%d", name, i)), append(view.Valid, true)
			trial.Strings, trial.Valid = append(trial.Strings, id), append(trial.Valid, true)
			reward.Strings, reward.Valid = append(reward.Strings, "mse"), append(reward.Valid, true)
			control.Bools = append(control.Bools, name == "oracle")
			p.Ints, f.Ints, bestOf.Ints = append(p.Ints, seed[0]), append(f.Ints, seed[1]), append(bestOf.Ints, map[bool]int64{true: 4, false: 1}[name == "best"])
			v := arms[name][i]
			there := !math.IsNaN(v)
			add(a, v, there)
			count(an, there)
			add(r, .9-v/10, there)
			count(rn, there)
			add(rr, .97, there)
			count(rrn, there)
			add(x, v, there)
			count(xn, there)
			if !there {
				continue
			}
			good := int(math.Round(v * 200))
			for k := range 200 {
				s["trial"].Strings = append(s["trial"].Strings, id)
				s["set"].Strings = append(s["set"].Strings, "alignment")
				s["prompt"].Strings = append(s["prompt"].Strings, fmt.Sprintf("prompt %d", k%40))
				s["category"].Strings = append(s["category"].Strings, "count")
				verdict := "bad"
				if k < good {
					verdict = "good"
				}
				s["verdict"].Strings = append(s["verdict"].Strings, verdict)
				seen.Bools = append(seen.Bools, true)
				proxy.Floats, proxy.Valid = append(proxy.Floats, v), append(proxy.Valid, true)
				index.Ints = append(index.Ints, int64(k))
			}
		}
	}
	return &table.Table{Meta: map[string]string{}, Columns: []*table.Column{arm, view, trial, control, reward, bestOf, p, f, a, an, r, rn, rr, rrn, x, xn}}, samples
}

func ablation(t *testing.T, arms map[string][]float64, order []string, seeds [][2]int64) *compare.Table {
	t.Helper()
	trials, samples := study(arms, order, seeds)
	return made(t, trials, samples, compare.Options{Reference: "base"})
}

// ablate returns the ablation table of trials.arrow and samples.arrow.
func ablate(trials, samples *table.Table, o compare.Options) (*compare.Table, error) {
	images, err := compare.NewImages(samples)
	if err != nil {
		return nil, err
	}
	return compare.Ablation(trials, images, o)
}

// made returns the table of ablate, and fails the test on an error.
func made(t *testing.T, trials, samples *table.Table, o compare.Options) *compare.Table {
	t.Helper()
	got, err := ablate(trials, samples, o)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// noted returns the first note of a kind among those with the given indices, or among all where
// these are nil.
func noted(tab *compare.Table, of []int, kind compare.Kind) (compare.Note, bool) {
	for i, n := range tab.Notes {
		if n.Kind == kind && (of == nil || slices.Contains(of, i)) {
			return n, true
		}
	}
	return compare.Note{}, false
}

func TestTwoSeeds(t *testing.T) {
	nan := math.NaN()
	trials, samples := study(map[string][]float64{"base": {.5, .52}, "oracle": {.71, .73}, "best": {.8, .82}, "half": {.6, nan}, "none": {nan, nan}},
		[]string{"base", "oracle", "best", "half", "none"}, [][2]int64{{1, 1}, {2, 2}})
	trials.Column("fidelity.recall").Range = "" // as for a metric that declares no range
	got := made(t, trials, samples, compare.Options{})
	row := map[string]compare.Row{}
	for _, r := range got.Rows {
		row[r.Label] = r
	}
	base := row["base"].Cells["alignment"]
	if base.Interval != compare.OverImages || base.N != 2 || math.Abs(base.Mean-.51) > 1e-4 || base.Low >= .5 || base.High <= .52 {
		t.Errorf("base: %+v, want an interval over images around .51", base)
	}
	if c := row["base"].Cells["fidelity.recall"]; c.Interval != "" || c.Low != c.High || len(c.Values) != 2 {
		t.Errorf("recall of two seeds: %+v, want no interval", c)
	}
	if c := row["base"].Cells["fidelity.recall.real"]; math.Abs(c.Mean-.97) > 1e-9 {
		t.Errorf("the floor is %+v", c)
	}
	d := row["oracle"].Differences["alignment"]
	if math.Abs(d.Mean-.21) > 1e-3 || d.P != nil || d.Interval != compare.OverImages || d.Low < .1 {
		t.Errorf("difference %+v, want .21 with an interval over images, and no test with two seeds", d)
	}
	if d := row["oracle"].Differences["fidelity.recall"]; d.P != nil || d.Significant {
		t.Errorf("a difference of recall with two seeds is tested: %+v", d)
	}
	if row["base"].Differences != nil {
		t.Error("the reference has a difference from itself")
	}
	if c, ok := row["none"].Cells["alignment"]; ok {
		t.Errorf("an arm without a result has the figure %+v", c)
	}
	half := row["half"].Cells["alignment"]
	if _, ok := noted(got, half.Notes, compare.Pending); half.N != 1 || !ok {
		t.Errorf("an arm with half its results: %+v, want a note", half)
	}
	for _, want := range []compare.Kind{compare.FewSeeds, compare.Declared, compare.SelectedOn, compare.Pending, compare.Absent, compare.NoSpread} {
		if _, ok := noted(got, nil, want); !ok {
			t.Errorf("no note on %s: %+v", want, got.Notes)
		}
	}
	if !row["oracle"].Control || row["base"].Control {
		t.Error("the control is not marked")
	}
}

// TestSeedsThatAreEnough compares intervals with Student's t interval on the logit scale.
func TestSeedsThatAreEnough(t *testing.T) {
	arms := map[string][]float64{"base": {.4, .5, .6}, "b": {.6, .62, .61}}
	got := ablation(t, arms, []string{"base", "b"}, [][2]int64{{1, 1}, {2, 2}, {3, 3}})
	logit := func(k, n float64) float64 { return math.Log((k + .5) / (n - k + .5)) }
	y := []float64{logit(80, 200), logit(100, 200), logit(120, 200)}
	sd := math.Sqrt((y[0]*y[0] + y[2]*y[2]) / 2) // their mean is 0
	back := func(y float64) float64 { return (201/(1+math.Exp(-y)) - .5) / 200 }
	// Student's t with 2 degrees of freedom.
	c := got.Rows[0].Cells["alignment"]
	if c.Interval != compare.OverSeeds || math.Abs(c.Low-back(-4.302653*sd/math.Sqrt(3))) > 1e-6 || math.Abs(c.High-back(4.302653*sd/math.Sqrt(3))) > 1e-6 || math.Abs(c.Mean-.5) > 1e-9 {
		t.Errorf("alignment of three seeds: %+v", c)
	}
	crossed := ablation(t, map[string][]float64{"base": {.5, .52, .54, .5}, "b": {.6, .6, .6, .6}}, []string{"base", "b"}, [][2]int64{{1, 1}, {1, 2}, {2, 1}, {2, 2}})
	if c := crossed.Rows[0].Cells["alignment"]; c.N != 2 || c.Interval != compare.OverImages {
		t.Errorf("2 × 2 crossed seeds count as %d with an interval over %q, want 2 and images", c.N, c.Interval)
	}
}

// TestSampledPrompts checks that intervals for sampled prompts are over seeds and prompts, and
// wider, and that there is none with few prompts.
func TestSampledPrompts(t *testing.T) {
	arms := map[string][]float64{"base": {.5, .52, .54}, "b": {.6, .62, .61}}
	trials, samples := study(arms, []string{"base", "b"}, diagonal(3))
	fixed, sampled := made(t, trials, samples, compare.Options{}), made(t, trials, samples, compare.Options{Sampled: true})
	a, b := fixed.Rows[0].Cells["alignment"], sampled.Rows[0].Cells["alignment"]
	if a.Interval != compare.OverSeeds || b.Interval != compare.OverBoth || b.High-b.Low <= a.High-a.Low || a.Mean != b.Mean {
		t.Errorf("fixed %+v, sampled %+v", a, b)
	}
	if c := sampled.Rows[0].Cells["fidelity.recall"]; c.Interval != compare.OverSeeds {
		t.Errorf("recall, which has no prompts, is over %q", c.Interval)
	}
	for i, p := range samples.Column("prompt").Strings {
		samples.Column("prompt").Strings[i] = map[bool]string{true: "one", false: "another"}[p < "prompt 2"]
	}
	few := made(t, trials, samples, compare.Options{Sampled: true}).Rows[1].Differences["alignment"]
	if few.Interval != "" || few.P != nil {
		t.Errorf("two prompts: %+v, want no interval", few)
	}
}

// TestLuck is a study for which a naive test gives p = 3e-5: three seeds whose differences are
// −2 of about 70 images, with 9 images lost and 3 won. McNemar's exact test of these gives p =
// .15.
func TestLuck(t *testing.T) {
	trials, samples := study(map[string][]float64{"base": {.5, .5, .5}, "luck": {.49, .49, .49}}, []string{"base", "luck"}, diagonal(3))
	verdict, trial, n := samples.Column("verdict").Strings, samples.Column("trial").Strings, map[string]int{}
	for i := range verdict {
		k := n[trial[i]]
		n[trial[i]]++
		good := k < 100
		if strings.HasPrefix(trial[i], "luck") { // one image is won and three are lost
			good = k < 97 || k == 150
		}
		verdict[i] = map[bool]string{true: "good", false: "bad"}[good]
	}
	d := made(t, trials, samples, compare.Options{}).Rows[1].Differences["alignment"]
	if d.P == nil || *d.P < .2 || d.Significant || d.Low >= 0 && d.High <= 0 {
		t.Errorf("equal differences by luck: %+v", d)
	}
}

func TestSharedTrials(t *testing.T) {
	trials, samples := study(map[string][]float64{"base": {.5}, "again": {.5}}, []string{"base", "again"}, [][2]int64{{1, 1}})
	id := trials.Column("trial")
	id.Strings[1] = id.Strings[0]
	got, err := ablate(trials, samples, compare.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if r := got.Rows[1]; r.SameAs != "base" || r.Differences != nil {
		t.Errorf("a row of the same trials: %+v, want it named and not compared", r)
	}
}

// TestPart checks that a row with some of another's seeds is not tested again: it refers to
// that row and has no differences.
func TestPart(t *testing.T) {
	arms := map[string][]float64{"base": {.5, .52, .54, .51}, "x": {.6, .62, .61, .65}, "of base": {.5, .52, .54, .51}, "of x": {.6, .62, .61, .65}}
	trials, samples := study(arms, []string{"base", "x", "of base", "of x"}, diagonal(4))
	id := trials.Column("trial").Strings
	copy(id[8:], id[:8])
	// The rows "of base" and "of x" keep the first two seeds.
	for _, c := range trials.Columns {
		for _, at := range []int{14, 10} {
			switch c.Kind {
			case table.String:
				c.Strings = slices.Delete(c.Strings, at, at+2)
			case table.Int:
				c.Ints = slices.Delete(c.Ints, at, at+2)
			case table.Float:
				c.Floats = slices.Delete(c.Floats, at, at+2)
			case table.Bool:
				c.Bools = slices.Delete(c.Bools, at, at+2)
			}
			if c.Valid != nil {
				c.Valid = slices.Delete(c.Valid, at, at+2)
			}
		}
	}
	got, err := ablate(trials, samples, compare.Options{Detect: map[string]float64{"alignment": .03}})
	if err != nil {
		t.Fatal(err)
	}
	x, ofBase, ofX := find(t, got, "x"), find(t, got, "of base"), find(t, got, "of x")
	if ofBase.SameAs != "base" || !ofBase.Part || ofBase.Differences != nil {
		t.Errorf("a part of the reference: %+v", ofBase)
	}
	if ofX.SameAs != "x" || !ofX.Part || len(ofX.Differences) > 0 || x.Differences["alignment"].N != 4 || ofX.Cells["alignment"].N != 2 {
		t.Errorf("a part of a row: %+v", ofX)
	}
	if len(got.Detect) != 1 || got.Family != 2 || got.Detect[0].Have != 4 { // of two primary metrics
		t.Errorf("a family of %d; detect counts %+v", got.Family, got.Detect)
	}
}

// TestOrderOfArms checks that rows have the order of the arms in the options, points that of
// the trials, and that the first row is the reference where none is named.
func TestOrderOfArms(t *testing.T) {
	arms := map[string][]float64{"a[x=1]": {.5, .52}, "a[x=2]": {.5, .52}, "b": {.6, .62}}
	trials, samples := study(arms, []string{"a[x=1]", "a[x=2]", "b"}, [][2]int64{{1, 1}, {2, 2}})
	for i, name := range trials.Column("arm").Strings {
		trials.Column("arm").Strings[i] = name[:1]
	}
	got, err := ablate(trials, samples, compare.Options{Arms: []string{"b", "a"}})
	if err != nil {
		t.Fatal(err)
	}
	var labels []string
	for _, r := range got.Rows {
		labels = append(labels, r.Label)
	}
	if want := []string{"b", "a[x=1]", "a[x=2]"}; !slices.Equal(labels, want) || got.Reference != "b" {
		t.Errorf("the rows are %q with the reference %q, want %q", labels, got.Reference, want)
	}
}

// TestWhatCannotBeCounted checks that a value that is not a finite number is no result, that a
// value without its images has no interval, and that columns of another kind are an error.
func TestWhatCannotBeCounted(t *testing.T) {
	arms := map[string][]float64{"base": {.5, .52}, "b": {.6, .62}}
	seeds := [][2]int64{{1, 1}, {2, 2}}
	trials, samples := study(arms, []string{"base", "b"}, seeds)
	trials.Column("proxy").Floats[2], trials.Column("fidelity.recall").Floats[3] = math.NaN(), math.Inf(1)
	trials.Column("trial").Strings[2] = "unknown to samples"
	got, err := ablate(trials, samples, compare.Options{})
	if err != nil {
		t.Fatal(err)
	}
	row := got.Rows[1]
	if c := row.Cells["proxy"]; len(c.Values) != 1 || c.N != 1 || len(c.Notes) == 0 {
		t.Errorf("a proxy that is no number counts: %+v", c)
	}
	if c := row.Cells["fidelity.recall"]; len(c.Values) != 1 {
		t.Errorf("an infinite recall counts: %+v", c)
	}
	if c := row.Cells["alignment"]; math.Abs(c.Mean-.61) > 1e-4 || c.Interval != compare.OverImages {
		t.Errorf("without its images alignment is %+v", c)
	}
	sampled := made(t, trials, samples, compare.Options{Sampled: true}).Rows[1].Cells["alignment"]
	if sampled.Interval != "" || len(sampled.Notes) == 0 {
		t.Errorf("without its images alignment is %+v, want the value, a note and no interval", sampled)
	}
	if _, err := json.Marshal(got); err != nil {
		t.Errorf("as JSON: %v", err)
	}
	for _, name := range []string{"alignment", "fidelity.recall.real", "control", "seed.feedback", "view"} {
		trials, samples := study(arms, []string{"base", "b"}, seeds)
		c := trials.Column(name)
		*c = table.Column{Name: name, Kind: table.Time, Times: make([]time.Time, 4)}
		if _, err := ablate(trials, samples, compare.Options{}); err == nil || !strings.Contains(err.Error(), strings.TrimSuffix(name, ".real")) {
			t.Errorf("%s as times: %v, want an error that names it", name, err)
		}
	}
	for _, name := range []string{"prompt", "seen", "proxy"} {
		trials, samples := study(arms, []string{"base", "b"}, seeds)
		*samples.Column(name) = table.Column{Name: name, Kind: table.Int, Ints: make([]int64, samples.Rows())}
		if _, err := ablate(trials, samples, compare.Options{}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("samples' %s as whole numbers: %v, want an error that names it", name, err)
		}
	}
}

// TestOnePretraining checks that feedback seeds on one pretraining do not count as independent.
func TestOnePretraining(t *testing.T) {
	got := ablation(t, map[string][]float64{"base": {.5, .52, .54}}, []string{"base"}, [][2]int64{{1, 1}, {1, 2}, {1, 3}})
	if c := got.Rows[0].Cells["alignment"]; c.N != 1 || c.Interval != compare.OverImages || len(c.Values) != 3 {
		t.Errorf("three feedback seeds on one pretraining: %+v, want N 1 and an interval over images", c)
	}
}

// TestPairs checks that differences are paired by seed, also where the reference has its seeds
// in another order, and only over seeds that both rows have.
func TestPairs(t *testing.T) {
	nan := math.NaN()
	trials, samples := study(map[string][]float64{"base": {.4, .5, nan}, "b": {.5, .7, .9}}, []string{"base", "b"}, [][2]int64{{1, 1}, {2, 2}, {3, 3}})
	p, f := trials.Column("seed.pretraining").Ints, trials.Column("seed.feedback").Ints
	p[3], p[4], f[3], f[4] = 2, 1, 2, 1 // exchange the seeds of b's first two trials
	got, err := ablate(trials, samples, compare.Options{})
	if err != nil {
		t.Fatal(err)
	}
	d := got.Rows[1].Differences["alignment"]
	want := map[string]float64{"2": 0, "1": .3}
	if len(d.Values) != 2 {
		t.Fatalf("difference %+v, want two seeds", d)
	}
	for i, s := range d.Seeds {
		if math.Abs(d.Values[i]-want[s]) > 1e-9 {
			t.Errorf("seed %s differs by %v, want %v", s, d.Values[i], want[s])
		}
	}
}

// TestDamagedSeed checks that the note on a damaged seed is not that of a seed without a run.
func TestDamagedSeed(t *testing.T) {
	nan := math.NaN()
	trials, samples := study(map[string][]float64{"base": {.5, .52}, "hurt": {.6, nan}}, []string{"base", "hurt"}, [][2]int64{{1, 1}, {2, 2}})
	got, err := ablate(trials, samples, compare.Options{Damaged: map[string]bool{"hurt@1": true}})
	if err != nil {
		t.Fatal(err)
	}
	hurt := got.Rows[1]
	for what, notes := range map[string][]int{"alignment": hurt.Cells["alignment"].Notes, "the difference": hurt.Differences["alignment"].Notes} {
		n, ok := noted(got, notes, compare.Damaged)
		if _, pending := noted(got, notes, compare.Pending); !ok || !slices.Equal(n.Names, []string{"2"}) || pending {
			t.Errorf("%s has the notes %v of %+v", what, notes, got.Notes)
		}
	}
}

// TestZero checks that the difference from a reference with distance 0 is the row's own
// distance, above 0, and is not tested.
func TestZero(t *testing.T) {
	trials, samples := study(map[string][]float64{"base": {.5, .52, .53}, "a": {.6, .61, .6}, "b": {.6, .61, .6}}, []string{"base", "a", "b"}, diagonal(3))
	trials.Columns = append(trials.Columns, &table.Column{Name: "distance.kl", Kind: table.Float, Range: table.Positive, Floats: []float64{0, 0, 0, .5, 4, 20, 1.5, 1.6, 1.5}})
	got := made(t, trials, samples, compare.Options{Primary: []string{"distance.kl"}})
	for _, r := range got.Rows[1:] {
		if d, c := r.Differences["distance.kl"], r.Cells["distance.kl"]; d.P != nil || d.Significant || d.Low <= 0 || d.Mean != c.Mean || d.Interval != compare.OverSeeds {
			t.Errorf("distance of %s: %+v", r.Label, d)
		}
	}
}

// TestSurvivors checks that a metric that is undefined for a seed has another note than a trial
// that has not run.
func TestSurvivors(t *testing.T) {
	nan := math.NaN()
	trials, samples := study(map[string][]float64{"base": {.5, .52, .53}, "some": {.6, nan, .6}}, []string{"base", "some"}, diagonal(3))
	n := trials.Column("fidelity.recall.n")
	n.Ints[4], n.Valid[4] = 0, true // recall was computed, and is undefined
	got := made(t, trials, samples, compare.Options{})
	some := got.Rows[1].Cells
	if note, ok := noted(got, some["fidelity.recall"].Notes, compare.Undefined); !ok || note.N != 2 || note.Of != 3 {
		t.Errorf("recall: %+v of %+v", some["fidelity.recall"], got.Notes)
	}
	if _, ok := noted(got, some["alignment"].Notes, compare.Pending); !ok {
		t.Errorf("alignment: %+v of %+v", some["alignment"], got.Notes)
	}
}

// TestDiverged checks that a seed whose training diverged is named and counts as collapsed.
func TestDiverged(t *testing.T) {
	nan := math.NaN()
	trials, samples := study(map[string][]float64{"base": {.5, .52, .53}, "some": {.6, nan, .6}}, []string{"base", "some"}, diagonal(3))
	trials.Columns = append(trials.Columns, &table.Column{Name: "diverged", Kind: table.Bool, Bools: []bool{false, false, false, false, true, false}})
	got := made(t, trials, samples, compare.Options{})
	some := got.Rows[1]
	for what, notes := range map[string][]int{"alignment": some.Cells["alignment"].Notes, "the difference": some.Differences["alignment"].Notes} {
		if n, ok := noted(got, notes, compare.Diverged); !ok || n.N != 2 || n.Of != 3 || !slices.Equal(n.Names, []string{"2"}) {
			t.Errorf("%s has the notes %v of %+v", what, notes, got.Notes)
		}
	}
	if c := some.Collapse; c == nil || !slices.Equal(c.Seeds, []string{"2"}) || c.N != 3 {
		t.Errorf("collapse: %+v", c)
	}
}

// TestCollapse checks that seeds that lose more than half of the reference's value are counted,
// and that a difference with an outlying seed has a note.
func TestCollapse(t *testing.T) {
	got := ablation(t, map[string][]float64{"base": {.5, .52, .53, .51}, "falls": {.51, .53, .05, .52}}, []string{"base", "falls"}, diagonal(4))
	c := got.Rows[1].Collapse
	if c == nil || !slices.Equal(c.Seeds, []string{"3"}) || c.N != 4 || c.Share != .25 || math.Abs(c.Low-.0063) > 1e-4 || math.Abs(c.High-.8059) > 1e-4 {
		t.Errorf("collapse: %+v", c)
	}
	if d := got.Rows[1].Differences["alignment"]; d.Outlier != "3" || d.Significant {
		t.Errorf("the difference of one collapsed seed: %+v", d)
	}
	if got.Rows[0].Collapse != nil {
		t.Error("the reference collapses")
	}
}

// TestEnvironments checks the note of a table whose rows were computed in several environments.
func TestEnvironments(t *testing.T) {
	for ids, want := range map[[2]string]bool{{"a", "a"}: false, {"a", "b"}: true, {"a", "a + b"}: true, {"", "a"}: false} {
		trials, samples := study(map[string][]float64{"base": {.5}, "b": {.6}}, []string{"base", "b"}, [][2]int64{{1, 1}})
		trials.Columns = append(trials.Columns, &table.Column{Name: "environment", Kind: table.String, Strings: ids[:], Valid: []bool{ids[0] != "", ids[1] != ""}})
		got, err := ablate(trials, samples, compare.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if n, said := noted(got, nil, compare.Environments); said != want || said && n.N != 2 {
			t.Errorf("%q: %+v", ids, got.Notes)
		}
	}
}

// BenchmarkAblation computes the tables of studies of many arms; the time for an arm does not
// grow with their number.
func BenchmarkAblation(b *testing.B) {
	for _, seeds := range [][][2]int64{{{1, 1}}, {{1, 1}, {2, 2}, {3, 3}}} {
		for _, n := range []int{250, 1000} {
			arms := map[string][]float64{}
			var order []string
			for i := range n {
				order = append(order, fmt.Sprint("arm ", i))
				for k := range seeds {
					arms[order[i]] = append(arms[order[i]], float64((i*7+k*3)%200)/200)
				}
			}
			trials, samples := study(arms, order, seeds)
			b.Run(fmt.Sprintf("%d seeds, %d arms", len(seeds), n), func(b *testing.B) {
				for b.Loop() {
					if _, err := ablate(trials, samples, compare.Options{}); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(b.Elapsed().Seconds()*1e3/float64(b.N)/float64(n), "ms/arm")
			})
		}
	}
}

// TestReferenceWithoutMetric checks that there is no difference from a reference that lacks the
// metric.
func TestReferenceWithoutMetric(t *testing.T) {
	trials, samples := study(map[string][]float64{"base": {.5, .52, .53}, "a": {.6, .61, .6}}, []string{"base", "a"}, diagonal(3))
	trials.Columns = append(trials.Columns, &table.Column{Name: "fidelity.frechet", Kind: table.Float, Range: table.Positive, Better: "lower",
		Floats: []float64{0, 0, 0, 5, 4, 6}, Valid: []bool{false, false, false, true, true, true}})
	if d, ok := made(t, trials, samples, compare.Options{}).Rows[1].Differences["fidelity.frechet"]; ok {
		t.Errorf("a difference from nothing: %+v", d)
	}
}

// TestEqualShares checks that equal shares of different numbers of images have difference 0.
func TestEqualShares(t *testing.T) {
	trials, samples := study(map[string][]float64{"base": {0, 0, 0, 0}, "a": {0, 0, 0, 0}}, []string{"base", "a"}, diagonal(4))
	n := trials.Column("alignment.n").Ints
	for i := range 4 {
		n[i] = 2000
	}
	if d := made(t, trials, samples, compare.Options{}).Rows[1].Differences["alignment"]; d.Mean != 0 || d.P == nil || *d.P < .5 {
		t.Errorf("0 of 200 minus 0 of 2000: %+v", d)
	}
}

// TestScores checks that a mean of scores within [0, 1] is not treated as a share of images.
func TestScores(t *testing.T) {
	trials, samples := study(map[string][]float64{"base": {.2501, .2512, .2523}, "a": {.2601, .2613, .2622}}, []string{"base", "a"}, diagonal(3))
	score := *trials.Column("alignment")
	score.Name, score.Range = "clip", table.Share
	n := &table.Column{Name: "clip.n", Kind: table.Int, Ints: []int64{1000, 1000, 1000, 1000, 1000, 1000}}
	trials.Columns = append(trials.Columns, &score, n)
	if d := made(t, trials, samples, compare.Options{Primary: []string{"clip"}}).Rows[1].Differences["clip"]; d.P == nil || *d.P > .001 {
		t.Errorf("scores: %+v", d)
	}
}
