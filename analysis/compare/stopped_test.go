package compare_test

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"ablate/analysis/compare"
	"ablate/analysis/table"
)

// stop adds the columns of rows that were stopped at a step, with their proxy then, and
// removes their values.
func stop(trials *table.Table, rows map[string]int64) {
	arm := trials.Column("arm").Strings
	at := &table.Column{Name: compare.StoppedColumn, Kind: table.Int, Ints: make([]int64, len(arm)), Valid: make([]bool, len(arm))}
	proxy := &table.Column{Name: compare.StoppedProxy, Kind: table.Float, Floats: make([]float64, len(arm)), Valid: make([]bool, len(arm))}
	for i, name := range arm {
		step, ok := rows[name]
		if at.Ints[i], at.Valid[i] = step, ok; !ok {
			continue
		}
		proxy.Floats[i], proxy.Valid[i] = .25+float64(i%2)/10, true
		for _, c := range trials.Columns {
			if c.Kind == table.Float {
				c.Valid[i], c.Floats[i] = false, math.NaN()
			}
		}
	}
	trials.Columns = append(trials.Columns, at, proxy)
}

// TestStopped: a row that was stopped is in the table and has no values, differences or
// effects. The tests of the others are corrected for it.
func TestStopped(t *testing.T) {
	arms := map[string][]float64{"base": {.5, .52, .49, .51}, "up": {.55, .56, .55, .57}, "x": {.6, .6, .6, .6}, "y": {.4, .4, .41, .4}}
	order, seeds := []string{"base", "up", "x", "y"}, [][2]int64{{1, 1}, {2, 2}, {3, 3}, {4, 4}}
	o := compare.Options{Contrasts: [][2]string{{"up", "x"}}}
	trials, samples := study(arms, order, seeds)
	whole := made(t, trials, samples, o)
	trials, samples = study(arms, order, seeds)
	stop(trials, map[string]int64{"x": 100, "y": 200})
	got := made(t, trials, samples, o)
	for i, want := range []int{0, 0, 100, 200} {
		r := got.Rows[i]
		if want == 0 {
			if r.Stopped != nil || len(r.Cells) == 0 {
				t.Errorf("%s: %+v", r.Label, r)
			}
			continue
		}
		if r.Stopped == nil || r.Stopped.Step != want || r.Stopped.Proxy == nil || math.Abs(*r.Stopped.Proxy-.3) > 1e-12 || len(r.Cells) > 0 || r.Differences != nil || r.Collapse != nil || len(r.Trials) != 4 {
			t.Errorf("%s: %+v, want a row stopped at %d with the proxy .3 and no values", r.Label, r, want)
		}
	}
	if got.Family != whole.Family || got.Planned != whole.Planned || got.Family != 8 {
		t.Errorf("%d comparisons are corrected together, of %d planned; %d of %d if no row is stopped", got.Family, got.Planned, whole.Family, whole.Planned)
	}
	d := got.Rows[1].Differences["alignment"]
	if *d.PCorrected < 8**d.P*.999 && *d.PCorrected < 1 && *d.P < *got.Rows[1].Differences["fidelity.recall"].P {
		t.Errorf("p %v is corrected to %v, want 8 times as much", *d.P, *d.PCorrected)
	}
	if n, ok := noted(got, nil, compare.StoppedEarly); !ok || n.N != 2 || n.Of != 4 {
		t.Errorf("note %+v", n)
	}
	if _, ok := noted(got, nil, compare.Absent); ok {
		t.Error("a row that was stopped counts as missing")
	}
	if len(got.Contrasts[0].Differences) > 0 || slices.Contains(got.Answer.Values, "x") || got.Front != nil && slices.ContainsFunc(got.Front.Points, func(p compare.FrontPoint) bool { return p.Label == "x" }) {
		t.Error("a row that was stopped is in a contrast, the answer or the front")
	}
	if got.Front == nil || len(got.Front.Left) > 0 {
		t.Errorf("rows that were stopped count as left out of the front: %+v", got.Front)
	}
	// Without tests there is no family.
	trials, samples = study(map[string][]float64{"base": {.5, .52}, "up": {.55, .56}, "x": {.6, .6}}, order[:3], seeds[:2])
	stop(trials, map[string]int64{"x": 100})
	if got := made(t, trials, samples, compare.Options{}); got.Family != 0 {
		t.Errorf("two seeds have a family of %d tests", got.Family)
	}
}

