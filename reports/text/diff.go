package text

import (
	"fmt"
	"io"
	"strings"

	"ablate/analysis/compare"
	"ablate/reports/format"
)

// Diff writes how two tables differ: one line per row that both have, with the primary
// metrics that fit into width columns.
func Diff(w io.Writer, d *compare.Diff, width int) error {
	var b strings.Builder
	about(&b, d, width)
	var metrics []compare.Metric
	for _, m := range d.Metrics {
		if m.Primary {
			metrics = append(metrics, m)
		}
	}
	const least = 12 // least number of runes of a name
	left := 0
	var rows [][]string
	var used signs
	for ; ; left++ {
		rows, used = sides(d, metrics[:len(metrics)-left])
		over := tableWidth(rows) - width
		if room := columnWidth(rows, 0) - least; over <= room || len(metrics)-left <= 1 {
			if over > 0 {
				shorten(rows, 0, max(least, columnWidth(rows, 0)-over))
			}
			break
		}
	}
	align(&b, rows)
	b.WriteByte('\n')
	for _, s := range append(format.Changes(d), levelsOf(d)+" "+legend(used)) {
		wrap(&b, "", strings.TrimSpace(s), width)
	}
	more := "--all has every metric, with seeds, intervals and all notes."
	if left > 0 {
		more = fmt.Sprintf("%s more did not fit. %s", format.Count(left, "primary metric"), more)
	}
	wrap(&b, "", more, width)
	_, err := io.WriteString(w, b.String())
	return err
}

// DiffAll writes how two tables differ, with one line per row and metric.
func DiffAll(w io.Writer, d *compare.Diff, width int) error {
	var b strings.Builder
	about(&b, d, width)
	notes := &marks{notes: d.Notes}
	rows := [][]string{{"row", "metric", "A", "B", "A − B", "p", "corrected", "seeds"}}
	for _, r := range d.Rows {
		if r.SameAs != "" {
			continue
		}
		for _, m := range d.Metrics {
			v, ok := r.Values[m.Name]
			if !ok {
				continue
			}
			line := []string{format.RowName(r), strings.TrimSpace(m.Label + " " + format.Arrow(m.Better)), format.Number(m.Digits, v.A.Mean) + notes.super(v.A.Notes), format.Number(m.Digits, v.B.Mean) + notes.super(v.B.Notes), "–", "", "", seedsOf(v)}
			switch x := v.Difference; {
			case r.Same:
				line[4] = "identical"
			case x != nil:
				if line[4] = format.Change(m.Digits, x.Cell) + notes.super(x.Notes); x.Significant {
					line[4] += " *"
				}
				if x.Equivalent {
					line[4] += " ≈"
				}
				if x.P != nil {
					line[5] = format.P(*x.P)
				}
				if x.PCorrected != nil {
					line[6] = format.P(*x.PCorrected)
				}
			}
			rows = append(rows, line)
		}
	}
	blocks(&b, rows, width)
	for _, s := range append(format.Changes(d), levelsOf(d)) {
		wrap(&b, "", s, width)
	}
	notes.each(func(number int, note string) { wrap(&b, lead(number), note, width) })
	_, err := io.WriteString(w, b.String())
	return err
}

// about writes what is compared, and a summary.
func about(b *strings.Builder, d *compare.Diff, width int) {
	wrap(b, "", fmt.Sprintf("A: %s. B: %s. Differences are A − B; both means are over the seeds that the difference uses.", d.A, d.B), width)
	b.WriteByte('\n')
	for _, s := range format.Diff(d) {
		wrap(b, "", s, width)
	}
	b.WriteByte('\n')
}

// sides returns the cells of the rows of both tables, and the signs that they use.
func sides(d *compare.Diff, metrics []compare.Metric) (rows [][]string, used signs) {
	head := []string{"row"}
	for _, m := range metrics {
		head = append(head, fmt.Sprintf("%s: A, B, A − B", strings.TrimSpace(m.Label+" "+format.Arrow(m.Better))))
	}
	rows = [][]string{head}
	for _, r := range d.Rows {
		if r.SameAs != "" {
			continue
		}
		line := []string{format.RowName(r)}
		for _, m := range metrics {
			v, ok := r.Values[m.Name]
			if !ok {
				line = append(line, "–")
				continue
			}
			s := "not comparable"
			switch x := v.Difference; {
			case r.Same:
				s = "identical"
			case x != nil:
				s = used.difference(m, *x)
			}
			line = append(line, fmt.Sprintf("%-5s  %-5s  %s", format.Number(m.Digits, v.A.Mean), format.Number(m.Digits, v.B.Mean), s))
		}
		rows = append(rows, line)
	}
	return rows, used
}

// seedsOf returns the seeds that a comparison uses.
func seedsOf(v compare.DiffValue) string {
	a, b := strings.Join(v.A.Seeds, " "), strings.Join(v.B.Seeds, " ")
	if a == b {
		return a
	}
	return a + " | " + b
}

// levelsOf returns a sentence on what the intervals of a comparison are over.
func levelsOf(d *compare.Diff) string {
	for _, r := range d.Rows {
		for _, v := range r.Values {
			if v.Difference != nil && v.Difference.Tested() {
				if d.Prompts == compare.Sampled {
					return "Intervals: 95%, over seeds and prompts, not corrected. * significant after Holm's correction."
				}
				return "Intervals: 95%, over seeds, for these prompts, not corrected. * significant after Holm's correction."
			}
		}
	}
	return "Intervals: 95%, over images, for these seeds and prompts only."
}

// DiffFormat is the format of DiffDocument.
const DiffFormat = "ablate.diff/1"

// DiffDocument is what 'ablate diff --json' prints.
type DiffDocument struct {
	Format string `json:"format"` // name and version of the schema of this object, "ablate.NAME/VERSION"; 'ablate schema --json-schema NAME' prints it
	*compare.Diff
	Footnotes []string `json:"footnotes"` // the notes as sentences
}

// Schema is the name and version of the document's JSON schema.
func (d DiffDocument) Schema() string { return d.Format }

// NewDiffDocument returns the document of a comparison.
func NewDiffDocument(d *compare.Diff) DiffDocument {
	notes := []string{}
	for _, n := range d.Notes {
		notes = append(notes, format.Note(n))
	}
	return DiffDocument{DiffFormat, d, notes}
}
