package stats_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"gonum.org/v1/gonum/stat/distuv"

	"ablate/analysis/stats"
)

// drawn is what one simulated study shows: values by seed, and how prompts move them.
type drawn struct {
	values   []float64
	byPrompt [][]float64
}

// proportion draws n seeds of 100 prompts × 5 images, whose chance of being
// good is logit-normal about centre, with effects of seed and prompt. Prompts
// are the same for all seeds. The second group's chance differs by nothing.
func proportion(r *rand.Rand, n int, centre, seedEffect, promptEffect float64, paired bool) drawn {
	const prompts, images = 100, 5
	difficulty := make([]float64, prompts)
	for p := range difficulty {
		difficulty[p] = promptEffect * r.NormFloat64()
	}
	draw := func(shift float64) (float64, []float64) {
		c := stats.Clustered{Sums: make([]float64, prompts), Counts: make([]float64, prompts)}
		var good float64
		for p := range prompts {
			chance := 1 / (1 + math.Exp(-(centre + shift + difficulty[p])))
			c.Counts[p] = images
			for range images {
				if r.Float64() < chance {
					c.Sums[p]++
					good++
				}
			}
		}
		return good / prompts / images, c.Influence()
	}
	var d drawn
	for range n {
		v, u := draw(seedEffect * r.NormFloat64())
		if paired {
			w, x := draw(seedEffect * r.NormFloat64())
			v -= w
			for i := range u {
				u[i] -= x[i]
			}
		}
		d.values, d.byPrompt = append(d.values, v), append(d.byPrompt, u)
	}
	return d
}

// expectation of a proportion, by quadrature over the effects.
func expectation(centre, seedEffect, promptEffect float64) float64 {
	var s, w float64
	sd := math.Hypot(seedEffect, promptEffect)
	for z := -6.; z <= 6; z += .01 {
		p := math.Exp(-z * z / 2)
		s, w = s+p/(1+math.Exp(-(centre+sd*z))), w+p
	}
	return s / w
}

