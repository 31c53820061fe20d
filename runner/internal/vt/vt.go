// Package vt is a terminal for tests: a screen that executes the few control sequences that
// this program writes, and a pseudo-terminal. It is strict: an unknown sequence is an error,
// because on some terminal it would be garbage.
package vt

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A Screen is what a terminal shows. It is not safe for concurrent use.
type Screen struct {
	Width, Height int
	Scrolled      []string // lines that have left the screen at its top
	Err           error    // the first mistake in what was written

	cells    [][]rune
	row, col int
	wraps    bool   // the next character goes to the next line
	rest     []byte // an incomplete sequence or character
}

// New returns an empty screen.
func New(width, height int) *Screen {
	s := &Screen{Width: width, Height: height, cells: make([][]rune, height)}
	for i := range s.cells {
		s.cells[i] = blank(width)
	}
	return s
}

func blank(n int) []rune { return []rune(strings.Repeat(" ", n)) }

// sequence is a control sequence.
var sequence = regexp.MustCompile(`^\x1b\[([0-9;?]*)([A-Za-z])`)

// Write shows what a program writes.
func (s *Screen) Write(b []byte) (int, error) {
	in := append(s.rest, b...)
	s.rest = nil
	for len(in) > 0 {
		if in[0] == '\x1b' {
			m := sequence.FindSubmatch(in)
			if m == nil {
				if len(in) < 12 {
					break
				}
				s.fail("unknown sequence %q", in[:12])
				in = in[1:]
				continue
			}
			s.control(string(m[1]), string(m[2]))
			in = in[len(m[0]):]
			continue
		}
		if !utf8.FullRune(in) {
			break
		}
		r, n := utf8.DecodeRune(in)
		s.put(r)
		in = in[n:]
	}
	s.rest = append([]byte(nil), in...)
	return len(b), nil
}

func (s *Screen) fail(format string, args ...any) {
	if s.Err == nil {
		s.Err = fmt.Errorf(format, args...)
	}
}

// put executes or shows one character.
func (s *Screen) put(r rune) {
	switch {
	case r == '\r':
		s.col, s.wraps = 0, false
	case r == '\n':
		s.down()
		s.wraps = false
	case r == '\t':
		s.col = min(s.col/8*8+8, s.Width-1)
	case r < ' ' || r == 0x7f:
		s.fail("control character %q", r)
	default:
		if s.wraps {
			s.down()
			s.col = 0
		}
		s.cells[s.row][s.col] = r
		s.wraps = s.col == s.Width-1
		s.col = min(s.col+1, s.Width-1)
	}
}

// down moves the cursor to the next line.
func (s *Screen) down() {
	if s.row < s.Height-1 {
		s.row++
		return
	}
	s.Scrolled = append(s.Scrolled, text(s.cells[0]))
	s.cells = append(s.cells[1:], blank(s.Width))
}

// control executes a control sequence.
func (s *Screen) control(args, name string) {
	n, _ := strconv.Atoi(args)
	switch {
	case name == "m":
	case name == "A":
		if max(1, n) > s.row {
			s.fail("the cursor goes %d lines up from line %d", n, s.row)
		}
		s.row, s.wraps = max(0, s.row-max(1, n)), false
	case name == "K" && n == 0:
		copy(s.cells[s.row][s.col:], blank(s.Width))
	case name == "J" && n == 0:
		copy(s.cells[s.row][s.col:], blank(s.Width))
		for i := s.row + 1; i < s.Height; i++ {
			s.cells[i] = blank(s.Width)
		}
	default:
		s.fail("unknown sequence ESC [%s%s", args, name)
	}
}

func text(line []rune) string { return strings.TrimRight(string(line), " ") }

// String returns the lines of the screen, without empty ones at its end.
func (s *Screen) String() string {
	lines := make([]string, s.Height)
	for i, l := range s.cells {
		lines[i] = text(l)
	}
	return strings.TrimRight(strings.Join(lines, "\n"), "\n")
}

// All returns the lines that have left the screen, and those on it.
func (s *Screen) All() string {
	return strings.Join(append(s.Scrolled[:len(s.Scrolled):len(s.Scrolled)], s.String()), "\n")
}

// Cursor returns the position of the cursor, counted from 0.
func (s *Screen) Cursor() (row, column int) { return s.row, s.col }

// Resize changes the width as terminals do that do not rewrap: longer lines lose their ends.
func (s *Screen) Resize(width int) {
	for i, l := range s.cells {
		s.cells[i] = append(l, blank(max(0, width-len(l)))...)[:width]
	}
	s.Width, s.col, s.wraps = width, min(s.col, width-1), false
}
