package stats_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"gonum.org/v1/gonum/stat/distuv"

	"ablate/analysis/stats"
)

// simulation runs simulations and collects the lines of README.md.
type simulation struct {
	t    *testing.T
	r    *rand.Rand
	runs int
	out  strings.Builder
	// fast: there are fewer simulated studies than for README.md, namely few for the next rates
	// and byLine for those of each line. Rates may then differ from those of README.md and
	// exceed their limits by chance.
	fast   bool
	few    int
	byLine map[int]int
}

func (s *simulation) head(title string, columns ...string) {
	fmt.Fprintf(&s.out, "\n%s\n\n| %s |\n|%s\n", title, strings.Join(columns, " | "), strings.Repeat("---|", len(columns)))
}

func (s *simulation) row(cells ...any) {
	if s.fast {
		s.byLine[strings.Count(s.out.String(), "\n")] = s.few
	}
	for _, c := range cells {
		if f, ok := c.(float64); ok {
			c = fmt.Sprintf("%.3f", f)
		}
		fmt.Fprintf(&s.out, "| %v ", c)
	}
	s.out.WriteString("|\n")
}

// want fails the test where a simulated rate is outside its limits.
func (s *simulation) want(what string, rate, low, high float64) {
	if !testing.Short() && (rate < low-s.chance(low, s.few) || rate > high+s.chance(high, s.few)) {
		s.t.Errorf("%s: %.3f, want between %.3f and %.3f", what, rate, low, high)
	}
}

// studies sets the number of studies for the next rates.
func (s *simulation) studies(n int) int {
	s.few = max(1, n)
	return s.few
}

// chance returns the largest difference from p that a rate of few studies may have by chance:
// four standard errors.
func (s *simulation) chance(p float64, few int) float64 {
	if !s.fast {
		return 0
	}
	n := float64(few)
	return 4 * math.Sqrt(max(p*(1-p), 1/n)/n)
}

// covers returns the share of draws whose interval contains the true value.
func (s *simulation) covers(draw func() (stats.Interval, float64)) float64 {
	in := 0
	for range s.runs {
		if i, truth := draw(); !i.Excludes(truth) {
			in++
		}
	}
	return float64(in) / float64(s.runs)
}

