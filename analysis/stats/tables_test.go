package stats_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"ablate/analysis/compare"
	"ablate/analysis/stats"
	"ablate/analysis/table"
)

// study is a simulated study, for which the program computes a table.
type study struct {
	seeds   []stats.Seed
	rows    []string // labels; the first is the reference
	metrics []string
	kind    string                              // range of the metrics' values
	images  int                                 // number of images of each value; 0 where unknown
	value   func(row, metric, seed int) float64 // NaN where it is missing
	have    []int                               // by row, number of seeds that it has; nil: all
	axes    []string                            // swept axes of all rows but the reference
	at      func(row, axis int) float64
	side    string                // with two studies, prefix of the names of trials
	model   func(seed int) string // the pretrained model of a seed; nil where unknown
	samples compare.Samples
	o       compare.Options
}

// of returns the seeds that a row has.
func (x study) of(row int) []stats.Seed {
	if x.have == nil {
		return x.seeds
	}
	return x.seeds[:x.have[row]]
}

// trial returns the name of the trial of a row and a seed.
func (x study) trial(row, seed int) string { return fmt.Sprint(x.side, row, " ", seed) }

// trials returns the study's results in the form of trials.arrow.
func (x study) trials() *table.Table {
	arm, view, trial := &table.Column{Name: "arm"}, &table.Column{Name: "view"}, &table.Column{Name: "trial"}
	p, f := &table.Column{Name: "seed.pretraining", Kind: table.Int}, &table.Column{Name: "seed.feedback", Kind: table.Int}
	for _, c := range []*table.Column{arm, view, trial} {
		c.Kind = table.String
	}
	tab := &table.Table{Columns: []*table.Column{arm, view, trial, p, f}, Meta: map[string]string{}}
	model := &table.Column{Name: compare.Model, Kind: table.String}
	if x.model != nil {
		tab.Columns = append(tab.Columns, model)
	}
	for r, label := range x.rows {
		name, _, _ := strings.Cut(label, "[") // the arm of a point
		for s, seed := range x.of(r) {
			arm.Strings, view.Strings = append(arm.Strings, name), append(view.Strings, label+"@"+compare.SeedName(seed))
			trial.Strings = append(trial.Strings, x.trial(r, s))
			p.Ints, f.Ints = append(p.Ints, seed.Pretraining), append(f.Ints, seed.Feedback)
			if x.model != nil {
				model.Strings = append(model.Strings, x.model(s))
			}
		}
	}
	for m, name := range x.metrics {
		c, n := &table.Column{Name: name, Kind: table.Float, Better: "higher", Range: x.kind}, &table.Column{Name: name + ".n", Kind: table.Int}
		for r := range x.rows {
			for s := range x.of(r) {
				c.Floats, n.Ints = append(c.Floats, x.value(r, m, s)), append(n.Ints, int64(x.images))
			}
		}
		if tab.Columns = append(tab.Columns, c); x.images > 0 {
			tab.Columns = append(tab.Columns, n)
		}
	}
	for a, name := range x.axes {
		c := &table.Column{Name: name, Kind: table.Float}
		for r := range x.rows {
			for range x.of(r) {
				c.Floats = append(c.Floats, x.at(r, a))
			}
		}
		tab.Columns = append(tab.Columns, c)
	}
	if x.axes != nil {
		compare.SetAxes(tab, map[string][]string{arm.Strings[len(arm.Strings)-1]: x.axes})
	}
	return tab
}

