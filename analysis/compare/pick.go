package compare

import (
	"slices"

	"ablate/analysis/stats"
)

// Pick is the selection of one point of an arm by its mean of a metric on the seeds On. The arm
// then has a row of that point on the seeds Report, which is free of the bias of the selection.
type Pick struct {
	Arm    string
	By     string // name of the metric
	On     []stats.Seed
	Report []stats.Seed
}

// Picked is the selection of the point that a row reports.
type Picked struct {
	By  string   `json:"by"`  // name of the metric
	On  []string `json:"on"`  // seeds of the selection
	Row string   `json:"row"` // label of the selected point
}

// picks selects the point of each arm in the options' Picks. It inserts a row of the selected
// point before the arm's points, and cuts these to the seeds of the selection.
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

// only returns the views of some seeds.
func (b *builder) only(views []int, seeds []stats.Seed) []int {
	return slices.DeleteFunc(slices.Clone(views), func(v int) bool { return !slices.Contains(seeds, b.seed(v)) })
}
