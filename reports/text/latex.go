package text

import (
	"fmt"
	"io"
	"strings"

	"ablate/analysis/compare"
	"ablate/reports/format"
)

// latexSpecial has what means something else in LaTeX. Engines that read UTF-8 know letters
// with accents, dashes and quotation marks; of other characters they lack the glyphs.
var latexSpecial = strings.NewReplacer(`\`, `\textbackslash{}`, "&", `\&`, "%", `\%`, "$", `\$`, "#", `\#`, "_", `\_`, "{", `\{`, "}", `\}`, "~", `\textasciitilde{}`, "^", `\textasciicircum{}`, "<", `\textless{}`, ">", `\textgreater{}`, "|", `\textbar{}`, `"`, "''", "*", "{*}", "\n", " ",
	"–", "--", "−", "$-$", "±", `$\pm$`, "×", `$\times$`, "≈", `$\approx$`, "→", `$\to$`, "↑", `$\uparrow$`, "↓", `$\downarrow$`, "σ", `$\sigma$`)

func latex(s string) string { return latexSpecial.Replace(s) }

// latexCell is a cell of a table: its text and the lines in small print below it, all LaTeX.
type latexCell struct {
	text  string
	below []string
}

// LaTeX writes a table as papers have it, to be read by \input and for the package booktabs:
// the short table, each value with its interval below and the best of a column in bold only
// where its paired difference from every other row is significant; the differences with
// stars; effects and the front; and notes below them.
func LaTeX(w io.Writer, t *compare.Table) error {
	var b strings.Builder
	b.WriteString("% needs \\usepackage{booktabs}\n")
	used := map[int]bool{} // notes with marks
	latexTabular(&b, latexLevels(t, shown(t, columns), used))
	latexTabular(&b, latexDifferences(t, shown(t, compared), used))
	for _, rows := range [][][]string{collapses(t), effects(t, primary(t)), front(t)} {
		var cells [][]latexCell
		for _, row := range rows {
			var line []latexCell
			for _, s := range row {
				line = append(line, latexCell{text: latex(s)})
			}
			cells = append(cells, line)
		}
		latexTabular(&b, cells)
	}
	b.WriteString("\\begin{minipage}{\\linewidth}\\footnotesize\\raggedright\nIn brackets: 95\\% intervals; in parentheses: the seeds.\n")
	for _, s := range summary(t) {
		b.WriteString("\\par " + latex(s) + "\n")
	}
	for i, n := range t.Notes {
		b.WriteString("\\par ")
		if used[i] {
			b.WriteString(latexMark([]int{i}) + " ")
		}
		b.WriteString(latex(format.Note(n)) + "\n")
	}
	b.WriteString("\\end{minipage}\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// latexTabular writes a table, its header first, and a space after it.
func latexTabular(b *strings.Builder, rows [][]latexCell) {
	if len(rows) == 0 {
		return
	}
	n := len(rows[0])
	b.WriteString("\\begin{tabular}{l" + strings.Repeat("c", n-1) + "}\n\\toprule\n")
	for i, row := range rows {
		for at, more := -1, true; more; at++ { // the texts, then the lines below them
			cells := make([]string, n)
			more = false
			for k, c := range row {
				if at < 0 {
					cells[k] = c.text
				} else if at < len(c.below) {
					cells[k] = `\scriptsize ` + c.below[at]
				}
				more = more || at+1 < len(c.below)
			}
			if strings.HasPrefix(cells[0], "[") { // the end of the row above would take it for its argument
				cells[0] = "{}" + cells[0]
			}
			b.WriteString(strings.Join(cells, " & ") + " \\\\\n")
		}
		if i == 0 {
			b.WriteString("\\midrule\n")
		}
	}
	b.WriteString("\\bottomrule\n\\end{tabular}\n\\par\\medskip\n")
}

// latexLevels lays out the table of some metrics, and collects the notes that it marks.
func latexLevels(t *compare.Table, metrics []compare.Metric, used map[int]bool) [][]latexCell {
	head := []latexCell{{text: "arm"}}
	for _, m := range metrics {
		head = append(head, latexCell{text: latex(strings.TrimSpace(m.Label + " " + format.Arrow(m.Better)))})
	}
	rows := [][]latexCell{head}
	for _, r := range t.Rows {
		row := []latexCell{{text: latex(format.Label(r))}}
		for _, m := range metrics {
			c, ok := r.Cells[m.Name]
			if !ok {
				row = append(row, latexCell{text: "--"})
				continue
			}
			s := latex(format.Number(m.Digits, c.Mean))
			if m.Best == r.Label {
				s = `\textbf{` + s + "}"
			}
			row = append(row, latexCell{s + latexMarks(c.Notes, used), below(format.Spread(m.Digits, c))})
		}
		rows = append(rows, row)
	}
	if floor := floors(t, metrics); floor != nil {
		row := []latexCell{{text: "real against real"}}
		for _, s := range floor {
			row = append(row, latexCell{text: latex(s)})
		}
		rows = append(rows, row)
	}
	return rows
}

// latexDifferences lays out the differences in some metrics.
func latexDifferences(t *compare.Table, metrics []compare.Metric, used map[int]bool) [][]latexCell {
	return eachDifference(t, metrics, func(s string) latexCell { return latexCell{text: latex(s)} }, func(m compare.Metric, d compare.Difference) latexCell {
		s := latex(format.Signed(m.Digits, d.Mean))
		if d.Significant {
			s += "$^{*}$"
		}
		if d.Equivalent {
			s += latex(" ≈")
		}
		c := latexCell{s + latexMarks(d.Notes, used), below(format.ChangeSpread(m.Digits, d.Cell))}
		if d.Corrected != nil {
			c.below = append(c.below, latex(fmt.Sprintf("corrected %s, p %s", format.Bounds(m.Digits, *d.Corrected), format.P(*d.PCorrected))))
		}
		return c
	})
}

// below is a line of small print, none where it is empty.
func below(s string) []string {
	if s == "" {
		return nil
	}
	return []string{latex(s)}
}

// latexMarks are the marks of notes, which are used then.
func latexMarks(notes []int, used map[int]bool) string {
	for _, n := range notes {
		used[n] = true
	}
	return latexMark(notes)
}

func latexMark(notes []int) string {
	if len(notes) == 0 {
		return ""
	}
	var marks []string
	for _, n := range notes {
		marks = append(marks, fmt.Sprint(n+1))
	}
	return "$^{" + strings.Join(marks, ",") + "}$"
}
