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

// digits is the number of decimals of a metric.
func digits(metric string) int {
	switch metric {
	case "fidelity.frechet", "distance.kl":
		return 1
	case "fidelity.kid", "fidelity.cmmd":
		return 4
	}
	return 3
}

func number(metric string, v float64) string { return strconv.FormatFloat(v, 'f', digits(metric), 64) }

// short drops the zero before a point, as tables in papers do.
func short(metric string, v float64) string {
	s := number(metric, v)
	if digits(metric) != 3 {
		return s
	}
	if rest, ok := strings.CutPrefix(s, "-0."); ok {
		return "-." + rest
	}
	if rest, ok := strings.CutPrefix(s, "0."); ok {
		return "." + rest
	}
	return s
}

// cell is a figure with its interval, or its seeds' values where there is none.
func cell(metric string, c compare.Cell) string { return figure(metric, c, short) }

// change is a difference with its interval, or its seeds' values.
func change(metric string, c compare.Cell) string { return figure(metric, c, signed) }

func figure(metric string, c compare.Cell, format func(metric string, v float64) string) string {
	s := format(metric, c.Mean)
	switch {
	case c.Interval != "":
		s += fmt.Sprintf(" [%s, %s]", format(metric, c.Low), format(metric, c.High))
	case varies(c):
		var v []string
		for _, x := range c.Values {
			v = append(v, format(metric, x))
		}
		s += " (" + strings.Join(v, " ") + ")"
	}
	return s
}

