package gate_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"gonum.org/v1/gonum/stat"

	"ablate/analysis/compare"
	"ablate/analysis/gate"
	"ablate/analysis/table"
)

var metrics = []string{"alignment", "alignment.unseen", "fidelity.recall", "fidelity.frechet"}

func margins() []gate.Tolerance {
	var out []gate.Tolerance
	for _, m := range metrics {
		out = append(out, gate.Tolerance{Metric: m, Seeds: 1})
	}
	return out
}

// draw returns a table of arms × metrics with the values of value by seed.
func draw(arms, n int, value func(arm, metric, seed int) float64) *compare.Table {
	t := &compare.Table{}
	for i, m := range metrics {
		t.Metrics = append(t.Metrics, compare.Metric{Name: m, Label: m, Better: []string{"higher", "higher", "higher", "lower"}[i]})
	}
	for a := range arms {
		r := compare.Row{Arm: fmt.Sprint("arm ", a), Label: fmt.Sprint("arm ", a), Cells: map[string]compare.Cell{}}
		for s := range n {
			r.Seeds, r.Trials = append(r.Seeds, fmt.Sprint(s)), append(r.Trials, fmt.Sprintf("%d-%d", a, s))
		}
		for k, m := range metrics {
			c := compare.Cell{N: n, Seeds: r.Seeds}
			for s := range n {
				c.Values = append(c.Values, value(a, k, s))
			}
			c.Mean = stat.Mean(c.Values, nil)
			r.Cells[m] = c
		}
		t.Rows = append(t.Rows, r)
	}
	return t
}

func baseline(t *testing.T, tab *compare.Table) *gate.Baseline {
	t.Helper()
	b, err := gate.New("s", gate.Made{Backend: "xla:cpu"}, tab, metrics)
	if err != nil {
		t.Fatal(err)
	}
	return reread(t, b)
}