// table returns the study's ablation table.
func (x study) table(t *testing.T) *compare.Table {
	t.Helper()
	x.o.Primary = x.metrics
	got, err := compare.Ablation(x.trials(), x.samples, x.o)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// names returns the names of a reference and n rows.
func names(n int) []string {
	out := []string{"reference"}
	for i := range n {
		out = append(out, fmt.Sprint("row ", i))
	}
	return out
}

// simulate prepares a simulation of whole tables with the given number of studies a line.
// README.md has the rates of eight times as many studies, which UPDATE=1 simulates.
func simulate(t *testing.T, stream uint64, runs int) *simulation {
	s := &simulation{t: t, r: rand.New(rand.NewPCG(stream, stream+1)), runs: runs * more(), fast: true, byLine: map[int]int{}}
	switch {
	case testing.Short():
		s.runs = runs/5 + 1
	case os.Getenv("UPDATE") == "1":
		s.runs, s.fast = 8*runs, false
	}
	s.studies(s.runs)
	return s
}

// TestTables simulates the values of whole ablation tables, computed as the program computes
// them.
func TestTables(t *testing.T) {
	s := simulate(t, 31, 75)
	s.units()
	s.overImages()
	s.fewPrompts()
	s.rows()
	s.equivalence()
	s.best()
	s.front()
	s.sweeps()
	s.outliers()
	s.collapses()
	s.pilots()
	s.floors()
	s.golden("tables")
}

// chi draws from χ² with df degrees of freedom.
func (s *simulation) chi(df int) (sum float64) {
	for range df {
		z := s.r.NormFloat64()
		sum += z * z
	}
	return sum
}

// heavy draws from Student's t with 3 degrees of freedom.
func (s *simulation) heavy() float64 { return s.r.NormFloat64() / math.Sqrt(s.chi(3)/3) }

func logit(p float64) float64 { return math.Log(p / (1 - p)) }

// share draws the share of n images that count with a chance.
func (s *simulation) share(n int, p float64) float64 { return float64(s.binomial(n, p)) / float64(n) }

// units simulates differences that are estimated on a scale and printed in the metric's units.
func (s *simulation) units() {
	s.studies(s.runs)
	s.head("**A difference in the metric's units**, of arms that differ. The truth is the difference of the arms' typical seeds. What seeds have in common moves both arms alike, so that the difference is known better than the reference is. \"At the reference\" is the interval of the scale at the reference's mean, which takes that mean for known.",
		"reference, arm", "sd of an arm, of seeds in common", "seeds", "covers", "at the reference")
	for _, c := range []struct {
		kind       string
		ref, arm   float64
		sd, common float64
	}{
		{table.Share, .45, .55, .2, 0}, {table.Share, .45, .55, .05, .2}, {table.Share, .95, .9, .2, 0}, {table.Share, .95, .9, .07, .2},
		{table.Share, .97, .99, .3, 0}, {table.Share, .1, .3, .1, .3}, {table.Share, .01, .03, .3, 0},
		{table.Positive, 10, 20, .2, 0}, {table.Positive, 20, 10, .2, 0}, {table.Positive, 20, 10, .05, .2}, {table.Positive, 20, 18, .05, .2},
	} {
		m := compare.Metric{Range: c.kind}
		to, from, images := logit, logistic, 1000
		if c.kind == table.Positive {
			to, from, images = math.Log, math.Exp, 0
		}
		truth := c.arm - c.ref
		for _, n := range []int{3, 5, 8} {
			plain := 0
			rate := s.covers(func() (stats.Interval, float64) {
				v := [2][]float64{make([]float64, n), make([]float64, n)}
				for k := range n {
					z := c.common * s.r.NormFloat64()
					for r, x := range []float64{c.ref, c.arm} {
						if v[r][k] = from(to(x) + z + c.sd*s.r.NormFloat64()); images > 0 {
							v[r][k] = s.share(images, v[r][k])
						}
					}
				}
				y, base := make([]float64, n), 0.
				for k := range y {
					b := m.Scale().To(v[0][k], images)
					y[k], base = m.Scale().To(v[1][k], images)-b, base+b/float64(n)
				}
				e, _ := stats.OverSeeds(diagonal(n), y)
				at := func(y float64) float64 { return m.Scale().From(base+y, images) - m.Scale().From(base, images) }
				if i := e.Interval(.95); at(i.Low) <= truth && truth <= at(i.High) {
					plain++
				}
				d := study{seeds: diagonal(n), rows: names(1), metrics: []string{"score"}, kind: c.kind, images: images,
					value: func(r, _, k int) float64 { return v[r][k] }}.table(s.t).Rows[1].Differences["score"]
				return stats.Interval{Low: d.Low, High: d.High}, truth
			})
			s.row(fmt.Sprintf("%g, %g", c.ref, c.arm), fmt.Sprintf("%g, %g", c.sd, c.common), n, rate, float64(plain)/float64(s.runs))
			s.want(fmt.Sprint("a difference in units, ", c, ", ", n), rate, .92, 1)
		}
	}
}

// pairs implements compare.Samples for two arms whose images start from equal noise: counts of
// images by seed.
type pairs struct{ a, onlyA, onlyB, images []int }

func (pairs) Strata() stats.Strata                             { return nil }
func (pairs) Has(string) bool                                  { return true }
func (pairs) Missing(_, _ string) (n, of int)                  { return 0, 0 }
func (pairs) ByPrompt(_, _ string) (c stats.Clustered, _ bool) { return c, false }

func (p pairs) Paired(trials []string, weights []float64, _ string) (float64, int, bool) {
	var row, s int
	if _, err := fmt.Sscan(trials[0], &row, &s); err != nil || len(trials) != 2 {
		return 0, 0, false
	}
	n, u, v := float64(p.images[s]), weights[0], weights[1]
	both, a, b := float64(p.a[s]-p.onlyA[s]), float64(p.onlyA[s]), float64(p.onlyB[s])
	mean := (both*(u+v) + a*u + b*v) / n
	return (both*(u+v)*(u+v)+a*u*u+b*v*v)/n - mean*mean, p.images[s], true
}

// overImages simulates intervals of one or two seeds.
func (s *simulation) overImages() {
	s.studies(s.runs)
	s.head("**One or two seeds**: the interval is over images, for these seeds and prompts. Shares of 500 images a seed, of seeds that differ by .3 logits. The truth is what these seeds give with many images. \"Paired\" images begin with equal noise, and half of them are alike in both arms.",
		"what", "one seed covers", "two seeds cover")
	const images = 500
	for _, c := range []struct {
		arm, ref float64 // ref 0: the mean of one arm
		paired   bool
	}{{.45, 0, false}, {.1, 0, false}, {.011, 0, false}, {.98, 0, false}, {.55, .45, false}, {.03, .01, false}, {.99, .97, false}, {.55, .45, true}, {.03, .01, true}, {.99, .97, true}, {.3, .3, true}, {.01, .01, true}} {
		what := fmt.Sprintf("a level near %g", c.arm)
		if c.ref > 0 {
			what = fmt.Sprintf("%g less %g", c.arm, c.ref)
		}
		if c.paired {
			what += ", paired"
		}
		var rates [2]float64
		for n := range rates {
			seeds := diagonal(n + 1)
			rates[n] = s.covers(func() (stats.Interval, float64) {
				var counts pairs
				var shares [2][]float64
				var y [2]float64 // mean logits
				for range seeds {
					z := .3 * s.r.NormFloat64()
					arm, ref := logit(c.arm)+z, logit(max(c.ref, .5))+z
					if c.ref > 0 {
						ref = logit(c.ref) + z
					}
					y[0], y[1] = y[0]+ref/float64(n+1), y[1]+arm/float64(n+1)
					var a, onlyA, onlyB int
					for range images {
						u := s.r.Float64()
						v := u
						if !c.paired || s.r.Float64() < .5 {
							v = s.r.Float64()
						}
						switch inA, inB := u < logistic(arm), v < logistic(ref); {
						case inA && inB:
							a++
						case inA:
							a, onlyA = a+1, onlyA+1
						case inB:
							onlyB++
						}
					}
					shares[0], shares[1] = append(shares[0], float64(a-onlyA+onlyB)/images), append(shares[1], float64(a)/images)
					counts = pairs{append(counts.a, a), append(counts.onlyA, onlyA), append(counts.onlyB, onlyB), append(counts.images, images)}
				}
				x := study{seeds: seeds, rows: names(1), metrics: []string{"score"}, kind: table.Share, images: images, value: func(r, _, k int) float64 { return shares[r][k] }}
				if c.paired {
					x.samples = counts
				}
				row := x.table(s.t).Rows[1]
				cell, truth := row.Cells["score"], logistic(y[1])
				if c.ref > 0 {
					cell, truth = row.Differences["score"].Cell, truth-logistic(y[0])
				}
				return stats.Interval{Low: cell.Low, High: cell.High}, truth
			})
			s.want(what+", few seeds", rates[n], .9, 1)
		}
		s.row(what, rates[0], rates[1])
	}
}

// byPrompt implements compare.Samples with values by prompt.
type byPrompt struct {
	strata stats.Strata
	of     map[string]stats.Clustered
}

func (x byPrompt) Strata() stats.Strata { return x.strata }
func (byPrompt) Has(string) bool        { return true }
func (x byPrompt) ByPrompt(trial, _ string) (stats.Clustered, bool) {
	c, ok := x.of[trial]
	return c, ok
}
func (byPrompt) Missing(_, _ string) (n, of int)                         { return 0, 0 }
func (byPrompt) Paired([]string, []float64, string) (float64, int, bool) { return 0, 0, false }

// over returns the logit of a share over prompts, for a seed whose logits are shifted.
func (d design) over(sd, shift float64) (sum float64) {
	by, category := map[int]float64{}, easy(true)
	for p, w := range d.share {
		k := d.strata[p]
		if _, ok := by[k]; !ok {
			by[k] = expectation(category[k]+shift, sd)
		}
		sum += w * by[k]
	}
	return logit(sum)
}

// fewPrompts simulates tables with few sampled prompts or few seeds.
func (s *simulation) fewPrompts() {
	s.head("**Few sampled prompts**, whose categories differ, otherwise as in the table above, in the units of tables. With one or two seeds the interval is over prompts, for these seeds; below ten effective prompts there is none.",
		"what", "prompts", "effective", "1 seed covers", "2 seeds", "3 seeds", "8 seeds")
	const images = 1000
	sd := [2]float64{1, math.Sqrt(1.16)} // standard deviations of prompts, by arm
	for _, c := range []struct {
		what string
		d    design
	}{{"14 in 2 categories", list(14)}, {"20 in 2 categories", list(20)}, {"40 in 2 categories", list(40)}, {"158 in 4 categories", catalogue()}} {
		var counts []float64
		var total float64
		for _, w := range c.d.share {
			counts = append(counts, math.Round(w*images))
			total += math.Round(w * images)
		}
		var typical [2]float64 // logits of a typical seed
		var weight float64
		for z := -4.; z <= 4; z += .25 {
			w := math.Exp(-z * z / 2)
			weight += w
			for r := range typical {
				typical[r] += w * c.d.over(sd[r], .2*z)
			}
		}
		var rates [2][]any
		for _, n := range []int{1, 2, 3, 8} {
			var in [2]int
			runs := s.studies(s.runs / 2)
			for range runs {
				x := byPrompt{c.d.strata, map[string]stats.Clustered{}}
				easy, change := make([]float64, len(counts)), make([]float64, len(counts))
				for p := range counts {
					easy[p], change[p] = []float64{1.5, -1.5, .75, -.75}[c.d.strata[p]]+s.r.NormFloat64(), .4*s.r.NormFloat64()
				}
				truth, shares := [2]float64{typical[0] / weight, typical[1] / weight}, [2][]float64{}
				if n < stats.LeastSeeds {
					truth = [2]float64{}
				}
				for k := range n {
					for r := range truth {
						shift := .2 * s.r.NormFloat64()
						if n < stats.LeastSeeds {
							truth[r] += c.d.over(sd[r], shift) / float64(n)
						}
						of := stats.Clustered{Sums: make([]float64, len(counts)), Counts: counts}
						var sum float64
						for p, m := range counts {
							of.Sums[p] = float64(s.binomial(int(m), logistic(easy[p]+shift+float64(r)*change[p])))
							sum += of.Sums[p]
						}
						shares[r] = append(shares[r], sum/total)
						x.of[fmt.Sprint(r, " ", k)] = of
					}
				}
				row := study{seeds: diagonal(n), rows: names(1), metrics: []string{"score"}, kind: table.Share, images: int(total), samples: x,
					value: func(r, _, k int) float64 { return shares[r][k] }, o: compare.Options{Sampled: true}}.table(s.t).Rows[1]
				level, difference := row.Cells["score"], row.Differences["score"]
				if want := logistic(truth[1]); level.Low <= want && want <= level.High {
					in[0]++
				}
				if want := logistic(truth[1]) - logistic(truth[0]); difference.Low <= want && want <= difference.High {
					in[1]++
				}
			}
			for k := range in {
				rate := float64(in[k]) / float64(runs)
				rates[k] = append(rates[k], rate)
				s.want(fmt.Sprint("sampled prompts, ", c.what, ", seeds ", n), rate, .92, 1)
			}
		}
		for k, what := range []string{"level", "difference"} {
			s.row(append([]any{what, c.what, fmt.Sprintf("%.1f", c.d.strata.Effective(counts))}, rates[k]...)...)
		}
	}
}

// rows simulates the differences of whole tables.
func (s *simulation) rows() {
	s.head("**Differences of a whole table** from one reference. A false star is at least one difference of 0 that is called significant. \"Worst\" is the row whose 95% interval covers least. Corrected intervals are at the level at which Holm's correction tests them; \"all\" is how often every one of a table covers. The answer of a report prints that of the largest difference.",
		"rows", "seeds", "rows are", "false star", "95% interval covers", "worst", "corrected: all", "of the largest")
	one, none := func(int) float64 { return 1 }, func(int) float64 { return 0 }
	normal := s.r.NormFloat64
	for _, c := range []struct {
		what      string
		kind      string
		spread    func(i int) float64
		effect    func(i int) float64
		noise     func() float64
		centre    float64
		metrics   int
		missing   bool
		contrasts int
	}{
		{"alike", "", one, none, normal, 0, 1, false, 0},
		{"one of 5 times the spread", "", func(i int) float64 { return 1 + 4*float64(b2i(i == 0)) }, none, normal, 0, 1, false, 0},
		{"a third of 5 times the spread", "", func(i int) float64 { return 1 + 4*float64(b2i(i%3 == 0)) }, none, normal, 0, 1, false, 0},
		{"a third without the last seed", "", one, none, normal, 0, 1, true, 0},
		{"alike, 5 contrasts", "", one, none, normal, 0, 1, false, 5},
		{"of two metrics, correlated .8", "", one, none, normal, 0, 2, false, 0},
		{"Student's t with 3 degrees of freedom", "", one, none, s.heavy, 0, 1, false, 0},
		{"shares near .98", table.Share, one, none, normal, 4, 1, false, 0},
		{"shares near .02", table.Share, one, none, normal, -4, 1, false, 0},
		{"log-normal, σ 1, the reference quiet", table.Positive, func(i int) float64 { return 1 - .9*float64(b2i(i < 0)) }, none, normal, 0, 1, false, 0},
		{"half of them up to 14 sd away", "", one, func(i int) float64 { return float64(i%2) * (2 + float64(i%12)) }, normal, 0, 1, false, 0},
		{"all 3 sd away", "", one, func(int) float64 { return 3 }, normal, 0, 1, false, 0},
	} {
		for _, size := range [][2]int{{3, 3}, {12, 3}, {12, 5}, {33, 4}} {
			m, n := size[0], size[1]
			runs := s.studies(s.runs / (1 + m/12))
			var wrong, all, largest int
			in, of := make([]float64, m), make([]float64, m)
			for range runs {
				v := make([][][]float64, m+1)
				for r := range v {
					v[r] = make([][]float64, c.metrics)
					for k := range n {
						common := c.noise()
						for j := range v[r] {
							z := common
							if j > 0 {
								z = .8*common + .6*c.noise()
							}
							y := c.centre + c.spread(r-1)*z
							switch {
							case c.kind == table.Share:
								y = s.share(500, logistic(c.centre+.3*z))
							case c.kind == table.Positive:
								y = math.Exp(y)
							case r > 0:
								y += c.effect(r - 1)
							}
							if c.missing && r%3 == 1 && k == n-1 {
								y = math.NaN()
							}
							v[r][j] = append(v[r][j], y)
						}
					}
				}
				x := study{seeds: diagonal(n), rows: names(m), metrics: []string{"score", "other"}[:c.metrics], kind: c.kind, value: func(r, j, k int) float64 { return v[r][j][k] }}
				if c.kind == table.Share {
					x.images = 500
				}
				for i := range min(c.contrasts, m-1) {
					x.o.Contrasts = append(x.o.Contrasts, [2]string{x.rows[i+1], x.rows[i+2]})
				}
				tab := x.table(s.t)
				star, miss, best := false, false, -1
				for i, r := range tab.Rows[1:] {
					for _, name := range x.metrics {
						d, truth := r.Differences[name], c.effect(i)
						if d.P == nil {
							continue
						}
						if of[i]++; d.Low <= truth && truth <= d.High {
							in[i]++
						}
						star = star || d.Significant && truth == 0
						miss = miss || d.Corrected.Low > truth || d.Corrected.High < truth
						if name == "score" && (best < 0 || math.Abs(d.Mean) > math.Abs(tab.Rows[best+1].Differences["score"].Mean)) {
							best = i
						}
					}
				}
				for _, x := range tab.Contrasts {
					star = star || x.Differences["score"].Significant
				}
				if d := tab.Rows[best+1].Differences["score"].Corrected; d.Low <= c.effect(best) && c.effect(best) <= d.High {
					largest++
				}
				wrong, all = wrong+b2i(star), all+b2i(!miss)
			}
			share := func(k int) float64 { return float64(k) / float64(runs) }
			var sum, tested float64
			worst := 1.
			for i := range in {
				if of[i] > 0 {
					sum, tested, worst = sum+in[i], tested+of[i], min(worst, in[i]/of[i])
				}
			}
			s.row(m, n, c.what, share(wrong), sum/tested, worst, share(all), share(largest))
			what := fmt.Sprintf("a table of %d rows, %d seeds, %s: ", m, n, c.what)
			s.want(what+"false star", share(wrong), 0, .07)
			s.want(what+"95% interval", sum/tested, .93, 1)
			s.want(what+"worst row", worst, .87, 1)
			s.want(what+"all corrected intervals", share(all), .86, 1)
			s.want(what+"the largest", share(largest), .92, 1)
		}
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// equivalence simulates the equivalence tests of a study's detect.
func (s *simulation) equivalence() {
	s.head("**Equivalence** to within a declared size, of three standard deviations of an arm's seed. Wrong: the true differences are of that size, and at least one is called equivalent. Found: they are 0, and the first row is called equivalent.",
		"values", "rows", "seeds", "wrong", "found")
	for _, c := range []struct {
		what       string
		kind       string
		base       float64
		sd, common float64 // on the scale
	}{{"normal", "", 0, .2, 0}, {"shares near .9", table.Share, .9, .2, 0}, {"log-normal near 20", table.Positive, 20, .1, 0}, {"log-normal near 20, seeds with sd .3 in common", table.Positive, 20, .1, .3}} {
		to, from, images := func(x float64) float64 { return x }, func(x float64) float64 { return x }, 0
		switch c.kind {
		case table.Share:
			to, from, images = logit, logistic, 1000
		case table.Positive:
			to, from = math.Log, math.Exp
		}
		size := c.base - from(to(c.base)-3*c.sd)
		for _, rows := range []int{1, 12} {
			for _, n := range []int{3, 5, 8} {
				var count [2]int // false and true positives
				runs := s.studies(s.runs / (1 + rows/6))
				for k := range count {
					for range runs {
						common := make([]float64, n)
						for i := range common {
							common[i] = c.common * s.r.NormFloat64()
						}
						tab := study{seeds: diagonal(n), rows: names(rows), metrics: []string{"score"}, kind: c.kind, images: images, o: compare.Options{Detect: map[string]float64{"score": size}},
							value: func(r, _, i int) float64 {
								y := to(c.base) + common[i] + c.sd*s.r.NormFloat64()
								if r > 0 && k == 0 {
									y -= 3 * c.sd
								}
								if c.kind == table.Share {
									return s.share(images, logistic(y))
								}
								return from(y)
							}}.table(s.t)
						last := len(tab.Rows)
						if k == 1 {
							last = 2
						}
						count[k] += b2i(slices.ContainsFunc(tab.Rows[1:last], func(r compare.Row) bool { return r.Differences["score"].Equivalent }))
					}
				}
				wrong := float64(count[0]) / float64(runs)
				s.row(c.what, rows, n, wrong, float64(count[1])/float64(runs))
				s.want(fmt.Sprint("wrongly equivalent, ", c.what, ", rows ", rows, ", seeds ", n), wrong, 0, .07)
			}
		}
	}
}

// best simulates the mark of the best row of a metric.
func (s *simulation) best() {
	s.head("**The mark of the best row**, which is given where a row is significantly better than every other. Wrong: the two best rows are alike, 10 sd above the others, and one has the mark. Found: one row is 6 sd above the others.", "rows", "seeds", "wrong", "found")
	for _, m := range []int{3, 12, 33} {
		for _, n := range []int{3, 4, 8} {
			var count [2]int
			runs := s.studies(s.runs / (1 + m/12))
			for k, effect := range []float64{10, 6} {
				for range runs {
					tab := study{seeds: diagonal(n), rows: names(m - 1), metrics: []string{"score"}, value: func(r, _, _ int) float64 {
						return effect*float64(b2i(r < 2-k)) + s.r.NormFloat64()
					}}.table(s.t)
					metric, _ := tab.Metric("score")
					count[k] += b2i(metric.Best != "" && (k == 0 || metric.Best == "reference"))
				}
			}
			wrong := float64(count[0]) / float64(runs)
			s.row(m, n, wrong, float64(count[1])/float64(runs))
			s.want(fmt.Sprint("the mark of the best of ", m, ", seeds ", n), wrong, 0, .08)
		}
	}
}

// front simulates the Pareto front of two metrics.
func (s *simulation) front() {
	s.head("**The front.** Wrongly dominated: at least one row is called dominated where each is far better than the next in one metric and all are alike in the other; where all are alike in both; or where both metrics are the same and the rows alike. Found: a row 4 sd below the reference in both metrics is called dominated. The last two columns are of a reference that is 1 sd above all others in both: how often its mean is on the front, and how often that of the first other row is. Membership is that of the means and no test.",
		"rows", "seeds", "wrongly dominated", "alike in both", "one metric twice", "found", "reference on the front", "another on it")
	for _, m := range []int{3, 12, 33} {
		for _, n := range []int{3, 4, 8} {
			runs := s.studies(s.runs / (1 + m*m/100))
			var count [6]int
			for range runs {
				for k, effect := range []func(r, j int) float64{
					func(r, j int) float64 { return 20 * float64(r*(1-j)) },
					func(int, int) float64 { return 0 },
					func(int, int) float64 { return 0 },
					func(r, _ int) float64 { return 4 * float64(b2i(r == 0)) },
					func(r, _ int) float64 { return float64(b2i(r == 0)) },
				} {
					noise := make([]float64, m*n)
					for i := range noise {
						noise[i] = s.r.NormFloat64()
					}
					points := study{seeds: diagonal(n), rows: names(m - 1), metrics: []string{"alignment", "fidelity.recall"}, value: func(r, j, i int) float64 {
						if k == 2 {
							return noise[r*n+i]
						}
						return effect(r, j) + s.r.NormFloat64()
					}}.table(s.t).Front.Points
					switch k {
					case 3:
						count[3] += b2i(points[1].DominatedBy == "reference")
					case 4:
						count[4] += b2i(points[0].On)
						count[5] += b2i(points[1].On)
					default:
						count[k] += b2i(slices.ContainsFunc(points, func(p compare.FrontPoint) bool { return p.DominatedBy != "" }))
					}
				}
			}
			line := []any{m, n}
			for k, c := range count {
				rate := float64(c) / float64(runs)
				line = append(line, rate)
				if k < 3 {
					s.want(fmt.Sprint("wrongly dominated, rows ", m, ", seeds ", n), rate, 0, .08)
				}
			}
			s.row(line...)
		}
	}
}

// sweeps simulates the effects of an arm's axes.
func (s *simulation) sweeps() {
	s.studies(s.runs)
	s.head("**Effects of axes**: main effects, ranges, trends and interactions of a grid whose points are alike. A false star is at least one that is called significant. Wrongly monotone: the first step of an axis is large, the others are 0.",
		"grid", "points", "seeds", "false star", "95% interval covers", "worst", "wrongly monotone")
	for _, c := range []struct {
		x, y   int
		what   string
		kind   string
		spread func(r int) float64
	}{
		{5, 1, "normal", "", func(int) float64 { return 1 }}, {3, 3, "normal", "", func(int) float64 { return 1 }},
		{3, 3, "one of 5 times the spread", "", func(r int) float64 { return 1 + 4*float64(b2i(r == 1)) }},
		{2, 2, "log-normal, σ 1", table.Positive, func(int) float64 { return 1 }}, {2, 2, "shares near .97", table.Share, func(int) float64 { return .5 }},
	} {
		rows := []string{"reference"}
		for i := range c.x * c.y {
			rows = append(rows, fmt.Sprintf("grid[x=%d,y=%d]", i/c.y, i%c.y))
		}
		for _, n := range []int{3, 5} {
			var wrong, monotone int
			in, of := map[string]float64{}, map[string]float64{}
			for k := range 2 {
				for range s.runs {
					x := study{seeds: diagonal(n), rows: rows, metrics: []string{"score"}, kind: c.kind, axes: []string{"x", "y"}}
					x.at = func(r, a int) float64 { return float64([]int{max(r-1, 0) / c.y, max(r-1, 0) % c.y}[a]) }
					x.value = func(r, _, _ int) float64 {
						y := c.spread(r) * s.r.NormFloat64()
						if k == 1 && x.at(r, 0) > 0 {
							y += 20
						}
						switch c.kind {
						case table.Positive:
							return math.Exp(y)
						case table.Share:
							return s.share(500, logistic(3.5+y))
						}
						return y
					}
					if c.kind == table.Share {
						x.images = 500
					}
					star := false
					for _, e := range x.table(s.t).Sweeps[0].Effects {
						if k == 1 {
							monotone += b2i(e.Monotone && e.Factors[0] == "x")
							continue
						}
						key := fmt.Sprint(e.Kind, e.Factors, e.Levels)
						of[key]++
						in[key] += float64(b2i(e.Low <= 0 && 0 <= e.High))
						star = star || e.Significant
					}
					wrong += b2i(star)
				}
			}
			var sum float64
			worst := 1.
			for key, k := range of {
				sum, worst = sum+in[key]/k/float64(len(of)), min(worst, in[key]/k)
			}
			share := func(k int) float64 { return float64(k) / float64(s.runs) }
			line := []any{fmt.Sprintf("%d × %d", c.x, c.y), c.what, n, share(wrong), sum, worst, share(monotone)}
			if c.x < 3 { // a monotone change has at least two steps
				line[6] = ""
			}
			s.row(line...)
			what := fmt.Sprint("effects, ", line[:3])
			s.want(what+": false star", share(wrong), 0, .07)
			s.want(what+": worst", worst, .92, 1)
			if c.x > 2 {
				s.want(what+": wrongly monotone", share(monotone), 0, .08)
			}
		}
	}
}

// outliers simulates the notes on outlying seeds.
func (s *simulation) outliers() {
	s.studies(s.runs)
	s.head("**The warning of a seed that differs** (Grubbs' test at 1%): how often a difference has it. With three seeds it rarely sees a collapse.", "differences", "3 seeds", "4", "5", "8", "12")
	for _, c := range []struct {
		what  string
		kind  string
		high  float64 // largest rate that is accepted
		noise func(seed int) float64
	}{
		{"normal", "", .02, func(int) float64 { return s.r.NormFloat64() }},
		{"log-normal, σ 1", table.Positive, .025, func(int) float64 { return math.Exp(s.r.NormFloat64()) }},
		{"shares near .98", table.Share, .06, func(int) float64 { return s.share(500, logistic(4+.3*s.r.NormFloat64())) }},
		{"Student's t with 3 degrees of freedom", "", 1, func(int) float64 { return s.heavy() }},
		{"one seed falls to a half (sd of the others: a tenth)", table.Positive, 1, func(seed int) float64 { return math.Exp(.1*s.r.NormFloat64()) / (1 + float64(b2i(seed == 0))) }},
		{"one seed falls to a tenth", table.Positive, 1, func(seed int) float64 { return math.Exp(.1*s.r.NormFloat64()) / (1 + 9*float64(b2i(seed == 0))) }},
	} {
		line := []any{c.what}
		for _, n := range []int{3, 4, 5, 8, 12} {
			warned := 0
			for range s.runs {
				x := study{seeds: diagonal(n), rows: names(1), metrics: []string{"score"}, kind: c.kind, value: func(r, _, k int) float64 { return c.noise(k + n*(1-r)) }}
				if c.kind == table.Share {
					x.images = 500
				}
				warned += b2i(x.table(s.t).Rows[1].Differences["score"].Outlier != "")
			}
			rate := float64(warned) / float64(s.runs)
			line = append(line, rate)
			s.want(fmt.Sprint("a warning of a seed, ", c.what, ", ", n), rate, 0, c.high)
			if c.high == 1 && n == 8 && strings.HasSuffix(c.what, "tenth") {
				s.want("a warning of a collapse", rate, .95, 1)
			}
		}
		s.row(line...)
	}
}

// collapses simulates collapse rates of shares.
func (s *simulation) collapses() {
	s.studies(s.runs)
	s.head("**The collapse rate**: a collapsed seed has a tenth of its chance. Of arms that do not collapse, no seed should be counted.", "arm", "reference, sd in logits", "seeds", "counted", "interval covers")
	crossed := func(n int) (out []stats.Seed) {
		for i := range n * n {
			out = append(out, stats.Seed{Pretraining: int64(i / n), Feedback: int64(i % n)})
		}
		return out
	}
	for _, c := range []struct {
		what  string
		p     float64
		seeds []stats.Seed
		of    func(x stats.Seed) stats.Seed // the part of the seed on which a collapse depends
		base  float64
		sd    float64
	}{
		{"10 % of seeds", .1, diagonal(3), nil, .45, .2}, {"10 % of seeds", .1, diagonal(8), nil, .45, .2},
		{"30 % of seeds", .3, diagonal(3), nil, .45, .2}, {"30 % of seeds", .3, diagonal(8), nil, .45, .2},
		{"30 % of runs, 3 × 3", .3, crossed(3), nil, .45, .2},
		{"30 % of feedbacks, 3 × 3", .3, crossed(3), func(x stats.Seed) stats.Seed { return stats.Seed{Feedback: x.Feedback} }, .45, .2},
		{"30 % of feedbacks, 5 × 5", .3, crossed(5), func(x stats.Seed) stats.Seed { return stats.Seed{Feedback: x.Feedback} }, .45, .2},
		{"none", 0, diagonal(5), nil, .45, .2}, {"none", 0, diagonal(5), nil, .1, .2}, {"none", 0, diagonal(5), nil, .05, .3}, {"none", 0, diagonal(5), nil, .011, .5}, {"none", 0, diagonal(5), nil, .98, 1},
	} {
		var in, counted int
		for range s.runs {
			collapsed := map[stats.Seed]bool{}
			chance := func(k int) float64 {
				key := c.seeds[k]
				if c.of != nil {
					key = c.of(key)
				}
				if _, ok := collapsed[key]; !ok {
					collapsed[key] = s.r.Float64() < c.p
				}
				return 1 - .9*float64(b2i(collapsed[key]))
			}
			got := study{seeds: c.seeds, rows: names(1), metrics: []string{"score"}, kind: table.Share, images: 500, value: func(r, _, k int) float64 {
				p := logistic(logit(c.base) + c.sd*s.r.NormFloat64())
				if r == 1 {
					p *= chance(k)
				}
				return s.share(500, p)
			}}.table(s.t).Rows[1].Collapse
			counted += len(got.Seeds)
			in += b2i(got.Low <= c.p && c.p <= got.High)
		}
		rate, covers := float64(counted)/float64(s.runs*len(c.seeds)), float64(in)/float64(s.runs)
		s.row(c.what, fmt.Sprintf("%g, %g", c.base, c.sd), len(c.seeds), rate, covers)
		s.want(fmt.Sprint("the collapse rate of ", c.what, " near ", c.base), covers, .93, 1)
		if c.p == 0 {
			s.want(fmt.Sprint("collapses where there are none, near ", c.base), rate, 0, .02)
		}
	}
}

// pilots simulates the number of seeds needed, from a study's estimated standard deviation.
func (s *simulation) pilots() {
	s.head("**Seeds needed, from a study's own spread**, for a difference of 1.2 standard deviations at 80 % power, corrected for the rows. \"Power\" is that of the number which is printed, on average, which is to be 80 %, and at its worst tenth. \"At the estimate\" is that of the number which the estimated standard deviation would need if it were the true one. \"Up to\" is printed beside it, the number at the upper 80 % bound of the standard deviation, and \"enough\" is how often that many seeds have 80 %. The variance of shared prompts, in sd², has 50 degrees of freedom.",
		"rows", "seeds", "variance of prompts", "truly needed", "printed (median)", "power", "worst tenth", "at the estimate", "\"up to\" is enough")
	const delta = 1.2
	for _, m := range []int{1, 12} {
		for _, n := range []int{2, 3, 5, 8} {
			for _, prompts := range []float64{0, .05} {
				level := .05 / float64(m)
				runs := s.studies(s.runs / 2)
				var told, power, need []float64
				var plain float64
				enough := 0
				for range runs {
					sd, df := make([]float64, m), make([]float64, m)
					for i := range sd {
						y := make([]float64, n)
						for k := range y {
							y[k] = s.r.NormFloat64()
						}
						e, ok := stats.OverSeeds(diagonal(n), y)
						if !ok {
							e.SD, e.DF = math.Abs(y[0]-y[1])/math.Sqrt2, 1
						}
						sd[i], df[i] = e.SD, e.DF
					}
					if n >= stats.LeastSeeds {
						sd, df = stats.Moderate(sd, df, stats.Shared)
					}
					d := stats.Design{SD: sd[0], Borrowed: df[0] - float64(n-1)}
					if prompts > 0 {
						d.Prompts, d.PromptDF = prompts*s.chi(50)/50, 50
					}
					truth := stats.Design{SD: 1, Borrowed: d.Borrowed, Prompts: prompts, PromptDF: d.PromptDF}
					number, ok := d.Estimated(df[0]).SeedsNeeded(delta, level, .8)
					if !ok {
						number = stats.MostSeeds
					}
					if n, ok := d.SeedsNeeded(delta, level, .8); ok {
						plain += truth.Power(delta, n, level) / float64(runs)
					} else {
						plain += 1 / float64(runs)
					}
					d.SD = stats.UpperSD(sd[0], df[0], .8)
					most, ok := d.SeedsNeeded(delta, level, .8)
					enough += b2i(!ok || truth.Power(delta, most, level) >= .8)
					truly, _ := truth.SeedsNeeded(delta, level, .8)
					told, need, power = append(told, float64(number)), append(need, float64(truly)), append(power, truth.Power(delta, number, level))
				}
				slices.Sort(told)
				slices.Sort(need)
				slices.Sort(power)
				var sum float64
				for _, p := range power {
					sum += p
				}
				up := float64(enough) / float64(runs)
				s.row(m, n, prompts, int(need[runs/2]), int(told[runs/2]), sum/float64(runs), power[runs/10], plain, up)
				s.want(fmt.Sprint("\"up to\" so many seeds are enough, rows ", m, ", seeds ", n), up, .72, 1)
				s.want(fmt.Sprint("the power of the seeds needed, rows ", m, ", seeds ", n), sum/float64(runs), .75, .9)
			}
		}
	}
}

// floors simulates the smallest differences of 'ablate floor'.
func (s *simulation) floors() {
	s.head("**The smallest differences of `ablate floor`**, from studies of 3, 5 and 8 seeds whose rows are alike: the mean power of a comparison at that difference, which is to be 80 %. \"Half\" is the power at the difference that half of a table's comparisons could find.",
		"rows", "seeds of the study", "for 3 seeds", "for 5", "for 8", "for 20", "half")
	for _, m := range []int{1, 12} {
		for _, n := range []int{3, 5, 8} {
			runs := s.studies(s.runs / 6)
			power := map[int]float64{}
			var half float64
			for range runs {
				tab := study{seeds: diagonal(n), rows: names(m), metrics: []string{"score"}, value: func(int, int, int) float64 { return s.r.NormFloat64() }}.table(s.t)
				level := .05 / float64(tab.Family)
				for _, x := range tab.Floors()[0].Find {
					power[x.Seeds] += s.found(m, x.Seeds, x.Corrected, level) / float64(runs)
				}
				half += s.found(m, n, tab.Resolving[0].Size, level) / float64(runs)
			}
			s.row(m, n, power[3], power[5], power[8], power[20], half)
			s.want(fmt.Sprint("the power of a floor for 20 seeds, rows ", m, ", seeds ", n), power[20], .55, .9)
		}
	}
}

// found returns how often a difference is found by a study of equal rows, for means over many
// differences with few studies each.
func (s *simulation) found(m, n int, delta, level float64) float64 {
	const runs = 4
	found := 0
	for range runs {
		ref := make([]float64, n)
		for k := range ref {
			ref[k] = s.r.NormFloat64()
		}
		sd, df := make([]float64, m), make([]float64, m)
		var first stats.Estimate
		for i := range m {
			y := make([]float64, n)
			for k := range y {
				y[k] = s.r.NormFloat64() - ref[k]
			}
			e, _ := stats.OverSeeds(diagonal(n), y)
			if sd[i], df[i] = e.SD, e.DF; i == 0 {
				first = e
			}
		}
		sd, df = stats.Moderate(sd, df, stats.Shared)
		first.Mean, first.SD, first.DF = first.Mean+delta, sd[0], df[0]
		found += b2i(first.P(0) < level)
	}
	return float64(found) / runs
}
