package text

import (
	"fmt"
	"io"
	"strings"

	"ablate/analysis/compare"
	"ablate/reports/format"
)

var latexSpecial = strings.NewReplacer(`\`, `\textbackslash{}`, "&", `\&`, "%", `\%`, "$", `\$`, "#", `\#`, "_", `\_`, "{", `\{`, "}", `\}`, "~", `\textasciitilde{}`, "^", `\textasciicircum{}`, "<", `\textless{}`, ">", `\textgreater{}`, "|", `\textbar{}`, `"`, "''", "*", "{*}", "\n", " ")

// LaTeX writes the short table as papers have it, for the package booktabs: a
// value with its interval below, the best of a column in bold only where its
// paired difference from every other row is significant, notes as table notes.
func LaTeX(w io.Writer, t *compare.Table) error {
	shown := shown(t, columns)
	var b strings.Builder
	b.WriteString("% needs \\usepackage{booktabs}\n\\begin{tabular}{l" + strings.Repeat("c", len(shown)) + "}\n\\toprule\narm")
	for _, m := range shown {
		arrow := map[string]string{"higher": ` $\uparrow$`, "lower": ` $\downarrow$`}[m.Better]
		b.WriteString(" & " + latexSpecial.Replace(m.Label) + arrow)
	}
	b.WriteString(" \\\\\n\\midrule\n")
	used := map[int]bool{}
	for _, r := range t.Rows {
		below := make([]string, len(shown))
		b.WriteString(latexSpecial.Replace(format.Label(r)))
		for i, m := range shown {
			c, ok := r.Cells[m.Name]
			if !ok {
				b.WriteString(" & --")
				continue
			}
			s := math(format.Number(m.Name, c.Mean))
			if m.Best == r.Label {
				s = `\textbf{` + s + "}"
			}
			var notes []string
			for _, n := range c.Notes {
				used[n] = true
				notes = append(notes, fmt.Sprint(n+1))
			}
			if notes != nil {
				s += "$^{" + strings.Join(notes, ",") + "}$"
			}
			b.WriteString(" & " + s)
			if c.Interval != "" {
				below[i] = fmt.Sprintf(`\scriptsize [%s, %s]`, math(format.Number(m.Name, c.Low)), math(format.Number(m.Name, c.High)))
			} else {
				var v []string
				for _, x := range c.Values {
					v = append(v, math(format.Number(m.Name, x)))
				}
				below[i] = `\scriptsize (` + strings.Join(v, ", ") + ")"
			}
		}
		b.WriteString(" \\\\\n")
		if strings.Join(below, "") != "" {
			b.WriteString(" & " + strings.Join(below, " & ") + " \\\\\n")
		}
	}
	fmt.Fprintf(&b, "\\bottomrule\n\\multicolumn{%d}{p{\\linewidth}}{\\footnotesize In brackets: 95\\%% intervals; in parentheses: the seeds.}\\\\\n", len(shown)+1)
	for i, n := range t.Notes {
		lead := ""
		if used[i] {
			lead = fmt.Sprintf("$^{%d}$ ", i+1)
		}
		fmt.Fprintf(&b, "\\multicolumn{%d}{p{\\linewidth}}{\\footnotesize %s%s}\\\\\n", len(shown)+1, lead, latexText(format.Note(n)))
	}
	b.WriteString("\\end{tabular}\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// math sets a number, so that its minus is one.
func math(s string) string {
	if rest, ok := strings.CutPrefix(s, "−"); ok {
		return "$-" + rest + "$"
	}
	return s
}

// latexText escapes a sentence; characters that old engines lack become commands.
func latexText(s string) string {
	return strings.NewReplacer("–", "--", "σ", `$\sigma$`, "×", `$\times$`, "≈", `$\approx$`).Replace(latexSpecial.Replace(s))
}
