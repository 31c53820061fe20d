package compare_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"ablate/analysis/compare"
	"ablate/analysis/table"
)

func diagonal(n int) [][2]int64 {
	var s [][2]int64
	for i := range int64(n) {
		s = append(s, [2]int64{i + 1, i + 1})
	}
	return s
}

func find(t *testing.T, tab *compare.Table, label string) compare.Row {
	t.Helper()
	i := slices.IndexFunc(tab.Rows, func(r compare.Row) bool { return r.Label == label })
	if i < 0 {
		t.Fatalf("the table has no row %s", label)
	}
	return tab.Rows[i]
}

// TestPlanned checks that the seeds that a study needs are corrected for all comparisons that it
// will test, even if two seeds are too few for a test.
func TestPlanned(t *testing.T) {
	arms, order := map[string][]float64{"base": {.5, .52}, "a": {.6, .65}}, []string{"base", "a"}
	needs := func() int {
		trials, samples := study(arms, order, diagonal(2))
		got, err := ablate(trials, samples, compare.Options{Reference: "base", Detect: map[string]float64{"alignment": .05}})
		if err != nil {
			t.Fatal(err)
		}
		if got.Family != 0 || got.Planned != 2*(len(order)-1) {
			t.Errorf("%d comparisons are tested and %d planned", got.Family, got.Planned)
		}
		return find(t, got, "a").Differences["alignment"].Needs
	}
	few := needs()
	for i := range 10 {
		name := strings.Repeat("x", i+1)
		arms[name], order = []float64{.5, .53}, append(order, name)
	}
	if many := needs(); few < 3 || many <= few {
		t.Errorf("a row needs %d seeds alone and %d among eleven", few, many)
	}
}

// TestFamily checks that a difference that is significant alone need not be so in a large
// family, that the seeds that detect a declared size are computed, and that a smaller
// difference can be equivalent.
func TestFamily(t *testing.T) {
	base := []float64{.5, .52, .54, .5}
	plus := func(d ...float64) []float64 {
		out := slices.Clone(base)
		for i := range out {
			out[i] += d[i]
		}
		return out
	}
	arms := map[string][]float64{"base": base, "clear": plus(.2, .21, .2, .19), "slight": plus(.02, .055, .035, .01), "same": plus(.005, -.005, .005, -.005)}
	order := []string{"base", "clear", "slight", "same"}
	for i := range 8 {
		name := strings.Repeat("x", i+1)
		arms[name], order = plus(.03, -.03, .04, -.05), append(order, name)
	}
	trials, samples := study(arms, order, diagonal(4))
	got, err := ablate(trials, samples, compare.Options{Reference: "base", Detect: map[string]float64{"alignment": .1}})
	if err != nil {
		t.Fatal(err)
	}
	clear, slight := find(t, got, "clear").Differences["alignment"], find(t, got, "slight").Differences["alignment"]
	if !clear.Significant || clear.Corrected == nil || clear.Corrected.Low < .1 || *clear.PCorrected > .01 {
		t.Errorf("a clear difference: %+v", clear)
	}
	if slight.Significant || slight.Low > slight.High || slight.Corrected.Low >= slight.Low {
		t.Errorf("a slight one among eleven: %+v", slight)
	}
	if d := find(t, got, "same").Differences["alignment"]; d.Significant || !d.Equivalent {
		t.Errorf("no difference within ±.1: %+v, want equivalent", d)
	}
	x := find(t, got, "x").Differences["alignment"]
	if x.Equivalent || x.Needs < 4 {
		t.Errorf("a noisy difference: %+v, want more seeds", x)
	}
	if got.Family != 22 { // eleven rows times two primary metrics
		t.Errorf("a family of %d comparisons", got.Family)
	}
	if len(got.Detect) != 1 || got.Detect[0].Have != 4 || got.Detect[0].Needs < 4 || got.Detect[0].AtMost < got.Detect[0].Needs {
		t.Errorf("detect: %+v", got.Detect)
	}
	for _, want := range []compare.Kind{compare.FewPairs, compare.Moderated} {
		if _, ok := noted(got, nil, want); !ok {
			t.Errorf("no note on %s: %+v", want, got.Notes)
		}
	}
	for _, r := range got.Resolving {
		if r.Metric == "alignment" && (r.Seeds != 4 || r.Of != 11 || r.Size < .01 || r.Size > .2) {
			t.Errorf("what it could find: %+v", r)
		}
	}
	for _, m := range got.Metrics {
		if m.Name == "alignment" && m.Best != "clear" {
			t.Errorf("the best of alignment is %q", m.Best)
		}
	}
	f := got.Front
	if f == nil || f.N != 4 {
		t.Fatalf("front: %+v", f)
	}
	for _, p := range f.Points { // recall falls as alignment rises, so that all points but ties are on the front
		if p.Label == "clear" && (!p.On || p.Distance != 0 || p.DominatedBy != "") {
			t.Errorf("the clear arm on the front: %+v", p)
		}
	}
}

