package text

import (
	"fmt"
	"io"
	"unicode"
	"unicode/utf8"
)

// Plain returns a writer that passes text on to w with every character that a
// terminal would obey, and not show, spelled out: \u001b for an escape. Titles,
// baselines, paths and error messages are other people's text: what they hold must
// not move the cursor, write the clipboard or turn the reading direction. Line ends
// and tabs stay.
func Plain(w io.Writer) io.Writer { return &plain{w: w} }

type plain struct {
	w    io.Writer
	rest []byte // the beginning of a character whose end has not come yet
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

// obeyed reports a character that is not shown: controls, and marks of direction.
func obeyed(r rune) bool {
	if r == '\n' || r == '\t' {
		return false
	}
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)
}
