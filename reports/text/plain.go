package text

import (
	"fmt"
	"io"
	"unicode"
	"unicode/utf8"
)

// Plain returns a writer that writes text to w and replaces control characters by
// escapes, such as \u001b. Titles, baselines, paths and error messages may come from
// other people and must not move the cursor, write the clipboard or change the reading
// direction of a terminal. Newlines and tabs stay.
func Plain(w io.Writer) io.Writer { return &plain{w: w} }

type plain struct {
	w    io.Writer
	rest []byte // beginning of a character that is not complete yet
}

func (p *plain) Write(b []byte) (int, error) {
	in := append(p.rest, b...)
	p.rest = nil
	out := make([]byte, 0, len(in))
	for len(in) > 0 {
		r, n := utf8.DecodeRune(in)
		switch {
		case r == utf8.RuneError && n <= 1 && !utf8.FullRune(in):
			p.rest = append(p.rest, in...)
			n = len(in)
		case r == utf8.RuneError && n <= 1:
			out = fmt.Appendf(out, `\x%02x`, in[0])
		case obeyed(r):
			out = fmt.Appendf(out, `\u%04x`, r)
		default:
			out = append(out, in[:n]...)
		}
		in = in[n:]
	}
	if len(out) == 0 {
		return len(b), nil
	}
	if _, err := p.w.Write(out); err != nil {
		return 0, err
	}
	return len(b), nil
}

// obeyed reports whether a terminal executes a character and does not show it: control
// characters, and marks of the reading direction.
func obeyed(r rune) bool {
	if r == '\n' || r == '\t' {
		return false
	}
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)
}
