package compare_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"ablate/analysis/compare"
	"ablate/analysis/stats"
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
		t.Fatalf("there is no row %s", label)
	}
	return tab.Rows[i]
}

// TestFamily: what is resolved alone need not be in a family of many; what is
// declared to matter has its seeds counted, and less can be equivalent.
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
	got, err := compare.Ablation(trials, samples, compare.Options{Reference: "base", Detect: map[string]float64{"alignment": .03}, Resamples: 200})
	if err != nil {
		t.Fatal(err)
	}
	clear, slight := find(t, got, "clear").Differences["alignment"], find(t, got, "slight").Differences["alignment"]
	if !clear.Resolved || clear.Corrected == nil || clear.Corrected.Low < .1 || clear.P > .01 || clear.Improved.Share != 1 {
		t.Errorf("a clear difference: %+v", clear)
	}
	if slight.Resolved || slight.Low > slight.High || slight.Corrected.Low >= slight.Low {
		t.Errorf("a slight one among eleven: %+v", slight)
	}
	if d := find(t, got, "same").Differences["alignment"]; d.Resolved || !d.Equivalent {
		t.Errorf("no difference within ±.03: %+v, want equivalent", d)
	}
	if d := find(t, got, "x").Differences["alignment"]; d.Equivalent || d.Needs < 10 {
		t.Errorf("a noisy difference: %+v, want many seeds", d)
	}
	x := find(t, got, "x").Differences["alignment"]
	if alone := stats.SeedsNeeded(.03, math.Sqrt(stats.Variance(x.Values)), .05, .8); x.Needs <= alone {
		t.Errorf("among eleven %d seeds are called enough, and alone %d are", x.Needs, alone)
	}
	if len(got.Detect) != 1 || got.Detect[0].Family != 11 || got.Detect[0].Have != 4 || got.Detect[0].Needs < 10 || got.Detect[0].AtMost < got.Detect[0].Needs || !strings.HasPrefix(got.Detect[0].Row, "x") {
		t.Errorf("detect: %+v", got.Detect)
	}
	text := strings.Join(got.Footnotes, "\n")
	for _, want := range []string{"can fall below p = 0.125", "rests on the differences being normal", "can't be resolved with 4 seeds", "corrected by Holm"} {
		if !strings.Contains(text, want) {
			t.Errorf("no footnote says %q:\n%s", want, text)
		}
	}
	for _, m := range got.Metrics {
		if m.Name == "alignment" && m.Best != "clear" {
			t.Errorf("the best of alignment is %q", m.Best)
		}
	}
	f := got.Front
	if f == nil || f.Over != compare.OverSeeds || f.Seeds != 4 {
		t.Fatalf("front: %+v", f)
	}
	for _, p := range f.Points { // recall falls as alignment rises: all but ties are on it
		if p.Label == "clear" && (!p.On || p.Membership < .99 || p.Behind.Value != 0) {
			t.Errorf("the clear arm on the front: %+v", p)
		}
	}
}

// TestMetricsBesideShown: what a study guards or wants to detect is in its
// table, whether the short tables show it or not.
func TestMetricsBesideShown(t *testing.T) {
	trials, samples := study(map[string][]float64{"base": {.5, .52, .54}, "a": {.6, .61, .65}}, []string{"base", "a"}, diagonal(3))
	seen, guarded := *trials.Column("alignment"), *trials.Column("alignment")
	seen.Name, guarded.Name = "alignment.count.seen", "alignment.count.unseen"
	trials.Columns = append(trials.Columns, &seen, &guarded)
	got, err := compare.Ablation(trials, samples, compare.Options{Also: []string{"alignment", guarded.Name}, Detect: map[string]float64{seen.Name: .05}, Resamples: 100})
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

// TestCrossed: nine runs of three pretrainings and three feedbacks are three
// independent seeds wherever runs are counted. The difference is one of
// pretraining alone.
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
	got, err := compare.Ablation(trials, samples, compare.Options{Resamples: 2000})
	if err != nil {
		t.Fatal(err)
	}
	// Another program's table may have seeds that no study has.
	trials.Column("seed.feedback").Ints[0], trials.Column("seed.feedback").Ints[9] = -1, -1
	if _, err := compare.Ablation(trials, samples, compare.Options{Resamples: 10}); err != nil {
		t.Error(err)
	}
	// Six of nine are better, and count as two of three: Wilson's interval of that.
	if i := find(t, got, "a").Differences["alignment"].Improved; i.Share != 2./3 || math.Abs(i.Low-.2077) > 1e-3 || math.Abs(i.High-.9385) > 1e-3 {
		t.Errorf("probability of improvement: %+v", i)
	}
	// The base is on the front where the third pretraining is drawn twice or more: in
	// 7 of 27 draws. Were runs drawn, it would be in 3 of 100.
	for _, p := range got.Front.Points {
		if p.Label == "base" && math.Abs(p.Membership-7./27) > .04 {
			t.Errorf("the base is on the front in %.3f of draws, want %.3f", p.Membership, 7./27)
		}
	}
}

