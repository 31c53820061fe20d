package cli

import (
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// style is how a terminal shows a text.
type style string

const (
	plainStyle style = ""
	boldStyle  style = "1"
	dimStyle   style = "2"
	goodStyle  style = "32"
	badStyle   style = "31"
)

// A span is a text of one style.
type span struct {
	text  string
	style style
}

// plain returns the text as it is printed: in one line, and without codes that a terminal obeys.
func (s span) plain() string {
	return plainText(strings.NewReplacer("\n", " ", "\t", " ").Replace(s.text))
}

// A line is a line of a screen.
type line []span

// width returns the number of columns of a line.
func (l line) width() int {
	n := 0
	for _, s := range l {
		n += columns(s.plain())
	}
	return n
}

// cut returns a line of at most n columns. One that is longer ends in "…".
func (l line) cut(n int) line {
	if l.width() <= n {
		return l
	}
	out, left := line{}, n-1
	for _, s := range l {
		var b strings.Builder
		for _, r := range s.plain() {
			if left -= runeColumns(r); left < 0 {
				break
			}
			b.WriteRune(r)
		}
		out = append(out, span{b.String(), s.style})
		if left < 0 {
			break
		}
	}
	if n > 0 {
		out = append(out, span{"…", plainStyle})
	}
	return out
}

// pad returns a line of at least n columns.
func (l line) pad(n int) line {
	if missing := n - l.width(); missing > 0 {
		return append(l[:len(l):len(l)], span{strings.Repeat(" ", missing), plainStyle})
	}
	return l
}

// String returns the line without its styles.
func (l line) String() string { return l.format(false) }

// format returns the line, with codes for its styles if the terminal has colours.
func (l line) format(colour bool) string {
	var b strings.Builder
	for _, s := range l {
		text := s.plain()
		if colour && s.style != plainStyle && text != "" {
			text = "\x1b[" + string(s.style) + "m" + text + "\x1b[0m"
		}
		b.WriteString(text)
	}
	return strings.TrimRight(b.String(), " ")
}

// columns returns how many columns of a terminal a text takes, without its codes of styles.
func columns(text string) int {
	n, code := 0, false
	for _, r := range text {
		switch {
		case r == '\x1b':
			code = true
		case code:
			code = r != 'm'
		default:
			n += runeColumns(r)
		}
	}
	return n
}

func runeColumns(r rune) int {
	switch {
	case r < 0x300:
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}
