package format

import (
	"fmt"
	"slices"
	"strings"

	"ablate/analysis/compare"
	"ablate/analysis/table"
)

// Answer returns the answer of a table to its study's question, in sentences: how the
// rows differ from the reference and, if the reference is worse than the pretrained
// model, how the best row differs from that.
func Answer(t *compare.Table) []string {
	a := &t.Answer
	m, _ := t.Metric(a.Metric)
	switch {
	case len(t.Metrics) == 0:
		return []string{"Nothing is measured: the study names neither a gold nor features with a reference, so that images are drawn and not judged."}
	case len(a.Values) == 0:
		return []string{"There is no result yet."}
	case a.Named == nil && len(a.Values) == 1:
		return []string{fmt.Sprintf("Only “%s” has a result. There is no other row to compare it with.", short(t, a.Values[0]))}
	case a.Named == nil:
		return []string{fmt.Sprintf("Nothing can be compared: “%s” has no %s yet, or no seed that other rows have.", short(t, t.Reference), m.Label)}
	case a.Rows == 0:
		return []string{fmt.Sprintf("%s cannot show whether a difference would recur in a new training run. The largest difference from “%s” in %s is that of “%s”: %s.",
			seeds(a), short(t, t.Reference), meaning(m), short(t, a.Named.Row), Change(m.Digits, a.Named.Metric.Cell))}
	}
	first := []string{rows(t, a, m), named(t, a, m)}
	if a.Few > 0 {
		first = append(first, fmt.Sprintf("Too few seeds for a test: %s.", Count(a.Few, "row")))
	}
	out := []string{strings.Join(first, " ")}
	if a.Pretrained != nil {
		out = append(out, against(t, a.Pretrained, m))
	}
	return out
}

// Scope returns a sentence on what the intervals of an answer are corrected for.
func Scope(t *compare.Table) string {
	if t.Answer.Rows == 0 {
		return ""
	}
	own := ""
	if p := t.Answer.Pretrained; p != nil {
		own = fmt.Sprintf("; those of differences from “%s” for its %s", short(t, p.Row), Count(p.Family, "comparison"))
	}
	return fmt.Sprintf("Intervals of the answer: 95%%, corrected for all %s of the primary metrics (%s)%s. The correction accounts for naming the largest of several differences.",
		Count(t.Family, "comparison"), strings.Join(primary(t), ", "), own)
}

// Front returns a sentence that names the rows on the front of the means, "" if there is
// no front.
func Front(t *compare.Table) string {
	if t.Front == nil {
		return ""
	}
	var on []string
	for _, p := range t.Front.Points {
		if p.On {
			on = append(on, "“"+short(t, p.Label)+"”")
		}
	}
	const shown = 8
	if len(on) > shown {
		on = append(on[:shown], fmt.Sprintf("%d more", len(on)-shown))
	}
	x, _ := t.Metric(t.Front.X)
	y, _ := t.Metric(t.Front.Y)
	return fmt.Sprintf("On the front, where no other row has better means of both %s and %s: %s.", y.Label, x.Label, strings.Join(on, ", "))
}

// rows returns a sentence on how many rows differ from the reference.
func rows(t *compare.Table, a *compare.Answer, m compare.Metric) string {
	if a.Higher+a.Lower == 0 {
		none := fmt.Sprintf("none of %s differs", Count(a.Rows, "row"))
		if a.Rows == 1 {
			none = "the one row compared does not differ"
		}
		return fmt.Sprintf("Over %s, %s significantly from “%s” in %s.", seeds(a), none, short(t, t.Reference), meaning(m))
	}
	s := fmt.Sprintf("Over %s, %s is significantly higher than that of “%s” in %d of %s%s and lower in %d%s", seeds(a), meaning(m), short(t, t.Reference),
		a.Higher, Count(a.Rows, "row"), significant(t, m, 1), a.Lower, significant(t, m, -1))
	if slices.ContainsFunc(t.Rows, func(r compare.Row) bool { return r.Control }) {
		s += "; controls are left out"
	}
	return s + "."
}

