package labels

import "fmt"

// Problem is a row that is not read, or a file.
type Problem struct {
	File    string `json:"file"`
	Line    int    `json:"line"`    // from 1: a line, or the row of a Parquet file; 0 for the whole file
	Wrong   string `json:"wrong"`   // the problem, with the value that was read
	Allowed string `json:"allowed"` // allowed values
	Do      string `json:"do"`      // advice
	Fatal   bool   `json:"fatal"`   // true if nothing of the file is read from there on
}

func (p Problem) String() string {
	s := p.File
	if p.Line > 0 {
		s = fmt.Sprintf("%s:%d", s, p.Line)
	}
	s += ": " + p.Wrong
	if p.Allowed != "" {
		s += "; allowed: " + p.Allowed
	}
	if p.Do != "" {
		s += "; " + p.Do
	}
	return s
}

// mostListed is the largest number of problems that are kept. Others are counted.
const mostListed = 100_000
