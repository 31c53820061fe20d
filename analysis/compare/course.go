package compare

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"ablate/analysis/stats"
	"ablate/analysis/table"
)

// A Course is a trajectory of proxy and gold reward over the distance from the pretrained
// model, as in Gao et al. (2022, arXiv 2210.10760): the probes during a row's fine-tunings, or
// the best-of-n arms over n.
type Course struct {
	Row    int // index of the row in the ablation table; the first where several rows share a course
	Label  string
	Looks  []int // numbers of seeds at the study's interim analyses
	Points []Passage
}

// A Passage is a point of a course; each slice has a value for each seed.
type Passage struct {
	At                    int64 // the step of fine-tuning, or n of best-of-n
	Seeds                 []stats.Seed
	Distance, Proxy, Gold []float64 // Distance is √KL, with KL in nats
	Images                int       // smallest number of samples of a value; 0 where unknown
}

// Courses returns the courses of fine-tunings, from the probes in curves.arrow. Points are the
// steps that all probed seeds of a row have, so that steps are compared over the same seeds.
// Rows with fewer than two such steps, rows that repeat another row's trials, and rows with the
// same values as an earlier row have no course.
func Courses(t *Table, trials, curves *table.Table) []Course {
	if curves == nil {
		return nil
	}
	type at struct {
		trial string
		step  int64
	}
	seen := map[string]map[at]float64{"kl": {}, "proxy": {}, "gold": {}}
	trial, step, value := curves.Column("trial"), curves.Column("step"), curves.Column("value")
	kind, name := curves.Column("stage"), curves.Column("metric")
	steps := map[string][]int64{}
	images := probeImages(trials)
	for i := range curves.Rows() {
		if kind.Strings[i] != "finetune" || seen[name.Strings[i]] == nil || math.IsNaN(value.Floats[i]) || math.IsInf(value.Floats[i], 0) {
			continue
		}
		seen[name.Strings[i]][at{trial.Strings[i], step.Ints[i]}] = value.Floats[i]
		if name.Strings[i] == "kl" {
			steps[trial.Strings[i]] = append(steps[trial.Strings[i]], step.Ints[i])
		}
	}
	var out []Course
	same := map[string]bool{}
	for i, r := range t.Rows {
		if r.SameAs != "" {
			continue
		}
		byStep := map[int64]*Passage{}
		probed := 0
		for k, id := range r.Trials {
			whole := false
			for _, s := range steps[id] {
				kl := seen["kl"][at{id, s}]
				proxy, ok := seen["proxy"][at{id, s}]
				gold, ok2 := seen["gold"][at{id, s}]
				if !ok || !ok2 {
					continue
				}
				whole = true
				if byStep[s] == nil {
					byStep[s] = &Passage{At: s, Images: images[id]}
				}
				byStep[s].Images = min(byStep[s].Images, images[id])
				byStep[s].add(r.Seed(k), math.Sqrt(max(kl, 0)), proxy, gold)
			}
			if whole {
				probed++
			}
		}
		c := Course{Row: i, Label: r.Name(), Looks: t.Looks}
		var all []float64
		for _, p := range byStep {
			if len(p.Seeds) == probed {
				c.Points = append(c.Points, *p)
			}
		}
		slices.SortFunc(c.Points, func(a, b Passage) int { return cmp.Compare(a.At, b.At) })
		for _, p := range c.Points {
			all = slices.Concat(all, p.Distance, p.Proxy, p.Gold)
		}
		if k := fmt.Sprint(all); len(c.Points) > 1 && !same[k] {
			same[k] = true
			out = append(out, c)
		}
	}
	return out
}

// probeImages returns the number of images of a probe, by trial.
func probeImages(trials *table.Table) map[string]int {
	out := map[string]int{}
	if trials == nil {
		return out
	}
	if id, n := trials.Column("trial"), trials.Column("finetune.probeImages"); id != nil && n != nil && n.Kind == table.Int {
		for i, trial := range id.Strings {
			if n.Has(i) {
				out[trial] = int(n.Ints[i])
			}
		}
	}
	return out
}

func (p *Passage) add(seed stats.Seed, distance, proxy, gold float64) {
	p.Seeds = append(p.Seeds, seed)
	p.Distance, p.Proxy, p.Gold = append(p.Distance, distance), append(p.Proxy, proxy), append(p.Gold, gold)
}