// varies reports whether a figure's seeds differ.
func varies(c compare.Cell) bool {
	return slices.ContainsFunc(c.Values, func(x float64) bool { return x != c.Values[0] })
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

// label names a row, with what a reader must know of it.
func label(r compare.Row) string {
	s := r.Name()
	switch {
	case r.Part:
		s += " (part of " + r.SameAs + ")"
	case r.SameAs != "":
		s += " (= " + r.SameAs + ")"
	}
	return s
}

// grid lays out the short table: a header and its rows, the floor last.
func grid(t *compare.Table) [][]string {
	head := []string{"arm"}
	metrics := shown(t, columns)
	for _, m := range metrics {
		head = append(head, m.Label+map[string]string{"higher": " ↑", "lower": " ↓"}[m.Better])
	}
	rows := [][]string{head}
	floor := make([]string, len(metrics))
	for _, r := range t.Rows {
		row := []string{label(r)}
		for i, m := range metrics {
			c, ok := r.Cells[m.Name]
			if !ok {
				row = append(row, "–")
				continue
			}
			s := cell(m.Name, c) + mark(c.Notes)
			if m.Best == r.Label {
				s += " best"
			}
			row = append(row, s)
			if f, ok := r.Cells[m.Real]; ok && floor[i] == "" {
				floor[i] = short(m.Name, f.Mean)
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
// what is resolved, ≈ what is equivalent.
func differences(t *compare.Table) [][]string {
	head := []string{"less " + t.Reference}
	metrics := slices.DeleteFunc(shown(t, compared), func(m compare.Metric) bool {
		return !slices.ContainsFunc(t.Rows, func(r compare.Row) bool { _, ok := r.Differences[m.Name]; return ok })
	})
	for _, m := range metrics {
		head = append(head, m.Label)
	}
	for _, d := range t.Detect {
		head = append(head, fmt.Sprintf("seeds for ±%g", d.Size))
	}
	rows := [][]string{head}
	for _, r := range t.Rows {
		if len(r.Differences) == 0 {
			continue
		}
		row := []string{label(r)}
		for _, m := range metrics {
			row = append(row, difference(m.Name, r.Differences))
		}
		for _, d := range t.Detect {
			s := "–"
			if x, ok := r.Differences[d.Metric]; ok && x.Needs > 0 {
				s = fmt.Sprintf("%d (has %d)", x.Needs, x.N)
			}
			row = append(row, s)
		}
		rows = append(rows, row)
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
	s := change(metric, c.Cell)
	if c.Resolved {
		s += " *"
	}
	if c.Equivalent {
		s += " ≈"
	}
	return s + mark(c.Notes)
}

// front lays out the Pareto front.
func front(t *compare.Table) [][]string {
	if t.Front == nil {
		return nil
	}
	rows := [][]string{{"front", "on it", "in draws", "behind it by"}}
	for _, p := range t.Front.Points {
		on := "no"
		if p.On {
			on = "yes"
		}
		rows = append(rows, []string{p.Label, on, fmt.Sprintf("%.0f%%", 100*p.Membership), fmt.Sprintf("%s [%s, %s]", short("", p.Behind.Value), short("", p.Behind.Low), short("", p.Behind.High))})
	}
	return rows
}

// effects lays out trends and main effects on alignment and recall.
func effects(t *compare.Table) [][]string {
	rows := [][]string{{"effect of", "alignment", "recall"}}
	for _, s := range t.Sweeps {
		at := map[string]int{}
		for _, e := range s.Effects {
			column := map[string]int{"alignment": 1, "fidelity.recall": 2}[e.Metric]
			if column == 0 {
				continue
			}
			name := s.Arm + ": " + strings.Join(e.Factors, " × ")
			switch e.Kind {
			case compare.Trend:
				name += ", range"
			default:
				name += " = " + strings.Join(e.Levels, ", ")
			}
			i, ok := at[name]
			if !ok {
				i = len(rows)
				at[name] = i
				rows = append(rows, []string{name, "–", "–"})
			}
			rows[i][column] = change(e.Metric, e.Cell)
			if e.Resolved {
				rows[i][column] += " *"
			}
			if e.Monotone {
				rows[i][column] += " monotone"
			}
		}
		if s.Note != "" {
			rows = append(rows, []string{s.Arm + ": " + s.Note, "", ""})
		}
	}
	if len(rows) == 1 {
		return nil
	}
	return rows
}

func signed(metric string, v float64) string {
	s := short(metric, v)
	if v >= 0 {
		s = "+" + s
	}
	return s
}

// Terminal writes the short table, split into blocks that fit width columns,
// the differences to the reference, and the footnotes.
func Terminal(w io.Writer, t *compare.Table, width int) error {
	var b strings.Builder
	for _, rows := range [][][]string{grid(t), differences(t), effects(t), front(t)} {
		blocks(&b, rows, width)
	}
	for _, n := range summary(t) {
		wrap(&b, "", n, width)
	}
	for i, n := range t.Footnotes {
		wrap(&b, mark([]int{i})+" ", n, width)
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
	for _, rows := range [][][]string{grid(t), differences(t), effects(t), front(t)} {
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
	for i, n := range t.Footnotes {
		b.WriteString(mark([]int{i}) + " " + markdown(n) + "  \n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// summary says in sentences what stands in no column.
func summary(t *compare.Table) []string {
	var out []string
	if f := t.Front; f != nil {
		over := f.Over
		if over == compare.OverPrompts {
			over += ", for these seeds only, and " + f.X + " is held as it is"
		}
		out = append(out, fmt.Sprintf("Together the rows dominate an area of %s [%s, %s] above (0, 0) of %s × %s; draws of the bootstrap are over %s.",
			short("", f.Hypervolume.Value), short("", f.Hypervolume.Low), short("", f.Hypervolume.High), f.X, f.Y, over))
	}
	return append(out, Detect(t.Detect)...)
}

// Detect says in sentences how many seeds it takes to find what matters.
func Detect(list []compare.Detect) []string {
	var out []string
	for _, d := range list {
		switch {
		case d.Needs == 0:
			out = append(out, fmt.Sprintf("A difference of %g in %s matters here; no spread over seeds has been seen yet that would say how many it takes.", d.Size, d.Metric))
		case d.Needs > d.Have:
			out = append(out, fmt.Sprintf("To find a difference of %g in %s (80%% power, two-sided 5%% over %s) %q needs %d seeds, up to %d if the spread is at its upper 80%% bound; there are %d.", d.Size, d.Metric, comparisons(d.Family), d.Row, d.Needs, d.AtMost, d.Have))
		default:
			out = append(out, fmt.Sprintf("%d seeds find a difference of %g in %s (80%% power, two-sided 5%% over %s): %d are needed, up to %d if the spread is at its upper 80%% bound.", d.Have, d.Size, d.Metric, comparisons(d.Family), d.Needs, d.AtMost))
		}
	}
	return out
}

func comparisons(n int) string {
	if n == 1 {
		return "1 comparison"
	}
	return fmt.Sprintf("%d comparisons", n)
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
	interval := column("interval", table.String, "seeds, prompts or none")
	seeds, images := column("seeds", table.Int, "independent ones"), column("images", table.Int, "fewest that a seed's value stands on")
	d, dlow, dhigh := column("difference", table.Float, "to the reference, paired"), column("difference.low", table.Float, ""), column("difference.high", table.Float, "")
	p := column("difference.p", table.Float, "two-sided, corrected by Holm over the rows")
	clow, chigh := column("difference.corrected.low", table.Float, "of the interval corrected by Holm"), column("difference.corrected.high", table.Float, "")
	resolved := column("resolved", table.Bool, "the corrected interval excludes 0")
	improved := column("improved", table.Float, "share of seeds that are better")
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
			str(interval, x.Interval)
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
			num(p, y.P, y.Corrected != nil)
			num(clow, corrected.Low, y.Corrected != nil)
			num(chigh, corrected.High, y.Corrected != nil)
			boolean(resolved, y.Resolved, ok)
			num(improved, y.Improved.Share, ok)
		}
	}
	return out
}

// JSON writes the table as it is.
func JSON(w io.Writer, t *compare.Table) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(t)
}
