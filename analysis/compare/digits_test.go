package compare_test

import (
	"testing"

	"ablate/analysis/compare"
	"ablate/analysis/table"
)

// TestDigits checks that values are printed with two significant digits of their uncertainty,
// and metrics of the shapes world as Shown declares.
func TestDigits(t *testing.T) {
	trials := func(columns ...*table.Column) *table.Table {
		n := columns[0].Len()
		t := &table.Table{Meta: map[string]string{}}
		arm, view, trial := &table.Column{Name: "arm", Kind: table.String}, &table.Column{Name: "view", Kind: table.String}, &table.Column{Name: "trial", Kind: table.String}
		p, f := &table.Column{Name: "seed.pretraining", Kind: table.Int}, &table.Column{Name: "seed.feedback", Kind: table.Int}
		for i := range n {
			seed := string(rune('1' + i))
			arm.Strings, view.Strings, trial.Strings = append(arm.Strings, "a"), append(view.Strings, "a@"+seed), append(trial.Strings, seed)
			p.Ints, f.Ints = append(p.Ints, int64(i+1)), append(f.Ints, int64(i+1))
		}
		control := &table.Column{Name: "control", Kind: table.Bool, Bools: make([]bool, n)}
		t.Columns = append([]*table.Column{arm, view, trial, control, p, f}, columns...)
		return t
	}
	metric := func(name, of string, values ...float64) *table.Column {
		return &table.Column{Name: name, Kind: table.Float, Range: of, Floats: values}
	}
	columns := []*table.Column{
		metric("fid", "", 23.1, 24.2, 22.4),                              // half width 2.3
		metric("kid", table.Positive, .00210, .00214, .00207),            // .00009
		metric("pickscore", "", 21.31, 21.35, 21.28),                     // .087
		metric("big", "", 1000, 3000, 2000),                              // 2484
		metric("tiny", "", 1e-9, 2e-9, 3e-9),                             // 2.5e-9
		metric("clip", table.Share, .3101, .3102, .3103),                 // a share
		metric("none", "", 0, 0, 0),                                      // all values 0
		metric("alignment", table.Share, .5, .6, .7),                     // declared
		metric("fidelity.frechet", table.Positive, 9.123, 9.124, 9.1235), // declared
	}
	var names []string
	for _, c := range columns {
		names = append(names, c.Name)
	}
	want := map[string]int{"fid": 1, "kid": 6, "pickscore": 3, "big": 1, "tiny": 6, "clip": 0, "none": 0, "alignment": 0, "fidelity.frechet": 1}
	tab, err := compare.Ablation(trials(columns...), nil, compare.Options{Show: names, Primary: names})
	if err != nil {
		t.Fatal(err)
	}
	for name, digits := range want {
		if got := tab.Digits(name); got != digits {
			t.Errorf("%s has %d digits, want %d", name, got, digits)
		}
	}
	// With one seed there are three significant digits.
	for _, c := range columns {
		c.Floats = c.Floats[:1]
	}
	if tab, err = compare.Ablation(trials(columns...), nil, compare.Options{Show: names, Primary: names}); err != nil {
		t.Fatal(err)
	}
	for name, digits := range map[string]int{"fid": 1, "kid": 5, "pickscore": 1, "big": 1, "clip": 0} {
		if got := tab.Digits(name); got != digits {
			t.Errorf("of one seed %s has %d digits, want %d", name, got, digits)
		}
	}
}

// TestDiffDigits checks that a comparison of two tables chooses digits as one table does.
func TestDiffDigits(t *testing.T) {
	kid := func(s *side) compare.Side {
		c := s.table.Column("fidelity.recall")
		c.Name, c.Range, c.Better, c.Depends = "kid", "", "lower", ""
		s.table.Column("fidelity.recall.n").Name = "kid.n"
		return compare.Side{Name: "s", Trials: s.table}
	}
	a := kid(newSide("m", 1, "x").row("row", 1, []float64{.5, .6, .7}, []float64{.00210, .00214, .00207}))
	b := kid(newSide("m", 1, "y").row("row", 1, []float64{.5, .6, .8}, []float64{.00250, .00256, .00247}))
	d, err := compare.NewDiff(a, b, compare.Options{Primary: []string{"alignment", "kid"}})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, m := range d.Metrics {
		got[m.Name] = m.Digits
	}
	if got["kid"] != 5 || got["alignment"] != 0 {
		t.Errorf("digits %v, want 5 of kid, whose half widths are .00009 and .00011, and 0 of alignment", got)
	}
}