// significant returns the names of the rows that differ significantly from the reference
// in a direction, in parentheses; "" if there are none or more than a sentence can list.
func significant(t *compare.Table, m compare.Metric, direction float64) string {
	const most = 4
	var names []string
	for _, r := range t.Rows {
		if d, ok := r.Differences[m.Name]; ok && r.InAnswer() && d.Significant && d.Mean*direction > 0 {
			names = append(names, "“"+Brief(r)+"”")
		}
	}
	if len(names) == 0 || len(names) > most {
		return ""
	}
	return " (" + strings.Join(names, ", ") + ")"
}

// named returns a sentence on the difference of the named row.
func named(t *compare.Table, a *compare.Answer, m compare.Metric) string {
	d := a.Named.Metric
	what := "The largest difference"
	switch better := (m.Better == "higher") == (d.Mean > 0); {
	case !d.Significant || m.Better == "":
	case better:
		what = "The largest gain"
	default:
		what = "The largest loss"
	}
	s := fmt.Sprintf("%s is that of “%s”: %s, corrected interval %s", what, short(t, a.Named.Row), Signed(m.Digits, d.Mean), Bounds(m.Digits, *d.Corrected))
	if !d.Significant {
		s += ", which includes no difference"
	}
	if s += "."; a.Cost == "" {
		return s
	}
	c, _ := t.Metric(a.Cost)
	return s + " " + cost(t, a.Named, c)
}

// cost returns a sentence on the difference of the named row in another metric.
func cost(t *compare.Table, n *compare.Named, m compare.Metric) string {
	d := n.Cost
	switch {
	case d == nil:
		return fmt.Sprintf("Its %s is not known.", meaning(m))
	case d.Corrected == nil:
		return fmt.Sprintf("Its %s differs by %s, which is not tested.", meaning(m), Change(m.Digits, d.Cell))
	case d.Significant && d.Mean > 0:
		return fmt.Sprintf("Its %s is significantly higher: %s.", meaning(m), corrected(m.Digits, *d))
	case d.Significant:
		return fmt.Sprintf("Its %s is significantly lower: %s.", meaning(m), corrected(m.Digits, *d))
	case d.Equivalent:
		return fmt.Sprintf("Its %s is equivalent to that of “%s”, within what the study declares to matter: %s.", meaning(m), short(t, t.Reference), corrected(m.Digits, *d))
	}
	return fmt.Sprintf("Its %s does not differ significantly: %s.", meaning(m), corrected(m.Digits, *d))
}

// against returns a sentence on how rows differ from the pretrained model, if the
// reference is worse than it.
func against(t *compare.Table, p *compare.Pretrained, m compare.Metric) string {
	significantly := func(d compare.Difference) string {
		if d.Significant {
			return "significantly "
		}
		return ""
	}
	s := fmt.Sprintf("“%s” itself is %sworse than the pretrained model, “%s”: %s.", short(t, t.Reference), significantly(p.Reference), short(t, p.Row), corrected(m.Digits, p.Reference))
	best := p.Best.Metric
	how := "not significantly different from it"
	switch better := (m.Better == "higher") == (best.Mean > 0); {
	case best.Significant && better:
		how = "significantly better"
	case best.Significant:
		how = "significantly worse"
	}
	return s + fmt.Sprintf(" Against that model the best of %s is “%s”: %s, %s.", Count(p.Family, "row"), short(t, p.Best.Row), corrected(m.Digits, best), how)
}

func seeds(a *compare.Answer) string {
	if a.Seeds[0] < a.Seeds[1] {
		return fmt.Sprintf("%d to %d seeds", a.Seeds[0], a.Seeds[1])
	}
	return Count(a.Seeds[0], "seed")
}

// meaning returns the name of a metric, with an explanation if readers cannot know it.
func meaning(m compare.Metric) string {
	switch {
	case m.Name == "alignment" && m.Range == table.Mean:
		return "alignment (the mean of the numbers, from 0 to 1, that the gold gives images)"
	case m.Name == "alignment":
		return "alignment (the share of images that match their prompt)"
	case m.Name == "fidelity.recall":
		return "recall (the share of real images that have a similar one among the model's)"
	}
	if m.Better == "lower" {
		return m.Label + " (lower is better)"
	}
	return m.Label
}

// short returns the short name of the row with a label.
func short(t *compare.Table, label string) string {
	i := slices.IndexFunc(t.Rows, func(r compare.Row) bool { return r.Label == label })
	if i < 0 {
		return label
	}
	row := t.Rows[i]
	row.Control = false // the sentence need not say that the row is a control
	return Brief(row)
}