func logistic(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// binomial draws a binomial number.
func (s *simulation) binomial(n int, p float64) int {
	k := 0
	for range n {
		if s.r.Float64() < p {
			k++
		}
	}
	return k
}

// TestCoverage simulates every interval and writes its coverage into README.md. It fails where
// coverage is outside a given limit.
func TestCoverage(t *testing.T) {
	s := &simulation{t: t, r: rand.New(rand.NewPCG(11, 12)), runs: 3000 * more()}
	if testing.Short() {
		s.runs = 300
	}
	s.levels()
	s.differences()
	s.prompts()
	s.crossed()
	s.proportions()
	s.golden("coverage")
}

// levels simulates intervals of one arm's mean over seeds.
func (s *simulation) levels() {
	s.head("**A level over seeds.** A share is of 500 images a seed, and its chance is logit-normal over seeds. The truth is the value of a typical seed: the mean on the metric's scale, transformed back. \"Plain\" is Student's interval of the values themselves, beside the mean of the values.",
		"values", "seeds", "covers", "plain covers the mean")
	const images = 500
	for _, c := range []struct {
		what  string
		scale stats.Scale
		value func() float64
		truth float64
		mean  float64
	}{
		{"normal", stats.Identity, s.r.NormFloat64, 0, 0},
		{"log-normal, σ 1 (Fréchet distance of arms that sometimes fail)", stats.Log, func() float64 { return math.Exp(s.r.NormFloat64()) }, 1, math.Exp(.5)},
	} {
		for _, n := range []int{3, 4, 8} {
			s.level(c.what, n, c.scale, 0, c.value, c.truth, c.mean)
		}
	}
	for _, c := range []struct{ p, sd float64 }{{.45, .2}, {.1, .2}, {.45, 0}, {.011, .5}, {.96, .8}, {.98, 1}, {.93, 1.5}, {.008, 1}} {
		centre := math.Log(c.p / (1 - c.p))
		value := func() float64 {
			return float64(s.binomial(images, logistic(centre+c.sd*s.r.NormFloat64()))) / images
		}
		for _, n := range []int{3, 4, 8} {
			s.level(fmt.Sprintf("share near %g, sd %g logits", c.p, c.sd), n, stats.Logit, images, value, c.p, expectation(centre, c.sd))
		}
	}
}

func (s *simulation) level(what string, n int, scale stats.Scale, images int, value func() float64, truth, mean float64) {
	seeds := diagonal(n)
	plain := 0
	rate := s.covers(func() (stats.Interval, float64) {
		x, y := make([]float64, n), make([]float64, n)
		var floor float64
		for i := range x {
			x[i] = value()
			y[i] = scale.To(x[i], images)
			if scale == stats.Logit {
				floor += stats.Binomial(x[i], images) / float64(n*n)
			}
		}
		e, _ := stats.OverSeeds(seeds, x)
		if !e.Interval(.95).Excludes(mean) {
			plain++
		}
		e, _ = stats.OverSeeds(seeds, y)
		e.Floor = floor
		i := e.Interval(.95)
		return stats.Interval{Low: scale.From(i.Low, images), High: scale.From(i.High, images)}, truth
	})
	s.row(what, n, rate, float64(plain)/float64(s.runs))
	s.want(fmt.Sprint("a level, ", what, ", ", n), rate, .93, 1)
}

// expectation returns the mean of a share whose logit is normal.
func expectation(centre, sd float64) float64 {
	var sum, w float64
	for z := -6.; z <= 6; z += .01 {
		p := math.Exp(-z * z / 2)
		sum, w = sum+p*logistic(centre+sd*z), w+p
	}
	return sum / w
}

// differences simulates differences paired by seed. The noise of each arm is independent; the
// effect of a seed on both arms cancels.
func (s *simulation) differences() {
	s.head("**A paired difference over seeds**, on the metric's scale, of arms whose typical seeds are equal. \"Plain\" is Student's interval of the differences of the values, where the means of both arms are equal. A collapse is a value of a tenth; its truth is the mean over seeds on the scale, collapses included.",
		"arms", "seeds", "covers", "plain covers")
	normal := s.r.NormFloat64
	for _, c := range []struct {
		what     string
		scale    stats.Scale
		arm, ref func() float64 // on the scale
		mean     float64        // of arm minus ref, on the scale
		plain    float64        // difference of the means of the values
		low      float64
	}{
		{"normal", stats.Identity, normal, normal, 0, 0, .93},
		{"normal, one with three times the spread", stats.Identity, func() float64 { return 3 * normal() }, normal, 0, 0, .93},
		{"both log-normal, σ 1", stats.Log, normal, normal, 0, 0, .93},
		{"log-normal, σ 1, and a quiet reference", stats.Log, normal, func() float64 { return .05 * normal() }, 0, math.Exp(.5) - math.Exp(.00125), .93},
		{"shares near .95, spreads 1 and .3 logits", stats.Logit, func() float64 { return 3 + normal() }, func() float64 { return 3 + .3*normal() }, 0, expectation(3, 1) - expectation(3, .3), .93},
		{"a collapse in 10 % of seeds", stats.Log, s.collapse(.1), func() float64 { return .05 * normal() }, .1 * math.Log(.1), .1*.1 + .9 - 1, 0},
		{"a collapse in 20 % of seeds", stats.Log, s.collapse(.2), func() float64 { return .05 * normal() }, .2 * math.Log(.1), .2*.1 + .8 - 1, 0},
		{"a collapse in 30 % of seeds", stats.Log, s.collapse(.3), func() float64 { return .05 * normal() }, .3 * math.Log(.1), .3*.1 + .7 - 1, 0},
	} {
		for _, n := range []int{3, 4, 5, 8} {
			plain := 0
			seeds := diagonal(n)
			rate := s.covers(func() (stats.Interval, float64) {
				y, x := make([]float64, n), make([]float64, n)
				for i := range y {
					a, b := c.arm(), c.ref()
					y[i], x[i] = a-b, c.scale.From(a, 0)-c.scale.From(b, 0)
				}
				e, _ := stats.OverSeeds(seeds, x)
				if !e.Interval(.95).Excludes(c.plain) {
					plain++
				}
				e, _ = stats.OverSeeds(seeds, y)
				return e.Interval(.95), c.mean
			})
			s.row(c.what, n, rate, float64(plain)/float64(s.runs))
			s.want(fmt.Sprint("a difference, ", c.what, ", ", n), rate, c.low, 1)
		}
	}
}

func (s *simulation) collapse(share float64) func() float64 {
	return func() float64 {
		x := .05 * s.r.NormFloat64()
		if s.r.Float64() < share {
			x += math.Log(.1)
		}
		return x
	}
}

// design is the prompts of a study: the category of each, and its share of the images.
type design struct {
	strata stats.Strata
	share  []float64 // by prompt, share of the images
}

// catalogue returns the categories and numbers of prompts of the shapes world: a fifth of the
// images for each of three categories with few short prompts, two fifths for 138 long prompts.
func catalogue() design {
	var d design
	for k, c := range []struct {
		prompts int
		share   float64
	}{{8, .2}, {6, .2}, {6, .2}, {138, .4}} {
		for range c.prompts {
			d.strata, d.share = append(d.strata, k), append(d.share, c.share/float64(c.prompts))
		}
	}
	return d
}

// list returns n prompts of two categories, whose numbers of images differ up to fourfold.
func list(n int) design {
	var d design
	var sum float64
	for i := range n {
		w := 1 + 3*float64(i%10)/9
		d.strata, d.share, sum = append(d.strata, i%2), append(d.share, w), sum+w
	}
	for i := range d.share {
		d.share[i] /= sum
	}
	return d
}

// prompts simulates intervals over sampled prompts: difficulties of prompts are drawn for each
// study, those of categories are fixed.
func (s *simulation) prompts() {
	s.head("**Sampled prompts.** Levels and paired differences of a share (1,000 images a seed, spread over seeds .2 logits), for other prompts: difficulties of prompts are normal with sd 1 logit, and an arm changes each prompt's by .4 more. Categories may differ by 1.5 logits. \"Seeds only\" is the interval for these prompts.",
		"what", "prompts", "seeds", "covers", "seeds only")
	for _, c := range []struct {
		what string
		d    design
	}{{"158 in 4 categories, as the shapes world", catalogue()}, {"40 in 2 categories", list(40)}, {"200 in 2 categories", list(200)}} {
		for _, differ := range []bool{false, true} {
			for _, paired := range []bool{false, true} {
				for _, n := range []int{3, 8} {
					what := map[bool]string{false: "level", true: "difference"}[paired]
					if differ {
						what += ", categories differ"
					}
					only := 0
					runs, truth := s.runs, c.d.truth(differ, paired)
					s.runs = runs / 3
					rate := s.covers(func() (stats.Interval, float64) {
						e := s.sampled(c.d, n, differ, paired)
						alone := e
						alone.Prompts, alone.PromptDF = 0, 0
						if !alone.Interval(.95).Excludes(truth) {
							only++
						}
						return e.Interval(.95), truth
					})
					s.row(what, c.what, n, rate, float64(only)/float64(s.runs))
					s.runs = runs
					s.want(fmt.Sprint(what, c.what, n), rate, .92, 1)
				}
			}
		}
	}
}

// easy returns the mean logit of each category.
func easy(differ bool) []float64 {
	if differ {
		return []float64{1.5, -1.5, .75, -.75}
	}
	return make([]float64, 4)
}

// truth returns the expected share, or paired difference of shares, over prompts and seeds.
func (d design) truth(differ, paired bool) (sum float64) {
	by := make([]float64, 4)
	for k, x := range easy(differ) {
		by[k] = expectation(x, math.Sqrt(1+.04))
		if paired {
			by[k] = expectation(x, math.Sqrt(1+.16+.04)) - by[k]
		}
	}
	for p, w := range d.share {
		sum += w * by[d.strata[p]]
	}
	return sum
}

// sampled draws a study with new prompts, and returns the estimate on the scale of shares.
func (s *simulation) sampled(d design, n int, differ, paired bool) stats.Estimate {
	const images = 1000
	category := easy(differ)
	prompts := len(d.share)
	difficulty, change := make([]float64, prompts), make([]float64, prompts)
	for p := range prompts {
		difficulty[p], change[p] = category[d.strata[p]]+s.r.NormFloat64(), .4*s.r.NormFloat64()
	}
	draw := func(shift float64, changed bool) stats.Clustered {
		c := stats.Clustered{Sums: make([]float64, prompts), Counts: make([]float64, prompts)}
		for p, w := range d.share {
			k := int(math.Round(w * images))
			x := difficulty[p] + shift
			if changed {
				x += change[p]
			}
			c.Sums[p], c.Counts[p] = float64(s.binomial(k, logistic(x))), float64(k)
		}
		return c
	}
	total := func(c stats.Clustered) float64 {
		var a, b float64
		for p := range c.Sums {
			a, b = a+c.Sums[p], b+c.Counts[p]
		}
		return a / b
	}
	values, moves := make([]float64, n), make([][]float64, n)
	var counts []float64
	for i := range n {
		c := draw(.2*s.r.NormFloat64(), paired)
		values[i], moves[i], counts = total(c), d.strata.Influence(c), c.Counts
		if paired {
			o := draw(.2*s.r.NormFloat64(), false)
			values[i] -= total(o)
			for p, u := range d.strata.Influence(o) {
				moves[i][p] -= u
			}
		}
	}
	e, _ := stats.OverSeeds(diagonal(n), values)
	e.Prompts, e.PromptDF = d.strata.Shared(diagonal(n), moves, counts), d.strata.Effective(counts)-1
	return e
}

// crossed simulates crossed seeds.
func (s *simulation) crossed() {
	s.head("**Crossed seeds**: pretraining seeds × feedback seeds, normal, with variances of both relative to that of a run.", "design", "variances", "covers")
	cross := func(a, b int, leave func(i, j int) bool) (seeds []stats.Seed) {
		for i := range a {
			for j := range b {
				if leave == nil || !leave(i, j) {
					seeds = append(seeds, stats.Seed{Pretraining: int64(i), Feedback: int64(j)})
				}
			}
		}
		return seeds
	}
	nested := []stats.Seed{}
	for i := range 3 {
		for j := range 2 {
			nested = append(nested, stats.Seed{Pretraining: int64(i), Feedback: int64(2*i + j)})
		}
	}
	for _, d := range []struct {
		what  string
		seeds []stats.Seed
	}{
		{"3 × 3", cross(3, 3, nil)}, {"5 × 5", cross(5, 5, nil)}, {"4 × 3", cross(4, 3, nil)},
		{"3 × 3, a run missing", cross(3, 3, func(i, j int) bool { return i == 2 && j == 2 })},
		{"3 pretrainings with 2 feedbacks each", nested},
		{"3 seeds and one more feedback", append(diagonal(3), stats.Seed{Pretraining: 0, Feedback: 9})},
	} {
		for _, v := range [][2]float64{{0, 0}, {.3, 1}, {1, .3}, {1, 1}} {
			rate := s.covers(func() (stats.Interval, float64) {
				a, b := map[int64]float64{}, map[int64]float64{}
				values := make([]float64, len(d.seeds))
				for i, x := range d.seeds {
					if _, ok := a[x.Pretraining]; !ok {
						a[x.Pretraining] = math.Sqrt(v[0]) * s.r.NormFloat64()
					}
					if _, ok := b[x.Feedback]; !ok {
						b[x.Feedback] = math.Sqrt(v[1]) * s.r.NormFloat64()
					}
					values[i] = a[x.Pretraining] + b[x.Feedback] + s.r.NormFloat64()
				}
				e, _ := stats.OverSeeds(d.seeds, values)
				return e.Interval(.95), 0
			})
			s.row(d.what, fmt.Sprintf("%g, %g", v[0], v[1]), rate)
			s.want("crossed "+d.what, rate, .93, 1)
		}
	}
}

// proportions computes the coverage of intervals of proportions exactly.
func (s *simulation) proportions() {
	s.head("**One proportion** (computed): Wilson's, of the bins of a reliability plot, and Clopper and Pearson's, of a collapse rate.", "of", "chance", "Wilson covers", "Clopper–Pearson covers")
	for _, n := range []int{3, 5, 8, 20, 100, 500} {
		for _, p := range []float64{.05, .1, .3, .5} {
			b := distuv.Binomial{N: float64(n), P: p}
			var w, c float64
			for k := range n + 1 {
				if !stats.Wilson(k, n, .95).Excludes(p) {
					w += b.Prob(float64(k))
				}
				if !stats.ClopperPearson(float64(k), n, .95).Excludes(p) {
					c += b.Prob(float64(k))
				}
			}
			s.row(n, p, w, c)
			s.want(fmt.Sprint("the exact interval of ", p, " of ", n), c, .95, 1)
		}
	}
}

// TestErrors simulates families of tests and writes their error rates into README.md.
func TestErrors(t *testing.T) {
	s := &simulation{t: t, r: rand.New(rand.NewPCG(21, 22)), runs: 1500 * more()}
	if testing.Short() {
		s.runs = 200
	}
	s.families()
	s.fewImages()
	s.selection()
	s.needs()
	s.golden("errors")
}

// spreads has the standard deviations of the rows of a family, by name.
var spreads = []struct {
	what string
	of   func(i, m int) float64
}{
	{"equal", func(int, int) float64 { return 1 }},
	{"½ to 2", func(i, m int) float64 { return math.Exp2(2*float64(i)/float64(m-1) - 1) }},
	{"one of 5", func(i, m int) float64 {
		if i == 0 {
			return 5
		}
		return 1
	}},
	{"a third of 5", func(i, m int) float64 {
		if i%3 == 0 {
			return 5
		}
		return 1
	}},
}

// families simulates families of differences of several rows from one reference, whose noise
// they share.
func (s *simulation) families() {
	s.head("**A family of rows without differences**, compared with one reference: how often at least one is called significant (Holm, 5 %), and how often a difference of four standard deviations of its row is found. \"Plain\" is without moderation.",
		"rows", "seeds", "spreads of the rows", "family-wise error", "plain", "found", "plain")
	for _, m := range []int{3, 12, 33} {
		for _, n := range []int{3, 4, 8} {
			for _, sp := range spreads {
				s.family(sp.what, m, n, func(i int) float64 { return sp.of(i, m) }, func() float64 { return s.r.NormFloat64() }, 1)
			}
			s.family("equal, log-normal, σ ½", m, n, func(int) float64 { return 1 }, func() float64 { return math.Exp(.5 * s.r.NormFloat64()) }, 1)
			s.family("equal, arms correlated .9", m, n, func(int) float64 { return 1 }, nil, .1)
		}
	}
}

func (s *simulation) family(what string, m, n int, spread func(i int) float64, noise func() float64, own float64) {
	var wrong, plainWrong, found, plainFound int
	normal := noise == nil
	for range s.runs {
		ref, common := make([]float64, n), make([]float64, n)
		for k := range n {
			common[k] = math.Sqrt(1-own) * s.r.NormFloat64()
			if normal {
				ref[k] = common[k] + math.Sqrt(own)*s.r.NormFloat64()
			} else {
				ref[k] = noise()
			}
		}
		es := make([]stats.Estimate, m)
		sd, df := make([]float64, m), make([]float64, m)
		for i := range m {
			x := make([]float64, n)
			for k := range n {
				if normal {
					x[k] = common[k] + math.Sqrt(own)*s.r.NormFloat64() - ref[k]
				} else {
					x[k] = spread(i)*noise() - ref[k]
				}
			}
			es[i], _ = stats.OverSeeds(diagonal(n), x)
			sd[i], df[i] = es[i].SD, es[i].DF
		}
		test := func(at int, effect float64) bool {
			p := make([]float64, m)
			for i, e := range es {
				if i == at {
					e.Mean += effect
				}
				p[i] = e.P(0)
			}
			c := stats.Holm(p, .05)
			if at >= 0 {
				return c[at].P < .05
			}
			return slices.ContainsFunc(c, func(c stats.Corrected) bool { return c.P < .05 })
		}
		at := m / 2
		effect := 4 * spread(at)
		if test(-1, 0) {
			plainWrong++
		}
		if test(at, effect) {
			plainFound++
		}
		sd, df = stats.Moderate(sd, df, stats.Shared)
		for i := range es {
			es[i].SD, es[i].DF = sd[i], df[i]
		}
		if test(-1, 0) {
			wrong++
		}
		if test(at, effect) {
			found++
		}
	}
	share := func(k int) float64 { return float64(k) / float64(s.runs) }
	s.row(m, n, what, share(wrong), share(plainWrong), share(found), share(plainFound))
	s.want(fmt.Sprintf("family-wise error, %d rows, %d seeds, %s", m, n, what), share(wrong), 0, .067)
}

// fewImages simulates equal arms with so few images that seeds may agree by chance.
func (s *simulation) fewImages() {
	s.head("**Few images**: paired shares of arms that do not differ; with so few images the differences of three seeds may be equal by luck. How often p is below 5 %, and below 0.1 %.",
		"images", "chance", "seeds", "p < .05", "p < .001", "without the floor: p < .001")
	for _, images := range []int{20, 70, 500} {
		for _, p := range []float64{.05, .5} {
			for _, n := range []int{3, 5} {
				var five, tiny, bare int
				for range s.runs {
					y := make([]float64, n)
					var floor float64
					for i := range n {
						// Half of the images are equal in both arms.
						var a, b, onlyA, onlyB int
						for range images {
							x := s.r.Float64() < p
							z := x
							if s.r.Float64() < .5 {
								z = s.r.Float64() < p
							}
							switch {
							case x && z:
								a, b = a+1, b+1
							case x:
								a, onlyA = a+1, onlyA+1
							case z:
								b, onlyB = b+1, onlyB+1
							}
						}
						u, v := float64(a)/float64(images), float64(b)/float64(images)
						y[i] = stats.Logit.To(u, images) - stats.Logit.To(v, images)
						floor += paired(a, onlyA, onlyB, b, images) / float64(n*n)
					}
					e, _ := stats.OverSeeds(diagonal(n), y)
					if e.P(0) < .001 {
						bare++
					}
					e.Floor = floor
					if e.P(0) < .05 {
						five++
					}
					if e.P(0) < .001 {
						tiny++
					}
				}
				share := func(k int) float64 { return float64(k) / float64(s.runs) }
				s.row(images, p, n, share(five), share(tiny), share(bare))
				s.want("few images: p < .05", share(five), 0, .06)
				s.want("few images: p < .001", share(tiny), 0, .003)
			}
		}
	}
}

// paired returns the variance of the difference of two logits of shares of the same images, of
// which a and b count, onlyA and onlyB in one arm only.
func paired(a, onlyA, onlyB, b, images int) float64 {
	n := float64(images)
	u, v := stats.Logit.Slope(float64(a)/n, images), stats.Logit.Slope(float64(b)/n, images)
	both := float64(a - onlyA)
	mean := (u*float64(a) - v*float64(b)) / n
	variance := (both*(u-v)*(u-v)+float64(onlyA)*u*u+float64(onlyB)*v*v)/n - mean*mean
	return stats.Paired(variance, max(u, v), images)
}

// selection simulates the interval of the row with the largest mean.
func (s *simulation) selection() {
	s.head("**The best of several rows** that do not differ, compared with one reference at 4 seeds: its 95 % interval, and the one that is corrected for the family.", "of", "95 % interval covers", "corrected interval covers")
	for _, m := range []int{3, 12, 33} {
		var plain, corrected int
		for range s.runs {
			const n = 4
			ref := make([]float64, n)
			for k := range ref {
				ref[k] = s.r.NormFloat64()
			}
			es := make([]stats.Estimate, m)
			sd, df := make([]float64, m), make([]float64, m)
			for i := range m {
				x := make([]float64, n)
				for k := range x {
					x[k] = s.r.NormFloat64() - ref[k]
				}
				es[i], _ = stats.OverSeeds(diagonal(n), x)
				sd[i], df[i] = es[i].SD, es[i].DF
			}
			sd, df = stats.Moderate(sd, df, stats.Shared)
			p, best := make([]float64, m), 0
			for i := range es {
				es[i].SD, es[i].DF = sd[i], df[i]
				p[i] = es[i].P(0)
				if es[i].Mean > es[best].Mean {
					best = i
				}
			}
			if !es[best].Interval(.95).Excludes(0) {
				plain++
			}
			if !es[best].Interval(stats.Holm(p, .05)[best].Level).Excludes(0) {
				corrected++
			}
		}
		a, b := float64(plain)/float64(s.runs), float64(corrected)/float64(s.runs)
		s.row(m, a, b)
		s.want(fmt.Sprint("the corrected interval of the best of ", m), b, .93, 1)
	}
}

// needs simulates the power of a study with the number of seeds that SeedsNeeded returns.
func (s *simulation) needs() {
	s.head("**Seeds needed** for 80 % power, from the true spread: the power that so many seeds have.", "difference, in sd of a seed", "variance of shared prompts, in sd²", "seeds", "power")
	for _, c := range []struct{ delta, prompts float64 }{{1, 0}, {.7, 0}, {1, .05}, {.7, .05}, {.5, .1}} {
		d := stats.Design{SD: 1, Prompts: c.prompts}
		if c.prompts > 0 {
			d.PromptDF = 60
		}
		n, ok := d.SeedsNeeded(c.delta, .05, .8)
		if !ok {
			s.row(c.delta, c.prompts, fmt.Sprintf("none; %.1f × as many prompts", d.PromptsNeeded(c.delta, .05, .8)), "")
			continue
		}
		found := 0
		for range s.runs {
			shared := math.Sqrt(c.prompts) * s.r.NormFloat64()
			x := make([]float64, n)
			for k := range x {
				x[k] = c.delta + shared + s.r.NormFloat64()
			}
			e, _ := stats.OverSeeds(diagonal(n), x)
			e.Prompts, e.PromptDF = d.Prompts, d.PromptDF
			if e.P(0) < .05 {
				found++
			}
		}
		power := float64(found) / float64(s.runs)
		s.row(c.delta, c.prompts, n, power)
		s.want("power at the seeds needed", power, .77, .85)
	}
}

// more returns a factor for the numbers of studies: ABLATE_SIMULATIONS=10 shows on which side
// of a limit a rate is.
func more() int {
	n, err := strconv.Atoi(os.Getenv("ABLATE_SIMULATIONS"))
	if err != nil {
		return 1
	}
	return n
}

// golden compares the simulated rates with README.md or writes them there. With more studies
// than for README.md, it logs the lines instead.
func (s *simulation) golden(mark string) {
	s.t.Helper()
	switch {
	case testing.Short():
	case more() > 1:
		s.t.Log(s.out.String())
	case s.fast:
		s.near(mark)
	default:
		golden(s.t, "README.md", mark, s.out.String())
	}
}

// near compares the lines with those of README.md, cell by cell.
func (s *simulation) near(mark string) {
	s.t.Helper()
	const path = "README.md"
	_, text, _ := part(s.t, path, mark)
	got, want := strings.Split(s.out.String(), "\n"), strings.Split(text, "\n")
	if len(got) != len(want) {
		s.t.Fatalf("%s has %d lines of %s, and %d were measured: UPDATE=1 go test -run %s rewrites it", path, len(want), mark, len(got), s.t.Name())
	}
	for i := range got {
		a, b := strings.Split(got[i], "|"), strings.Split(want[i], "|")
		for k := range max(len(a), len(b)) {
			if len(a) != len(b) || !s.alike(a[k], b[k], s.byLine[i]) {
				s.t.Errorf("%s has %s, and measured was %s: UPDATE=1 go test -run %s rewrites it", path, want[i], got[i], s.t.Name())
				break
			}
		}
	}
}

// alike reports whether a cell equals that of README.md up to chance: a rate, or a number of
// seeds up to a half of it.
func (s *simulation) alike(got, want string, few int) bool {
	a, err := strconv.ParseFloat(strings.TrimSpace(got), 64)
	b, err2 := strconv.ParseFloat(strings.TrimSpace(want), 64)
	switch {
	case err != nil || err2 != nil:
		return got == want
	case b > 1:
		return math.Abs(a-b) <= b/2
	}
	return math.Abs(a-b) <= s.chance(b, few)+1e-9
}

// golden compares the text between a mark in a file and its end with a text, or rewrites it
// with UPDATE=1.
func golden(t *testing.T, path, mark, want string) {
	t.Helper()
	before, got, after := part(t, path, mark)
	if os.Getenv("UPDATE") == "1" {
		if err := os.WriteFile(path, []byte(before+want+after), 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got != want {
		t.Errorf("%s is not what was measured: UPDATE=1 go test -run %s rewrites it", path, t.Name())
	}
}

// part splits a file into the text up to a mark, the text between the mark and its end, and the
// rest.
func part(t *testing.T, path, mark string) (before, text, after string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	start, end := "<!-- "+mark+" -->\n", "<!-- end of "+mark+" -->\n"
	before, rest, ok := strings.Cut(string(b), start)
	text, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s lacks the lines %s and %s", path, start, end)
	}
	return before + start, text, end + after
}
