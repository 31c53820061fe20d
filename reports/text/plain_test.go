package text_test

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"ablate/reports/text"
)

func TestPlain(t *testing.T) {
	for in, want := range map[string]string{
		"a table\n\twith α, − and 日本\n":            "a table\n\twith α, − and 日本\n",
		"T\x1b]52;c;cm0=\a\x1b[2J":                 `T\u001b]52;c;cm0=\u0007\u001b[2J`,
		"\r\x7f\u009b31m":                          `\u000d\u007f\u009b31m`,
		"right \u202e to left \u2066x\u2069\u200f": `right \u202e to left \u2066x\u2069\u200f`,
		"not \xff UTF-8":                           `not \xff UTF-8`,
	} {
		for size := 1; size <= len(in); size++ { // however it is cut
			var b bytes.Buffer
			w := text.Plain(&b)
			for rest := []byte(in); len(rest) > 0; {
				n := min(size, len(rest))
				if m, err := w.Write(rest[:n]); err != nil || m != n {
					t.Fatalf("wrote %d of %d: %v", m, n, err)
				}
				rest = rest[n:]
			}
			if b.String() != want {
				t.Errorf("%q by %d: got %q, want %q", in, size, b.String(), want)
			}
		}
	}
}

func FuzzPlain(f *testing.F) {
	f.Add([]byte("a\x1b[2J\xe2\x82"), 2)
	f.Fuzz(func(t *testing.T, in []byte, cut int) {
		var whole, parts bytes.Buffer
		text.Plain(&whole).Write(in)
		cut = min(max(cut, 0), len(in))
		w := text.Plain(&parts)
		w.Write(in[:cut])
		w.Write(in[cut:])
		if whole.String() != parts.String() {
			t.Errorf("cut at %d: %q, whole %q", cut, parts.String(), whole.String())
		}
		if s := whole.String(); !utf8.ValidString(s) || strings.ContainsAny(s, "\x1b\r\a\x7f") {
			t.Errorf("%q became %q", in, s)
		}
	})
}
