package page

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"ablate/analysis/compare"
)

// answer is the study's answer in two sentences, about alignment and about
// fidelity, and no more than the statistics say.
func answer(t *compare.Table) []string {
	const alignment, fidelity = "alignment", "fidelity.recall"
	// Rows with seeds enough for an interval over seeds speak, else all that are there.
	var rows, few []compare.Row
	for _, r := range t.Rows {
		switch d, ok := r.Differences[alignment]; {
		case !ok || r.SameAs != "" || r.Control:
		case d.N < 3:
			few = append(few, r)
		default:
			rows = append(rows, r)
		}
	}
	alone := len(rows) == 0
	if alone {
		rows, few = few, nil
	}
	if len(rows) == 0 {
		for _, r := range t.Rows {
			if c, ok := r.Cells[alignment]; ok {
				return []string{fmt.Sprintf("Only “%s” has a result: its alignment is %s.", r.Label, bracket(alignment, c, false)),
					"With nothing to compare it with, the study says nothing yet of what any choice does."}
			}
		}
		return []string{"There is no result yet.", "The failures below say why."}
	}
	least, most := rows[0].Differences[alignment].N, 0
	var up []compare.Row
	down := 0
	for _, r := range rows {
		d := r.Differences[alignment]
		least, most = min(least, d.N), max(most, d.N)
		switch {
		case d.Resolved && d.Mean > 0:
			up = append(up, r)
		case d.Resolved:
			down++
		}
	}
	candidates := rows
	if len(up) > 0 {
		candidates = up
	}
	best := slices.MaxFunc(candidates, func(a, b compare.Row) int {
		return cmp.Compare(a.Differences[alignment].Mean, b.Differences[alignment].Mean)
	})
	d := best.Differences[alignment]
	seeds := count(least, "seed")
	if least < most {
		seeds = fmt.Sprintf("%d to %d seeds", least, most)
	}
	gain := fmt.Sprintf("no row stands above “%s”", t.Reference)
	if d.Mean > 0 {
		gain = fmt.Sprintf("the largest gain seen is that of “%s”, %s", best.Label, bracket(alignment, d.Cell, true))
	}
	var first string
	switch {
	case alone && most == 1:
		first = fmt.Sprintf("One seed says nothing yet of other pretrainings or other feedback; in alignment over “%s”, with this seed alone, %s", t.Reference, gain)
	case alone:
		first = fmt.Sprintf("%s say nothing yet of other pretrainings or other feedback; in alignment over “%s”, with these seeds alone, %s", seeds, t.Reference, gain)
	case len(up)+down == 0:
		first = fmt.Sprintf("With %s, no difference in alignment to “%s” is resolved (%s compared); %s", seeds, t.Reference, count(len(rows), "row"), gain)
	default:
		first = fmt.Sprintf("With %s, alignment is resolved above “%s” in %d of %s and below it in %d", seeds, t.Reference, len(up), count(len(rows), "row"), down)
		if least <= 5 {
			first += ", if differences are normal over seeds"
		}
		first += "; " + gain
	}
	if len(few) > 0 {
		first += fmt.Sprintf("; %s more with fewer than three seeds, of which nothing is said here", count(len(few), "row"))
	}
	second := "No gain in alignment stands here to be weighed against fidelity"
	if f, ok := best.Differences[fidelity]; d.Mean > 0 {
		size := bracket(fidelity, f.Cell, true)
		switch {
		case !ok:
			second = fmt.Sprintf("Of the fidelity of “%s” there is no figure to compare", best.Label)
		case f.Interval != compare.OverSeeds:
			second = fmt.Sprintf("Recall, the measure of fidelity here, differs by %s in “%s”, and has no interval over seeds", size, best.Label)
		case f.Resolved && f.Mean < 0:
			second = fmt.Sprintf("“%s” costs fidelity: recall differs by %s", best.Label, size)
		case f.Resolved:
			second = fmt.Sprintf("“%s” gains fidelity too: recall differs by %s", best.Label, size)
		case f.Equivalent:
			second = fmt.Sprintf("In recall, the measure of fidelity here, “%s” is equivalent to “%s” within what the study declares to matter: %s", best.Label, t.Reference, size)
		default:
			second = fmt.Sprintf("What “%s” does to fidelity is not resolved: recall differs by %s", best.Label, size)
		}
	}
	return []string{first + ".", second + onFront(t.Front) + "."}
}

// onFront names the rows on the front of the means.
func onFront(f *compare.Front) string {
	if f == nil {
		return ""
	}
	var on []string
	for _, p := range f.Points {
		if !p.On {
			continue
		}
		name := "“" + p.Label + "”"
		if f.Over == compare.OverSeeds {
			name += fmt.Sprintf(" (in %.0f%% of draws)", 100*p.Membership)
		}
		on = append(on, name)
	}
	const shown = 4
	if len(on) > shown {
		on = append(on[:shown], fmt.Sprintf("%d more", len(on)-shown))
	}
	of := "the means"
	if f.Over != compare.OverSeeds {
		of = "these seeds' means"
	}
	return fmt.Sprintf("; on the front of %s: %s", of, strings.Join(on, ", "))
}

func count(n int, what string) string {
	if n == 1 {
		return "one " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// bracket is a figure with its interval.
func bracket(metric string, c compare.Cell, difference bool) string {
	f := number
	if difference {
		f = signed
	}
	s := f(metric, c.Mean)
	switch c.Interval {
	case compare.OverSeeds:
		s += fmt.Sprintf(" [%s, %s]", f(metric, c.Low), f(metric, c.High))
	case compare.OverPrompts:
		s += fmt.Sprintf(" [%s, %s] over prompts", f(metric, c.Low), f(metric, c.High))
	}
	return s
}
