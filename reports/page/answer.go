package page

import (
	"fmt"
	"strings"

	"ablate/analysis/compare"
)

// answer is the study's answer in two sentences, about alignment and about
// fidelity, and no more than the statistics say.
func answer(t *compare.Table) []string {
	const alignment, fidelity = "alignment", "fidelity.recall"
	var compared []compare.Row
	var controls int
	seeds := 0
	for _, r := range t.Rows {
		d, ok := r.Differences[alignment]
		if !ok || r.SameAs != "" {
			continue
		}
		if seeds == 0 || d.N < seeds {
			seeds = d.N
		}
		if r.Control {
			controls++
			continue
		}
		compared = append(compared, r)
	}
	if len(compared) == 0 {
		for _, r := range t.Rows {
			if c, ok := r.Cells[alignment]; ok {
				return []string{fmt.Sprintf("Only “%s” has a result: its alignment is %s.", r.Label, bracket(alignment, c, false)),
					"With nothing to compare it with, the study says nothing yet of what any choice does."}
			}
		}
		return []string{"There is no result yet.", "'ablate status' and the failures below say where the study stands."}
	}
	best := compared[0]
	var up, down []string
	for _, r := range compared {
		d := r.Differences[alignment]
		if d.Mean > best.Differences[alignment].Mean {
			best = r
		}
		switch {
		case d.Resolved && d.Mean > 0:
			up = append(up, r.Label)
		case d.Resolved:
			down = append(down, r.Label)
		}
	}
	d := best.Differences[alignment]
	var out []string
	switch {
	case seeds < 3:
		out = append(out, fmt.Sprintf("%s nothing yet of other pretrainings or other feedback; over %s alone, “%s” differs most in alignment from “%s” for the better: %s.",
			say(seeds), these(seeds), best.Label, t.Reference, bracket(alignment, d.Cell, true)))
		if d.Mean <= 0 {
			out[0] = fmt.Sprintf("%s nothing yet of other pretrainings or other feedback; over %s alone, no arm stands above “%s” in alignment.", say(seeds), these(seeds), t.Reference)
		}
	case len(up)+len(down) == 0:
		out = append(out, fmt.Sprintf("With %s, none of %s is resolved from “%s” in alignment; the largest difference seen is that of “%s”, %s.",
			count(seeds, "seed"), count(len(compared), "arm"), t.Reference, best.Label, bracket(alignment, d.Cell, true)))
	default:
		s := fmt.Sprintf("With %s, %d of %s raise alignment over “%s” beyond doubt at 95%% and %d lower it", count(seeds, "seed"), len(up), count(len(compared), "arm"), t.Reference, len(down))
		if d.Resolved && d.Mean > 0 {
			s += fmt.Sprintf(", most of all “%s”: %s", best.Label, bracket(alignment, d.Cell, true))
		}
		out = append(out, s+".")
	}
	s := ""
	if f, ok := best.Differences[fidelity]; ok && d.Mean > 0 {
		switch {
		case f.Interval != compare.OverSeeds:
			s = fmt.Sprintf("Its recall, the measure of fidelity here, differs by %s, of which so few seeds give no interval", bracket(fidelity, f.Cell, true))
		case f.Resolved && f.Mean < 0:
			s = fmt.Sprintf("It costs fidelity: recall differs by %s", bracket(fidelity, f.Cell, true))
		case f.Resolved:
			s = fmt.Sprintf("It gains fidelity too: recall differs by %s", bracket(fidelity, f.Cell, true))
		case f.Equivalent:
			s = fmt.Sprintf("Its recall is equivalent to the reference's within what the study declares to matter: %s", bracket(fidelity, f.Cell, true))
		default:
			s = fmt.Sprintf("What it does to fidelity is not resolved: recall differs by %s", bracket(fidelity, f.Cell, true))
		}
	} else {
		s = "No arm that raises alignment has a figure of fidelity beside it"
	}
	if t.Front != nil {
		var on []string
		for _, p := range t.Front.Points {
			if p.On {
				name := "“" + p.Label + "”"
				if t.Front.Over == compare.OverSeeds {
					name += fmt.Sprintf(" (in %.0f%% of draws)", 100*p.Membership)
				}
				on = append(on, name)
			}
		}
		const shown = 4
		if len(on) > shown {
			on = append(on[:shown], fmt.Sprintf("%d more", len(on)-shown))
		}
		s += fmt.Sprintf("; on the front of alignment and recall: %s", strings.Join(on, ", "))
	}
	return append(out, s+".")
}

func count(n int, what string) string {
	if n == 1 {
		return "one " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func these(n int) string {
	if n == 1 {
		return "this one"
	}
	return "these"
}

func say(seeds int) string {
	if seeds == 1 {
		return "One seed says"
	}
	return fmt.Sprintf("%d independent seeds say", seeds)
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
