package figure_test

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"ablate/analysis/compare"
	"ablate/analysis/table"
	"ablate/reports/figure"
)

// probed is a study of fine-tunings with probes and of arms that keep the best
// of n: n arms of seeds seeds, every second with a gold that falls in the end.
func probed(n, seeds int) (t *compare.Table, curves, trials *table.Table) {
	col := func(t *table.Table, name string, k table.Kind) *table.Column {
		c := &table.Column{Name: name, Kind: k}
		t.Columns = append(t.Columns, c)
		return c
	}
	t, curves, trials = &compare.Table{}, &table.Table{}, &table.Table{}
	trial, stage, metric := col(curves, "trial", table.String), col(curves, "stage", table.String), col(curves, "metric", table.String)
	step, value := col(curves, "step", table.Int), col(curves, "value", table.Float)
	id, method, sampler := col(trials, "trial", table.String), col(trials, "finetune.method", table.String), col(trials, "sampler.steps", table.Int)
	best := col(trials, "evaluate.bestOf", table.Int)
	row := func(arm, label, how string, of int64, proxy, gold float64) *compare.Row {
		r := compare.Row{Arm: arm, Label: label, Cells: map[string]compare.Cell{}}
		cell := func(mean float64) (c compare.Cell) {
			for k := range seeds {
				c.Seeds, c.Values = append(c.Seeds, fmt.Sprint(k+1)), append(c.Values, mean+.05*math.Sin(float64(3*k)+mean))
			}
			return c
		}
		r.Cells["proxy"], r.Cells["alignment"] = cell(proxy), cell(gold)
		for k := range seeds {
			name := fmt.Sprint(label, "-", k)
			r.Trials, r.Seeds = append(r.Trials, name), append(r.Seeds, fmt.Sprint(k+1))
			id.Strings, method.Strings = append(id.Strings, name), append(method.Strings, how)
			sampler.Ints, best.Ints = append(sampler.Ints, 8), append(best.Ints, of)
		}
		t.Rows = append(t.Rows, r)
		return &t.Rows[len(t.Rows)-1]
	}
	row("pretrained", "pretrained", "none", 1, .42, .41)
	for a := range n {
		label := fmt.Sprintf("method[finetune.method=m%d]", a)
		if a == 1 {
			label = "grid[finetune.beta=0.25,finetune.learningRate=<0.004>,finetune.batch=64,reward.temperature=0.125]"
		}
		r := row("method", label, "dpo", 1, .6, .5)
		r.Control = a == 2
		for k, name := range r.Trials {
			for s := range 5 {
				x := float64(s) / 4 * (1 + .3*float64(a%7))
				noise := .04*math.Sin(float64(2*k)) + .012*math.Sin(float64(7*k+3*s+a))
				for m, v := range map[string]float64{
					"kl":    x * x * (1 + .1*math.Sin(float64(k))),
					"proxy": .42 + .3*x/(1+.4*x) + noise,
					"gold":  .41 + .2*x - .12*x*x*float64(a%2+1)*.9 + 1.5*noise,
				} {
					trial.Strings, stage.Strings, metric.Strings = append(trial.Strings, name), append(stage.Strings, "finetune"), append(metric.Strings, m)
					step.Ints, value.Floats = append(step.Ints, int64(100*s)), append(value.Floats, v)
				}
			}
		}
	}
	for i, k := range []int64{2, 4, 8, 16} {
		row("best", fmt.Sprintf("best[evaluate.bestOf=%d]", k), "none", k, .55+.08*float64(i), .5+.04*float64(i))
		t.Rows[len(t.Rows)-1].Point = []compare.Value{{Axis: "evaluate.bestOf", Value: fmt.Sprint(k)}}
	}
	row("best of 4, other reward", "best of 4, other reward", "none", 4, .5, .52)
	row("tuned and best", "tuned and best", "dpo", 4, .5, .52)
	return t, curves, trials
}

