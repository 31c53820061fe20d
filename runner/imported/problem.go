package imported

import (
	"cmp"
	"fmt"
	"slices"
)

// Kind is the kind of a problem of an import.
type Kind string

// Kinds that stop an import.
const (
	Unreadable Kind = "unreadable" // a file, a folder or a header
	BadRow     Kind = "row"        // a row that does not parse
	BadValue   Kind = "value"      // a cell does not fit its column
	BadName    Kind = "name"       // the name of an arm, axis, metric or prompt is not valid
	Duplicate  Kind = "duplicate"  // two values of the same arm, axis values, seed and metric
	Categories Kind = "categories" // a prompt has two categories
	OutOfRange Kind = "range"      // a value is outside the declared range of its metric
)

// Kinds that are warnings.
const (
	NotFinite     Kind = "not finite"     // a value is NaN or infinite, and counts as missing
	MissingSeed   Kind = "missing seed"   // a row of the ablation table lacks a seed that others have
	MissingMetric Kind = "missing metric" // some runs lack a metric that others have
	Unfinished    Kind = "unfinished"     // a run crashed or is still running
	Direction     Kind = "direction"      // it is not known whether higher values of a metric are better
	Split         Kind = "split"          // the images of a run are in several files
	Truncated     Kind = "truncated"      // a file ends within a record
	NoPicture     Kind = "picture"        // a picture that a row names does not exist
)

// Warning reports whether an import continues after a problem of this kind.
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

// Problem is a problem of an import, with its place in a file.
type Problem struct {
	Kind    Kind
	File    string
	Line    int    // from 1: a line, the row of a Parquet file or the record of an event file; 0 for the whole file
	Wrong   string // the problem, with the value that was read
	Allowed string // allowed values
	Do      string // advice
}

func (p Problem) String() string {
	s := p.File
	if p.Line > 0 {
		s = fmt.Sprintf("%s:%d", s, p.Line)
	}
	if p.Allowed == "" {
		return fmt.Sprintf("%s: %s; %s", s, p.Wrong, p.Do)
	}
	return fmt.Sprintf("%s: %s; allowed: %s; %s", s, p.Wrong, p.Allowed, p.Do)
}

// mostListed is the largest number of problems of a kind that are listed.
const mostListed = 20

// Problems are the problems of an import.
type Problems struct {
	List     []Problem    // in the order of files and lines, at most mostListed of a kind
	Unlisted map[Kind]int // number of further problems by kind
}

// Errors returns the number of problems that stop the import, including unlisted ones.
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

// place is a line of a file; both are numbers. The zero place belongs to no file.
type place struct{ file, line int32 }

func (p place) before(q place) bool {
	return cmp.Or(cmp.Compare(p.file, q.file), cmp.Compare(p.line, q.line)) < 0
}

// problem is a Problem whose file is still a number.
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

// finish sorts the problems and replaces the numbers of their files by names.
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
