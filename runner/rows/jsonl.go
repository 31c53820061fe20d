package rows

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"ablate/runner/phrase"
)

type jsonLines struct {
	objects
	lines lines
}

// JSONL reads one JSON object per line. It joins the keys of nested objects by points.
// Because a key may first occur in a late line, a first pass over the file finds the
// columns.
func JSONL(f io.ReadSeeker) (Reader, error) {
	j := &jsonLines{lines: lines{r: bufio.NewReaderSize(f, 64<<10)}}
	for {
		b, err := j.lines.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		if b, ok := ValidJSON(b); ok {
			j.learn(b)
		}
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	j.lines = lines{r: bufio.NewReaderSize(f, 64<<10)}
	return j, nil
}

// Next implements Reader.
func (j *jsonLines) Next() ([]string, int, error) {
	b, err := j.lines.next()
	if err != nil {
		return nil, j.lines.n, err
	}
	b, ok := ValidJSON(b)
	if !ok || b[0] != '{' {
		return nil, j.lines.n, &Wrong{fmt.Sprintf("%.40q is not a JSON object", b), "an object in each line", "write one object a line, without commas between the lines"}
	}
	cells, err := j.read(b)
	return cells, j.lines.n, err
}

// lines reads the lines of a file and leaves out empty ones.
type lines struct {
	r   *bufio.Reader
	n   int // number of the current line, from 1
	buf []byte
}

func (l *lines) next() ([]byte, error) {
	for {
		l.n++
		l.buf = l.buf[:0]
		for {
			b, err := l.r.ReadSlice('\n')
			l.buf = append(l.buf, b...)
			if len(l.buf) > MostRow {
				return nil, &Wrong{fmt.Sprintf("line %d has more than %s", l.n, phrase.Bytes(MostRow)), "an object in each line", "write one object a line"}
			}
			if errors.Is(err, bufio.ErrBufferFull) {
				continue
			}
			if err == io.EOF && len(l.buf) > 0 {
				break
			}
			if err != nil {
				return nil, err
			}
			break
		}
		if b := bytes.TrimSpace(bytes.TrimPrefix(l.buf, BOM)); len(b) > 0 {
			return b, nil
		}
	}
}

// ValidJSON reports whether b is JSON. It accepts NaN and Infinity, which Python writes
// and JSON does not have, and returns b with these as strings.
func ValidJSON(b []byte) ([]byte, bool) {
	if json.Valid(b) {
		return b, true
	}
	if quoted := quoteNumbers(b); len(quoted) > len(b) && json.Valid(quoted) {
		return quoted, true
	}
	return b, false
}

// quoteNumbers puts quotes around NaN and infinities outside of strings.
func quoteNumbers(b []byte) []byte {
	var out []byte
	for i, inText := 0, false; i < len(b); i++ {
		switch {
		case inText && b[i] == '\\' && i+1 < len(b):
			out = append(out, b[i])
			i++
		case b[i] == '"':
			inText = !inText
		case !inText:
			for _, name := range []string{"NaN", "-Infinity", "Infinity"} {
				if bytes.HasPrefix(b[i:], []byte(name)) {
					out = append(append(append(out, '"'), name...), '"')
					i += len(name)
					break
				}
			}
		}
		if i < len(b) {
			out = append(out, b[i])
		}
	}
	return out
}

// Walker walks over JSON that is known to be valid, and calls Emit with the path and the
// text of each value. The text of null is empty, and that of a list is its JSON.
type Walker struct {
	b    []byte
	key  []byte
	Emit func(key []byte, value string)
}

// Object walks over an object. If the value is not an object, it does nothing.
func (w *Walker) Object(b []byte) {
	if w.b, w.key = b, w.key[:0]; len(b) > 0 && b[0] == '{' {
		w.value()
	}
}

func (w *Walker) space() {
	for len(w.b) > 0 && (w.b[0] == ' ' || w.b[0] == '\t' || w.b[0] == '\n' || w.b[0] == '\r') {
		w.b = w.b[1:]
	}
}

func (w *Walker) value() {
	w.space()
	switch w.b[0] {
	case '{':
		w.b = w.b[1:]
		for w.space(); w.b[0] != '}'; w.space() {
			if w.b[0] == ',' {
				w.b = w.b[1:]
				w.space()
			}
			before := len(w.key)
			if before > 0 {
				w.key = append(w.key, '.')
			}
			w.key = append(w.key, w.text()...)
			w.space()
			w.b = w.b[1:] // the colon
			w.value()
			w.key = w.key[:before]
		}
		w.b = w.b[1:]
	case '"':
		w.Emit(w.key, w.text())
	case '[':
		w.Emit(w.key, string(w.list()))
	case 'n':
		w.b = w.b[len("null"):]
		w.Emit(w.key, "")
	default:
		n := bytes.IndexAny(w.b, ",}] \t\r\n")
		if n < 0 {
			n = len(w.b)
		}
		w.Emit(w.key, string(w.b[:n]))
		w.b = w.b[n:]
	}
}

// text consumes a string and returns its value.
func (w *Walker) text() string {
	n, escaped := 1, false
	for ; w.b[n] != '"'; n++ {
		if w.b[n] == '\\' {
			escaped = true
			n++
		}
	}
	raw := w.b[:n+1]
	w.b = w.b[n+1:]
	if !escaped {
		return string(raw[1:n])
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return string(raw) // does not happen: the JSON is valid
	}
	return s
}

// list consumes a list and returns its JSON.
func (w *Walker) list() []byte {
	depth, inText := 0, false
	for i := 0; ; i++ {
		switch ch := w.b[i]; {
		case inText && ch == '\\':
			i++
		case ch == '"':
			inText = !inText
		case inText:
		case ch == '[':
			depth++
		case ch == ']':
			if depth--; depth == 0 {
				out := w.b[:i+1]
				w.b = w.b[i+1:]
				return out
			}
		}
	}
}