// TestExploratory checks that metrics that are not primary are not corrected, and not called
// significant.
func TestExploratory(t *testing.T) {
	arms := map[string][]float64{"base": {.5, .52, .54}, "a": {.7, .71, .75}, "b": {.6, .64, .63}}
	trials, samples := study(arms, []string{"base", "a", "b"}, diagonal(3))
	got := made(t, trials, samples, compare.Options{Primary: []string{"alignment"}, Contrasts: [][2]string{{"a", "b"}}})
	if d := find(t, got, "a").Differences["fidelity.recall"]; d.P == nil || d.PCorrected != nil || d.Significant {
		t.Errorf("recall: %+v", d)
	}
	c := got.Contrasts[0].Differences["alignment"]
	if got.Family != 3 || c.PCorrected == nil || math.Abs(c.Mean-.1) > .005 {
		t.Errorf("a family of %d, and the contrast %+v", got.Family, c)
	}
	if _, err := ablate(trials, samples, compare.Options{Contrasts: [][2]string{{"a", "c"}}}); err == nil || !strings.Contains(err.Error(), `no row "c"`) {
		t.Errorf("a contrast with an unknown row: %v", err)
	}
}

// TestFrontSharesSeeds checks that means of the front are over the seeds that all its rows
// share, and that a row without these seeds is named.
func TestFrontSharesSeeds(t *testing.T) {
	nan := math.NaN()
	got := ablation(t, map[string][]float64{"base": {.5, .52, .51, .5, .53, nan}, "few": {.6, .62, .63, .6, nan, nan}, "apart": {nan, nan, nan, nan, nan, .6}},
		[]string{"base", "few", "apart"}, diagonal(6))
	f := got.Front
	if len(f.Points) != 2 || f.N != 4 || !slices.Equal(f.Left, []string{"apart"}) {
		t.Errorf("front: %+v", f)
	}
}

// TestDominated checks a row that another one significantly beats in both metrics. A third row
// that was stopped early adds the two comparisons that it might have been in.
func TestDominated(t *testing.T) {
	var p [2]float64
	for i, order := range [][]string{{"base", "better"}, {"base", "better", "stopped"}} {
		trials, samples := study(map[string][]float64{"base": {.5, .52, .51, .5}, "better": {.7, .73, .71, .69}, "stopped": {.5, .5, .5, .5}}, order, diagonal(4))
		recall := trials.Column("fidelity.recall").Floats
		for i := range recall {
			recall[i] = .5 + .01*float64(i%4)
			if i >= 4 {
				recall[i] += .3 + .002*float64(i)
			}
		}
		stop(trials, map[string]int64{"stopped": 100})
		points := made(t, trials, samples, compare.Options{}).Front.Points
		if len(points) != 2 || points[0].On || points[0].DominatedBy != "better" || !(points[0].P < .01) || points[0].Distance < .15 || !points[1].On {
			t.Errorf("front: %+v", points)
		}
		p[i] = points[0].P
	}
	if math.Abs(p[1]-3*p[0]) > 1e-15 {
		t.Errorf("p %v, and beside a row that was stopped %v", p[0], p[1])
	}
}

