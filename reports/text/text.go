// Package text renders an ablation table for terminals, Markdown, LaTeX and JSON,
// and lays it out in long form for CSV and Parquet.
package text

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"ablate/analysis/compare"
	"ablate/analysis/table"
	"ablate/reports/format"
)

// The columns of the short tables, in order, before those that a study shows
// beside them; CSV and JSON have all metrics.
var (
	columns  = []string{"alignment", "alignment.seen", "alignment.unseen", "proxy", "fidelity.recall", "fidelity.frechet", "diversity"}
	compared = []string{"alignment", "fidelity.recall"}
)

// shown are the metrics of a short table: its own, then the study's.
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

// mark is a footnote's mark, counted from 1.
func mark(notes []int) string {
	var b strings.Builder
	for i, n := range notes {
		if i > 0 {
			b.WriteRune('˒')
		}
		for _, d := range strconv.Itoa(n + 1) {
			b.WriteRune(superscript[d-'0'])
		}
	}
	return b.String()
}

// grid lays out the table of some metrics: a header and its rows, the floor last.
func grid(t *compare.Table, metrics []compare.Metric) [][]string {
	head := []string{"arm"}
	for _, m := range metrics {
		head = append(head, strings.TrimSpace(m.Label+" "+format.Arrow(m.Better)))
	}
	rows := [][]string{head}
	floor := make([]string, len(metrics))
	for _, r := range t.Rows {
		row := []string{format.Label(r)}
		for i, m := range metrics {
			c, ok := r.Cells[m.Name]
			if !ok {
				row = append(row, "–")
				continue
			}
			s := format.Cell(m.Name, c) + mark(c.Notes)
			if m.Best == r.Label {
				s += " best"
			}
			row = append(row, s)
			if f, ok := r.Cells[m.Real]; ok && floor[i] == "" {
				floor[i] = format.Number(m.Name, f.Mean)
			}
		}
		rows = append(rows, row)
	}
	if strings.Join(floor, "") != "" {
		rows = append(rows, append([]string{"real against real"}, floor...))
	}
	return rows
}