// reread returns a baseline as Read returns it from its file.
func reread(t *testing.T, b *gate.Baseline) *gate.Baseline {
	t.Helper()
	var w bytes.Buffer
	if err := b.Write(&w); err != nil {
		t.Fatal(err)
	}
	b, err := gate.Read(w.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func check(t *testing.T, b *gate.Baseline, tab *compare.Table, o gate.Options) *gate.Result {
	t.Helper()
	if o.Tolerances == nil {
		o.Tolerances = margins()
	}
	r, err := gate.Check(b, tab, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestSimulation draws the table and the baseline independently and measures the error rates of
// a check, which README.md has. Then one of 40 values drops by three standard deviations of a
// seed.
func TestSimulation(t *testing.T) {
	runs := 1000
	if testing.Short() {
		runs = 100
	}
	r := rand.New(rand.NewPCG(21, 22))
	normal := r.NormFloat64
	identity := func(x float64) float64 { return x }
	logit, logistic := func(p float64) float64 { return math.Log(p / (1 - p)) }, func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
	var out strings.Builder
	out.WriteString("| values over seeds | seeds | false alarms (exit 3) | inconclusive (exit 4) | a drop of 3 sd is found |\n|---|---|---|---|---|\n")
	for _, c := range []struct {
		what   string
		noise  func() float64
		uneven bool
		strict bool // the test fails if the rates are too high
		seeds  []int
		kind   string // range of the values; their number of samples is unknown
		centre float64
		sd     float64 // standard deviation of a seed, on the scale
		margin float64 // declared margin; all values are worse by it
	}{
		{"normal", normal, false, true, []int{1, 2, 3, 5, 8}, "", .5, .03, 0},
		{"normal, all worse by the declared margin of 1 sd", normal, false, true, []int{1, 3, 8}, "", .5, .03, .03},
		{"normal, spreads of rows from ½ to 2", normal, true, true, []int{3, 5, 8}, "", .5, .03, 0},
		{"imported shares near .45", normal, false, true, []int{1, 3, 8}, table.Share, .45, .2, 0},
		{"imported shares near .97", normal, false, true, []int{3, 8}, table.Share, .97, .4, 0},
		{"imported shares near .9, all worse by the declared margin of .05", normal, false, true, []int{3, 8}, table.Share, .9, .2, .05},
		{"imported log-normal values, σ ½", normal, false, true, []int{3, 8}, table.Positive, 20, .5, 0},
		{"Student's t with 3 degrees of freedom", func() float64 { return normal() / math.Sqrt((sq(normal())+sq(normal())+sq(normal()))/3) }, false, false, []int{1, 3, 8}, "", .5, .03, 0},
		{"a collapse by 10 sd in 5 % of seeds", func() float64 {
			if r.Float64() < .05 {
				return normal() - 10
			}
			return normal()
		}, false, false, []int{1, 3, 8}, "", .5, .03, 0},
	} {
		to, from := identity, identity
		switch c.kind {
		case table.Share:
			to, from = logit, logistic
		case table.Positive:
			to, from = math.Log, math.Exp
		}
		for _, n := range c.seeds {
			runs := runs
			if c.kind != "" || c.margin > 0 {
				runs /= 4
			}
			count := map[gate.Verdict]int{}
			found := 0
			then := max(n, 3) // a baseline has three seeds; a check may have fewer
			o := gate.Options{Tolerances: margins()}
			for s := range n {
				o.Seeds = append(o.Seeds, fmt.Sprint(s))
			}
			for i := range o.Tolerances {
				if c.margin > 0 {
					o.Tolerances[i].Absolute = &c.margin
				}
			}
			for range runs {
				var sd [10][4]float64
				for a := range sd {
					for m := range sd[a] {
						sd[a][m] = c.sd
						if c.uneven {
							sd[a][m] *= []float64{.5, 1, 2}[r.IntN(3)]
						}
					}
				}
				// table draws values around the centre, in units moved for the worse, and on
				// the scale, of one value.
				draw := func(worse, drop float64) *compare.Table {
					tab := draw(10, then, func(a, m, _ int) float64 {
						sign := 1.
						if metrics[m] == "fidelity.frechet" {
							sign = -1
						}
						y := to(c.centre-sign*worse) + sd[a][m]*c.noise()
						if a == 4 && m == 1 {
							y -= drop * sd[a][m]
						}
						return from(y)
					})
					for i := range tab.Metrics {
						tab.Metrics[i].Range = c.kind
					}
					return tab
				}
				b, err := gate.New("s", gate.Made{}, draw(0, 0), metrics)
				if err != nil {
					t.Fatal(err)
				}
				count[check(t, b, draw(c.margin, 0), o).Outcome]++
				if check(t, b, draw(c.margin, 3), o).Outcome == gate.Regression {
					found++
				}
			}
			share := func(k int) float64 { return float64(k) / float64(runs) }
			three, four, power := share(count[gate.Regression]), share(count[gate.Inconclusive]), share(found)
			fmt.Fprintf(&out, "| %s | %d | %.3f | %.3f | %.3f |\n", c.what, n, three, four, power)
			if !c.strict || testing.Short() {
				continue
			}
			if three > .07 || four > .1 {
				t.Errorf("%s, %d seeds: exit 3 in %.3f and exit 4 in %.3f of checks of an unchanged study", c.what, n, three, four)
			}
			if c.what == "normal" && (n == 5 && power < .85 || n == 8 && power < .95) {
				t.Errorf("%d seeds: a drop of 3 sd is found in %.3f of checks", n, power)
			}
		}
	}
	if !testing.Short() {
		golden(t, "README.md", out.String())
	}
}

func sq(x float64) float64 { return x * x }

// golden compares the part of a file after a mark with a text, or rewrites it with UPDATE=1.
func golden(t *testing.T, path, want string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const mark = "<!-- measured -->\n"
	text, got, ok := strings.Cut(string(b), mark)
	switch {
	case !ok:
		t.Fatalf("%s lacks the line %s", path, mark)
	case os.Getenv("UPDATE") == "1":
		if err := os.WriteFile(path, []byte(text+mark+want), 0o666); err != nil {
			t.Fatal(err)
		}
	case got != want:
		t.Errorf("%s is not what was measured: UPDATE=1 go test -run %s rewrites it", path, t.Name())
	}
}

// by returns the value of a row and metric.
func by(r *gate.Result, row, metric string) gate.Value {
	for _, f := range r.Values {
		if f.Row == row && f.Metric == metric {
			return f
		}
	}
	return gate.Value{}
}

func TestVerdicts(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	jitter := map[string]float64{}
	at := func(a, m, s int) float64 {
		k := fmt.Sprint(a, m, s)
		if _, ok := jitter[k]; !ok {
			jitter[k] = .02 * r.NormFloat64()
		}
		return .5 + jitter[k]
	}
	for _, n := range []int{1, 3, 8} {
		b := baseline(t, draw(3, n, at))
		if got := check(t, b, draw(3, n, at), gate.Options{}); got.Outcome != gate.Within || got.Counts()[gate.Identical] != 12 || len(got.Notes) > 0 {
			t.Errorf("n = %d: an identical table gives %+v", n, got)
		}
	}
	b := baseline(t, draw(3, 8, at))
	worse := func(by float64) *compare.Table {
		return draw(3, 8, func(a, m, s int) float64 {
			if a == 1 && m == 0 {
				return at(a, m, s) - by
			}
			return at(a, m, s)
		})
	}
	got := check(t, b, worse(.3), gate.Options{})
	if f := by(got, "arm 1", "alignment"); got.Outcome != gate.Regression || f.Verdict != gate.Regression || f.Bound == nil || *f.Bound < f.Margin || f.Worse < .29 || got.Values[0].Row != "arm 1" {
		t.Errorf("a drop of .3: %s, %+v", got.Outcome, f)
	}
	if got := check(t, b, worse(-.3), gate.Options{}); got.Outcome != gate.Within {
		t.Errorf("better is %s", got.Outcome)
	}
	x := .4
	if got := check(t, b, worse(.3), gate.Options{Tolerances: []gate.Tolerance{{Metric: "alignment", Absolute: &x, Seeds: 1}}}); got.Outcome != gate.Within {
		t.Errorf("within an absolute margin is %s", got.Outcome)
	}
	x = .1
	if got := check(t, b, worse(.3), gate.Options{Tolerances: []gate.Tolerance{{Metric: "alignment", Relative: &x, Seeds: 1}}}); got.Outcome != gate.Regression {
		t.Errorf("beyond a relative margin is %s", got.Outcome)
	}
	if got := check(t, b, worse(.3), gate.Options{Tolerances: []gate.Tolerance{{Metric: "alignment", Seeds: 9}}}); got.Outcome != gate.Inconclusive {
		t.Errorf("with fewer seeds than gate asks for it is %s", got.Outcome)
	}
	if got := check(t, b, worse(.3), gate.Options{Only: []string{"arm 0"}}); got.Outcome != gate.Within || got.Counts()[gate.Unchecked] != 2 {
		t.Errorf("what is not selected: %s, %v", got.Outcome, got.Counts())
	}
	point := worse(.3)
	for i := range point.Rows {
		point.Rows[i].Arm = "arm" // make all rows points of one arm
	}
	if got := check(t, baseline(t, point), point, gate.Options{Only: []string{"arm 0"}}); got.Counts()[gate.Unchecked] != 2 {
		t.Errorf("a point that is not selected: %v", got.Counts())
	}
	if _, err := gate.Check(b, worse(0), gate.Options{Only: []string{"arm 9"}}); err == nil || !strings.Contains(err.Error(), "arm 9") {
		t.Errorf("an unknown arm: %v", err)
	}
	if _, err := gate.Check(b, worse(0), gate.Options{Seeds: []string{"77"}}); err == nil || !strings.Contains(err.Error(), "77") {
		t.Errorf("an unknown seed: %v", err)
	}
	lower := draw(3, 8, func(a, m, s int) float64 {
		if m == 3 {
			return at(a, m, s) + .3
		}
		return at(a, m, s)
	})
	if got := check(t, b, lower, gate.Options{}); got.Outcome != gate.Regression || by(got, "arm 0", "fidelity.frechet").Verdict != gate.Regression {
		t.Errorf("a metric whose lower values are better rises: %s", got.Outcome)
	}
	missing := worse(0)
	c := missing.Rows[2].Cells["alignment"]
	c.Seeds, c.Values = c.Seeds[:7], c.Values[:7]
	missing.Rows[2].Cells["alignment"] = c
	if got := check(t, b, missing, gate.Options{}); got.Outcome != gate.Missing || !strings.Contains(by(got, "arm 2", "alignment").Reason, "seed 7") {
		t.Errorf("a seed without a result: %s", got.Outcome)
	}
	if got := check(t, b, missing, gate.Options{Seeds: []string{"1", "2"}}); got.Outcome != gate.Within {
		t.Errorf("a seed without a result that is not selected: %s", got.Outcome)
	} else if !strings.Contains(strings.Join(got.Notes, " "), "Seed 7 is not selected") {
		t.Errorf("no note on the seed that is not checked: %q", got.Notes)
	}
	fewer := worse(0)
	fewer.Rows = fewer.Rows[:2]
	if got := check(t, b, fewer, gate.Options{}); got.Outcome != gate.Regression || got.Removed[0] != "arm 2" {
		t.Errorf("a removed arm: %s", got.Outcome)
	}
	if got := check(t, b, fewer, gate.Options{AllowRemoved: true}); got.Outcome != gate.Within {
		t.Errorf("a removed arm that may go: %s", got.Outcome)
	}
	more := draw(4, 8, at)
	more.Rows[0].Trials[0] = "another"
	got = check(t, b, more, gate.Options{Study: "s", Made: gate.Made{Backend: "xla:cuda", Versions: []string{"2"}}})
	if got.Outcome != gate.Within || len(got.Added) != 1 || got.Changed[0] != "arm 0" || !strings.Contains(strings.Join(got.Notes, " "), "xla:cuda") {
		t.Errorf("added and changed rows: %+v", got)
	}
	if _, err := gate.Check(b, more, gate.Options{Tolerances: margins(), Study: "another"}); err == nil || !strings.Contains(err.Error(), "of the study s and not of another") {
		t.Errorf("another study's baseline: %v", err)
	}
	for i := range more.Metrics {
		more.Metrics[i].Better = map[string]string{"higher": "lower", "lower": "higher"}[more.Metrics[i].Better]
	}
	if _, err := gate.Check(b, more, gate.Options{Tolerances: margins()}); err == nil || !strings.Contains(err.Error(), "better") {
		t.Errorf("a baseline with another direction: %v", err)
	}
}

// TestComparedNothing checks that a check fails if it compared no value, whatever rows were
// added or removed.
func TestComparedNothing(t *testing.T) {
	at := func(a, m, s int) float64 { return .5 + .01*float64(a+s) }
	rename := func(tab *compare.Table, f func(string) string) *compare.Table {
		for i := range tab.Rows {
			tab.Rows[i].Arm, tab.Rows[i].Label = f(tab.Rows[i].Arm), f(tab.Rows[i].Label)
		}
		return tab
	}
	b := baseline(t, draw(2, 1, at))
	otherSeed := draw(3, 2, at) // one more arm, and only the new one of both seeds
	for i := range otherSeed.Rows {
		r := &otherSeed.Rows[i]
		r.Seeds, r.Trials = r.Seeds[1:], r.Trials[1:]
		for name, c := range r.Cells {
			c.Seeds, c.Values = c.Seeds[1:], c.Values[1:]
			r.Cells[name] = c
		}
	}
	for name, tc := range map[string]struct {
		now *compare.Table
		o   gate.Options
		why string
	}{
		"seeds changed and an arm added":                {otherSeed, gate.Options{}, "selected rows that are new: 1; values without a selected seed in both: 8"},
		"seeds changed, an arm added, and seeds may go": {otherSeed, gate.Options{AllowRemoved: true}, "without a selected seed in both: 8"},
		"a new arm alone":                               {draw(3, 1, at), gate.Options{Only: []string{"arm 2"}}, "selected rows that are new: 1; rows that are not selected: 2"},
		"all arms renamed":                              {rename(draw(2, 1, at), func(s string) string { return "new " + s }), gate.Options{AllowRemoved: true}, "new: 2; selected rows that the study has dropped: 2"},
	} {
		got := check(t, b, tc.now, tc.o)
		if said := strings.Join(got.Notes, " "); got.Outcome != gate.Missing || !strings.Contains(said, "Nothing was compared") || !strings.Contains(said, tc.why) {
			t.Errorf("%s: %s, %v, %q", name, got.Outcome, got.Counts(), got.Notes)
		}
	}
}

// TestDroppedSeed checks that a regression is found although the study has dropped a seed.
func TestDroppedSeed(t *testing.T) {
	b := baseline(t, draw(2, 2, func(a, m, s int) float64 { return .5 }))
	now := draw(2, 1, func(a, m, s int) float64 { return .5 })
	if got := check(t, b, now, gate.Options{}); got.Outcome != gate.Regression || got.Counts()[gate.Removed] != 2 {
		t.Errorf("got %s, %v", got.Outcome, got.Counts())
	}
	for _, o := range []gate.Options{{AllowRemoved: true}, {Seeds: []string{"0"}}} {
		if got := check(t, b, now, o); got.Outcome != gate.Within {
			t.Errorf("%+v: got %s", o, got.Outcome)
		}
	}
}

// TestNothingPassesUnseen checks that values that could not be compared are reported, and that
// a check fails where they should exist.
func TestNothingPassesUnseen(t *testing.T) {
	at := func(a, m, s int) float64 { return .5 + .01*float64(a+s) }
	b := baseline(t, draw(3, 2, at))
	// The study has a new third seed. Its results are noted as not checked; missing results
	// fail.
	got := check(t, b, draw(3, 3, at), gate.Options{})
	if got.Outcome != gate.Within || !strings.Contains(strings.Join(got.Notes, " "), "Seed 2 is not in the baseline") {
		t.Errorf("a new seed: %s, %q", got.Outcome, got.Notes)
	}
	failed := draw(3, 3, at)
	for _, m := range metrics {
		c := failed.Rows[1].Cells[m]
		c.Seeds, c.Values = c.Seeds[:2], c.Values[:2]
		failed.Rows[1].Cells[m] = c
	}
	if got := check(t, b, failed, gate.Options{}); got.Outcome != gate.Missing || !strings.Contains(by(got, "arm 1", "alignment").Reason, "seed 2") {
		t.Errorf("a new seed that failed: %s", got.Outcome)
	}
	if got := check(t, b, failed, gate.Options{Seeds: []string{"0", "1"}}); got.Outcome != gate.Within {
		t.Errorf("a new seed that failed and is not selected: %s", got.Outcome)
	}
	// No seed in common.
	if got := check(t, b, draw(3, 3, at), gate.Options{Seeds: []string{"2"}}); got.Outcome != gate.Missing || got.Counts()[gate.Unchecked] != 12 {
		t.Errorf("a check of nothing: %s, %v", got.Outcome, got.Counts())
	}
	// A metric that the gate guards only now.
	small, err := gate.New("s", gate.Made{}, draw(3, 2, at), metrics[:3])
	if err != nil {
		t.Fatal(err)
	}
	got = check(t, small, draw(3, 2, at), gate.Options{})
	if f := by(got, "arm 0", metrics[3]); got.Outcome != gate.Missing || f.Verdict != gate.Absent || !strings.Contains(f.Reason, "ablate baseline") {
		t.Errorf("a metric that the baseline lacks: %s, %+v", got.Outcome, f)
	}
}

// TestNoSpread: every seed of every row falls by the same amount.
func TestNoSpread(t *testing.T) {
	value := func(v float64) *compare.Table { return draw(3, 3, func(int, int, int) float64 { return v }) }
	o := gate.Options{Tolerances: margins()[:1]}
	got := check(t, baseline(t, value(1)), value(.5), o)
	if f := got.Values[0]; got.Outcome != gate.Regression || f.Bound == nil || *f.Bound != .5 {
		t.Errorf("from 1 to .5 in every seed: %s, %+v", got.Outcome, f)
	}
	if got := check(t, baseline(t, value(1)), value(1.5), o); got.Outcome != gate.Within {
		t.Errorf("from 1 to 1.5: %s", got.Outcome)
	}
}

// TestSelectionKeepsTheSpread checks that with fewer than three seeds a row that is checked
// alone has the standard deviation of all rows of the baseline, and that a row with the same
// trials adds nothing.
func TestSelectionKeepsTheSpread(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	tab := draw(10, 3, func(int, int, int) float64 { return .5 + .03*r.NormFloat64() })
	worse := draw(10, 3, func(a, m, s int) float64 { return tab.Rows[a].Cells[metrics[m]].Values[s] - .05 })
	b := baseline(t, tab)
	o := gate.Options{Tolerances: margins()[:1], Only: []string{"arm 3"}, Seeds: []string{"0"}}
	alone := by(check(t, b, worse, o), "arm 3", "alignment")
	// One seed in the baseline and now: .05 over √2 · .03, with the degrees of freedom of ten
	// rows.
	if alone.P == nil || *alone.P < .08 || *alone.P > .25 {
		t.Errorf("alone: %+v", alone)
	}
	for _, x := range []*compare.Table{tab, worse} {
		again := x.Rows[3]
		again.Label, again.Arm = "again", "again"
		x.Rows = append(x.Rows, again)
	}
	if got := by(check(t, baseline(t, tab), worse, o), "arm 3", "alignment"); *got.P != *alone.P {
		t.Errorf("with a row of the same trials its p is %v, without %v", *got.P, *alone.P)
	}
}

// TestCounts checks that a metric that depends on its number of samples is compared only with a
// baseline with the same number, and other metrics always. An older baseline without these
// numbers is read, with a note on what cannot be checked.
func TestCounts(t *testing.T) {
	make := func(images int, trial string) *compare.Table {
		tab := draw(2, 3, func(a, m, s int) float64 { return .5 + .01*float64(s) })
		tab.Metrics[2].Depends = "n"
		for _, r := range tab.Rows {
			for i := range r.Trials {
				r.Trials[i] += trial
			}
			for m, c := range r.Cells {
				c.Images = images
				r.Cells[m] = c
			}
		}
		return tab
	}
	b := baseline(t, make(200, ""))
	if got := check(t, b, make(200, "x"), gate.Options{}); got.Outcome != gate.Within || len(got.Notes) > 0 {
		t.Errorf("as many images: %s, %q", got.Outcome, got.Notes)
	}
	got := check(t, b, make(80, "x"), gate.Options{})
	if got.Outcome != gate.Incomparable || got.Counts()[gate.Incomparable] != 2 || got.Values[0].Verdict != gate.Incomparable {
		t.Errorf("fewer images: %s, %v", got.Outcome, got.Counts())
	}
	if f := by(got, "arm 0", "fidelity.recall"); f.Verdict != gate.Incomparable || !strings.Contains(f.Reason, "80 samples now") || !strings.Contains(f.Reason, "200") || f.Worse != 0 || f.Margin != 0 {
		t.Errorf("recall of fewer images: %+v", f)
	}
	if f := by(got, "arm 0", "alignment"); f.Verdict != gate.Identical {
		t.Errorf("alignment of fewer images: %+v", f)
	}
	if n := b.Trials().Column("fidelity.recall.n"); n.Ints[0] != 200 || !n.Has(0) {
		t.Errorf("the baseline's trials have %d images", n.Ints[0])
	}

	var w bytes.Buffer
	if err := b.Write(&w); err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(w.String(), "     \"images\": 200,\n", "")
	old, err := gate.Read([]byte(text))
	if err != nil || text == w.String() {
		t.Fatalf("a baseline without numbers of samples: %v", err)
	}
	if got := check(t, old, make(80, "x"), gate.Options{}); got.Outcome != gate.Within || !strings.Contains(strings.Join(got.Notes, " "), "sample counts") {
		t.Errorf("a baseline without numbers: %s, %q", got.Outcome, got.Notes)
	}
	if got := check(t, old, make(200, ""), gate.Options{}); got.Outcome != gate.Within || len(got.Notes) > 0 {
		t.Errorf("the same trials have the same numbers of images: %s, %q", got.Outcome, got.Notes)
	}
}

// TestFewSeeds checks that with fewer than three seeds now and the baseline are compared as
// independent samples, with the standard deviation of the baseline's rows together.
func TestFewSeeds(t *testing.T) {
	make := func(shift float64) *compare.Table {
		return draw(6, 2, func(a, m, s int) float64 { return .5 + .01*float64(s) + .001*float64(a*s) + shift })
	}
	b := baseline(t, make(0))
	o := gate.Options{Tolerances: margins()[:1]}
	for shift, want := range map[float64]gate.Verdict{-.005: gate.Within, -.1: gate.Regression} {
		got := check(t, b, make(shift), o)
		if got.Outcome != want || !strings.Contains(strings.Join(got.Notes, " "), "one or two seeds") {
			t.Errorf("a shift of %v: %s, %+v", shift, got.Outcome, got.Values[0])
		}
	}
	one := draw(1, 1, func(int, int, int) float64 { return .5 })
	if got := check(t, baseline(t, one), draw(1, 1, func(int, int, int) float64 { return .4 }), gate.Options{Tolerances: margins()[:1]}); got.Outcome != gate.Inconclusive || !strings.Contains(got.Values[0].Reason, "the standard deviation over seeds is unknown") {
		t.Errorf("one seed of one row: %+v", got)
	}
}

// TestShares checks that a share is compared on the logit scale, with the standard deviation of
// its logits.
func TestShares(t *testing.T) {
	make := func(shift float64) *compare.Table {
		tab := draw(6, 2, func(a, m, s int) float64 { return .5 + .01*float64(s) + .002*float64(a*s) - shift })
		for i := range tab.Metrics {
			tab.Metrics[i].Range = table.Share
		}
		return tab
	}
	o := gate.Options{Tolerances: margins()[:1]}
	v := by(check(t, baseline(t, make(0)), make(.1), o), "arm 0", "alignment")
	// .4 logits, over √2 times a standard deviation of about .05 logits, with few degrees of freedom.
	if v.Verdict != gate.Regression || *v.Bound < .02 || *v.Bound > .1 || v.Worse < .099 {
		t.Errorf("a drop of .1 at two seeds: %+v", v)
	}
}

// TestPairs checks that an equal drop in every seed is found although it is smaller than the
// standard deviation over seeds, because seeds are paired.
func TestPairs(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	tab := draw(5, 5, func(int, int, int) float64 { return .5 + .03*r.NormFloat64() })
	worse := draw(5, 5, func(a, m, s int) float64 {
		return tab.Rows[a].Cells[metrics[m]].Values[s] - .02 + .002*r.NormFloat64()
	})
	got := check(t, baseline(t, tab), worse, gate.Options{Tolerances: margins()[:1]})
	if got.Counts()[gate.Regression] != 5 {
		t.Errorf("a drop of .02 in each of five seeds: %v", got.Counts())
	}
	x := .05
	if got := check(t, baseline(t, tab), worse, gate.Options{Tolerances: []gate.Tolerance{{Metric: "alignment", Absolute: &x, Seeds: 1}}}); got.Outcome != gate.Within {
		t.Errorf("within the declared margin: %s", got.Outcome)
	}
}

func TestRead(t *testing.T) {
	var w bytes.Buffer
	b := baseline(t, draw(2, 3, func(a, m, s int) float64 { return .5 + .01*float64(s*(m+1)) }))
	if err := b.Write(&w); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ old, new, want string }{
		{`"mean": 0.51`, `"mean": 0.52`, "its seeds give"},
		{`"n": 3`, `"n": 4`, "3 independent seeds"},
		{`"better": "higher"`, `"better": "more"`, "must be higher or lower"},
		{`"version": 2`, `"version": 1`, "version is 1"},
		{`"study": "s",`, `"study": "s"`, "line 4"},
		{`"arm": "arm 0"`, `"arm": 3`, "line 11"},
		{`"study": "s"`, `"studdy": "s"`, "studdy"},
		{`"0": 0.5`, `"x": 0.5`, `"x" is not a seed`},
		{`"row": "arm 1"`, `"row": "arm 0"`, "is repeated"},
		{`"0": 0.5`, `"00": 0.5`, "seed 00 must be written 0"},
		{`"0": 0.5`, `"0.0": 0.5`, "seed 0.0 must be written 0"},
		{`"0": 0.5`, `"0": 1e200`, "too large"},
		{`"0": 0.5`, `"0": null`, "null"},
		{`"seeds": {`, `"seeds": null, "old": {`, "null"},
		{`"rows": [`, `"rows": [null, `, "null"},
		{`"mean": 0.51`, `"mean": 0.51, "MEAN": 0`, `"MEAN" is not a valid name`},
		{`"mean": 0.51`, `"mean": 0.51, "mean": 0`, `"mean" is repeated`},
		{`"seeds": {`, `"Seeds": {`, `"Seeds" is not a valid name`},
		{`"seeds": {`, `"seeds": {"0": 0.5}, "ſeeds": {`, `"ſeeds" is not a valid name`}, // Go takes ſ for s
		{`"0": 0.5`, `"0": 0.5, "0": 0.1`, `"0" is repeated`},
	} {
		in := strings.Replace(w.String(), tc.old, tc.new, 1)
		if in == w.String() {
			t.Fatalf("nothing to replace: %s\n%s", tc.old, in)
		}
		if _, err := gate.Read([]byte(in)); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.new, err, tc.want)
		}
	}
	for _, rows := range []string{"[]", "null", ""} {
		in := `{"version": 2, "study": "s", "made": {"backend": "", "versions": [], "cpus": []}, "rows": ` + rows + "}"
		if rows == "" {
			in = strings.Replace(in, `, "rows": `, "", 1)
		}
		if _, err := gate.Read([]byte(in)); err == nil || !strings.Contains(err.Error(), "it has no rows") {
			t.Errorf("rows %s: %v", rows, err)
		}
	}
	// Seeds that the study language accepts can be guarded.
	large := draw(1, 1, func(a, m, s int) float64 { return .5 })
	large.Rows[0].Seeds[0] = "4611686018427387904"
	for name, c := range large.Rows[0].Cells {
		c.Seeds = []string{"4611686018427387904"}
		large.Rows[0].Cells[name] = c
	}
	if got := check(t, baseline(t, large), large, gate.Options{}); got.Outcome != gate.Within || got.Counts()[gate.Identical] == 0 {
		t.Errorf("a large seed: %s, %v", got.Outcome, got.Counts())
	}
	if _, err := gate.Read(append(w.Bytes(), '{')); err == nil {
		t.Error("something after the baseline is read over")
	}
}

func FuzzRead(f *testing.F) {
	b, err := gate.New("s", gate.Made{}, draw(1, 3, func(a, m, s int) float64 { return float64(s) }), metrics)
	if err != nil {
		f.Fatal(err)
	}
	var w bytes.Buffer
	if err := b.Write(&w); err != nil {
		f.Fatal(err)
	}
	f.Add(w.Bytes())
	tab := draw(2, 3, func(a, m, s int) float64 { return float64(a + s) })
	f.Fuzz(func(t *testing.T, in []byte) {
		b, err := gate.Read(in)
		if err != nil {
			return
		}
		r, err := gate.Check(b, tab, gate.Options{Tolerances: margins()})
		if err != nil { // better differs from the table's
			return
		}
		if _, err := json.Marshal(r); err != nil { // no value is NaN
			t.Error(err)
		}
	})
}

// BenchmarkRead and BenchmarkCheck: the time for a row does not grow with their number.
func BenchmarkRead(b *testing.B) {
	perRow(b, func(in []byte, _ *compare.Table) error { _, err := gate.Read(in); return err })
}

func BenchmarkCheck(b *testing.B) {
	perRow(b, func(in []byte, tab *compare.Table) error {
		base, err := gate.Read(in)
		if err == nil {
			_, err = gate.Check(base, tab, gate.Options{Tolerances: margins()})
		}
		return err
	})
}

func perRow(b *testing.B, f func(in []byte, tab *compare.Table) error) {
	for _, n := range []int{1000, 10000} {
		// All rows have the same values as the first, as rows with the same trials do.
		make := func(by float64) *compare.Table {
			tab := draw(n, 3, func(_, m, s int) float64 { return .5 + .01*float64(s*(m+1)) - by })
			for i := range tab.Rows {
				tab.Rows[i].Trials = tab.Rows[0].Trials
			}
			return tab
		}
		base, err := gate.New("s", gate.Made{}, make(0), metrics)
		if err != nil {
			b.Fatal(err)
		}
		var w bytes.Buffer
		if err := base.Write(&w); err != nil {
			b.Fatal(err)
		}
		now := make(.3)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.SetBytes(int64(w.Len()))
			for b.Loop() {
				if err := f(w.Bytes(), now); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/row")
		})
	}
}

