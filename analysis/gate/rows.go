package gate

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"ablate/analysis/compare"
)

// whole adds verdicts on whole rows: removed, added, not selected, or with a removed seed.
func (c *checker) whole(b *Baseline, t *compare.Table) {
	for _, r := range b.Rows {
		now, ok := c.rows[r.Row]
		switch {
		case !c.selected(r.Arm, r.Row):
			c.r.Values = append(c.r.Values, Value{Arm: r.Arm, Row: r.Row, Verdict: Unchecked})
		case !ok:
			f := Value{Arm: r.Arm, Row: r.Row, Verdict: Removed, Reason: "the baseline has this row, and the study does not"}
			c.r.Removed = append(c.r.Removed, r.Row)
			c.r.Values = append(c.r.Values, f)
		default:
			for _, s := range now.Seeds {
				if !c.seed(s) {
					c.note("Seed " + s + " is not selected, and is not checked.")
				}
			}
			for i, s := range now.Seeds {
				if id := r.Trials[s]; id != "" && id != now.Trials[i] {
					c.r.Changed = append(c.r.Changed, r.Row)
					break
				}
			}
			var gone []string
			for _, s := range slices.Sorted(maps.Keys(r.Trials)) {
				if c.seed(s) && !slices.Contains(now.Seeds, s) {
					gone = append(gone, s)
				}
			}
			if gone != nil {
				c.r.Values = append(c.r.Values, Value{Arm: r.Arm, Row: r.Row, Verdict: Removed,
					Reason: fmt.Sprintf("the baseline has seed %s, and the study does not", strings.Join(gone, ", "))})
			}
		}
	}
	for _, r := range t.Rows {
		if _, ok := b.index[r.Label]; ok {
			continue
		}
		f := Value{Arm: r.Arm, Row: r.Label, Verdict: Added}
		c.r.Added = append(c.r.Added, r.Label)
		if r.Stopped != nil {
			f.Reason = fmt.Sprintf("the row was stopped after step %d (halving)", r.Stopped.Step)
		}
		for _, s := range r.Seeds {
			switch {
			case !c.selected(r.Arm, r.Label):
				f.Verdict = Unchecked
			case c.seed(s) && !c.ran(r, s) && r.Stopped == nil:
				f.Verdict, f.Reason = Missing, "the row is new, and has no result for seed "+s
			}
		}
		c.r.Values = append(c.r.Values, f)
	}
}
