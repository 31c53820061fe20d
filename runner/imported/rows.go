package imported

import (
	"errors"
	"io"
	"path/filepath"
	"slices"

	"ablate/runner/rows"
)

// A plan makes the layout of a file from the names of its columns. It returns nil if they
// do not suffice. All rows of a Hydra job belong to the run of the job.
type plan func(c *collector, names []string, at place, job *run) *layout

// readRows reads a file of rows with the layout that p makes.
func (c *collector) readRows(s source, file int32, job *run, p plan) {
	r, closer, err := s.open()
	if err != nil {
		c.badFile(file, err)
		return
	}
	defer closer.Close()
	if q, ok := r.(*rows.Parquet); ok && len(q.Left) > 0 {
		c.note("%s: columns of lists, dates and other types are not used: %s", filepath.Base(s.path), list(q.Left))
	}
	c.takeRows(r, file, job, p)
}

func (c *collector) takeRows(r rows.Reader, file int32, job *run, p plan) {
	if name := twice(r.Header()); name != "" {
		c.problem(Unreadable, place{file, 1}, "the column "+quote(name)+" is there twice", "columns of different names", "rename or remove one")
		return
	}
	l := p(c, r.Header(), place{file, 1}, job)
	if l == nil {
		return
	}
	n := 0
	for ; ; n++ {
		if n%4096 == 0 && c.stopped() {
			return
		}
		cells, line, err := r.Next()
		if err == io.EOF {
			break
		}
		at := place{file, int32(line)}
		if w := (*rows.Wrong)(nil); errors.As(err, &w) {
			c.problem(BadRow, at, w.What, w.Allowed, w.Do)
			continue
		}
		if err != nil {
			c.badFile(file, err)
			return
		}
		l.row(c, cells, at)
	}
	if n == 0 {
		c.problem(Unreadable, place{file, 1}, "it has no rows", "one row or more below the names of the columns", "check how it was written")
	}
	l.finish(c, file)
}

// badFile reports a file that cannot be read further.
func (c *collector) badFile(file int32, err error) {
	if w := (*rows.Wrong)(nil); errors.As(err, &w) {
		c.problem(Unreadable, place{file, 0}, w.What, w.Allowed, w.Do)
		return
	}
	c.unreadable(file, err)
}

func twice(names []string) string {
	sorted := slices.Sorted(slices.Values(names))
	for i := range max(0, len(sorted)-1) {
		if sorted[i] == sorted[i+1] && !isIndex(sorted[i]) {
			return sorted[i]
		}
	}
	return ""
}