// TestEdges checks that a share of 1, or of 0 where lower is better, can become worse.
func TestEdges(t *testing.T) {
	make := func(v float64) *compare.Table {
		tab := draw(3, 3, func(a, m, s int) float64 { return v + .002*float64(s)*(1-v)/.7 })
		for i := range tab.Metrics {
			tab.Metrics[i].Range = table.Share
		}
		for _, r := range tab.Rows {
			for m, c := range r.Cells {
				c.Images = 1000
				r.Cells[m] = c
			}
		}
		return tab
	}
	o := gate.Options{Tolerances: margins()[:1]}
	if v := by(check(t, baseline(t, make(1)), make(.3), o), "arm 0", "alignment"); v.Verdict != gate.Regression || v.P == nil {
		t.Errorf("from 1 to .3: %+v", v)
	}
}

// TestLuck checks that a loss of one image in two thousand in every seed is no regression.
func TestLuck(t *testing.T) {
	make := func(lost float64) *compare.Table {
		tab := draw(1, 3, func(a, m, s int) float64 { return (1000 + 10*float64(s) - lost) / 2048 })
		tab.Metrics[0].Range = table.Share
		c := tab.Rows[0].Cells["alignment"]
		c.Images = 2048
		tab.Rows[0].Cells["alignment"] = c
		return tab
	}
	if got := check(t, baseline(t, make(0)), make(1), gate.Options{Tolerances: margins()[:1]}); got.Outcome != gate.Within {
		t.Errorf("one image fewer in each seed: %s, %+v", got.Outcome, got.Values[0])
	}
}

