package compare

import (
	"cmp"
	"slices"
)

// Exchanges are what rows gain and lose against the reference, prompt by prompt. Two images
// of the same seed, prompt and initial noise are a pair: a row wins it where the gold calls
// the row's image alone good, and loses it where it calls the reference's alone good. Where
// images are not known one by one, two runs of a seed are a pair: the row wins it where its
// mean on the prompt is the better one. These are counts: a prompt has few pairs, and none
// of it is tested.
type Exchanges struct {
	Reference string
	Metric    string   // whose means are compared; empty where images are
	Prompts   []Prompt // by category, then by text
	Rows      []Exchange
}

// Prompt is a prompt that images were judged on.
type Prompt struct {
	Text, Category string
	Seen           bool // a training may have used it
}

// Exchange is what one row wins and loses.
type Exchange struct {
	Row    int     // of the table
	Counts []Count // by prompt
}

// Count is what a row wins and loses on a prompt.
type Count struct {
	Pairs, Won, Lost int
	Better, Worse    int // seeds in which it wins more than it loses, and the reverse
}

// Exchanges counts what each row wins and loses against the reference. Rows that repeat
// another's trials, and those that share no list of prompts with the reference, are left
// out.
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
	verdict := x.samples.Column("verdict").Strings
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
			net := make([]int, len(list)) // of this seed
			for j := range mine {
				at := place[x.prompt[mine[j]]]
				c := &e.Counts[at]
				c.Pairs++
				switch a, b := verdict[mine[j]] == "good", verdict[other[j]] == "good"; {
				case a && !b:
					c.Won++
					net[at]++
				case b && !a:
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

// Exchanges counts what each row wins and loses against the reference by the first primary
// metric, in the order of the table, that has a better direction and is known by prompt. It
// is nil where there is none.
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

// ordered are the judged prompts by category and text, and the place of each prompt of x
// among them.
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
