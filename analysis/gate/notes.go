package gate

import (
	"fmt"
	"slices"
	"strings"
)

// nothing returns the note that explains why no value was compared.
func (c *checker) nothing() string {
	var unselected, seedless int
	n := c.r.Counts()
	for _, f := range c.r.Values {
		switch {
		case f.Verdict == Unchecked && f.Metric == "":
			unselected++
		case f.Verdict == Unchecked:
			seedless++
		}
	}
	var why []string
	for _, x := range []struct {
		what string
		n    int
	}{
		{"values without a result", n[Missing]}, {"values that the baseline lacks", n[Absent]},
		{"selected rows that are new", n[Added]}, {"selected rows that the study has dropped", len(c.r.Removed)},
		{"values without a selected seed in both", seedless}, {"rows that are not selected", unselected},
	} {
		if x.n > 0 {
			why = append(why, fmt.Sprintf("%s: %d", x.what, x.n))
		}
	}
	return fmt.Sprintf("Nothing was compared, because no selected value is in both the study and the baseline (%s). Select others, or write the baseline again with 'ablate baseline'.", strings.Join(why, "; "))
}

func (c *checker) note(s string) {
	if !slices.Contains(c.r.Notes, s) {
		c.r.Notes = append(c.r.Notes, s)
	}
}

// notes adds the notes on the whole check.
func (c *checker) notes(b *Baseline) {
	if b.Made.Backend != "" && c.o.Made.Backend != "" && b.Made.Backend != c.o.Made.Backend {
		c.note(fmt.Sprintf("The baseline was made with the backend %s, this table with %s: values differ by more than seeds explain.", b.Made.Backend, c.o.Made.Backend))
	}
	for _, x := range []struct {
		what      string
		then, now []string
	}{{"versions", b.Made.Versions, c.o.Made.Versions}, {"processors", b.Made.CPUs, c.o.Made.CPUs}} {
		if len(x.then) > 0 && len(x.now) > 0 && !slices.Equal(x.then, x.now) {
			c.note(fmt.Sprintf("The baseline was made with other %s than this table: %v, now %v. Trained values are the same only where both agree.", x.what, x.then, x.now))
		}
	}
	if slices.ContainsFunc(c.r.Values, func(v Value) bool { return v.test.independent && v.Verdict.compared() && v.Verdict != Identical }) {
		c.note("With one or two seeds, a value and its baseline are compared as independent samples, with the standard deviation over the baseline's seeds.")
	}
}
