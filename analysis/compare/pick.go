package compare

import (
	"slices"

	"ablate/analysis/stats"
)

// Pick chooses one point of an arm by its mean of a metric on some seeds; the arm then has
// a row of that point on other seeds. What the choice gains by chance is not in that row.
type Pick struct {
	Arm    string
	By     string // the metric
	On     []stats.Seed
	Report []stats.Seed
}

// Picked is how the row of an arm was chosen.
type Picked struct {
	By  string   `json:"by"`
	On  []string `json:"on"`  // seeds
	Row string   `json:"row"` // label of the chosen point
}

// picks puts before the points of each arm of which one is chosen a row of the chosen
// point, and leaves the points the seeds of the choice.
func (b *builder) picks() {
	for _, p := range b.o.Picks {
		m, ok := b.t.Metric(p.By)
		if !ok {
			continue
		}
		var points []*grouped
		for _, r := range b.rows {
			if r.arm == p.Arm {
				points = append(points, r)
			}
		}
		chosen, best := -1, 0.
		complete := true
		for i, r := range points {
			all := r.views
			r.candidate, r.views = true, b.only(all, p.On)
			c, ok := b.cell(m, r)
			complete = complete && ok && len(c.Seeds) == len(p.On)
			if value := m.sign() * c.Mean; chosen < 0 || value > best {
				chosen, best = i, value
			}
			r.reported = b.only(all, p.Report)
		}
		if !complete || chosen < 0 {
			b.note(Note{Kind: NoPick, Names: []string{p.Arm}})
			continue
		}
		if b.t.Chosen == nil {
			b.t.Chosen = map[string]string{}
		}
		if b.t.Chosen[p.Arm] = points[chosen].label; len(points[chosen].reported) == 0 {
			continue
		}
		row := &grouped{arm: p.Arm, label: p.Arm, control: points[chosen].control, views: points[chosen].reported,
			picked: &Picked{By: p.By, Row: points[chosen].label}}
		for _, s := range p.On {
			row.picked.On = append(row.picked.On, SeedName(s))
		}
		b.note(Note{Kind: PickedOn, Names: append([]string{p.Arm, row.picked.Row, m.Label}, row.picked.On...)})
		at := slices.Index(b.rows, points[0])
		b.rows = slices.Insert(b.rows, at, row)
	}
	b.rows = slices.DeleteFunc(b.rows, func(r *grouped) bool { return len(r.views) == 0 })
}

// only are the views of some seeds.
func (b *builder) only(views []int, seeds []stats.Seed) []int {
	return slices.DeleteFunc(slices.Clone(views), func(v int) bool { return !slices.Contains(seeds, b.seed(v)) })
}