// TestCoverage simulates every interval of this package, holds what it covers
// to the limits that the project set, and writes what it measured, with the
// median width, into README.md. Seeds have 500 images each.
func TestCoverage(t *testing.T) {
	runs := 3000
	if testing.Short() {
		runs = 500
	}
	r := rand.New(rand.NewPCG(11, 12))
	var out strings.Builder
	row := func(format string, args ...any) { fmt.Fprintf(&out, "| "+format+" |\n", args...) }
	measure := func(what string, seeds []stats.Seed, truth, low, high float64, draw func() drawn) float64 {
		in, widths := 0, make([]float64, runs)
		for i := range runs {
			d := draw()
			e, ok := stats.OverSeeds(seeds, d.values, d.byPrompt)
			if !ok {
				t.Fatalf("%s: no interval", what)
			}
			iv := e.Interval(.95)
			if !iv.Excludes(truth) {
				in++
			}
			widths[i] = iv.High - iv.Low
		}
		slices.Sort(widths)
		share := float64(in) / float64(runs)
		row("%s | %.3f | %.3g", what, share, widths[runs/2])
		if !testing.Short() && (share < low || share > high) {
			t.Errorf("%s: covers %.3f, want between %.2f and %.2f", what, share, low, high)
		}
		return share
	}
	lognormal := func() float64 { return math.Exp(r.NormFloat64()) }
	for _, n := range []int{3, 5, 8, 20} {
		seeds := diagonal(n)
		name := func(s string) string { return fmt.Sprintf("%s | %d", s, n) }
		values := func(f func() float64) func() drawn {
			return func() (d drawn) {
				for range n {
					d.values = append(d.values, f())
				}
				return d
			}
		}
		measure(name("mean, normal, sd 0.05"), seeds, 0, .93, .97, values(func() float64 { return .05 * r.NormFloat64() }))
		for _, p := range []struct {
			what                 string
			centre, seed, prompt float64
		}{
			{"mean, proportion about .45", -.2, .2, 0}, {"mean, proportion about .1", -2.2, .2, 0}, {"mean, proportion, seeds alike", -.2, 0, 0},
			{"mean, proportion, shared prompts that differ", -.2, .2, 1},
		} {
			measure(name(p.what), seeds, expectation(p.centre, p.seed, p.prompt), .93, .97, func() drawn { return proportion(r, n, p.centre, p.seed, p.prompt, false) })
		}
		measure(name("paired difference, proportions, shared prompts that differ"), seeds, 0, .93, .97, func() drawn { return proportion(r, n, -.2, .2, 1, true) })
		measure(name("paired difference, equally skewed (log-normal, σ 1)"), seeds, 0, .93, 1, values(func() float64 { return lognormal() - lognormal() }))
		got := measure(name("mean, skewed (log-normal, σ 1)"), seeds, math.Exp(.5), 0, 1, values(lognormal))
		if math.Abs(got-stats.SkewedCoverage(n)) > .025 && !testing.Short() {
			t.Errorf("n = %d: skewed values are covered %.3f, SkewedCoverage says %.2f", n, got, stats.SkewedCoverage(n))
		}
	}
	for _, k := range []int{3, 5, 8} {
		var seeds []stats.Seed
		for i := range k {
			for j := range k {
				seeds = append(seeds, stats.Seed{Pretraining: int64(i), Feedback: int64(j)})
			}
		}
		for _, a := range []float64{0, .3, 1} {
			for _, b := range []float64{0, .3, 1} {
				what := fmt.Sprintf("crossed, variances of effects %g and %g of the residual's | %d × %d", a, b, k, k)
				measure(what, seeds, 0, .93, 1, func() (d drawn) {
					x, y := make([]float64, k), make([]float64, k)
					for i := range k {
						x[i], y[i] = math.Sqrt(a)*r.NormFloat64(), math.Sqrt(b)*r.NormFloat64()
					}
					for i := range k {
						for j := range k {
							d.values = append(d.values, x[i]+y[j]+r.NormFloat64())
						}
					}
					return d
				})
			}
		}
	}
	// One or two seeds: the bootstrap over prompts, for these seeds only, whose
	// prompts are other ones each time.
	var names []string
	for i := range 100 {
		names = append(names, fmt.Sprint(i))
	}
	resamples := stats.NewResamples(names, 400)
	for _, n := range []int{1, 2} {
		in, widths := 0, make([]float64, runs/3)
		for k := range widths {
			var groups []stats.Clustered
			difficulty := make([]float64, len(names))
			for p := range difficulty {
				difficulty[p] = r.NormFloat64()
			}
			for range n {
				c := stats.Clustered{Sums: make([]float64, len(names)), Counts: make([]float64, len(names))}
				for p := range names {
					c.Counts[p] = 5
					for range 5 {
						if r.Float64() < 1/(1+math.Exp(.2-difficulty[p])) {
							c.Sums[p]++
						}
					}
				}
				groups = append(groups, c)
			}
			iv := resamples.Percentile(groups, nil, .95)
			if !iv.Excludes(expectation(-.2, 0, 1)) {
				in++
			}
			widths[k] = iv.High - iv.Low
		}
		slices.Sort(widths)
		share := float64(in) / float64(len(widths))
		row("bootstrap over 100 prompts, for these seeds only | %d | %.3f | %.3g", n, share, widths[len(widths)/2])
		if share < .92 && !testing.Short() {
			t.Errorf("the bootstrap over prompts covers %.3f at %d seeds", share, n)
		}
	}
	// Wilson's coverage is computed, not simulated.
	for _, n := range []int{100, 500, 2000} {
		for _, p := range []float64{.05, .1, .3, .5, .9} {
			b := distuv.Binomial{N: float64(n), P: p}
			var share float64
			var width float64
			for k := range n + 1 {
				if i := stats.Wilson(k, n, .95); !i.Excludes(p) {
					share += b.Prob(float64(k))
				}
			}
			i := stats.Wilson(int(p*float64(n)), n, .95)
			width = i.High - i.Low
			row("one proportion of %d images, %g, Wilson | 1 | %.3f | %.3g", n, p, share, width)
			if share < .93 || share > .97 {
				t.Errorf("Wilson at %d images of chance %g covers %.3f", n, p, share)
			}
		}
	}
	if testing.Short() {
		return
	}
	const head = "| what | seeds | covers | median width |\n|---|---|---|---|\n"
	golden(t, "README.md", head+out.String())
}

// golden compares what follows the mark in a file, or rewrites it with UPDATE=1.
func golden(t *testing.T, path, want string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const mark = "<!-- measured -->\n"
	text, got, ok := strings.Cut(string(b), mark)
	if !ok {
		t.Fatalf("%s has no line %s", path, mark)
	}
	if os.Getenv("UPDATE") == "1" {
		if err := os.WriteFile(path, []byte(text+mark+want), 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got != want {
		t.Errorf("%s is not what was measured: UPDATE=1 go test -run %s rewrites it", path, t.Name())
	}
}
