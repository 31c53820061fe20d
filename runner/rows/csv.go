package rows

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"

	"ablate/runner/phrase"
)

// MostRow is the largest size of a row in bytes. Without a limit, a quote that is never
// closed would make the rest of the file one row.
const MostRow = 16 << 20

type csvRows struct {
	names []string
	r     *csv.Reader
	bound *bounded
}

// CSV reads CSV (RFC 4180), separated by commas, semicolons or tabs.
func CSV(f io.Reader) (Reader, error) {
	bound := &bounded{r: f}
	b := bufio.NewReaderSize(bound, 64<<10)
	if head, _ := b.Peek(len(BOM)); bytes.Equal(head, BOM) {
		b.Discard(len(BOM))
	}
	r := csv.NewReader(b)
	r.ReuseRecord, r.TrimLeadingSpace = true, true
	head, _ := b.Peek(b.Size())
	if line := FirstLine(head); !bytes.Contains(line, []byte(",")) {
		for _, comma := range ";\t" {
			if bytes.ContainsRune(line, comma) {
				r.Comma = comma
				r.TrimLeadingSpace = comma != '\t' // trimming would remove the tab after an empty cell
				break
			}
		}
	}
	names, err := r.Read()
	if err == io.EOF {
		return nil, &Wrong{"it is empty", "a line with the names of the columns, then the rows", "check how it was written"}
	}
	if err != nil {
		return nil, csvWrong(err)
	}
	c := &csvRows{r: r, bound: bound}
	for _, n := range names {
		c.names = append(c.names, strings.Clone(strings.TrimSpace(n)))
	}
	return c, nil
}

func (c *csvRows) Header() []string { return c.names }

func (c *csvRows) Next() ([]string, int, error) {
	c.bound.n = 0
	cells, err := c.r.Read()
	if errors.Is(err, csv.ErrFieldCount) {
		line, _ := c.r.FieldPos(0)
		return nil, line, &Wrong{fmt.Sprintf("it has %s under %s", phrase.Count(len(cells), "cell"), phrase.Count(len(c.names), "column")),
			"a cell for each column", "quote cells that have commas, and leave missing ones empty"}
	}
	if p := (*csv.ParseError)(nil); errors.As(err, &p) {
		return nil, p.StartLine, csvWrong(err)
	}
	if err != nil {
		return nil, 0, err
	}
	line, _ := c.r.FieldPos(0)
	return cells, line, nil
}

func csvWrong(err error) error {
	p := (*csv.ParseError)(nil)
	if !errors.As(err, &p) {
		return err
	}
	return &Wrong{fmt.Sprintf("it does not parse, at column %d of line %d: %v", p.Column, p.Line, p.Err), "CSV as in RFC 4180", "double the quotes within a quoted cell"}
}

// bounded is a reader that returns an error when too many bytes are read before n is
// reset to 0.
type bounded struct {
	r io.Reader
	n int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.n > MostRow {
		return 0, &Wrong{"a row has more than " + phrase.Bytes(MostRow), "shorter rows", "close the quotes of its cells"}
	}
	n, err := b.r.Read(p)
	b.n += n
	return n, err
}