// TestTrials checks that a baseline as a table of trials has its values, seeds and pretrained
// models, and that this survives its file.
func TestTrials(t *testing.T) {
	trials := &table.Table{}
	for _, c := range []table.Column{
		{Name: "arm", Kind: table.String, Strings: []string{"a", "a", "a"}}, {Name: "view", Kind: table.String, Strings: []string{"a@2", "a@10", "a@1.3"}}, {Name: "trial", Kind: table.String, Strings: []string{"x", "y", "z"}},
		{Name: compare.Model, Kind: table.String, Strings: []string{"m", "n", ""}, Valid: []bool{true, true, false}},
		{Name: "seed.pretraining", Kind: table.Int, Ints: []int64{2, 10, 1}}, {Name: "seed.feedback", Kind: table.Int, Ints: []int64{2, 10, 3}},
		{Name: "alignment", Kind: table.Float, Better: "higher", Range: table.Share, Floats: []float64{.5, .6, 0}, Valid: []bool{true, true, false}}, {Name: "alignment.n", Kind: table.Int, Ints: []int64{100, 100, 0}, Valid: []bool{true, true, false}}} {
		trials.Columns = append(trials.Columns, &c)
	}
	tab, err := compare.Ablation(trials, nil, compare.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := gate.New("s", gate.Made{}, tab, []string{"alignment"})
	if err != nil {
		t.Fatal(err)
	}
	got := reread(t, b).Trials()
	for name, want := range map[string][]any{
		"arm": {"a", "a", "a"}, "view": {"a@1.3", "a@2", "a@10"}, "trial": {"z", "x", "y"}, compare.Model: {nil, "m", "n"}, "seed.pretraining": {int64(1), int64(2), int64(10)},
		"seed.feedback": {int64(3), int64(2), int64(10)}, "alignment": {nil, .5, .6}, "alignment.n": {nil, int64(100), int64(100)}} {
		c := got.Column(name)
		if c == nil {
			t.Errorf("there is no column %s", name)
			continue
		}
		for i, v := range want {
			if c.Value(i) != v {
				t.Errorf("%s of trial %d is %v, want %v", name, i, c.Value(i), v)
			}
		}
	}
	if c := got.Column("alignment"); c.Better != "higher" || c.Range != table.Share {
		t.Errorf("alignment is %s, %s", c.Better, c.Range)
	}
}
