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
)

// TestLooks simulates studies that stop early and writes their error rates, what their
// intervals cover and what they save into README.md.
func TestLooks(t *testing.T) {
	s := simulate(t, 43, 250)
	s.looksAlone()
	s.looksTogether()
	s.looksSave()
	s.golden("looks")
}

// looksAlone simulates one comparison without a difference, of normal seeds of unknown
// spread.
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

// looksTogether simulates whole studies without a difference, that go on as `ablate run
// --until significant` does.
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

// effect is a difference and its standard deviation over seeds.
type effect struct{ mean, sd float64 }

// study draws a study whose differences have given means and standard deviations; the
// reference has half of the variance, which all rows share.
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
		// The reference's own noise is that of a typical row.
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

// until goes on from look to look until every row is settled, and returns the table of the
// last look and how many trials ran. Without a boundary each look is tested as if it were
// the only one.
func (x study) until(t *testing.T, looks []int, boundary bool) (found, trials int) {
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
		if !boundary && significant(tab) > 0 || !more { // a false alarm is one at any look
			for _, n := range x.have {
				trials += n
			}
			return significant(tab), trials
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

// looksSave counts the trials that studies with the differences and spreads of the
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
			f, n := s.study(study.effects, 12).until(s.t, []int{3, 5, 8, 12}, true)
			found, trials = found+float64(f), trials+float64(n)
		}
		power := found / total
		trials /= float64(runs)
		fixed, below, most := 0., 0., 0. // below: what is found with a seed less; most: with the last look's
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
		s.studies(1) // the fixed design follows from two rates, and is as unsure as neither
		s.row(study.name, len(study.effects), power, most, fmt.Sprintf("%.1f", fixed), 1-trials/(fixed*all), 1-trials/(12*all))
		s.studies(runs * len(study.effects))
		s.want(study.name+": found", power, most-.06, 1)
		s.want(study.name+": trials saved against 12 seeds for all", 1-trials/(12*all), .35, 1)
	}
}

// baseline are the differences from a reference of the rows of a baseline that have a
// spread, in alignment and recall on the logit scale.
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
			slices.Sort(d) // a sum in one order
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

// like gives effects the typical spreads of others.
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