// TestPromptsThatAgree: where every image was judged the same, draws of prompts
// never vary, which is no certainty.
func TestPromptsThatAgree(t *testing.T) {
	got := ablation(t, map[string][]float64{"base": {0}, "a": {0}, "b": {1}}, []string{"base", "a", "b"}, diagonal(1))
	want := stats.Wilson(0, 40, .95).High
	if c := find(t, got, "a").Cells["alignment"]; c.Interval != compare.OverPrompts || math.Abs(c.Low) > 1e-9 || math.Abs(c.High-want) > 1e-9 || len(c.Notes) == 0 {
		t.Errorf("all bad: %+v, want up to %.3f", c, want)
	}
	if c := find(t, got, "b").Cells["alignment"]; math.Abs(c.Low-(1-want)) > 1e-9 || math.Abs(c.High-1) > 1e-9 {
		t.Errorf("all good: %+v", c)
	}
	for _, row := range []string{"a", "b"} {
		if d := find(t, got, row).Differences["alignment"]; d.Interval != "" || len(d.Notes) == 0 {
			t.Errorf("the difference of %s: %+v, want no interval and a note", row, d)
		}
	}
}

// TestBestNeedsTheData: the highest mean is not called the best where another
// may be.
func TestBestNeedsTheData(t *testing.T) {
	got := ablation(t, map[string][]float64{"base": {.5, .52, .54}, "a": {.6, .61, .63}, "b": {.61, .6, .63}}, []string{"base", "a", "b"}, diagonal(3))
	for _, m := range got.Metrics {
		if m.Name == "alignment" && m.Best != "" {
			t.Errorf("of two alike %q is called the best", m.Best)
		}
	}
}

func TestSameValues(t *testing.T) {
	got := ablation(t, map[string][]float64{"base": {.5, .5, .5}, "a": {.6, .6, .6}}, []string{"base", "a"}, diagonal(3))
	d := find(t, got, "a").Differences["fidelity.recall"]
	if d.Resolved || d.Interval != "" || len(d.Notes) == 0 {
		t.Errorf("differences that are all alike: %+v, want no interval and a note", d)
	}
}

