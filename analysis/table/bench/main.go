// Command bench reads a samples table of a million rows, groups it by arm and
// category and bootstraps the means, 1,000 resamples clustered by prompt, beside
// the same in pandas and numpy, in turn and in one run.
//
//	bash .ci/bench tables
//
// Measured on two cores: see README.md beside this file.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"gonum.org/v1/gonum/stat"

	"ablate/analysis/stats"
	"ablate/analysis/table"
)

const (
	arms, seeds, images, prompts = 10, 5, 20000, 500
	resamples                    = 1000
)

func main() {
	python := flag.String("python", "python3", "a Python with pandas, pyarrow and numpy")
	child := flag.String("child", "", "run once on the tables in this folder, and print the result")
	flag.Parse()
	var err error
	if *child != "" {
		err = json.NewEncoder(os.Stdout).Encode(must(once(*child)))
	} else {
		err = run(*python)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func must(r map[string][2]float64, err error) map[string][2]float64 {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	return r
}

// once is the work that is measured: mean and standard error by "arm category".
func once(dir string) (map[string][2]float64, error) {
	trials, err := table.ReadFile(filepath.Join(dir, "trials.arrow"))
	if err != nil {
		return nil, err
	}
	samples, err := table.ReadFile(filepath.Join(dir, "samples.arrow"), "trial", "prompt", "category", "verdict")
	if err != nil {
		return nil, err
	}
	arm := map[string]string{}
	for i, id := range trials.Column("trial").Strings {
		arm[id] = trials.Column("arm").Strings[i]
	}
	var codes [4][]int32
	var values [4][]string
	var wait sync.WaitGroup
	for i, name := range []string{"trial", "category", "prompt", "verdict"} {
		wait.Go(func() { codes[i], values[i] = samples.Column(name).Codes() })
	}
	wait.Wait()
	good := int32(slices.Index(values[3], "good"))
	groups := map[string]*stats.Clustered{}
	var byTrial [][]*stats.Clustered // by trial and category
	for _, id := range values[0] {
		line := make([]*stats.Clustered, len(values[1]))
		for c, category := range values[1] {
			key := arm[id] + " " + category
			if groups[key] == nil {
				groups[key] = &stats.Clustered{Sums: make([]float64, len(values[2])), Counts: make([]float64, len(values[2]))}
			}
			line[c] = groups[key]
		}
		byTrial = append(byTrial, line)
	}
	for i, t := range codes[0] {
		g, p := byTrial[t][codes[1][i]], codes[2][i]
		g.Counts[p]++
		if codes[3][i] == good {
			g.Sums[p]++
		}
	}
	draws := bootstrap(len(values[2]))
	out := map[string][2]float64{}
	var mu sync.Mutex
	for key, g := range groups {
		wait.Go(func() {
			means := make([]float64, len(draws))
			for k, d := range draws {
				means[k] = weighted(g, d)
			}
			mu.Lock()
			defer mu.Unlock()
			out[key] = [2]float64{weighted(g, nil), stat.StdDev(means, nil)}
		})
	}
	wait.Wait()
	return out, nil
}

// bootstrap draws how often each of n clusters is drawn in each resample.
func bootstrap(n int) [][]float64 {
	r := rand.New(rand.NewPCG(1, 2))
	out := make([][]float64, resamples)
	for i := range out {
		out[i] = make([]float64, n)
		for range n {
			out[i][r.IntN(n)]++
		}
	}
	return out
}

// weighted is the mean of clusters, each as often as weights say; nil weights are all 1.
func weighted(c *stats.Clustered, weights []float64) float64 {
	var sum, n float64
	for i, x := range c.Sums {
		w := 1.
		if weights != nil {
			w = weights[i]
		}
		sum, n = sum+w*x, n+w*c.Counts[i]
	}
	return sum / n
}

func run(python string) error {
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := write(dir); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	var ours, theirs []float64
	for range 5 {
		for _, c := range []struct {
			times *[]float64
			cmd   *exec.Cmd
			name  string
		}{{&ours, exec.Command(self, "-child", dir), "ours"}, {&theirs, exec.Command(python, "analysis/table/bench/bench.py", dir), "theirs"}} {
			c.cmd.Stderr = os.Stderr
			begin := time.Now()
			out, err := c.cmd.Output()
			whole := time.Since(begin).Seconds()
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			if c.name == "theirs" { // imports are not what is measured
				first, rest, _ := strings.Cut(string(out), "\n")
				if _, err := fmt.Sscan(first, &whole); err != nil {
					return err
				}
				out = []byte(rest)
			}
			*c.times = append(*c.times, whole)
			if err := os.WriteFile(filepath.Join(dir, c.name), out, 0o666); err != nil {
				return err
			}
		}
	}
	var a, b map[string][2]float64
	for name, into := range map[string]*map[string][2]float64{"ours": &a, "theirs": &b} {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		if err := json.Unmarshal(raw, into); err != nil {
			return err
		}
	}
	if len(a) != arms*4 || len(a) != len(b) {
		return fmt.Errorf("%d and %d groups", len(a), len(b))
	}
	for key, x := range a {
		y := b[key]
		if math.Abs(x[0]-y[0]) > 1e-12 || math.Abs(x[1]/y[1]-1) > .15 {
			return fmt.Errorf("%s: mean and error %v here, %v in pandas", key, x, y)
		}
	}
	slices.Sort(ours)
	slices.Sort(theirs)
	fmt.Printf("a million rows, %d groups, %d resamples: %.2f s, start of the process included; pandas and numpy %.2f s, imports left out: %.1f times as fast (medians of 5)\n",
		len(a), resamples, ours[2], theirs[2], theirs[2]/ours[2])
	return nil
}

// write makes trials.arrow and samples.arrow.
func write(dir string) error {
	r := rand.New(rand.NewPCG(1, 2))
	str := func(name string) *table.Column { return &table.Column{Name: name, Kind: table.String} }
	trial, arm := str("trial"), str("arm")
	st, set, prompt, category, verdict, read := str("trial"), str("set"), str("prompt"), str("category"), str("verdict"), str("read")
	index, seen, proxy := &table.Column{Name: "index", Kind: table.Int}, &table.Column{Name: "seen", Kind: table.Bool}, &table.Column{Name: "proxy", Kind: table.Float}
	categories, verdicts := []string{"count", "colour", "background", "combination"}, []string{"good", "bad", "skip"}
	for a := range arms {
		for s := range seeds {
			id := fmt.Sprintf("%064x", a*seeds+s)
			trial.Strings, arm.Strings = append(trial.Strings, id), append(arm.Strings, fmt.Sprint("arm ", a))
			for i := range images {
				p := r.IntN(prompts)
				v := 1
				if r.Float64() < .3+.03*float64(a)+.2*float64(p)/prompts {
					v = 0
				}
				st.Strings, set.Strings = append(st.Strings, id), append(set.Strings, "alignment")
				index.Ints, seen.Bools = append(index.Ints, int64(i)), append(seen.Bools, p%4 > 0)
				prompt.Strings = append(prompt.Strings, fmt.Sprintf("%d red circles and a blue square on a white background", p))
				category.Strings, verdict.Strings = append(category.Strings, categories[p%4]), append(verdict.Strings, verdicts[v])
				read.Strings, proxy.Floats = append(read.Strings, fmt.Sprintf("%d red circles", p%7)), append(proxy.Floats, r.Float64())
			}
		}
	}
	return errors.Join(table.WriteFile(filepath.Join(dir, "trials.arrow"), &table.Table{Columns: []*table.Column{trial, arm}}),
		table.WriteFile(filepath.Join(dir, "samples.arrow"), &table.Table{Columns: []*table.Column{st, set, index, prompt, category, seen, verdict, read, proxy}}))
}
