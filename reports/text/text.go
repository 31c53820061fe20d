// Package text renders an ablation table for terminals, Markdown, CSV and JSON.
package text

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"ablate/analysis/compare"
)

// columns of the short tables, in order; CSV and JSON have all metrics.
var columns = []string{"alignment", "alignment.seen", "alignment.unseen", "proxy", "fidelity.recall", "fidelity.frechet", "diversity"}

// digits is the number of decimals of a metric.
func digits(metric string) int {
	if metric == "fidelity.frechet" {
		return 1
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
func cell(metric string, c compare.Cell) string {
	s := short(metric, c.Mean)
	switch {
	case c.Interval != "":
		s += fmt.Sprintf(" [%s, %s]", short(metric, c.Low), short(metric, c.High))
	case len(c.Values) > 1:
		var v []string
		for _, x := range c.Values {
			v = append(v, short(metric, x))
		}
		s += " (" + strings.Join(v, " ") + ")"
	}
	return s
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
	s := r.Label
	if r.Control {
		s += " (control)"
	}
	if r.SameAs != "" {
		s += " (= " + r.SameAs + ")"
	}
	return s
}

// grid lays out the short table: a header and its rows, the floor last.
func grid(t *compare.Table) [][]string {
	head := []string{"arm"}
	var shown []compare.Metric
	for _, name := range columns {
		for _, m := range t.Metrics {
			if m.Name == name {
				arrow := map[string]string{"higher": " ↑", "lower": " ↓"}[m.Better]
				shown, head = append(shown, m), append(head, m.Label+arrow)
			}
		}
	}
	rows := [][]string{head}
	floor := make([]string, len(shown))
	for _, r := range t.Rows {
		row := []string{label(r)}
		for i, m := range shown {
			c, ok := r.Cells[m.Name]
			if !ok {
				row = append(row, "–")
				continue
			}
			row = append(row, cell(m.Name, c)+mark(c.Notes))
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

// differences lays out what each arm changes against the reference.
func differences(t *compare.Table) [][]string {
	rows := [][]string{{"less " + t.Reference, "alignment", "recall"}}
	for _, r := range t.Rows {
		if len(r.Differences) == 0 {
			continue
		}
		row := []string{label(r)}
		for _, m := range []string{"alignment", "fidelity.recall"} {
			c, ok := r.Differences[m]
			if !ok {
				row = append(row, "–")
				continue
			}
			s := signed(m, c.Mean)
			switch {
			case c.Interval != "":
				s += fmt.Sprintf(" [%s, %s]", signed(m, c.Low), signed(m, c.High))
			case len(c.Values) > 1:
				var v []string
				for _, x := range c.Values {
					v = append(v, signed(m, x))
				}
				s += " (" + strings.Join(v, " ") + ")"
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
	all := grid(t)
	for from := 1; from < len(all[0]); {
		used := columnWidth(all, 0)
		to := from
		for to < len(all[0]) && (to == from || used+2+columnWidth(all, to) <= width) {
			used += 2 + columnWidth(all, to)
			to++
		}
		block := make([][]string, len(all))
		for i, row := range all {
			row = pad(row, len(all[0]))
			block[i] = append([]string{row[0]}, row[from:to]...)
		}
		align(&b, block)
		b.WriteByte('\n')
		from = to
	}
	if d := differences(t); d != nil {
		align(&b, d)
		b.WriteByte('\n')
	}
	for i, n := range t.Footnotes {
		wrap(&b, mark([]int{i})+" ", n, width)
	}
	_, err := io.WriteString(w, b.String())
	return err
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
	for _, rows := range [][][]string{grid(t), differences(t)} {
		for i, r := range rows {
			b.WriteString("|")
			for _, s := range pad(r, len(rows[0])) {
				b.WriteString(" " + strings.NewReplacer("|", `\|`, "<", "&lt;", "\n", " ").Replace(s) + " |")
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
	for i, n := range t.Footnotes {
		b.WriteString(mark([]int{i}) + " " + n + "  \n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// CSV writes one line a row and metric: its figure, its interval and the
// difference to the reference.
func CSV(w io.Writer, t *compare.Table) error {
	c := csv.NewWriter(w)
	if err := c.Write([]string{"arm", "row", "control", "metric", "mean", "low", "high", "interval", "seeds", "images",
		"difference", "difference.low", "difference.high", "resolved"}); err != nil {
		return err
	}
	exact := func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
	bounds := func(x compare.Cell) []string {
		if x.Interval == "" {
			return []string{exact(x.Mean), "", ""}
		}
		return []string{exact(x.Mean), exact(x.Low), exact(x.High)}
	}
	for _, r := range t.Rows {
		for _, m := range t.Metrics {
			x, ok := r.Cells[m.Name]
			if !ok {
				continue
			}
			line := append([]string{r.Arm, r.Label, strconv.FormatBool(r.Control), m.Name}, bounds(x)...)
			line = append(line, x.Interval, strconv.Itoa(x.N), strconv.Itoa(x.Images))
			if d, ok := r.Differences[m.Name]; ok {
				line = append(append(line, bounds(d)...), strconv.FormatBool(d.Resolved))
			} else {
				line = append(line, "", "", "", "")
			}
			if err := c.Write(line); err != nil {
				return err
			}
		}
	}
	c.Flush()
	return c.Error()
}

// JSON writes the table as it is.
func JSON(w io.Writer, t *compare.Table) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(t)
}