// TestMetricsBesideShown checks that metrics that a study guards or wants to detect are in its
// table, whether short tables show them or not.
func TestMetricsBesideShown(t *testing.T) {
	trials, samples := study(map[string][]float64{"base": {.5, .52, .54}, "a": {.6, .61, .65}}, []string{"base", "a"}, diagonal(3))
	seen, guarded := *trials.Column("alignment"), *trials.Column("alignment")
	seen.Name, guarded.Name = "alignment.count.seen", "alignment.count.unseen"
	trials.Columns = append(trials.Columns, &seen, &guarded)
	got, err := ablate(trials, samples, compare.Options{Also: []string{"alignment", guarded.Name}, Detect: map[string]float64{seen.Name: .05}})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Detect) != 1 || got.Detect[0].Metric != seen.Name || got.Detect[0].Needs < 3 {
		t.Errorf("detect: %+v", got.Detect)
	}
	if c, ok := find(t, got, "a").Cells[guarded.Name]; !ok || c.N != 3 {
		t.Errorf("a guarded metric: %+v", c)
	}
}

// TestCategories checks that the table has alignment by category, before what follows alignment,
// whatever the categories are.
func TestCategories(t *testing.T) {
	trials, samples := study(map[string][]float64{"base": {.5, .52, .54}, "a": {.6, .61, .65}}, []string{"base", "a"}, diagonal(3))
	for _, name := range []string{"alignment.Food-Beverage", "alignment.Food-Beverage.seen", "alignment.animals"} {
		c := *trials.Column("alignment")
		c.Name = name
		trials.Columns = append(trials.Columns, &c)
	}
	got, err := ablate(trials, samples, compare.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var labels []string
	for _, m := range got.Metrics {
		labels = append(labels, m.Label)
	}
	if want := []string{"alignment", "Food-Beverage", "animals", "proxy", "recall"}; !slices.Equal(labels, want) {
		t.Errorf("metrics %q, want %q", labels, want)
	}
	if c := find(t, got, "a").Cells["alignment.animals"]; c.N != 3 {
		t.Errorf("%+v", c)
	}
}

// TestCrossed checks that nine crossed runs of three pretrainings and three feedbacks count as
// three independent seeds everywhere. The difference depends on the pretraining alone.
func TestCrossed(t *testing.T) {
	arms := map[string][]float64{"base": nil, "a": nil}
	var seeds [][2]int64
	for p := range int64(3) {
		for f := range int64(3) {
			seeds = append(seeds, [2]int64{p + 1, f + 1})
			arms["base"] = append(arms["base"], .5)
			arms["a"] = append(arms["a"], .5+[]float64{.1, .1, -.05}[p])
		}
	}
	trials, samples := study(arms, []string{"base", "a"}, seeds)
	recall := trials.Column("fidelity.recall")
	for i := range recall.Floats {
		recall.Floats[i] = .8
	}
	got, err := ablate(trials, samples, compare.Options{})
	if err != nil {
		t.Fatal(err)
	}
	// Tables of other programs may have names that are not seeds.
	trials.Column("seed.feedback").Ints[0], trials.Column("seed.feedback").Ints[9] = -1, -1
	if _, err := ablate(trials, samples, compare.Options{}); err != nil {
		t.Error(err)
	}
	// Three of nine runs are worse, those of one pretraining.
	if d := find(t, got, "a").Differences["alignment"]; d.N != 3 || len(d.Values) != 9 || d.Significant {
		t.Errorf("crossed seeds: %+v", d)
	}
}

// TestBestNeedsTheData checks that the row with the highest mean is not called the best where
// it is not significantly better than another.
func TestBestNeedsTheData(t *testing.T) {
	got := ablation(t, map[string][]float64{"base": {.5, .52, .54}, "a": {.6, .61, .63}, "b": {.61, .6, .63}}, []string{"base", "a", "b"}, diagonal(3))
	for _, m := range got.Metrics {
		if m.Name == "alignment" && m.Best != "" {
			t.Errorf("of two alike %q is called the best", m.Best)
		}
	}
}

// TestSameValues checks that a value that is the same for all seeds has no interval, if no
// other error is known.
func TestSameValues(t *testing.T) {
	trials, samples := study(map[string][]float64{"base": {.5, .5, .5}, "a": {.6, .6, .6}}, []string{"base", "a"}, diagonal(3))
	trials.Column("proxy").Range = ""
	got := made(t, trials, samples, compare.Options{})
	d := find(t, got, "a").Differences["proxy"]
	if _, ok := noted(got, d.Notes, compare.Constant); d.Interval != "" || d.P != nil || !ok {
		t.Errorf("differences that are all equal: %+v, want no interval and a note", d)
	}
	if d := find(t, got, "a").Differences["alignment"]; d.Interval != compare.OverSeeds || d.High-d.Low < .05 {
		t.Errorf("shares of images: %+v, want an interval", d)
	}
}

// grid makes the rows "grid[beta=B,rate=R]" of trials the points of an arm with these two axes.
func grid(trials *table.Table) {
	beta, rate := &table.Column{Name: "beta", Kind: table.Float}, &table.Column{Name: "rate", Kind: table.Float}
	arm := trials.Column("arm")
	for i, v := range trials.Column("view").Strings {
		var b, r float64
		n, _ := fmt.Sscanf(v, "grid[beta=%g,rate=%g]", &b, &r)
		beta.Floats, beta.Valid = append(beta.Floats, b), append(beta.Valid, n == 2)
		rate.Floats, rate.Valid = append(rate.Floats, r), append(rate.Valid, n == 2)
		if n == 2 {
			arm.Strings[i] = "grid"
		}
	}
	trials.Columns = append(trials.Columns, beta, rate)
	compare.SetAxes(trials, map[string][]string{"grid": {"beta", "rate"}})
}

// TestLargeSweep: two axes with many values have no interactions, which the sweep says, and have their
// ranges.
func TestLargeSweep(t *testing.T) {
	for _, n := range []int{10, 11} { // 100 and 110 pairs of values
		arms, order := map[string][]float64{"base": {.5, .52, .49}}, []string{"base"}
		for b := range 10 {
			for r := range n {
				name := fmt.Sprintf("grid[beta=%d,rate=%d]", b, r)
				order = append(order, name)
				arms[name] = []float64{.5 + float64(b)/100, .52 + float64(b)/100, .49 + float64(b)/100}
			}
		}
		trials, samples := study(arms, order, diagonal(3))
		grid(trials)
		got, err := ablate(trials, samples, compare.Options{Reference: "base"})
		if err != nil {
			t.Fatal(err)
		}
		s := got.Sweeps[0]
		interactions := slices.ContainsFunc(s.Effects, func(e compare.Effect) bool { return e.Kind == compare.Interaction })
		ranges := slices.ContainsFunc(s.Effects, func(e compare.Effect) bool { return e.Kind == compare.Range })
		if interactions != (n == 10) || (len(s.Uncrossed) > 0) != (n == 11) || !ranges {
			t.Errorf("10 × %d values: interactions %v, ranges %v, uncrossed %v", n, interactions, ranges, s.Uncrossed)
		}
	}
}

// TestSweep: a 2 × 3 sweep with a known main effect, range and no interaction.
func TestSweep(t *testing.T) {
	arms := map[string][]float64{"base": {.5, .5, .51, .5, .5}}
	order := []string{"base"}
	for _, beta := range []float64{1, 0} {
		for _, rate := range []float64{.1, .3, .2} {
			name := "grid[beta=" + map[float64]string{0: "0", 1: "1"}[beta] + ",rate=" + map[float64]string{.1: "0.1", .2: "0.2", .3: "0.3"}[rate] + "]"
			order = append(order, name)
			for s := range 5 {
				arms[name] = append(arms[name], .5-.1*beta+rate/2+[]float64{0, .02, -.01, .005, -.005}[s])
			}
		}
	}
	trials, samples := study(arms, order, diagonal(5))
	grid(trials)
	got, err := ablate(trials, samples, compare.Options{Reference: "base"})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Sweeps) != 1 || got.Sweeps[0].Note != "" || len(got.Sweeps[0].Factors) != 2 {
		t.Fatalf("sweeps: %+v", got.Sweeps)
	}
	if p := got.Rows[2].Point; got.Rows[0].Point != nil || !slices.Equal(p, []compare.Value{{Axis: "beta", Value: "1"}, {Axis: "rate", Value: "0.3"}}) {
		t.Errorf("the points of %s and %s: %v, %v", got.Rows[0].Label, got.Rows[2].Label, got.Rows[0].Point, p)
	}
	for f, factor := range got.Sweeps[0].Factors {
		for k, i := range got.Sweeps[0].Rows {
			at := got.Sweeps[0].At[f][k]
			if v := got.Rows[i].Point[f].Value; factor.Levels[at] != v || fmt.Sprint(factor.Numbers[at]) != v {
				t.Errorf("%s is at level %s (%v) of %s", got.Rows[i].Label, factor.Levels[at], factor.Numbers[at], factor.Name)
			}
		}
	}
	want := map[string]float64{"main beta=01": -.1, "range rate=0.10.3": .1}
	seen := 0
	for _, e := range got.Sweeps[0].Effects {
		if e.Metric != "alignment" {
			continue
		}
		if e.Kind == compare.Interaction {
			if math.Abs(e.Mean) > .005 || e.Significant {
				t.Errorf("an interaction of nothing: %+v", e)
			}
			continue
		}
		key := e.Kind + " " + e.Factors[0] + "=" + strings.Join(e.Levels, "")
		w, ok := want[key]
		if !ok || math.Abs(e.Mean-w) > .005 || !e.Significant {
			t.Errorf("%s: %v, want %v", key, e.Mean, w)
		}
		seen++
		if e.Kind == compare.Range && !e.Monotone {
			t.Error("a range that rises at every step is not called monotone")
		}
	}
	if seen != len(want) {
		t.Errorf("%d effects, want %d", seen, len(want))
	}
	// The axes are metadata of the file, and must parse.
	trials.Meta["axes"] = "beta"
	if _, err = ablate(trials, samples, compare.Options{}); err == nil || !strings.Contains(err.Error(), `metadata "axes"`) {
		t.Errorf("axes that are not JSON: %v", err)
	}
	compare.SetAxes(trials, map[string][]string{"grid": {"beta", "rate"}})
	// A sweep with a missing point has no balanced effects, and the note for it.
	for _, c := range trials.Columns {
		cut(c, 5)
	}
	if got, err = ablate(trials, samples, compare.Options{Reference: "base"}); err != nil {
		t.Fatal(err)
	}
	if s := got.Sweeps[0]; s.Effects != nil || s.Note != compare.Incomplete {
		t.Errorf("an incomplete sweep: %+v", s)
	}
}

// cut removes a column's last n values.
func cut(c *table.Column, n int) {
	k := c.Len() - n
	switch c.Kind {
	case table.String:
		c.Strings = c.Strings[:k]
	case table.Float:
		c.Floats = c.Floats[:k]
	case table.Int:
		c.Ints = c.Ints[:k]
	case table.Bool:
		c.Bools = c.Bools[:k]
	}
	if c.Valid != nil {
		c.Valid = c.Valid[:k]
	}
}
