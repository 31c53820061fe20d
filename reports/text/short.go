package text

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"ablate/analysis/compare"
	"ablate/reports/format"
)

// sign is a mark of the short table, and its meaning.
type sign struct{ mark, meaning string }

// signs are the signs that a table uses, in the order of their first use.
type signs []sign

// use records that the table uses a sign, and returns its mark.
func (u *signs) use(s sign) string {
	if !slices.Contains(*u, s) {
		*u = append(*u, s)
	}
	return s.mark
}

// difference returns a difference with its marks.
func (u *signs) difference(m compare.Metric, d compare.Difference) string {
	s := format.Compact(m.Digits, d.Cell)
	if d.Significant {
		s += " *"
	}
	if d.Equivalent {
		s += u.use(equivalent)
	}
	if d.Outlier != "" {
		s += u.use(outlying)
	}
	return s
}

var (
	equivalent = sign{" ≈", "≈ equivalent within what the study declares to matter"}
	outlying   = sign{" !", "! one seed differs from the others (Grubbs' test)"}
	partial    = sign{" °", "° over the seeds and images that have a value"}
)

// Short writes the answer, and a table with one line per row: its primary metrics and
// their differences from the reference, as many as fit into width columns. Rows with the
// same trials as an earlier row are left out.
func Short(w io.Writer, t *compare.Table, width int) error {
	metrics := primary(t)
	// If the table is too wide, first points are shortened, then names and points share a
	// column, then names are cut, and finally metrics are left out.
	const least = 12 // least number of runes of a name
	left := 0
	var rows [][]string
	var used signs
	for ; ; left++ {
		shown := metrics[:len(metrics)-left]
		if rows, used = short(t, shown, format.Point); tableWidth(rows) > width {
			rows, used = short(t, shown, format.BriefPoint)
		}
		if tableWidth(rows) > width {
			for i, r := range rows {
				rows[i] = append([]string{strings.TrimSpace(r[0] + " " + r[1])}, r[2:]...)
			}
		}
		over := tableWidth(rows) - width
		if room := columnWidth(rows, 0) - least; over <= room || len(shown) <= 1 {
			if over > 0 {
				shorten(rows, 0, max(least, columnWidth(rows, 0)-over))
			}
			break
		}
	}
	var b strings.Builder
	answer(&b, t, width)
	align(&b, rows)
	b.WriteByte('\n')
	for _, s := range []string{strings.TrimSpace(format.Levels(t) + " " + format.Significance(t) + " " + legend(used)), collapsed(t)} {
		if s != "" {
			wrap(&b, "", s, width)
		}
	}
	for _, s := range format.Detect(t) {
		wrap(&b, "", s, width)
	}
	for _, n := range t.Notes {
		switch n.Kind {
		case compare.FewSeeds, compare.Environments, compare.Damaged, compare.Confounded, compare.ImportedFrom, compare.Guessed,
			compare.Looked, compare.Unsettled, compare.PickedOn, compare.NoPick, compare.StoppedEarly:
			wrap(&b, "", format.Note(n), width)
		}
	}
	more := "--all has every metric, effects, the front and all notes."
	if left > 0 {
		more = fmt.Sprintf("%s more did not fit. %s", format.Count(left, "primary metric"), more)
	}
	wrap(&b, "", more, width)
	_, err := io.WriteString(w, b.String())
	return err
}

// short returns the cells of the rows with their points, and the signs that they use.
func short(t *compare.Table, metrics []compare.Metric, point func(compare.Row) string) (rows [][]string, used signs) {
	head := []string{"arm", ""}
	for _, m := range metrics {
		head = append(head, strings.TrimSpace(m.Label+" "+format.Arrow(m.Better))+", difference")
	}
	rows = [][]string{head}
	value := func(v, difference string) string { return fmt.Sprintf("%-5s  %s", v, difference) }
	kinds := func(notes []int, kinds ...compare.Kind) bool {
		for _, n := range notes {
			for _, k := range kinds {
				if t.Notes[n].Kind == k {
					return true
				}
			}
		}
		return false
	}
	difference := func(m compare.Metric, d compare.Difference, ok bool) string {
		if !ok {
			return "–"
		}
		return used.difference(m, d)
	}
	for _, r := range t.Rows {
		if r.SameAs != "" {
			continue
		}
		row := []string{r.Arm, point(r)}
		if r.Stopped != nil && len(metrics) > 0 {
			rows = append(rows, slices.Concat(row, []string{format.Stopped(*r.Stopped)}, make([]string, len(metrics)-1)))
			continue
		}
		for _, m := range metrics {
			v := "–"
			if c, ok := r.Cells[m.Name]; ok {
				if v = format.Number(m.Digits, c.Mean); kinds(c.Notes, compare.Pending, compare.NoValue, compare.Undefined, compare.Damaged) {
					v += used.use(partial)
				}
			}
			d, ok := r.Differences[m.Name]
			if r.Label == t.Reference {
				row = append(row, value(v, "(reference)"))
				continue
			}
			row = append(row, value(v, difference(m, d, ok)))
		}
		rows = append(rows, row)
	}
	for _, c := range t.Contrasts {
		row := []string{c.A, "− " + c.B}
		for _, m := range metrics {
			d, ok := c.Differences[m.Name]
			row = append(row, value("", difference(m, d, ok)))
		}
		rows = append(rows, row)
	}
	// The floor is the value of real images against real images.
	floor, any := []string{"real vs. real", ""}, false
	for _, m := range metrics {
		v := ""
		for _, r := range t.Rows {
			if c, ok := r.Cells[m.Real]; ok {
				v, any = format.Number(m.Digits, c.Mean), true
				break
			}
		}
		floor = append(floor, v)
	}
	if any {
		rows = append(rows, floor)
	}
	return rows, used
}

func legend(used signs) string {
	var s []string
	for _, u := range used {
		s = append(s, u.meaning)
	}
	if s == nil {
		return ""
	}
	return strings.Join(s, "; ") + "."
}

// collapsed returns a sentence on the rows of which seeds have collapsed.
func collapsed(t *compare.Table) string {
	var list []string
	for _, r := range t.Rows {
		if c := r.Collapse; c != nil && len(c.Seeds) > 0 && r.SameAs == "" {
			list = append(list, fmt.Sprintf("%s %d of %d", strings.TrimSpace(r.Arm+" "+format.BriefPoint(r)), len(c.Seeds), c.N))
		}
	}
	if list == nil {
		return ""
	}
	return "Collapsed seeds (a primary metric worse than the reference by a factor of two): " + strings.Join(list, "; ") + "."
}

func tableWidth(rows [][]string) int {
	n := -2
	for i := range rows[0] {
		n += columnWidth(rows, i) + 2
	}
	return n
}

// shorten cuts the texts of a column to n runes.
func shorten(rows [][]string, column, n int) {
	for _, r := range rows {
		if utf8.RuneCountInString(r[column]) > n {
			r[column] = string([]rune(r[column])[:n-1]) + "…"
		}
	}
}
