// Package text renders an ablation table for terminals, Markdown, LaTeX and JSON. For CSV
// and Parquet it converts the table to long form, with one line per estimate.
package text

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"ablate/analysis/compare"
	"ablate/reports/format"
)

// Metrics of the short tables, in order. Metrics that a study shows in addition follow
// them. CSV and JSON have all metrics.
var (
	columns  = []string{"alignment", "alignment.seen", "alignment.unseen", "proxy", "fidelity.recall", "fidelity.frechet", "diversity"}
	compared = []string{"alignment", "fidelity.recall"}
)

// shown returns the metrics of a short table: own, then those that the study shows.
func shown(t *compare.Table, own []string) (out []compare.Metric) {
	names := slices.Clone(own)
	for _, name := range t.Show {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, name := range names {
		if i := slices.IndexFunc(t.Metrics, func(m compare.Metric) bool { return m.Name == name }); i >= 0 {
			out = append(out, t.Metrics[i])
		}
	}
	return out
}

var superscript = []rune("⁰¹²³⁴⁵⁶⁷⁸⁹")

// marks numbers the notes about single values, in the order in which a text first has
// them. Notes about the whole table have no number.
type marks struct {
	notes []compare.Note
	order []int // indices of notes
}

// of returns the numbers of a value's notes, from 1.
func (m *marks) of(notes []int) []int {
	var out []int
	for _, n := range notes {
		if !m.notes[n].Single() {
			continue
		}
		i := slices.Index(m.order, n)
		if i < 0 {
			i = len(m.order)
			m.order = append(m.order, n)
		}
		out = append(out, i+1)
	}
	return out
}

// super returns the numbers of a value's notes as superscripts.
func (m *marks) super(notes []int) string { return superscripts(m.of(notes)) }

// each calls f with every note that the text needs: those that have a number with it,
// then those about the whole table with 0.
func (m *marks) each(f func(number int, note string)) {
	for i, n := range m.order {
		f(i+1, format.Note(m.notes[n]))
	}
	for _, n := range m.notes {
		if !n.Single() {
			f(0, format.Note(n))
		}
	}
}

func superscripts(numbers []int) string {
	var b strings.Builder
	for i, n := range numbers {
		if i > 0 {
			b.WriteRune('˒')
		}
		for _, d := range strconv.Itoa(n) {
			b.WriteRune(superscript[d-'0'])
		}
	}
	return b.String()
}

// lead returns the superscript before a note, "" for one without a number.
func lead(number int) string {
	if number == 0 {
		return ""
	}
	return superscripts([]int{number}) + " "
}

// grid returns the cells of a table of metrics: a header and the rows, with the floor as
// the last row.
func grid(t *compare.Table, metrics []compare.Metric, notes *marks) [][]string {
	head := []string{"arm"}
	for _, m := range metrics {
		head = append(head, strings.TrimSpace(m.Label+" "+format.Arrow(m.Better)))
	}
	rows := [][]string{head}
	for _, r := range t.Rows {
		row := []string{format.Label(r)}
		if r.Stopped != nil && len(metrics) > 0 {
			rows = append(rows, slices.Concat(row, []string{format.Stopped(*r.Stopped)}, slices.Repeat([]string{"–"}, len(metrics)-1)))
			continue
		}
		for _, m := range metrics {
			c, ok := r.Cells[m.Name]
			if !ok {
				row = append(row, "–")
				continue
			}
			s := format.Cell(m.Digits, c) + notes.super(c.Notes)
			if m.Best == r.Label {
				s += " best"
			}
			row = append(row, s)
		}
		rows = append(rows, row)
	}
	if floor := floors(t, metrics); floor != nil {
		rows = append(rows, append([]string{"real against real"}, floor...))
	}
	return rows
}

// floors returns the values of real images against real images; nil if no metric has one.
func floors(t *compare.Table, metrics []compare.Metric) []string {
	floor, any := make([]string, len(metrics)), false
	for i, m := range metrics {
		for _, r := range t.Rows {
			if c, ok := r.Cells[m.Real]; ok {
				floor[i], any = format.Number(m.Digits, c.Mean), true
				break
			}
		}
	}
	if !any {
		return nil
	}
	return floor
}

// differences returns the cells of each row's differences from the reference. * marks
// significant ones, ≈ equivalent ones.
func differences(t *compare.Table, metrics []compare.Metric, notes *marks) [][]string {
	return eachDifference(t, metrics, func(s string) string { return s }, func(m compare.Metric, d compare.Difference) string {
		s := format.Change(m.Digits, d.Cell)
		if d.Significant {
			s += " *"
		}
		if d.Equivalent {
			s += " ≈"
		}
		return s + notes.super(d.Notes)
	})
}

// eachDifference returns the differences of rows and contrasts in cells of any type; nil
// if there are none.
func eachDifference[C any](t *compare.Table, metrics []compare.Metric, plain func(string) C, cell func(m compare.Metric, d compare.Difference) C) [][]C {
	head := []C{plain("difference from " + t.Reference)}
	metrics = slices.DeleteFunc(slices.Clone(metrics), func(m compare.Metric) bool {
		return !slices.ContainsFunc(t.Rows, func(r compare.Row) bool { _, ok := r.Differences[m.Name]; return ok })
	})
	for _, m := range metrics {
		head = append(head, plain(m.Label))
	}
	for _, d := range t.Detect {
		head = append(head, plain(fmt.Sprintf("seeds needed for ±%s (have)", format.Size(t.Digits(d.Metric), d.Size))))
	}
	rows := [][]C{head}
	add := func(label string, of map[string]compare.Difference) {
		row := []C{plain(label)}
		for _, m := range metrics {
			if d, ok := of[m.Name]; ok {
				row = append(row, cell(m, d))
			} else {
				row = append(row, plain("–"))
			}
		}
		for _, d := range t.Detect {
			row = append(row, plain(format.Needs(of[d.Metric])))
		}
		rows = append(rows, row)
	}
	for _, r := range t.Rows {
		if len(r.Differences) > 0 {
			add(format.Label(r), r.Differences)
		}
	}
	for _, c := range t.Contrasts {
		add(c.A+" − "+c.B, c.Differences)
	}
	if len(rows) == 1 {
		return nil
	}
	return rows
}

// collapses returns the cells of the rows of which a seed has collapsed.
func collapses(t *compare.Table) [][]string {
	rows := [][]string{{"collapsed seeds", "share", "which"}}
	for _, r := range t.Rows {
		if c := r.Collapse; c != nil && len(c.Seeds) > 0 && r.SameAs == "" {
			rows = append(rows, []string{format.Label(r), fmt.Sprintf("%d of %d [%s, %s]", len(c.Seeds), c.N, format.Number(0, c.Low), format.Number(0, c.High)), strings.Join(c.Seeds, " ")})
		}
	}
	if len(rows) == 1 {
		return nil
	}
	return rows
}

// front returns the cells of the Pareto front.
func front(t *compare.Table) [][]string {
	if t.Front == nil {
		return nil
	}
	rows := [][]string{{"front (means)", "on it", "distance to it", "dominated significantly by"}}
	for _, p := range t.Front.Points {
		on := "no"
		if p.On {
			on = "yes"
		}
		by := ""
		if p.DominatedBy != "" {
			by = fmt.Sprintf("%s (p %s)", p.DominatedBy, format.P(p.P))
		}
		rows = append(rows, []string{p.Label, on, format.Number(0, p.Distance), by})
	}
	return rows
}

// effects returns the cells of the effects of axes on metrics.
func effects(t *compare.Table, metrics []compare.Metric) [][]string {
	head, column := []string{"effect of"}, map[string]int{}
	for _, m := range metrics {
		column[m.Name] = len(head)
		head = append(head, m.Label)
	}
	rows := [][]string{head}
	for _, s := range t.Sweeps {
		at := map[string]int{}
		for _, e := range s.Effects {
			c := column[e.Metric]
			if c == 0 {
				continue
			}
			name := s.Arm + ": " + format.Effect(e)
			i, ok := at[name]
			if !ok {
				i = len(rows)
				at[name] = i
				rows = append(rows, slices.Concat([]string{name}, slices.Repeat([]string{"–"}, len(metrics))))
			}
			rows[i][c] = format.Change(t.Digits(e.Metric), e.Cell)
			if e.Significant {
				rows[i][c] += " *"
			}
			if e.Monotone {
				rows[i][c] += " monotone"
			}
		}
	}
	if len(rows) == 1 {
		return nil
	}
	return rows
}

// primary returns the primary metrics of a table.
func primary(t *compare.Table) (out []compare.Metric) {
	for _, m := range t.Metrics {
		if m.Primary {
			out = append(out, m)
		}
	}
	return out
}

// Head writes the title and the question of a study.
func Head(w io.Writer, title, question string, width int) error {
	var b strings.Builder
	wrap(&b, "", title, width)
	if question != "" {
		wrap(&b, "Question: ", question, width)
	}
	b.WriteByte('\n')
	_, err := io.WriteString(w, b.String())
	return err
}

// answer writes the answer and an empty line.
func answer(b *strings.Builder, t *compare.Table, width int) {
	for _, s := range format.Answer(t) {
		wrap(b, "", s, width)
	}
	b.WriteByte('\n')
}

// Terminal writes the answer, the whole table in blocks that fit into width columns, the
// differences from the reference, effects, the front and the notes.
func Terminal(w io.Writer, t *compare.Table, width int) error {
	var b strings.Builder
	answer(&b, t, width)
	notes := &marks{notes: t.Notes}
	for _, rows := range [][][]string{grid(t, t.Metrics, notes), differences(t, t.Metrics, notes), collapses(t), effects(t, primary(t)), front(t)} {
		blocks(&b, rows, width)
	}
	for _, n := range summary(t) {
		wrap(&b, "", n, width)
	}
	notes.each(func(number int, note string) { wrap(&b, lead(number), note, width) })
	_, err := io.WriteString(w, b.String())
	return err
}

// blocks writes aligned rows in blocks that fit into width columns. Each block has the
// first column and ends with an empty line.
func blocks(b *strings.Builder, rows [][]string, width int) {
	if rows == nil {
		return
	}
	for from := 1; from < len(rows[0]); {
		used := columnWidth(rows, 0)
		to := from
		for to < len(rows[0]) && (to == from || used+2+columnWidth(rows, to) <= width) {
			used += 2 + columnWidth(rows, to)
			to++
		}
		block := make([][]string, len(rows))
		for i, row := range rows {
			row = pad(row, len(rows[0]))
			block[i] = append([]string{row[0]}, row[from:to]...)
		}
		align(b, block)
		b.WriteByte('\n')
		from = to
	}
}

func pad(row []string, n int) []string {
	for len(row) < n {
		row = append(row, "")
	}
	return row
}

func columnWidth(rows [][]string, i int) int {
	n := 0
	for _, r := range rows {
		if i < len(r) {
			n = max(n, utf8.RuneCountInString(r[i]))
		}
	}
	return n
}

// align writes rows with aligned columns and a line under the header.
func align(b *strings.Builder, rows [][]string) {
	widths := make([]int, len(rows[0]))
	total := -2
	for i := range widths {
		widths[i] = columnWidth(rows, i)
		total += widths[i] + 2
	}
	for i, r := range rows {
		var line strings.Builder
		for j, s := range pad(r, len(widths)) {
			line.WriteString(s + strings.Repeat(" ", widths[j]-utf8.RuneCountInString(s)+2))
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
		if i == 0 {
			b.WriteString(strings.Repeat("─", total) + "\n")
		}
	}
}

// wrap writes text in lines of at most width columns, the first of which begins with
// lead.
func wrap(b *strings.Builder, lead, text string, width int) {
	indent := strings.Repeat(" ", utf8.RuneCountInString(lead))
	line := lead
	for i, word := range strings.Fields(text) {
		if i > 0 && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
			b.WriteString(line + "\n")
			line = indent
		} else if i > 0 {
			line += " "
		}
		line += word
	}
	b.WriteString(line + "\n")
}

// Markdown writes the short table, the differences and the footnotes.
func Markdown(w io.Writer, t *compare.Table) error {
	var b strings.Builder
	notes := &marks{notes: t.Notes}
	for _, rows := range [][][]string{grid(t, shown(t, columns), notes), differences(t, shown(t, compared), notes), collapses(t), effects(t, primary(t)), front(t)} {
		for i, r := range rows {
			b.WriteString("|")
			for _, s := range pad(r, len(rows[0])) {
				b.WriteString(" " + markdownCell(s) + " |")
			}
			b.WriteByte('\n')
			if i == 0 {
				b.WriteString("|" + strings.Repeat("---|", len(r)) + "\n")
			}
		}
		if rows != nil {
			b.WriteByte('\n')
		}
	}
	for _, n := range summary(t) {
		b.WriteString(markdown(n) + "  \n")
	}
	notes.each(func(number int, note string) { b.WriteString(lead(number) + markdown(note) + "  \n") })
	_, err := io.WriteString(w, b.String())
	return err
}

// summary returns what a reader must know about the whole table, in sentences.
func summary(t *compare.Table) []string {
	var out []string
	for _, s := range []string{format.Levels(t), format.Significance(t)} {
		if s != "" {
			out = append(out, s)
		}
	}
	out = append(out, format.Detect(t)...)
	out = append(out, format.Resolving(t)...)
	if s := format.Left(t); s != "" {
		out = append(out, s)
	}
	if t.OverOptimization != nil {
		out = append(out, format.OverOptimization(t.OverOptimization))
	}
	var without []string
	for _, s := range t.Sweeps {
		if text := format.Uncrossed(s); text != "" {
			out = append(out, text)
		}
		if s.Note != "" {
			without = append(without, s.Arm)
		}
	}
	if without != nil {
		out = append(out, fmt.Sprintf("No main effects for %s: some combinations of their axes are %s, or two are one trial.", strings.Join(without, ", "), format.Missing(t)))
	}
	return out
}

// DocumentFormat is the name and version of the JSON schema of a Document.
const DocumentFormat = "ablate.table/2"

// Document is the JSON form of a table: the table itself, its comparisons as a flat list,
// and its notes as sentences.
type Document struct {
	Format string `json:"format"` // name and version of the schema of this object
	*compare.Table
	Comparisons []compare.Comparison `json:"comparisons"`
	Footnotes   []string             `json:"footnotes"` // the notes as sentences, in their order
}

// NewDocument returns the document of a table.
func NewDocument(t *compare.Table) Document {
	notes := []string{}
	for _, n := range t.Notes {
		notes = append(notes, format.Note(n))
	}
	return Document{DocumentFormat, t, t.Comparisons(), notes}
}

// Schema is the name and version of the document's JSON schema.
func (d Document) Schema() string { return d.Format }
