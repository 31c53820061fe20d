package text

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"ablate/analysis/gate"
	"ablate/reports/format"
)

// CheckSummary describes the result of a check in a sentence.
func CheckSummary(r *gate.Result) string {
	n := r.Counts()
	var parts []string
	for _, v := range gate.Verdicts {
		if n[v] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[v], v))
		}
	}
	if parts == nil {
		return "nothing was checked"
	}
	return strings.Join(parts, ", ")
}

// conclusion returns a sentence on the outcome of a check.
func conclusion(r *gate.Result, pass bool) string {
	switch {
	case r.Outcome == gate.Missing && r.Counts()[gate.Missing] > 0:
		return "Not checked: a selected trial has no result."
	case r.Outcome == gate.Missing && r.Counts()[gate.Absent] > 0:
		return "Not checked: the baseline lacks values that the study guards."
	case r.Outcome == gate.Missing:
		return "Nothing was compared."
	case r.Outcome == gate.Regression:
		return "Regression."
	case r.Outcome == gate.Incomparable:
		return "Not comparable: some values have other numbers of samples, or another kind of gold, than the baseline."
	case r.Outcome == gate.Inconclusive && pass:
		return "Inconclusive (accepted by --inconclusive=pass): worse than the baseline, but not significantly; run more seeds."
	case r.Outcome == gate.Inconclusive:
		return "Inconclusive: worse than the baseline, but not significantly; run more seeds."
	}
	return "No regression."
}

var checkHead = []string{"row", "metric", "was", "is", "worse by", "margin", "at least", "p", "seeds", "verdict"}

func checkRow(v gate.Value) []string {
	if v.Metric == "" || v.Verdict == gate.Missing || v.Verdict == gate.Absent || v.Verdict == gate.Unchecked {
		return []string{v.Row, v.Metric, "", "", "", "", "", "", "", verdict(v)}
	}
	was, is := format.Number(v.Digits, v.Baseline), format.Number(v.Digits, v.Now)
	if v.Verdict == gate.Incomparable {
		return []string{v.Row, v.Metric, was, is, "", "", "", "", fmt.Sprint(v.N), verdict(v)}
	}
	bound, p := "", ""
	if v.Bound != nil {
		bound = format.Signed(v.Digits, *v.Bound)
	}
	if v.P != nil {
		p = format.P(*v.P)
	}
	return []string{v.Row, v.Metric, was, is, format.Signed(v.Digits, v.Worse), format.Number(v.Digits, v.Margin), bound, p, fmt.Sprint(v.N), verdict(v)}
}

func verdict(v gate.Value) string {
	if v.Reason == "" || v.Verdict == gate.Identical || v.Verdict == gate.Within {
		return string(v.Verdict)
	}
	return fmt.Sprintf("%s (%s)", v.Verdict, v.Reason)
}

// mostRows is the largest number of rows of a check that are shown on a terminal.
const mostRows = 40

// CheckTerminal writes the result of a check, the worst values first. On a terminal it is
// width columns wide and long names of rows are shortened; in the log of a CI system they
// are complete.
func CheckTerminal(w io.Writer, r *gate.Result, pass bool, width int, terminal bool) error {
	var b strings.Builder
	rows := [][]string{checkHead}
	for i, f := range r.Values {
		if i == mostRows {
			break
		}
		rows = append(rows, checkRow(f))
	}
	if total := tableWidth(rows); total > width { // a long reason goes below the table
		for i := range rows[1:] {
			f := r.Values[i]
			if len(rows[i+1][9]) > len(f.Verdict) {
				rows[i+1][9] = string(f.Verdict)
			}
		}
	}
	if tableWidth(rows) > width && terminal {
		shorten(rows, 0, max(12, width-(tableWidth(rows)-columnWidth(rows, 0))))
	}
	wide := width
	if !terminal {
		wide = max(width, tableWidth(rows))
	}
	blocks(&b, rows, wide)
	if n := len(r.Values) - mostRows; n > 0 {
		fmt.Fprintf(&b, "… and %d more: --json has all\n\n", n)
	}
	for _, n := range checkNotes(r) {
		wrap(&b, "", n, width)
	}
	wrap(&b, "", conclusion(r, pass)+" "+CheckSummary(r)+".", width)
	_, err := io.WriteString(w, b.String())
	return err
}

// checkNotes returns what a reader must know besides the values, in sentences.
func checkNotes(r *gate.Result) []string {
	var out []string
	for _, x := range []struct {
		what string
		rows []string
	}{{"New rows, which the baseline lacks", r.Added}, {"Rows that the study has dropped", r.Removed}, {"Rows whose trials are not the baseline's", r.Changed}} {
		if len(x.rows) > 0 {
			out = append(out, fmt.Sprintf("%s: %s.", x.what, strings.Join(x.rows, "; ")))
		}
	}
	seen := map[string]bool{}
	for _, f := range r.Values {
		if f.Reason == "" || seen[f.Reason] {
			continue
		}
		seen[f.Reason] = true
		what := f.Row
		if f.Metric != "" {
			what += ", " + f.Metric
		}
		out = append(out, fmt.Sprintf("%s: %s.", what, f.Reason))
	}
	out = append(out, r.Notes...)
	for i, n := range out {
		if runes := []rune(n); len(runes) > 600 {
			out[i] = string(runes[:600]) + "…"
		}
	}
	return out
}