// TestSweep: a 2 × 3 sweep with a known main effect, trend and no interaction.
func TestSweep(t *testing.T) {
	arms := map[string][]float64{"base": {.5, .5, .51}}
	order := []string{"base"}
	type point struct{ beta, rate float64 }
	points := map[string]point{}
	for _, beta := range []float64{1, 0} {
		for _, rate := range []float64{.1, .3, .2} {
			name := "grid[beta=" + map[float64]string{0: "0", 1: "1"}[beta] + ",rate=" + map[float64]string{.1: "0.1", .2: "0.2", .3: "0.3"}[rate] + "]"
			order = append(order, name)
			points[name] = point{beta, rate}
			for s := range 3 {
				arms[name] = append(arms[name], .5-.1*beta+rate/2+[]float64{0, .02, -.01}[s])
			}
		}
	}
	trials, samples := study(arms, order, diagonal(3))
	beta := &table.Column{Name: "beta", Kind: table.Float, Valid: []bool{}}
	rate := &table.Column{Name: "rate", Kind: table.Float, Valid: []bool{}}
	arm := trials.Column("arm")
	for i, v := range trials.Column("view").Strings {
		p, ok := points[v[:strings.LastIndexByte(v, '@')]]
		beta.Floats, beta.Valid = append(beta.Floats, p.beta), append(beta.Valid, ok)
		rate.Floats, rate.Valid = append(rate.Floats, p.rate), append(rate.Valid, ok)
		if ok {
			arm.Strings[i] = "grid"
		}
	}
	trials.Columns = append(trials.Columns, beta, rate)
	got, err := compare.Ablation(trials, samples, compare.Options{Reference: "base", Resamples: 100})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Sweeps) != 1 || got.Sweeps[0].Note != "" || len(got.Sweeps[0].Factors) != 2 {
		t.Fatalf("sweeps: %+v", got.Sweeps)
	}
	want := map[string]float64{"main beta=0": .05, "main beta=1": -.05, "main rate=0.1": -.05, "main rate=0.2": 0, "main rate=0.3": .05, "trend rate=": .1}
	seen := 0
	for _, e := range got.Sweeps[0].Effects {
		if e.Metric != "alignment" {
			continue
		}
		if e.Kind == compare.Interaction {
			if math.Abs(e.Mean) > 1e-9 {
				t.Errorf("an interaction of nothing: %+v", e)
			}
			continue
		}
		key := e.Kind + " " + e.Factors[0] + "=" + strings.Join(e.Levels, "")
		w, ok := want[key]
		if !ok || math.Abs(e.Mean-w) > 1e-9 {
			t.Errorf("%s: %v, want %v", key, e.Mean, w)
		}
		seen++
		if e.Kind == compare.Trend && !e.Monotone {
			t.Error("a trend that only rises is not called monotone")
		}
	}
	if seen != len(want) {
		t.Errorf("%d effects, want %d", seen, len(want))
	}
	// A sweep with a point left out has no balanced effects, and says so.
	for _, c := range trials.Columns {
		cut(c, 3)
	}
	if got, err = compare.Ablation(trials, samples, compare.Options{Reference: "base", Resamples: 100}); err != nil {
		t.Fatal(err)
	}
	if s := got.Sweeps[0]; s.Effects != nil || !strings.Contains(s.Note, "complete sweeps") {
		t.Errorf("an incomplete sweep: %+v", s)
	}
}

// cut drops a column's last n values.
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

func TestSideBySide(t *testing.T) {
	a := ablation(t, map[string][]float64{"base": {.5, .52, .54}, "mine": {.6, .61, .63}}, []string{"base", "mine"}, diagonal(3))
	b := ablation(t, map[string][]float64{"base": {.4, .43, .43}, "yours": {.6, .61, .63}}, []string{"base", "yours"}, diagonal(3))
	for i := range b.Rows {
		c := b.Rows[i].Cells["fidelity.recall"]
		c.Images = 7
		b.Rows[i].Cells["fidelity.recall"] = c
	}
	rows := map[string]compare.Beside{}
	for _, l := range compare.SideBySide(a, b, []string{"alignment", "fidelity.recall"}) {
		rows[l.Row+" "+l.Metric.Name] = l
	}
	if l := rows["base alignment"]; l.Difference == nil || math.Abs(l.Difference.Mean-.1) > 1e-9 || l.Difference.Interval != compare.OverSeeds {
		t.Errorf("a row of both: %+v", l)
	}
	if l := rows["mine alignment"]; l.A == nil || l.B != nil || l.Difference != nil {
		t.Errorf("a row of the first: %+v", l)
	}
	if l := rows["yours alignment"]; l.A != nil || l.B == nil {
		t.Errorf("a row of the second: %+v", l)
	}
	if l := rows["base fidelity.recall"]; l.Difference != nil || !strings.Contains(l.Counts, "200 and 7 images") {
		t.Errorf("recall of different numbers of images: %+v", l)
	}
}