// TestStoppedErrors simulates studies without any difference, of which the rows with the
// highest proxies go on. The proxy is nearly the metric itself, so that this selects rows
// whose means are high by chance. Corrected for all rows, at most 5% of the studies have a
// false alarm; corrected for those that are left, more would.
func TestStoppedErrors(t *testing.T) {
	const rows, kept, seeds, runs = 12, 2, 5, 1500
	r := rand.New(rand.NewPCG(1, 2))
	wrong, naive := 0, 0
	for range runs {
		text := func(name string) *table.Column { return &table.Column{Name: name, Kind: table.String} }
		whole := func(name string) *table.Column { return &table.Column{Name: name, Kind: table.Int} }
		arm, view, trial, p, f := text("arm"), text("view"), text("trial"), whole("seed.pretraining"), whole("seed.feedback")
		y := &table.Column{Name: "y", Kind: table.Float, Better: "higher", Valid: []bool{}}
		at := &table.Column{Name: compare.StoppedColumn, Kind: table.Int, Valid: []bool{}}
		values, means := make([][seeds]float64, rows+1), make([]float64, rows+1)
		var order []int // of rows by their proxy, the best first
		for i := range values {
			for k := range seeds {
				values[i][k] = r.NormFloat64()
				means[i] += values[i][k]/seeds + .1*r.NormFloat64()/seeds
			}
			if i > 0 {
				order = append(order, i)
			}
		}
		slices.SortFunc(order, func(a, b int) int { return cmp.Compare(means[b], means[a]) })
		for i := range values {
			stopped := i > 0 && slices.Index(order, i) >= kept
			for k := range seeds {
				arm.Strings, view.Strings = append(arm.Strings, fmt.Sprint(i)), append(view.Strings, fmt.Sprintf("%d@%d", i, k))
				trial.Strings = append(trial.Strings, fmt.Sprintf("%d-%d", i, k))
				p.Ints, f.Ints = append(p.Ints, int64(k)), append(f.Ints, int64(k))
				y.Floats, y.Valid = append(y.Floats, values[i][k]), append(y.Valid, !stopped)
				at.Ints, at.Valid = append(at.Ints, 100), append(at.Valid, stopped)
			}
		}
		alarms := func(columns ...*table.Column) bool {
			got, err := compare.Ablation(&table.Table{Columns: append([]*table.Column{arm, view, trial, p, f, y}, columns...)}, nil, compare.Options{Primary: []string{"y"}})
			if err != nil {
				t.Fatal(err)
			}
			return slices.ContainsFunc(got.Rows, func(r compare.Row) bool { return r.Differences["y"].Significant })
		}
		if alarms(at) {
			wrong++
		}
		if alarms() {
			naive++
		}
	}
	rate, without := float64(wrong)/runs, float64(naive)/runs
	t.Logf("false alarms: %.3f, corrected for the rows that are left %.3f", rate, without)
	if rate > .05+2*math.Sqrt(.05*.95/runs) {
		t.Errorf("%.3f of the studies have a false alarm", rate)
	}
	if without < .07 {
		t.Errorf("corrected for the rows that are left, %.3f of the studies have a false alarm: the selection has no effect, so that the test shows nothing", without)
	}
}

// TestDiffStopped: the tests of a comparison of two tables are corrected for rows that were stopped
// on one side, as those of the ablation table are.
func TestDiffStopped(t *testing.T) {
	x, y, z := []float64{.44, .58, .47, .5}, []float64{.52, .61, .57, .55}, []float64{.4, .3, .35, .38}
	sides := func() (a, b *side) {
		return newSide("m", 1, "x").row("one", 1, x, x).row("two", 1, y, z), newSide("m", 1, "y").row("one", 1, y, y).row("two", 1, x, y)
	}
	a, b := sides()
	whole := diffed(t, a, b)
	a, b = sides()
	stop(a.table, map[string]int64{"two": 100})
	got := diffed(t, a, b)
	if got.Family != whole.Family || got.Family != 4 {
		t.Errorf("%d comparisons are corrected together, %d if no row is stopped; want 4", got.Family, whole.Family)
	}
	for name, v := range got.Rows[0].Values {
		if d := v.Difference; d.P != nil && *d.P < .2 && *d.PCorrected < 3**d.P*.999 {
			t.Errorf("%s: p %v is corrected to %v", name, *d.P, *d.PCorrected)
		}
	}
	if len(got.Rows[1].Values) > 0 {
		t.Errorf("the row that was stopped has values: %v", got.Rows[1].Values)
	}
}
