package rows

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

type jsonDocument struct {
	objects
	d       *json.Decoder
	bound   *bounded
	lines   *newlines
	named   bool // the document is an object, whose keys are left out
	started bool
}

// JSON reads a document that is an array of objects, or an object of objects, whose own
// names are left out. It joins the keys of nested objects by points. A first pass over the
// file finds the columns. A mistake in the syntax ends the reading.
func JSON(f io.ReadSeeker) (Reader, error) {
	j := &jsonDocument{}
	j.begin(f)
	for {
		b, _, err := j.value()
		if err != nil {
			break // the second pass reports it
		}
		j.learn(b)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	j.begin(f)
	return j, nil
}

func (j *jsonDocument) begin(f io.Reader) {
	j.lines = &newlines{r: f}
	j.bound = &bounded{r: j.lines}
	b := bufio.NewReaderSize(j.bound, 64<<10)
	if head, _ := b.Peek(len(BOM)); bytes.Equal(head, BOM) {
		b.Discard(len(BOM))
		j.lines.skipped = int64(len(BOM))
	}
	j.d, j.started = json.NewDecoder(b), false
}

// Next implements Reader.
func (j *jsonDocument) Next() ([]string, int, error) {
	b, line, err := j.value()
	if err != nil {
		return nil, line, err
	}
	if b[0] != '{' {
		return nil, line, &Wrong{fmt.Sprintf("%.40q is not a JSON object", b), "a list of objects", "correct it"}
	}
	cells, err := j.read(b)
	return cells, line, err
}

// value returns the next value of the document, and its line. Every error ends the reading, and
// has the line on which the last value ended.
func (j *jsonDocument) value() ([]byte, int, error) {
	j.bound.n = 0
	b, err := j.decode()
	if err == io.EOF {
		return nil, 0, err
	}
	if err != nil {
		return nil, j.lines.at(j.d.InputOffset()), fmt.Errorf("it does not parse from here on (%v); allowed: a JSON list of objects; check how it was written", err)
	}
	return b, j.lines.at(j.d.InputOffset() - int64(len(b))), nil
}

func (j *jsonDocument) decode() (raw json.RawMessage, err error) {
	if !j.started {
		open, err := j.d.Token()
		if err == io.EOF {
			return nil, errors.New("it is empty")
		}
		if err == nil && open != json.Delim('[') && open != json.Delim('{') {
			err = errors.New("it is no list")
		}
		if err != nil {
			return nil, err
		}
		j.started, j.named = true, open == json.Delim('{')
	}
	if !j.d.More() {
		if _, err := j.d.Token(); err == io.EOF {
			return nil, io.ErrUnexpectedEOF
		} else if err != nil {
			return nil, err
		}
		if _, err := j.d.Token(); err != io.EOF {
			return nil, errors.New("the list has ended")
		}
		return nil, io.EOF
	}
	if j.named {
		if _, err := j.d.Token(); err != nil {
			return nil, noEOF(err)
		}
	}
	err = noEOF(j.d.Decode(&raw))
	return raw, err
}

// noEOF returns an error of a document that is not complete.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// newlines counts the lines of what is read.
type newlines struct {
	r       io.Reader
	read    int64
	skipped int64   // bytes at the beginning that offsets leave out
	ends    []int64 // offsets of ends of lines behind the offset that was last asked for
	line    int     // lines that end before it
}

func (l *newlines) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	for i, c := range p[:n] {
		if c == '\n' {
			l.ends = append(l.ends, l.read+int64(i))
		}
	}
	l.read += int64(n)
	return n, err
}

// at returns the line of an offset, from 1. Offsets must not decrease.
func (l *newlines) at(offset int64) int {
	n := 0
	for n < len(l.ends) && l.ends[n] < offset+l.skipped {
		n++
	}
	l.line += n
	l.ends = l.ends[n:]
	return l.line + 1
}