// CheckExplain writes the values of an arm seed by seed.
func CheckExplain(w io.Writer, r *gate.Result, arm string, width int) error {
	var b strings.Builder
	found := false
	for _, f := range r.Values {
		if f.Arm != arm && f.Row != arm {
			continue
		}
		found = true
		if f.Metric == "" {
			fmt.Fprintf(&b, "%s: %s\n\n", f.Row, verdict(f))
			continue
		}
		wrap(&b, "", fmt.Sprintf("%s, %s: %s; was %s, is %s, worse by %s; margin %s", f.Row, f.Metric, verdict(f), format.Number(f.Digits, f.Baseline), format.Number(f.Digits, f.Now), format.Signed(f.Digits, f.Worse), format.Number(f.Digits, f.Margin)), width)
		if f.Bound != nil {
			wrap(&b, "", fmt.Sprintf("worse by at least %s (one-sided, corrected by Holm over all values that differ)", format.Signed(f.Digits, *f.Bound)), width)
		}
		rows := [][]string{{"seed", "was", "is", "change", "trial", "trial now"}}
		for _, p := range f.Pairs {
			rows = append(rows, []string{p.Seed, format.Number(f.Digits, p.Baseline), format.Number(f.Digits, p.Value), format.Signed(f.Digits, p.Value-p.Baseline), first(p.Trial, 12), first(p.Now, 12)})
		}
		if len(rows) > 1 {
			align(&b, rows)
		}
		b.WriteByte('\n')
	}
	if !found {
		return fmt.Errorf("check: neither the study nor its baseline has an arm %q", arm)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func first(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}

// markdownLimit is a number of bytes below the limits of CI systems for a job's summary.
const markdownLimit = 60000

// CheckMarkdown writes the result of a check for a CI job's summary: the worst values
// first, and at most markdownLimit bytes.
func CheckMarkdown(w io.Writer, r *gate.Result, pass bool) error {
	var b strings.Builder
	fmt.Fprintf(&b, "## %s: %s\n\n%s\n\n", markdown(r.Study), conclusion(r, pass), CheckSummary(r))
	for _, n := range checkNotes(r) {
		if b.Len() < markdownLimit/3 {
			b.WriteString("- " + markdownBlock(n) + "\n")
		}
	}
	b.WriteString("\n|" + strings.Join(checkHead, "|") + "|\n" + strings.Repeat("|---", len(checkHead)) + "|\n")
	for i, f := range r.Values {
		var line strings.Builder
		for _, s := range checkRow(f) {
			line.WriteString("| " + markdownCell(s) + " ")
		}
		if b.Len()+line.Len() > markdownLimit {
			fmt.Fprintf(&b, "\n… and %d more, none worse than these.\n", len(r.Values)-i)
			break
		}
		b.WriteString(line.String() + "|\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

type junitSuite struct {
	XMLName  xml.Name    `xml:"testsuite"`
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Errors   int         `xml:"errors,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Class   string        `xml:"classname,attr"`
	Name    string        `xml:"name,attr"`
	Failure *junitMessage `xml:"failure"`
	Error   *junitMessage `xml:"error"`
	Skipped *junitMessage `xml:"skipped"`
	Output  string        `xml:"system-out,omitempty"`
}

type junitMessage struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr,omitempty"`
}

// CheckJUnit writes the result of a check as JUnit XML, with one test case per value.
func CheckJUnit(w io.Writer, r *gate.Result, pass bool) error {
	s := junitSuite{Name: "ablate check " + r.Study}
	for _, f := range r.Values {
		c := junitCase{Class: printable(f.Row), Name: f.Metric}
		if c.Name == "" {
			c.Name = "row"
		}
		said := verdict(f)
		if f.Metric != "" && f.Verdict != gate.Missing && f.Verdict != gate.Absent && f.Verdict != gate.Unchecked && f.Verdict != gate.Incomparable {
			said = fmt.Sprintf("%s: was %s, is %s, worse by %s, margin %s, %d seeds", said, format.Number(f.Digits, f.Baseline), format.Number(f.Digits, f.Now), format.Signed(f.Digits, f.Worse), format.Number(f.Digits, f.Margin), f.N)
		}
		said = printable(said)
		switch {
		case f.Verdict == gate.Missing, f.Verdict == gate.Absent:
			c.Error = &junitMessage{said, string(f.Verdict)}
			s.Errors++
		case f.Verdict == gate.Regression, f.Verdict == gate.Incomparable, f.Verdict == gate.Inconclusive && !pass, f.Verdict == gate.Removed && !r.AllowRemoved:
			c.Failure = &junitMessage{said, string(f.Verdict)}
			s.Failures++
		case f.Verdict == gate.Unchecked, f.Verdict == gate.Added, f.Verdict == gate.Removed, f.Verdict == gate.Inconclusive:
			c.Skipped = &junitMessage{Message: said}
			s.Skipped++
		default:
			c.Output = said
		}
		s.Cases = append(s.Cases, c)
	}
	if r.Outcome == gate.Missing && s.Errors == 0 { // nothing was compared; a reader of only this file must see that
		s.Cases = append(s.Cases, junitCase{Class: printable(r.Study), Name: "check", Error: &junitMessage{printable(strings.Join(append([]string{conclusion(r, pass)}, r.Notes...), " ")), string(gate.Missing)}})
		s.Errors++
	}
	s.Tests = len(s.Cases)
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", " ")
	if err := e.Encode(s); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

// printable removes characters that XML cannot contain.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 && r != '\t' && r != '\n' {
			return -1
		}
		return r
	}, s)
}
