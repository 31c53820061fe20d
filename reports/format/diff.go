package format

import (
	"fmt"
	"slices"
	"strings"

	"ablate/analysis/compare"
)

// Diff returns sentences on how the rows that have the same name in two tables differ.
func Diff(d *compare.Diff) []string {
	var out []string
	add := func(format string, of ...any) { out = append(out, fmt.Sprintf(format, of...)) }
	var primary []string
	var better, worse, untested []string
	for _, m := range d.Metrics {
		if !m.Primary {
			continue
		}
		primary = append(primary, m.Label)
		for _, r := range d.Rows {
			x := r.Values[m.Name].Difference
			switch {
			case x == nil || r.Same || r.SameAs != "":
			case x.PCorrected == nil:
				untested = append(untested, fmt.Sprintf("%s (%s)", RowName(r), m.Label))
			case x.Significant && (m.Better == "lower") == (x.Mean < 0):
				better = append(better, fmt.Sprintf("%s (%s %s)", RowName(r), m.Label, corrected(m.Digits, *x)))
			case x.Significant:
				worse = append(worse, fmt.Sprintf("%s (%s %s)", RowName(r), m.Label, corrected(m.Digits, *x)))
			}
		}
	}
	if d.Family > 0 {
		s := fmt.Sprintf("Significant after Holm's correction: %d of %s (rows × %s).", len(better)+len(worse), Count(d.Family, "comparison"), strings.Join(primary, ", "))
		for _, side := range []struct {
			how  string
			rows []string
		}{{"better", better}, {"worse", worse}} {
			if side.rows != nil {
				s += fmt.Sprintf(" “%s” is %s in %s.", d.A, side.how, list(side.rows))
			}
		}
		if better != nil || worse != nil {
			s += " These intervals are corrected."
		}
		add("%s", s)
	}
	switch {
	case untested != nil && d.Family == 0:
		add("No difference is tested: that takes three seeds of both.")
	case untested != nil:
		add("Not tested, because they have fewer than three seeds, or equal values: %s.", list(untested))
	}
	return append(out, shares(d)...)
}

// shares returns sentences on what the trials of rows have in common, which decides how
// they are compared.
func shares(d *compare.Diff) []string {
	var same, again, model, nothing []string
	for _, r := range d.Rows {
		switch {
		case r.Same:
			same = append(same, RowName(r))
		case r.Shares == compare.SameTrials:
			again = append(again, RowName(r))
		case r.Shares == compare.SameModel:
			model = append(model, RowName(r))
		default:
			nothing = append(nothing, RowName(r))
		}
	}
	of := func(rows []string) string {
		if len(rows) == len(d.Rows) && len(rows) > 1 {
			return "all rows"
		}
		if len(rows) > shown {
			return Count(len(rows), "row")
		}
		return list(rows)
	}
	var out []string
	for _, s := range []struct {
		rows  []string
		words string
	}{
		{same, "Identical, for they are the same trials with the same values: %s."},
		{again, "The same trials with other values (other code, device or libraries), paired by seed: %s."},
		{model, "Paired by seed, for trials of a seed begin with the same pretrained model: %s."},
		{nothing, "Not paired, for no two trials are known to begin with the same pretrained model; compared as independent samples (Welch's test): %s."},
	} {
		if s.rows != nil {
			out = append(out, fmt.Sprintf(s.words, of(s.rows)))
		}
	}
	return out
}

// Changes returns sentences on which rows are in one table only, and on the parameters
// and stages in which rows of both differ.
func Changes(d *compare.Diff) []string {
	var out []string
	for _, s := range []struct {
		name string
		rows []string
	}{{d.A, d.OnlyA}, {d.B, d.OnlyB}} {
		if len(s.rows) > 0 {
			out = append(out, fmt.Sprintf("Only in “%s”: %s.", s.name, list(s.rows)))
		}
	}
	if !d.Known {
		return append(out, fmt.Sprintf("Which parameters and stages differ is not known: “%s” and “%s” do not both have them.", d.A, d.B))
	}
	all := func(rows []string) string {
		if len(rows) == len(d.Rows) && len(rows) > 1 {
			return "all rows"
		}
		return list(rows)
	}
	var order []compare.Setting
	rows := map[compare.Setting][]string{}
	for _, r := range d.Rows {
		for _, s := range r.Settings {
			if rows[s] == nil {
				order = append(order, s)
			}
			rows[s] = append(rows[s], r.Row)
		}
	}
	stages := map[compare.Setting][]string{} // stages that have a parameter in their keys
	var other, follow []string
	for _, a := range d.Actions {
		switch {
		case a.Only != "":
			other = append(other, fmt.Sprintf("Stage %s is in “%s” alone: %s.", a.Stage, a.Only, all(a.Rows)))
		case len(a.Settings) == 0 && !slices.Contains(follow, a.Stage):
			follow = append(follow, a.Stage)
		}
		for _, s := range a.Settings {
			switch {
			case rows[s] == nil:
				other = append(other, fmt.Sprintf("Stage %s: %s: %s.", a.Stage, setting(s), all(a.Rows)))
			case !slices.Contains(stages[s], a.Stage):
				stages[s] = append(stages[s], a.Stage)
			}
		}
	}
	for _, s := range order {
		in := ""
		if stages[s] != nil {
			in = fmt.Sprintf(" (read by %s)", strings.Join(stages[s], ", "))
		}
		out = append(out, fmt.Sprintf("%s: %s%s.", setting(s), all(rows[s]), in))
	}
	if order == nil {
		out = append(out, "No parameter differs.")
	}
	out = append(out, other...)
	if follow != nil {
		out = append(out, fmt.Sprintf("Later stages that run again, because their inputs differ: %s.", strings.Join(follow, ", ")))
	}
	return out
}

func setting(s compare.Setting) string {
	text := func(v string) string {
		if v == "" {
			return "not used"
		}
		return v
	}
	return fmt.Sprintf("%s %s (A), %s (B)", s.Path, text(s.A), text(s.B))
}

// RowName returns the name of a row of two tables, from its arm and point.
func RowName(r compare.DiffRow) string {
	return Brief(compare.Row{Arm: r.Arm, Point: r.Point, Control: r.Control})
}

// shown is how many things of a list are named.
const shown = 3

// list names the first things of a list, and how many more there are.
func list(names []string) string {
	if len(names) > shown {
		return strings.Join(names[:shown], ", ") + fmt.Sprintf(" and %d more", len(names)-shown)
	}
	return strings.Join(names, ", ")
}
