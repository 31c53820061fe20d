package compare

import (
	"cmp"
	"slices"
)

// Exchanges are the wins and losses of rows against the reference, by prompt. Two images with
// the same seed, prompt and initial noise are a pair: a row wins it where the gold judge
// accepts only the row's image, and loses it where the judge accepts only the reference's
// image; or where its number is higher, and lower. Where single images are unknown, two runs of a seed are a pair: the row wins it where
// its mean on the prompt is better. Nothing is tested, because a prompt has few pairs.
type Exchanges struct {
	Reference string
	Metric    string   // name of the metric whose means are compared; empty where images are compared
	Numbers   bool     // the gold gives some images numbers: the higher one of a pair wins it
	Prompts   []Prompt // ordered by category, then by text
	Rows      []Exchange
}

// Prompt is a prompt on which images were judged.
type Prompt struct {
	Text, Category string
	Seen           bool // the prompt is among those that trainings may use
}

// Exchange has the wins and losses of one row.
type Exchange struct {
	Row    int     // index in the table
	Counts []Count // by prompt
}

// Count is the number of pairs of a prompt, and how many of them a row wins and loses.
type Count struct {
	Pairs, Won, Lost int
	Better, Worse    int // number of seeds with more wins than losses, and with more losses than wins
}

// Exchanges returns the wins and losses of each row against the reference, image by image. Rows
// that repeat another's trials, and rows without a seed whose list of prompts is the
// reference's, are left out.
func (x *Images) Exchanges(t *Table) *Exchanges {
	list, place := x.ordered()
	out := &Exchanges{Reference: t.Reference, Prompts: list}
	reference := slices.IndexFunc(t.Rows, func(r Row) bool { return r.Label == t.Reference })
	if reference < 0 {
		return out
	}
	theirs := map[string]string{} // trial of the reference by seed
	for i, seed := range t.Rows[reference].Seeds {
		theirs[seed] = t.Rows[reference].Trials[i]
	}
	gold := x.gold()
	out.Numbers = x.samples.Column("gold") != nil
	for i, r := range t.Rows {
		if i == reference || r.SameAs != "" {
			continue
		}
		e := Exchange{Row: i, Counts: make([]Count, len(list))}
		paired := false
		for k, seed := range r.Seeds {
			mine, other := x.rows[r.Trials[k]], x.rows[theirs[seed]]
			if r.Trials[k] == theirs[seed] || len(mine) == 0 || !x.alike(mine, other) {
				continue
			}
			paired = true
			net := make([]int, len(list)) // wins minus losses of this seed
			for j := range mine {
				a, hasA := gold(mine[j])
				b, hasB := gold(other[j])
				if !hasA || !hasB {
					continue
				}
				at := place[x.prompt[mine[j]]]
				c := &e.Counts[at]
				c.Pairs++
				switch {
				case a > b:
					c.Won++
					net[at]++
				case b > a:
					c.Lost++
					net[at]--
				}
			}
			for at, n := range net {
				switch {
				case n > 0:
					e.Counts[at].Better++
				case n < 0:
					e.Counts[at].Worse++
				}
			}
		}
		if paired {
			out.Rows = append(out.Rows, e)
		}
	}
	return out
}

// Exchanges returns the wins and losses of each row against the reference, by means of a prompt
// of the first primary metric in the table that has a better direction and values by prompt. It
// returns nil where there is no such metric.
func (x *Sums) Exchanges(t *Table) *Exchanges {
	if x == nil {
		return nil
	}
	m := slices.IndexFunc(t.Metrics, func(m Metric) bool { return m.Primary && m.Better != "" && x.Has(m.Name) })
	reference := slices.IndexFunc(t.Rows, func(r Row) bool { return r.Label == t.Reference })
	if m < 0 || reference < 0 {
		return nil
	}
	metric := t.Metrics[m]
	order := make([]int, len(x.prompts))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(x.prompts[a].Category, x.prompts[b].Category), cmp.Compare(x.prompts[a].Text, x.prompts[b].Text))
	})
	out := &Exchanges{Reference: t.Reference, Metric: metric.Name}
	for _, p := range order {
		out.Prompts = append(out.Prompts, x.prompts[p])
	}
	theirs := t.Rows[reference]
	for i, r := range t.Rows {
		if i == reference || r.SameAs != "" {
			continue
		}
		e, paired := Exchange{Row: i, Counts: make([]Count, len(order))}, false
		for k, seed := range r.Seeds {
			at := slices.Index(theirs.Seeds, seed)
			if at < 0 {
				continue
			}
			mine, _ := x.ByPrompt(r.Trials[k], metric.Name)
			other, _ := x.ByPrompt(theirs.Trials[at], metric.Name)
			if mine.Counts == nil || other.Counts == nil {
				continue
			}
			for j, p := range order {
				if mine.Counts[p] == 0 || other.Counts[p] == 0 {
					continue
				}
				paired = true
				c := &e.Counts[j]
				c.Pairs++
				switch d := metric.sign() * (mine.Sums[p]/mine.Counts[p] - other.Sums[p]/other.Counts[p]); {
				case d > 0:
					c.Won++
					c.Better++
				case d < 0:
					c.Lost++
					c.Worse++
				}
			}
		}
		if paired {
			out.Rows = append(out.Rows, e)
		}
	}
	return out
}

// ordered returns the judged prompts by category and text, and for each prompt of x its index
// in that list.
func (x *Images) ordered() (list []Prompt, place []int) {
	of := make([]Prompt, len(x.prompts))
	category, seen := x.samples.Column("category").Strings, x.samples.Column("seen").Bools
	for i, p := range x.prompt {
		if p >= 0 {
			of[p] = Prompt{x.prompts[p], category[i], seen[i]}
		}
	}
	index := make([]int, len(of))
	for i := range index {
		index[i] = i
	}
	slices.SortStableFunc(index, func(a, b int) int { return cmp.Compare(of[a].Category, of[b].Category) })
	place = make([]int, len(of))
	for at, p := range index {
		list, place[p] = append(list, of[p]), at
	}
	return list, place
}
