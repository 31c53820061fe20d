package language

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Error is one mistake of a study or of a --set flag.
type Error struct {
	File   string `json:"file"`    // path as the user would write it, or the flag; "" where unknown
	Line   int    `json:"line"`    // from 1; 0 where unknown
	Column int    `json:"column"`  // from 1; 0 where unknown
	Path   string `json:"path"`    // path of the field, such as `arms."no data".set.finetune.beta`; "" for the whole study
	Msg    string `json:"message"` // one line: what is wrong
	Hint   string `json:"hint"`    // what is allowed or what to do; may be empty
}

// With returns an error at the same place.
func (e *Error) With(msg, hint string) *Error {
	to := *e
	to.Msg, to.Hint = msg, hint
	return &to
}

// Error returns "FILE:LINE:COLUMN: PATH: MSG (HINT)", without unknown parts.
func (e *Error) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File)
		if e.Line > 0 {
			fmt.Fprintf(&b, ":%d:%d", e.Line, e.Column)
		}
		b.WriteString(": ")
	}
	if e.Path != "" {
		b.WriteString(e.Path + ": ")
	}
	b.WriteString(e.Msg)
	if e.Hint != "" {
		b.WriteString(" (" + e.Hint + ")")
	}
	return b.String()
}

// Errors has every mistake that was found in a study, in the order of the files. Load returns
// it as its error where the study itself is wrong.
type Errors struct{ List []*Error }

// Error returns the mistakes, one a line.
func (e *Errors) Error() string {
	lines := make([]string, len(e.List))
	for i, m := range e.List {
		lines[i] = m.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap makes each *Error reachable by errors.As.
func (e *Errors) Unwrap() []error {
	list := make([]error, len(e.List))
	for i, m := range e.List {
		list[i] = m
	}
	return list
}

// where is a position in a file of the user.
type where struct {
	file         string
	line, column int
}

// mistakes collects errors while a study is read.
type mistakes struct{ list []*Error }

func (m *mistakes) add(at where, path, msg, hint string) {
	m.list = append(m.list, &Error{at.file, at.line, at.column, path, msg, hint})
}

// err returns the collected errors, sorted and without duplicates, or nil.
func (m *mistakes) err() error {
	if len(m.list) == 0 {
		return nil
	}
	list := slices.Clone(m.list)
	slices.SortStableFunc(list, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	seen := map[Error]bool{}
	return &Errors{List: slices.DeleteFunc(list, func(e *Error) bool {
		again := seen[*e]
		seen[*e] = true
		return again
	})}
}

// Nearest returns the candidate that name is most likely a misspelling of, or "" where none is
// close. A dotted candidate is also compared by its last part alone, so that "beta" finds
// "finetune.beta".
func Nearest(name string, candidates []string) string {
	best, bestCost := "", max(1, len(name)/3)+1
	for _, c := range candidates {
		cost := distance(strings.ToLower(name), strings.ToLower(c))
		if rest, ok := strings.CutSuffix(c, "."+name); ok && rest != "" {
			cost = 0
		} else if i := strings.LastIndexByte(c, '.'); i >= 0 && !strings.Contains(name, ".") {
			cost = min(cost, distance(name, c[i+1:]))
		}
		if cost < bestCost {
			best, bestCost = c, cost
		}
	}
	return best
}

// distance returns the number of letters to insert, delete, replace or swap with their
// neighbour to turn a into b (optimal string alignment).
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	if len(x) > 200 || len(y) > 200 {
		return max(len(x), len(y))
	}
	d := make([][]int, len(x)+1)
	for i := range d {
		d[i] = make([]int, len(y)+1)
		d[i][0] = i
	}
	for j := range d[0] {
		d[0][j] = j
	}
	for i := 1; i <= len(x); i++ {
		for j := 1; j <= len(y); j++ {
			same := 1
			if x[i-1] == y[j-1] {
				same = 0
			}
			d[i][j] = min(d[i-1][j]+1, d[i][j-1]+1, d[i-1][j-1]+same)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return d[len(x)][len(y)]
}

// didYouMean returns the hint for a name that is not valid: the nearest valid name, or all of
// them.
func didYouMean(name string, valid []string) string {
	if n := Nearest(name, valid); n != "" {
		return fmt.Sprintf("did you mean %s?", n)
	}
	return "allowed: " + strings.Join(valid, ", ")
}

// plural returns a number with its noun: "1 value", "2 values".
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
