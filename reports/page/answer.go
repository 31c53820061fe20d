package page

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"ablate/analysis/compare"
	"ablate/reports/format"
)

// answer is the study's answer in two sentences, about alignment and about fidelity. What
// it selects has the interval that is corrected for the selection.
func answer(t *compare.Table) []string {
	alignment, fidelity := subjects(t)
	name := "alignment"
	if m, ok := t.Metric(alignment); ok {
		name = m.Label
		if m.Better == "lower" {
			name += " (lower is better)"
		}
	}
	var tested, few []compare.Row
	for _, r := range t.Rows {
		switch d, ok := r.Differences[alignment]; {
		case !ok || r.SameAs != "" || r.Control:
		case d.Corrected == nil:
			few = append(few, r)
		default:
			tested = append(tested, r)
		}
	}
	if len(tested)+len(few) == 0 {
		with := 0
		for _, r := range t.Rows {
			if _, ok := r.Cells[alignment]; ok && r.SameAs == "" {
				with++
			}
		}
		if with > 1 {
			return []string{fmt.Sprintf("Nothing can be compared: “%s” has no %s yet, or no seed that other rows have.", t.Reference, name)}
		}
		for _, r := range t.Rows {
			if c, ok := r.Cells[alignment]; ok {
				return []string{fmt.Sprintf("Only “%s” has a result: its %s is %s.", r.Label, name, format.Cell(alignment, c)), "There is no other row to compare it with."}
			}
		}
		return []string{"There is no result yet.", "The section Failures has the reasons."}
	}
	top := func(rows []compare.Row) compare.Row {
		return slices.MaxFunc(rows, func(a, b compare.Row) int {
			return cmp.Compare(math.Abs(a.Differences[alignment].Mean), math.Abs(b.Differences[alignment].Mean))
		})
	}
	front := func(lead string) string {
		if t.Front == nil {
			return ""
		}
		return fmt.Sprintf(lead, onFront(t.Front))
	}
	if len(tested) == 0 {
		best := top(few)
		d := best.Differences[alignment]
		return slices.DeleteFunc([]string{
			fmt.Sprintf("With %s we cannot tell whether any difference would hold for a new training run. The largest difference in %s from “%s” is that of “%s”: %s.", format.Count(d.N, "seed"), name, t.Reference, best.Label, format.Change(alignment, d.Cell)),
			front("On the front of these seeds’ means: %s."),
		}, func(s string) bool { return s == "" })
	}
	var up []compare.Row
	down, least, most := 0, tested[0].Differences[alignment].N, 0
	for _, r := range tested {
		d := r.Differences[alignment]
		least, most = min(least, d.N), max(most, d.N)
		switch {
		case d.Significant && d.Mean > 0:
			up = append(up, r)
		case d.Significant:
			down++
		}
	}
	seeds := format.Count(least, "seed")
	if least < most {
		seeds = fmt.Sprintf("%d to %d seeds", least, most)
	}
	candidates := tested
	if len(up) > 0 {
		candidates = up
	}
	best := top(candidates)
	d := best.Differences[alignment]
	size := fmt.Sprintf("%s, 95%% corrected for %s %s", format.Signed(alignment, d.Mean), format.Count(t.Family, "comparison"), format.Bounds(alignment, *d.Corrected))
	var first string
	switch {
	case len(up)+down == 0:
		first = fmt.Sprintf("With %s, no row differs significantly from “%s” in %s (%s compared); the largest difference is that of “%s” (%s).", seeds, t.Reference, name, format.Count(len(tested), "row"), best.Label, size)
	case len(up) == 0:
		first = fmt.Sprintf("With %s, %s is significantly below “%s” in %d of %s and above it in none.", seeds, name, t.Reference, down, format.Count(len(tested), "row"))
	default:
		first = fmt.Sprintf("With %s, %s is significantly above “%s” in %d of %s and below it in %d; the largest difference is that of “%s” (%s).", seeds, name, t.Reference, len(up), format.Count(len(tested), "row"), down, best.Label, size)
	}
	if len(few) > 0 {
		first += fmt.Sprintf(" Not tested, for want of seeds: %s.", format.Count(len(few), "row"))
	}
	if fidelity == "" {
		return []string{first}
	}
	return []string{first, recall(t, best, fidelity) + front(" On the front of the means: %s.")}
}

// subjects are the metrics that the answer is about: alignment and recall, or the first
// primary metric of a study that has other ones.
func subjects(t *compare.Table) (alignment, fidelity string) {
	if _, ok := t.Metric("alignment"); ok || len(t.Metrics) == 0 {
		return "alignment", "fidelity.recall"
	}
	for _, m := range t.Metrics {
		if m.Primary {
			return m.Name, ""
		}
	}
	return t.Metrics[0].Name, ""
}

// recall is what a row does to fidelity.
func recall(t *compare.Table, r compare.Row, fidelity string) string {
	f, ok := r.Differences[fidelity]
	if !ok {
		return fmt.Sprintf("Fidelity of “%s” was not measured.", r.Label)
	}
	size := format.Change(fidelity, f.Cell)
	if f.Corrected != nil {
		size = fmt.Sprintf("%s %s", format.Signed(fidelity, f.Mean), format.Bounds(fidelity, *f.Corrected))
	}
	switch {
	case f.Corrected == nil:
		return fmt.Sprintf("Its recall, the measure of fidelity here, differs by %s, which is not tested.", size)
	case f.Significant && f.Mean < 0:
		return fmt.Sprintf("“%s” costs fidelity: recall differs by %s.", r.Label, size)
	case f.Significant:
		return fmt.Sprintf("“%s” gains fidelity too: recall differs by %s.", r.Label, size)
	case f.Equivalent:
		return fmt.Sprintf("Its recall, the measure of fidelity here, is equivalent to that of “%s” within the difference that the study declares to matter: %s.", t.Reference, size)
	}
	return fmt.Sprintf("Its recall, the measure of fidelity here, does not differ significantly: %s.", size)
}

// onFront names the rows on the front of the means.
func onFront(f *compare.Front) string {
	var on []string
	for _, p := range f.Points {
		if p.On {
			on = append(on, "“"+p.Label+"”")
		}
	}
	const shown = 4
	if len(on) > shown {
		on = append(on[:shown], fmt.Sprintf("%d more", len(on)-shown))
	}
	return strings.Join(on, ", ")
}
