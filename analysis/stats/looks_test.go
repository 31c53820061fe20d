package stats_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"testing"

	"ablate/analysis/compare"
	"ablate/analysis/stats"
	"ablate/analysis/table"
)

// TestLooks simulates sequential studies and writes their error rates, the coverage of their
// intervals and the seeds that they save into README.md.
func TestLooks(t *testing.T) {
	s := simulate(t, 43, 250)
	s.looksAlone()
	s.looksTogether()
	s.looksSave()
	s.looksDiff()
	s.looksBands()
	s.golden("looks")
}

// looksAlone simulates one comparison without a difference, with normal seeds of unknown
// standard deviation.
func (s *simulation) looksAlone() {
	s.head("**A study that may stop early**: one comparison without a difference, tested at each look until p is below the level, without moderation. \"Covers\" is the 95 % interval of the look at which it stops.",
		"looks", "level", "errors, tested each time", "errors, over all looks", "covers", "each time covers")
	for _, looks := range [][]int{{3, 5, 8, 12}, {3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, {4, 8}, {3, 6, 12, 24}} {
		boundary := stats.NewLooks(looks)
		for _, level := range []float64{.05, .01} {
			var naive, proper, covers, naiveCovers float64
			runs := s.studies(5 * s.runs)
			for range runs {
				values := make([]float64, looks[len(looks)-1])
				for i := range values {
					values[i] = s.r.NormFloat64()
				}
				stopped := func(b *stats.Looks) (rejected, covered bool) {
					for _, n := range looks {
						e, _ := stats.OverSeeds(diagonal(n), values[:n])
						e.Looks = b
						i := e.Interval(.95)
						covered = i.Low <= 0 && 0 <= i.High
						if e.P(0) < level {
							return true, covered
						}
					}
					return false, covered
				}
				r, c := stopped(nil)
				naive, naiveCovers = naive+count(r), naiveCovers+count(c)
				r, c = stopped(boundary)
				proper, covers = proper+count(r), covers+count(c)
			}
			n := float64(runs)
			s.row(fmt.Sprint(looks), level, naive/n, proper/n, covers/n, naiveCovers/n)
			s.want(fmt.Sprint("looks ", looks, " at ", level), proper/n, 0, level*1.06)
			s.want(fmt.Sprint("interval over looks ", looks), covers/n, .945, 1)
		}
	}
}

func count(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// looksTogether simulates whole studies without a difference that run as with `ablate run
// --until significant`.
func (s *simulation) looksTogether() {
	s.head("**Whole studies that stop early**: rows × two primary metrics without a difference from the reference, looks at 3, 5, 8 and 12 seeds, moderated and corrected; how often any difference is called significant.",
		"rows", "spreads", "family-wise error", "tested each time")
	for _, rows := range []int{1, 5, 11} {
		for _, spread := range []struct {
			what string
			of   func(row int) float64
		}{{"equal", func(int) float64 { return 1 }}, {"one row of five times", func(row int) float64 { return 1 + 4*count(row == 0) }}, {"half of three times", func(row int) float64 { return 1 + 2*float64(row%2) }}} {
			effects := make([][2]effect, rows)
			for i := range effects {
				effects[i] = [2]effect{{0, spread.of(i)}, {0, spread.of(i)}}
			}
			var wrong, naive float64
			n := s.studies(s.runs / 5)
			for range n {
				data := s.study(effects, 12)
				found, _ := data.until(s.t, []int{3, 5, 8, 12}, true)
				wrong += count(found > 0)
				found, _ = data.until(s.t, []int{3, 5, 8, 12}, false)
				naive += count(found > 0)
			}
			s.row(rows, spread.what, wrong/float64(n), naive/float64(n))
			s.want(fmt.Sprint("a study with looks, ", rows, " rows, ", spread.what), wrong/float64(n), 0, .055)
		}
	}
}

// looksDiff simulates comparisons of two studies that stopped early, each for its own
// differences.
func (s *simulation) looksDiff() {
	s.head("**Two studies that stop early** (`ablate diff`): both have looks at 3, 5, 8 and 12 seeds, or one has and the other has 12 seeds. Rows differ from the reference by 1.2, 0 or 2.5 standard deviations, the same in both studies. Pretrained models as in the table of two tables. Corrected intervals are those of other studies, of which every second row differs by 2 standard deviations more in A than in B. The looks of A count, none where only B has some.",
		"rows", "pretrained models", "looks of", "family-wise error", "95% interval covers", "worst", "corrected: all", "of the largest")
	looks := []int{3, 5, 8, 12}
	for _, rows := range []int{1, 5} {
		for _, c := range []struct {
			models, of string
		}{{"the same", "both"}, {"the same", "A"}, {"the same", "B"}, {"others", "both"}} {
			declared := looks
			if c.of == "B" {
				declared = nil
			}
			var wrong, all, largest float64
			in := make([]float64, rows+1)
			n := s.studies(s.runs / 5)
			for range n {
				for _, shift := range []float64{0, 2} {
					d := s.stopped(rows, c.models == "the same", c.of, shift, looks, declared)
					star, miss, best := false, false, compare.Difference{}
					var bestTruth float64
					for i, r := range d.Rows {
						truth := shift * float64(i%2)
						for _, v := range r.Values {
							x := *v.Difference
							star = star || x.Significant
							miss = miss || x.Corrected.Low > truth || x.Corrected.High < truth
							if shift == 0 {
								in[i] += count(x.Low <= 0 && 0 <= x.High) / float64(2*n)
							}
							if math.Abs(x.Mean) > math.Abs(best.Mean) {
								best, bestTruth = x, truth
							}
						}
					}
					if shift == 0 {
						wrong += count(star)
						continue
					}
					all += count(!miss)
					largest += count(best.Corrected.Low <= bestTruth && bestTruth <= best.Corrected.High)
				}
			}
			var mean float64
			for _, x := range in {
				mean += x / float64(len(in))
			}
			s.row(rows, c.models, c.of, wrong/float64(n), mean, slices.Min(in), all/float64(n), largest/float64(n))
			what := fmt.Sprintf("two studies that stop early, %d rows, %s models, looks of %s: ", rows, c.models, c.of)
			s.want(what+"family-wise error", wrong/float64(n), 0, .065)
			s.want(what+"95% interval", mean, .94, 1)
			s.want(what+"all corrected intervals", all/float64(n), .9, 1)
		}
	}
}

// stopped compares two studies, of which one or both stopped early, with an effect of every
// seed that all rows share.
func (s *simulation) stopped(rows int, same bool, of string, shift float64, looks, declared []int) *compare.Diff {
	var models [2][]float64 // effects of the pretrained models, by metric and seed
	side := func(name string, shift float64) compare.Side {
		if name == "A" || !same {
			for m := range models {
				models[m] = nil
				for range 12 {
					models[m] = append(models[m], s.r.NormFloat64())
				}
			}
		}
		effects := make([][2]effect, rows)
		for r := range effects {
			e := effect{[]float64{1.2, 0, 2.5}[r%3] + shift*float64((r+1)%2), 1}
			effects[r] = [2]effect{e, e}
		}
		x, mine := s.study(effects, 12), models
		value := x.value
		x.value = func(r, m, k int) float64 { return value(r, m, k) + mine[m][k] }
		x.side, x.model = name, func(seed int) string { return fmt.Sprint(same || name == "A", seed) }
		if of == "both" || of == name {
			_, x.have = x.until(s.t, looks, true)
		}
		return compare.Side{Name: name, Trials: x.trials()}
	}
	d, err := compare.NewDiff(side("A", shift), side("B", 0), compare.Options{Primary: []string{"x", "y"}, Looks: declared})
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

// looksBands simulates the intervals of curves in sequential studies.
func (s *simulation) looksBands() {
	s.head("**Bands of curves** in a study that stops early, read when it has stopped: curves whose last step is the primary metric of the row, and whose earlier ones have less and less to do with it (correlations .9, .5 and 0). Rows differ from the reference by so many standard deviations.",
		"rows", "difference", "first step", "second", "third", "last", "last, as of a fixed number of seeds", "all steps together")
	looks, correlation := []int{3, 5, 8, 12}, []float64{0, .5, .9, 1}
	for _, rows := range []int{1, 5} {
		for _, mean := range []float64{0, 1.2} {
			in, runs := make([]float64, 6), s.studies(s.runs/5)
			for range runs {
				effects := slices.Repeat([][2]effect{{{mean, 1}, {mean, 1}}}, rows)
				x := s.study(effects, 12)
				_, x.have = x.until(s.t, looks, true)
				x.o.Looks = looks
				tab := x.table(s.t)
				text, number := func(name string) *table.Column { return &table.Column{Name: name, Kind: table.String} }, &table.Column{Name: "value", Kind: table.Float}
				trial, stage, metric, step := text("trial"), text("stage"), text("metric"), &table.Column{Name: "step", Kind: table.Int}
				for r := range x.rows {
					for k := range x.have[r] {
						for i, c := range correlation {
							trial.Strings, stage.Strings, metric.Strings, step.Ints = append(trial.Strings, x.trial(r, k)), append(stage.Strings, "finetune"), append(metric.Strings, "loss"), append(step.Ints, int64(i))
							truth := mean * float64(b2i(r > 0))
							number.Floats = append(number.Floats, c*(x.value(r, 0, k)-truth)+math.Sqrt((1-c*c)/2)*s.r.NormFloat64())
						}
					}
				}
				curves := &table.Table{Columns: []*table.Column{trial, stage, metric, step, number}}
				covers := func() (out []float64) {
					out = []float64{0, 0, 0, 0, 0} // by step, and for all steps together
					for _, c := range compare.Curves(tab, nil, curves, "finetune", "loss")[1:] {
						all := true
						for i, p := range c.Steps {
							has := p.Low <= 0 && 0 <= p.High
							out[i] += count(has) / float64(rows*runs)
							all = all && has
						}
						out[4] += count(all) / float64(rows*runs)
					}
					return out
				}
				bands := covers()
				tab.Looks = nil
				for i, x := range append(bands[:4:4], covers()[3], bands[4]) {
					in[i] += x
				}
			}
			line := []any{rows, mean}
			for i, x := range in {
				line = append(line, x)
				if i < 4 {
					s.want(fmt.Sprint("the band of a study that stops early, step ", i, ", ", rows, " rows"), x, .94, 1)
				}
			}
			s.row(line...)
		}
	}
}

// effect is a difference and its standard deviation over seeds.
type effect struct{ mean, sd float64 }

// study draws a study whose differences have the given means and standard deviations. Half of
// the variance comes from the reference, which all rows share.
func (s *simulation) study(effects [][2]effect, seeds int) study {
	values := make([][2][]float64, len(effects)+1) // by row, metric and seed
	for m := range 2 {
		shared := make([]float64, seeds)
		for i := range shared {
			shared[i] = s.r.NormFloat64()
		}
		values[0][m] = make([]float64, seeds)
		var typical []float64
		for _, e := range effects {
			typical = append(typical, math.Log(e[m].sd))
		}
		// The noise of the reference is that of a typical row.
		slices.Sort(typical)
		sd := math.Exp(typical[len(typical)/2])
		for i := range shared {
			values[0][m][i] = sd * shared[i] / math.Sqrt2
		}
		for r, e := range effects {
			own := math.Sqrt(max(e[m].sd*e[m].sd-sd*sd/2, e[m].sd*e[m].sd/10))
			values[r+1][m] = make([]float64, seeds)
			for i := range shared {
				values[r+1][m][i] = e[m].mean + own*s.r.NormFloat64()
			}
		}
	}
	return study{seeds: diagonal(seeds), rows: names(len(effects)), metrics: []string{"x", "y"}, value: func(r, m, k int) float64 { return values[r][m][k] }}
}

// until runs from look to look until every row is settled, and returns how many comparisons are
// significant and how many seeds each row has. Without a boundary each look is tested as if it
// were the only one.
func (x study) until(t *testing.T, looks []int, boundary bool) (found int, have []int) {
	x.have = slices.Repeat([]int{looks[0]}, len(x.rows))
	if boundary {
		x.o.Looks = looks
	}
	for {
		tab := x.table(t)
		open := tab.Unsettled(nil)
		if !boundary {
			open = nil
			for _, r := range tab.Rows[1:] {
				if !r.Differences["x"].Significant || !r.Differences["y"].Significant {
					open = append(open, r.Label)
				}
			}
		}
		more := false
		for r := 1; r < len(x.rows); r++ {
			if k := slices.Index(looks, x.have[r]); slices.Contains(open, x.rows[r]) && k+1 < len(looks) {
				x.have[r], more = looks[k+1], true
				x.have[0] = max(x.have[0], x.have[r])
			}
		}
		if !boundary && significant(tab) > 0 || !more { // a false alarm at any look counts
			return significant(tab), x.have
		}
	}
}

func significant(t *compare.Table) (n int) {
	for _, r := range t.Rows {
		for _, d := range r.Differences {
			if d.Significant {
				n++
			}
		}
	}
	return n
}

// looksSave counts the trials that studies with the differences and standard deviations of the
// committed baselines take.
func (s *simulation) looksSave() {
	s.head("**What stopping early saves**: studies with the differences and spreads of the committed baselines (alignment and recall, on the logit scale; the quickstart's at the spreads that lee2023 has), with looks at 3, 5, 8 and 12 seeds. The fixed number of seeds is the one that finds as many differences.",
		"study", "rows", "found", "found with 12 seeds for all", "seeds of a fixed design that finds as many", "trials saved against it", "against 12 seeds for all")
	lee := baseline(s.t, "lee2023", "all data")
	for _, study := range []struct {
		name    string
		effects [][2]effect
	}{{"lee2023", lee}, {"methods", baseline(s.t, "methods", "pretrained")}, {"quickstart", like(baseline(s.t, "quickstart", "all data"), lee)}} {
		runs := max(4, s.runs/50)
		total := float64(2 * len(study.effects) * runs)
		var found, trials float64
		for range runs {
			f, have := s.study(study.effects, 12).until(s.t, []int{3, 5, 8, 12}, true)
			found += float64(f)
			for _, n := range have {
				trials += float64(n)
			}
		}
		power := found / total
		trials /= float64(runs)
		fixed, below, most := 0., 0., 0. // detection rates: below with one seed fewer than fixed, most with those of the last look
		for n := 3; n <= 12; n++ {
			var f float64
			for range runs {
				f += float64(significant(s.study(study.effects, n).table(s.t)))
			}
			if f /= total; fixed == 0 && f >= power {
				fixed = float64(n)
				if n > 3 && f > below {
					fixed -= (f - power) / (f - below)
				}
			}
			below, most = f, f
		}
		if fixed == 0 {
			fixed = 12
		}
		all := float64(len(study.effects) + 1)
		s.studies(1) // the fixed design follows from two rates, so that no limit of chance applies
		s.row(study.name, len(study.effects), power, most, fmt.Sprintf("%.1f", fixed), 1-trials/(fixed*all), 1-trials/(12*all))
		s.studies(runs * len(study.effects))
		s.want(study.name+": found", power, most-.06, 1)
		s.want(study.name+": trials saved against 12 seeds for all", 1-trials/(12*all), .33, 1) // docs/studies.md prints 34 to 38%
	}
}

// baseline returns the differences from the reference of those rows of a baseline whose
// standard deviation is known, in alignment and recall on the logit scale.
func baseline(t *testing.T, study, reference string) (out [][2]effect) {
	t.Helper()
	data, err := os.ReadFile("../../experiments/baselines/" + study + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var b struct {
		Rows []struct {
			Row     string
			Metrics map[string]struct{ Seeds map[string]float64 }
		}
	}
	if err := json.Unmarshal(data, &b); err != nil {
		t.Fatal(err)
	}
	logit := func(x float64) float64 { return math.Log((x + .0005) / (1.0005 - x)) }
	at := slices.IndexFunc(b.Rows, func(r struct {
		Row     string
		Metrics map[string]struct{ Seeds map[string]float64 }
	}) bool {
		return r.Row == reference
	})
	for i, r := range b.Rows {
		if i == at {
			continue
		}
		var line [2]effect
		ok := true
		for k, m := range []string{"alignment", "fidelity.recall"} {
			var d []float64
			for seed, x := range r.Metrics[m].Seeds {
				if y, has := b.Rows[at].Metrics[m].Seeds[seed]; has {
					d = append(d, logit(x)-logit(y))
				}
			}
			if ok = ok && len(d) > 1; !ok {
				break
			}
			slices.Sort(d) // so that sums do not depend on the order of a map
			var mean, square float64
			for _, x := range d {
				mean += x / float64(len(d))
			}
			for _, x := range d {
				square += (x - mean) * (x - mean) / float64(len(d)-1)
			}
			line[k] = effect{mean, math.Sqrt(square)}
			ok = ok && square > 0
		}
		if ok {
			out = append(out, line)
		}
	}
	return out
}

// like returns effects with the typical standard deviations of others.
func like(effects, others [][2]effect) [][2]effect {
	for k := range 2 {
		var sum float64
		for _, o := range others {
			sum += math.Log(o[k].sd) / float64(len(others))
		}
		for i := range effects {
			effects[i][k].sd = math.Exp(sum)
		}
	}
	return effects
}