// BestOf returns the courses of best-of-n sampling from the pretrained model, from
// trials.arrow. The row without selection, n = 1, is the first point of each course with the
// same model, data and sampler. All points of a course are over the same seeds. The distance is
// √(ln n − (n−1)/n), the root of the KL divergence of best-of-n.
func BestOf(t *Table, trials *table.Table) []Course {
	if trials == nil {
		return nil
	}
	id, method, best := trials.Column("trial"), trials.Column("finetune.method"), trials.Column("evaluate.bestOf")
	if id == nil || method == nil || best == nil || method.Kind != table.String || best.Kind != table.Int {
		return nil
	}
	at := map[string]int{} // by trial, its row in trials
	for i, trial := range id.Strings {
		at[trial] = i
	}
	first := func(r Row) (line int, n int64, ok bool) {
		for _, trial := range r.Trials {
			if i, has := at[trial]; has && method.Has(i) && method.Strings[i] == "none" {
				if best.Has(i) {
					return i, best.Ints[i], true
				}
				return i, 1, true
			}
		}
		return 0, 0, false
	}
	passage := func(r Row, n int64) Passage {
		p := Passage{At: n}
		distance := math.Sqrt(math.Log(float64(n)) - float64(n-1)/float64(n))
		for k, seed := range r.Seeds {
			proxy, ok := r.Cells["proxy"].Of(seed)
			gold, ok2 := r.Cells["alignment"].Of(seed)
			if ok && ok2 {
				p.Images = r.Cells["alignment"].Images
				p.add(r.Seed(k), distance, proxy, gold)
			}
		}
		return p
	}
	var out []Course
	byName := map[string]int{}
	lines := map[string]int{}
	for i, r := range t.Rows {
		line, n, ok := first(r)
		if !ok || n < 2 || r.SameAs != "" {
			continue
		}
		p := passage(r, n)
		if len(p.Seeds) == 0 {
			continue
		}
		name := r.without("evaluate.bestOf")
		if _, ok := byName[name]; !ok {
			byName[name] = len(out)
			lines[name] = line
			out = append(out, Course{Row: i, Label: name, Looks: t.Looks})
		}
		c := &out[byName[name]]
		c.Points = append(c.Points, p)
	}
	for _, r := range t.Rows {
		line, n, ok := first(r)
		if !ok || n != 1 || r.SameAs != "" {
			continue
		}
		p := passage(r, 1)
		for name, k := range byName {
			if out[k].Points[0].At != 1 && drawnAlike(trials, line, lines[name]) && len(Course{Points: append(out[k].Points, p)}.shared()) > 0 {
				out[k].Points = slices.Insert(out[k].Points, 0, p)
			}
		}
	}
	for k := range out {
		slices.SortStableFunc(out[k].Points, func(a, b Passage) int { return cmp.Compare(a.At, b.At) })
		out[k].Points = out[k].paired()
	}
	return slices.DeleteFunc(out, func(c Course) bool { return len(c.Points) == 0 })
}

// shared returns the seeds that all points have.
func (c Course) shared() []stats.Seed {
	var out []stats.Seed
	for _, s := range c.Points[0].Seeds {
		if !slices.ContainsFunc(c.Points, func(p Passage) bool { return !slices.Contains(p.Seeds, s) }) {
			out = append(out, s)
		}
	}
	return out
}

// paired returns the points cut to the seeds that all of them have, so that points do not
// differ in their seeds. It returns nil where there are none.
func (c Course) paired() []Passage {
	shared := c.shared()
	if len(shared) == 0 {
		return nil
	}
	var out []Passage
	for _, p := range c.Points {
		q := Passage{At: p.At, Images: p.Images}
		for k, s := range p.Seeds {
			if slices.Contains(shared, s) {
				q.add(s, p.Distance[k], p.Proxy[k], p.Gold[k])
			}
		}
		out = append(out, q)
	}
	return out
}

// drawnAlike reports whether two rows of trials.arrow have equal parameters of model, data,
// sampler and evaluation, except for n of best-of-n.
func drawnAlike(trials *table.Table, a, b int) bool {
	for _, c := range trials.Columns {
		group, _, _ := strings.Cut(c.Name, ".")
		if c.Name == "evaluate.bestOf" || !slices.Contains([]string{"model", "data", "sampler", "evaluate"}, group) {
			continue
		}
		if c.Has(a) != c.Has(b) {
			return false
		}
		if !c.Has(a) {
			continue
		}
		switch c.Kind {
		case table.String:
			if c.Strings[a] != c.Strings[b] {
				return false
			}
		case table.Int:
			if c.Ints[a] != c.Ints[b] {
				return false
			}
		case table.Float:
			if c.Floats[a] != c.Floats[b] {
				return false
			}
		}
	}
	return true
}
