package imported

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"ablate/runner/phrase"
)

// jsonRows reads JSONL, one JSON object per line. It joins the keys of nested objects by
// points. Because a key may first occur in a late line, a first pass over the file finds
// the columns.
type jsonRows struct {
	names  []string
	number map[string]int
	lines  lines
	cells  []string
	set    []int // by column, the line that last set its cell
	w      walker
}

func newJSONL(f io.ReadSeeker) (*jsonRows, error) {
	j := &jsonRows{number: map[string]int{}}
	j.w.emit = func(key []byte, _ string) {
		if _, ok := j.number[string(key)]; !ok {
			j.number[string(key)] = len(j.names)
			j.names = append(j.names, string(key))
		}
	}
	j.lines.r = bufio.NewReaderSize(f, 64<<10)
	for {
		b, err := j.lines.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		if b, ok := validJSON(b); ok {
			j.w.object(b)
		}
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	j.lines = lines{r: bufio.NewReaderSize(f, 64<<10)}
	j.cells, j.set = make([]string, len(j.names)), make([]int, len(j.names))
	return j, nil
}

func (j *jsonRows) header() []string { return j.names }

func (j *jsonRows) next() ([]string, int, error) {
	b, err := j.lines.next()
	if err != nil {
		return nil, j.lines.n, err
	}
	b, ok := validJSON(b)
	if !ok || b[0] != '{' {
		return nil, j.lines.n, &wrong{fmt.Sprintf("%.40q is not a JSON object", b), "an object in each line", "write one object a line, without commas between the lines"}
	}
	clear(j.cells)
	var again string
	j.w.emit = func(key []byte, value string) {
		i := j.number[string(key)]
		if j.set[i] == j.lines.n {
			again = string(key)
		}
		j.cells[i], j.set[i] = value, j.lines.n
	}
	j.w.object(b)
	if again != "" {
		return nil, j.lines.n, &wrong{fmt.Sprintf("the key %q occurs twice", again), "each key once", "remove one"}
	}
	return j.cells, j.lines.n, nil
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
			if len(l.buf) > mostRow {
				return nil, &wrong{fmt.Sprintf("line %d has more than %s", l.n, phrase.Bytes(mostRow)), "an object in each line", "write one object a line"}
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
		if b := bytes.TrimSpace(bytes.TrimPrefix(l.buf, bom)); len(b) > 0 {
			return b, nil
		}
	}
}

// validJSON reports whether b is JSON. It accepts NaN and Infinity, which Python writes
// and JSON does not have, and returns b with these as strings.
func validJSON(b []byte) ([]byte, bool) {
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

// walker walks over JSON that is known to be valid, and calls emit with the path and the
// text of each value. The text of null is empty, and that of a list is its JSON.
type walker struct {
	b    []byte
	key  []byte
	emit func(key []byte, value string)
}

// object walks over an object. If the value is not an object, it does nothing.
func (w *walker) object(b []byte) {
	if w.b, w.key = b, w.key[:0]; len(b) > 0 && b[0] == '{' {
		w.value()
	}
}

func (w *walker) space() {
	for len(w.b) > 0 && (w.b[0] == ' ' || w.b[0] == '\t' || w.b[0] == '\n' || w.b[0] == '\r') {
		w.b = w.b[1:]
	}
}

func (w *walker) value() {
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
		w.emit(w.key, w.text())
	case '[':
		w.emit(w.key, string(w.list()))
	case 'n':
		w.b = w.b[len("null"):]
		w.emit(w.key, "")
	default:
		n := bytes.IndexAny(w.b, ",}] \t\r\n")
		if n < 0 {
			n = len(w.b)
		}
		w.emit(w.key, string(w.b[:n]))
		w.b = w.b[n:]
	}
}

// text consumes a string and returns its value.
func (w *walker) text() string {
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
func (w *walker) list() []byte {
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
