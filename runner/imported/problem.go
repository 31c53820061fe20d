package imported

import (
	"cmp"
	"fmt"
	"slices"
)

// Kind is the kind of a problem.
type Kind string

// Kinds that stop an import.
const (
	Unreadable Kind = "unreadable" // a file, a folder or a header
	BadRow     Kind = "row"        // a row that does not parse
	BadValue   Kind = "value"      // a cell that is not what its column has
	BadName    Kind = "name"       // of an arm, an axis, a metric, a prompt
	Duplicate  Kind = "duplicate"  // two values of one arm, axes, seed and metric
	Categories Kind = "categories" // a prompt with two
	OutOfRange Kind = "range"      // a value outside the declared range of its metric
)

// Kinds that are warnings.
const (
	NotFinite     Kind = "not finite"     // NaN or infinite: no value
	MissingSeed   Kind = "missing seed"   // a row of the table lacks a seed of others
	MissingMetric Kind = "missing metric" // runs lack a metric of others
	Unfinished    Kind = "unfinished"     // a run that crashed or still runs
	Direction     Kind = "direction"      // nobody knows whether higher is better
	Split         Kind = "split"          // images of a run in several files
	Truncated     Kind = "truncated"      // a file ends within a record
	NoPicture     Kind = "picture"        // a file that a row names is not there
)

// Warning reports whether an import goes on in spite of problems of this kind.
func (k Kind) Warning() bool {
	return slices.Contains([]Kind{NotFinite, MissingSeed, MissingMetric, Unfinished, Direction, Split, Truncated, NoPicture}, k)
}

func errorsFirst(a, b Kind) int {
	switch {
	case a.Warning() == b.Warning():
		return 0
	case b.Warning():
		return -1
	}
	return 1
}

// Problem is something wrong at a place of a file.
type Problem struct {
	Kind    Kind
	File    string
	Line    int    // from 1; the row of a Parquet file, the record of an event file; 0: the file
	Wrong   string // what is wrong, with the value seen
	Allowed string // what is allowed
	Do      string // what to do
}

func (p Problem) String() string {
	s := p.File
	if p.Line > 0 {
		s = fmt.Sprintf("%s:%d", s, p.Line)
	}
	return fmt.Sprintf("%s: %s; allowed: %s; %s", s, p.Wrong, p.Allowed, p.Do)
}

// mostListed is how many problems of a kind are listed.
const mostListed = 20

// Problems are what is wrong with an import.
type Problems struct {
	List     []Problem    // in the order of files and lines, at most 20 of a kind
	Unlisted map[Kind]int // how many more there are
}

// Errors is the number of problems, unlisted ones too, that stop the import.
func (p Problems) Errors() int {
	n := 0
	for _, q := range p.List {
		if !q.Kind.Warning() {
			n++
		}
	}
	for k, more := range p.Unlisted {
		if !k.Warning() {
			n += more
		}
	}
	return n
}

// place is a line of a file, by its number. The zero place is that of no row.
type place struct{ file, line int32 }

func (p place) before(q place) bool {
	return cmp.Or(cmp.Compare(p.file, q.file), cmp.Compare(p.line, q.line)) < 0
}

// problem is a Problem whose place has a number yet.
type problem struct {
	Problem
	at place
}

// problems collects problems.
type problems struct {
	list  []problem
	count map[Kind]int
}

func (p *problems) add(q problem) {
	if p.count[q.Kind]++; p.count[q.Kind] <= mostListed {
		p.list = append(p.list, q)
	}
}

// finish sorts the problems and names their files.
func (p *problems) finish(files []string) Problems {
	slices.SortStableFunc(p.list, func(a, b problem) int {
		return cmp.Or(cmp.Compare(a.at.file, b.at.file), cmp.Compare(a.at.line, b.at.line), errorsFirst(a.Kind, b.Kind),
			cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Wrong, b.Wrong))
	})
	out := Problems{Unlisted: map[Kind]int{}}
	for _, q := range p.list {
		q.File, q.Line = files[q.at.file], int(q.at.line)
		out.List = append(out.List, q.Problem)
	}
	for k, n := range p.count {
		if n > mostListed {
			out.Unlisted[k] = n - mostListed
		}
	}
	return out
}