// differences lays out what each arm changes against the reference; * marks
// what is significant, ≈ what is equivalent.
func differences(t *compare.Table, metrics []compare.Metric) [][]string {
	head := []string{"difference from " + t.Reference}
	metrics = slices.DeleteFunc(slices.Clone(metrics), func(m compare.Metric) bool {
		return !slices.ContainsFunc(t.Rows, func(r compare.Row) bool { _, ok := r.Differences[m.Name]; return ok })
	})
	for _, m := range metrics {
		head = append(head, m.Label)
	}
	for _, d := range t.Detect {
		head = append(head, fmt.Sprintf("seeds needed for ±%g (have)", d.Size))
	}
	rows := [][]string{head}
	add := func(label string, of map[string]compare.Difference) {
		row := []string{label}
		for _, m := range metrics {
			row = append(row, difference(m.Name, of))
		}
		for _, d := range t.Detect {
			row = append(row, format.Needs(of[d.Metric]))
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

func difference(metric string, of map[string]compare.Difference) string {
	c, ok := of[metric]
	if !ok {
		return "–"
	}
	s := format.Change(metric, c.Cell)
	if c.Significant {
		s += " *"
	}
	if c.Equivalent {
		s += " ≈"
	}
	return s + mark(c.Notes)
}

// collapses lays out the rows of which a seed has collapsed.
func collapses(t *compare.Table) [][]string {
	rows := [][]string{{"collapsed seeds", "share", "which"}}
	for _, r := range t.Rows {
		if c := r.Collapse; c != nil && len(c.Seeds) > 0 && r.SameAs == "" {
			rows = append(rows, []string{format.Label(r), fmt.Sprintf("%d of %d [%s, %s]", len(c.Seeds), c.N, format.Number("", c.Low), format.Number("", c.High)), strings.Join(c.Seeds, " ")})
		}
	}
	if len(rows) == 1 {
		return nil
	}
	return rows
}

// front lays out the Pareto front.
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
		rows = append(rows, []string{p.Label, on, format.Number("", p.Distance), by})
	}
	return rows
}

// effects lays out the effects of axes on some metrics.
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
			rows[i][c] = format.Change(e.Metric, e.Cell)
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

// primary are a table's primary metrics.
func primary(t *compare.Table) (out []compare.Metric) {
	for _, m := range t.Metrics {
		if m.Primary {
			out = append(out, m)
		}
	}
	return out
}

// Head writes what a study is and asks.
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

// answer writes the answer, an empty line after it.
func answer(b *strings.Builder, t *compare.Table, width int) {
	for _, s := range format.Answer(t) {
		wrap(b, "", s, width)
	}
	b.WriteByte('\n')
}

// Terminal writes the answer, the whole table, split into blocks that fit width columns,
// the differences from the reference, effects, the front and the notes.
func Terminal(w io.Writer, t *compare.Table, width int) error {
	var b strings.Builder
	answer(&b, t, width)
	for _, rows := range [][][]string{grid(t, t.Metrics), differences(t, t.Metrics), collapses(t), effects(t, primary(t)), front(t)} {
		blocks(&b, rows, width)
	}
	for _, n := range summary(t) {
		wrap(&b, "", n, width)
	}
	for i, n := range t.Notes {
		wrap(&b, mark([]int{i})+" ", format.Note(n), width)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// blocks aligns rows, split into blocks that fit width columns, each with the
// first column and a line after it.
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

// align writes rows with columns of equal width, a line under the header.
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

// wrap writes words in lines of at most width, the first led by lead.
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
	for _, rows := range [][][]string{grid(t, shown(t, columns)), differences(t, shown(t, compared)), collapses(t), effects(t, primary(t)), front(t)} {
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
	for i, n := range t.Notes {
		b.WriteString(mark([]int{i}) + " " + markdown(format.Note(n)) + "  \n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// summary is what a reader must know of the whole table, in sentences.
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
		if s.Note != "" {
			without = append(without, s.Arm)
		}
	}
	if without != nil {
		out = append(out, fmt.Sprintf("No main effects for %s: some combinations of their axes are left out, or two are one trial.", strings.Join(without, ", ")))
	}
	return out
}

// Long is the ablation table with one line a row and metric: its figure, its
// interval and the difference to the reference.
func Long(t *compare.Table) *table.Table {
	out := &table.Table{Meta: map[string]string{"reference": t.Reference}}
	column := func(name string, kind table.Kind, doc string) *table.Column {
		c := &table.Column{Name: name, Kind: kind, Doc: doc, Valid: []bool{}}
		out.Columns = append(out.Columns, c)
		return c
	}
	arm, row := column("arm", table.String, ""), column("row", table.String, "arm and point")
	control, metric := column("control", table.Bool, ""), column("metric", table.String, "")
	mean, low, high := column("mean", table.Float, ""), column("low", table.Float, "of the 95% interval"), column("high", table.Float, "")
	levels := column("interval", table.String, "the levels that it is over: seeds, seeds and prompts, prompts or images; empty: there is no interval")
	seeds, images := column("seeds", table.Int, "independent ones"), column("images", table.Int, "smallest number behind a seed's value")
	d, dlow, dhigh := column("difference", table.Float, "from the reference, paired by seed"), column("difference.low", table.Float, "of the 95% interval"), column("difference.high", table.Float, "")
	p, pc := column("difference.p", table.Float, "two-sided"), column("difference.pCorrected", table.Float, "corrected by Holm over rows and primary metrics; null where the metric is not primary")
	clow, chigh := column("difference.corrected.low", table.Float, "of the interval corrected by Holm"), column("difference.corrected.high", table.Float, "")
	significant, equivalent := column("significant", table.Bool, "pCorrected is below .05"), column("equivalent", table.Bool, "within what compare.detect declares to matter")
	needs := column("needs", table.Int, "seeds that find what compare.detect declares to matter; 0: not declared, or no number is enough")
	str := func(c *table.Column, v string) { c.Strings, c.Valid = append(c.Strings, v), append(c.Valid, true) }
	num := func(c *table.Column, v float64, ok bool) {
		c.Floats, c.Valid = append(c.Floats, v), append(c.Valid, ok)
	}
	boolean := func(c *table.Column, v, ok bool) { c.Bools, c.Valid = append(c.Bools, v), append(c.Valid, ok) }
	whole := func(c *table.Column, v int) { c.Ints, c.Valid = append(c.Ints, int64(v)), append(c.Valid, true) }
	for _, r := range t.Rows {
		for _, m := range t.Metrics {
			x, ok := r.Cells[m.Name]
			if !ok {
				continue
			}
			str(arm, r.Arm)
			str(row, r.Label)
			boolean(control, r.Control, true)
			str(metric, m.Name)
			num(mean, x.Mean, true)
			num(low, x.Low, x.Interval != "")
			num(high, x.High, x.Interval != "")
			str(levels, x.Interval)
			whole(seeds, x.N)
			whole(images, x.Images)
			y, ok := r.Differences[m.Name]
			num(d, y.Mean, ok)
			num(dlow, y.Low, ok && y.Interval != "")
			num(dhigh, y.High, ok && y.Interval != "")
			corrected := y.Corrected
			if corrected == nil {
				corrected = &compare.Bounds{}
			}
			num(p, deref(y.P), y.P != nil)
			num(pc, deref(y.PCorrected), y.PCorrected != nil)
			num(clow, corrected.Low, y.Corrected != nil)
			num(chigh, corrected.High, y.Corrected != nil)
			boolean(significant, y.Significant, ok)
			boolean(equivalent, y.Equivalent, ok)
			whole(needs, y.Needs)
		}
	}
	return out
}

func deref(p *float64) float64 {
	if p == nil {
		return 0
	}
	return *p
}

// JSON writes the table as it is, its comparisons in a flat list, and its notes in words.
func JSON(w io.Writer, t *compare.Table) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	var notes []string
	for _, n := range t.Notes {
		notes = append(notes, format.Note(n))
	}
	return e.Encode(struct {
		Format string `json:"format"`
		*compare.Table
		Comparisons []compare.Comparison `json:"comparisons"`
		Footnotes   []string             `json:"footnotes"`
	}{Format, t, t.Comparisons(), notes})
}

// Format is the version of the JSON of a table.
const Format = "ablate.table/2"