func TestOverOptimization(t *testing.T) {
	for _, c := range []struct {
		name  string
		arms  int
		seeds int
		best  bool
	}{{"overoptimization", 5, 8, true}, {"overoptimization-seeds", 2, 2, false}} {
		tab, curves, trials := probed(c.arms, c.seeds)
		if !c.best {
			trials = nil
		}
		f, ok := figure.OverOptimization(tab, compare.Courses(tab, trials, curves), compare.BestOf(tab, trials))
		if !ok {
			t.Fatal("no figure")
		}
		svg, err := f.SVG()
		if err != nil {
			t.Fatal(err)
		}
		golden(t, c.name+".svg", svg)
		if again, _ := f.SVG(); !bytes.Equal(svg, again) {
			t.Error("equal figures differ")
		}
		png, err := f.PNG()
		pdf, err2 := f.PDF()
		if err != nil || err2 != nil || len(png) < 5000 || !bytes.HasPrefix(pdf, []byte("%PDF")) {
			t.Errorf("PNG of %d bytes, PDF of %d, %v %v", len(png), len(pdf), err, err2)
		}
		if dir := os.Getenv("ABLATE_FIGURES"); dir != "" {
			if err := os.WriteFile(filepath.Join(dir, c.name+".png"), png, 0o666); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, c.name+".pdf"), pdf, 0o666); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestCourses: steps that a seed lacks are left out, rows with the same trials are drawn
// once, and best of n begins with the model that it draws from.
func TestCourses(t *testing.T) {
	tab, curves, trials := probed(3, 3)
	curves.Column("value").Floats[len(curves.Column("value").Floats)-1] = math.NaN() // at the last step of the last seed
	again := tab.Rows[1]
	again.Label = "the same"
	tab.Rows = append(tab.Rows, again)
	tuned := compare.Courses(tab, trials, curves)
	if len(tuned) != 3 || len(tuned[0].Points) != 5 || len(tuned[2].Points) != 4 || tuned[2].Label != "method[finetune.method=m2] (control)" {
		t.Fatalf("courses %+v", tuned)
	}
	if p := tuned[0].Points[4]; p.At != 400 || math.Abs(p.Distance[0]-1) > 1e-12 || len(p.Gold) != 3 {
		t.Errorf("the last passage is %+v", p)
	}
	best := compare.BestOf(tab, trials)
	if len(best) != 2 || best[0].Label != "best" || len(best[0].Points) != 5 || best[0].Points[0].At != 1 || len(best[1].Points) != 2 {
		t.Fatalf("best of n %+v", best)
	}
	if d := best[0].Points[1].Distance[0]; math.Abs(d*d-(math.Log(2)-.5)) > 1e-12 {
		t.Errorf("of two, √KL is %g", d)
	}
	few := &tab.Rows[5] // best of 4
	for _, m := range []string{"proxy", "alignment"} {
		c := few.Cells[m]
		c.Seeds, c.Values = c.Seeds[1:], c.Values[1:]
		few.Cells[m] = c
	}
	for _, p := range compare.BestOf(tab, trials)[0].Points {
		if len(p.Seeds) != 2 || p.Seeds[0].Feedback != 2 {
			t.Errorf("n = %d is over seeds %v, want those that all have", p.At, p.Seeds)
		}
	}
	for i, name := range trials.Column("trial").Strings {
		if regexp.MustCompile("^pretrained").MatchString(name) {
			trials.Column("sampler.steps").Ints[i] = 4
		}
	}
	if best := compare.BestOf(tab, trials); len(best[0].Points) != 4 {
		t.Errorf("a model that is sampled otherwise begins %+v", best[0])
	}
}

// TestOverOptimizationAbsent: without data there is no figure.
func TestOverOptimizationAbsent(t *testing.T) {
	tab, curves, trials := probed(2, 2)
	for i, m := range curves.Column("metric").Strings {
		if m == "proxy" {
			curves.Column("metric").Strings[i] = "another"
		}
	}
	for i := range trials.Column("trial").Strings {
		trials.Column("evaluate.bestOf").Ints[i] = 1
	}
	for _, in := range [][2]*table.Table{{curves, trials}, {nil, nil}, {curves, {}}} {
		if _, ok := figure.OverOptimization(tab, compare.Courses(tab, in[1], in[0]), compare.BestOf(tab, in[1])); ok {
			t.Error("a figure of nothing")
		}
	}
}

// TestCrowdedPanels: of many arms, twenty are drawn and the others counted. No name
// covers another or leaves its figure.
func TestCrowdedPanels(t *testing.T) {
	tab, curves, trials := probed(24, 3)
	f, _ := figure.OverOptimization(tab, compare.Courses(tab, trials, curves), compare.BestOf(tab, trials))
	names := texts(t, f)
	if _, ok := names["4 more rows are not drawn"]; !ok {
		t.Errorf("what is left out is not said: %v", names)
	}
	for a, p := range names {
		if p[0] < 0 || p[0]+p[2] > 15.6/2.54*72 {
			t.Errorf("%s leaves the figure: from %g, %g long", a, p[0], p[2])
		}
		for b, q := range names {
			if a < b && p[0] < q[0]+q[2] && q[0] < p[0]+p[2] && max(p[1]-q[1], q[1]-p[1]) < 8 {
				t.Errorf("%s covers %s", a, b)
			}
		}
	}
	if png, err := f.PNG(); err != nil || len(png) < 5000 {
		t.Error(strconv.Itoa(len(png)), err)
	} else if dir := os.Getenv("ABLATE_FIGURES"); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, "crowded-panels.png"), png, 0o666); err != nil {
			t.Fatal(err)
		}
	}
}
