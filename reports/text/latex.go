package text

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"ablate/analysis/compare"
	"ablate/reports/format"
)

// latexSpecial escapes characters that have a meaning in LaTeX, and replaces characters
// for which LaTeX fonts have no glyphs. Letters with accents, dashes and quotation marks
// need no escape in engines that read UTF-8.
var latexSpecial = strings.NewReplacer(`\`, `\textbackslash{}`, "&", `\&`, "%", `\%`, "$", `\$`, "#", `\#`, "_", `\_`, "{", `\{`, "}", `\}`, "~", `\textasciitilde{}`, "^", `\textasciicircum{}`, "<", `\textless{}`, ">", `\textgreater{}`, "|", `\textbar{}`, `"`, "''", "*", "{*}", "\n", " ",
	"–", "--", "−", "$-$", "±", `$\pm$`, "×", `$\times$`, "≈", `$\approx$`, "→", `$\to$`, "↑", `$\uparrow$`, "↓", `$\downarrow$`, "σ", `$\sigma$`)

func latex(s string) string { return latexSpecial.Replace(s) }

// latexCell is a cell of a table: its text, and lines in small print below it, both in
// LaTeX.
type latexCell struct {
	text  string
	below []string
}

// LaTeX writes tables for papers, to be read by \input with the package booktabs: the
// short table, the differences, effects, the front, and notes. Each value has its
// interval below it. The best value of a column is bold only if its paired difference
// from every other row is significant. Significant differences have stars.
func LaTeX(w io.Writer, t *compare.Table) error {
	var b strings.Builder
	b.WriteString("% needs \\usepackage{booktabs}\n")
	notes := &marks{notes: t.Notes}
	latexTabular(&b, latexLevels(t, shown(t, columns), notes))
	latexTabular(&b, latexDifferences(t, shown(t, compared), notes))
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
	notes.each(func(number int, note string) {
		b.WriteString("\\par ")
		if number > 0 {
			b.WriteString(latexMark([]int{number}) + " ")
		}
		b.WriteString(latex(note) + "\n")
	})
	b.WriteString("\\end{minipage}\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// latexTabular writes a table, whose first row is the header, and vertical space after
// it.
func latexTabular(b *strings.Builder, rows [][]latexCell) {
	if len(rows) == 0 {
		return
	}
	n := len(rows[0])
	b.WriteString("\\begin{tabular}{l" + strings.Repeat("c", n-1) + "}\n\\toprule\n")
	for i, row := range rows {
		for at, more := -1, true; more; at++ { // first the texts, then the lines below them
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
			if strings.HasPrefix(cells[0], "[") { // \\ of the row above would take the bracket for its argument
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

// latexLevels returns the cells of the table of metrics, whose notes it numbers.
func latexLevels(t *compare.Table, metrics []compare.Metric, notes *marks) [][]latexCell {
	head := []latexCell{{text: "arm"}}
	for _, m := range metrics {
		head = append(head, latexCell{text: latex(strings.TrimSpace(m.Label + " " + format.Arrow(m.Better)))})
	}
	rows := [][]latexCell{head}
	for _, r := range t.Rows {
		row := []latexCell{{text: latex(format.Label(r))}}
		if r.Stopped != nil && len(metrics) > 0 {
			rows = append(rows, slices.Concat(row, []latexCell{{text: latex(format.Stopped(*r.Stopped))}}, slices.Repeat([]latexCell{{text: "--"}}, len(metrics)-1)))
			continue
		}
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
			row = append(row, latexCell{s + latexMark(notes.of(c.Notes)), below(format.Spread(m.Digits, c))})
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

// latexDifferences returns the cells of the differences in metrics, whose notes it
// numbers.
func latexDifferences(t *compare.Table, metrics []compare.Metric, notes *marks) [][]latexCell {
	return eachDifference(t, metrics, func(s string) latexCell { return latexCell{text: latex(s)} }, func(m compare.Metric, d compare.Difference) latexCell {
		s := latex(format.Signed(m.Digits, d.Mean))
		if d.Significant {
			s += "$^{*}$"
		}
		if d.Equivalent {
			s += latex(" ≈")
		}
		c := latexCell{s + latexMark(notes.of(d.Notes)), below(format.ChangeSpread(m.Digits, d.Cell))}
		if d.Corrected != nil {
			c.below = append(c.below, latex(fmt.Sprintf("corrected %s, p %s", format.Bounds(m.Digits, *d.Corrected), format.P(*d.PCorrected))))
		}
		return c
	})
}

// below returns a line of small print, or none if s is empty.
func below(s string) []string {
	if s == "" {
		return nil
	}
	return []string{latex(s)}
}

func latexMark(numbers []int) string {
	if len(numbers) == 0 {
		return ""
	}
	var marks []string
	for _, n := range numbers {
		marks = append(marks, fmt.Sprint(n))
	}
	return "$^{" + strings.Join(marks, ",") + "}$"
}
