package imported

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"ablate/runner/rows"
)

// Format is a file format of results.
type Format string

// The supported formats.
const (
	CSV         Format = "csv" // separated by commas, tabs or semicolons
	JSONL       Format = "jsonl"
	Parquet     Format = "parquet"
	WandB       Format = "wandb"       // CSV of the runs table, or JSONL of the public API
	TensorBoard Format = "tensorboard" // event files, a folder for each run
	Hydra       Format = "hydra"       // a multirun folder
)

// source is a path to read, with the data by which its format is recognised.
type source struct {
	path string
	dir  bool
	head []byte // first bytes of the file
}

// format recognises and reads a format.
type format struct {
	name Format
	is   func(source) bool
	read func(*collector, source)
}

// formats are the formats in the order in which they are tried.
var formats = []format{
	{Hydra, source.isHydra, (*collector).readHydra},
	{TensorBoard, source.isTensorBoard, (*collector).readTensorBoard},
	{WandB, source.isWandB, (*collector).readWandB},
	{Parquet, source.isParquet, (*collector).readTable},
	{JSONL, source.isJSONL, (*collector).readTable},
	{CSV, source.isCSV, (*collector).readTable},
}

func formatNames() string {
	var names []string
	for _, f := range formats {
		names = append(names, string(f.name))
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// readAll reads the files and folders at paths. It reads a path that is given twice only
// once.
func (c *collector) readAll(paths []string) {
	var done []fs.FileInfo
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			c.unreadable(c.file(path), err)
			continue
		}
		if slices.ContainsFunc(done, func(o fs.FileInfo) bool { return os.SameFile(o, info) }) {
			c.note("%s is given twice and read once", path)
			continue
		}
		done = append(done, info)
		c.readPath(path, info)
		if c.stopped() {
			return
		}
	}
}

func (c *collector) readPath(path string, info fs.FileInfo) {
	s := source{path: path, dir: info.IsDir()}
	if !s.dir {
		if !info.Mode().IsRegular() {
			c.problem(Unreadable, place{c.file(path), 0}, "it is neither a file nor a folder", "files and folders", "write the results into a file")
			return
		}
		var err error
		if s.head, err = readHead(path); err != nil {
			c.unreadable(c.file(path), err)
			return
		}
	}
	for _, f := range formats {
		if c.o.Format == f.name || c.o.Format == "" && f.is(s) {
			f.read(c, s)
			if names := tablesBeside(path); len(names) > 0 {
				c.note("%s: it is read as a folder of %s; tables beside the runs are not read: %s", filepath.Base(path), f.name, list(names))
			}
			return
		}
	}
	if s.dir {
		c.readFolder(path)
		return
	}
	c.problem(Unreadable, place{c.file(path), 0}, "its format is not recognised", formatNames()+", none of them compressed", "name the format")
}

// readFolder reads the files of tables in a folder.
func (c *collector) readFolder(dir string) {
	found := false
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if c.stopped() {
			return fs.SkipAll
		}
		if isTable(d) {
			info, err := d.Info()
			if err != nil {
				return err
			}
			found = true
			c.readPath(path, info)
		}
		return nil
	})
	if err != nil {
		c.unreadable(c.file(dir), err)
	} else if !found && !c.stopped() {
		c.problem(Unreadable, place{c.file(dir), 0}, "it has no results", "*.csv, *.tsv, *.jsonl, *.ndjson and *.parquet, event files of TensorBoard, or the jobs of a Hydra multirun with their .hydra folders", "give the folder or the file that has them")
	}
}

func isTable(d fs.DirEntry) bool {
	return d.Type().IsRegular() && slices.Contains([]string{".csv", ".tsv", ".jsonl", ".ndjson", ".parquet"}, strings.ToLower(filepath.Ext(d.Name())))
}

// tablesBeside returns the files of tables below a folder that are not in the folder of a
// run.
func tablesBeside(dir string) []string {
	var names []string
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil
		}
		entries, _ := os.ReadDir(path) // the error is reported where the folder is read
		if slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == hydraFolder || isEvents(e.Name()) }) {
			return fs.SkipDir
		}
		for _, e := range entries {
			if isTable(e) {
				names = append(names, e.Name())
			}
		}
		return nil
	})
	return names
}

// unreadable reports an error of the operating system.
func (c *collector) unreadable(file int32, err error) {
	what := "it cannot be read: " + err.Error()
	if e := (*fs.PathError)(nil); errors.As(err, &e) {
		what = "it cannot be read: " + e.Err.Error()
	}
	c.problem(Unreadable, place{file, 0}, what, "a file or folder that exists and may be read", "correct the path or its permissions")
}

// readHead reads the first bytes of a file.
func readHead(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, 64<<10)
	n, err := io.ReadFull(f, b)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return nil, err
	}
	return bytes.TrimPrefix(b[:n], rows.BOM), nil
}

func (s source) ext(list ...string) bool {
	return slices.Contains(list, strings.ToLower(filepath.Ext(s.path)))
}

func (s source) isParquet() bool { return bytes.HasPrefix(s.head, []byte("PAR1")) }

func (s source) isJSONL() bool {
	return !s.dir && (s.ext(".jsonl", ".ndjson") || bytes.HasPrefix(bytes.TrimSpace(s.head), []byte("{")))
}

func (s source) isCSV() bool {
	return !s.dir && (s.ext(".csv", ".tsv") || s.ext(".txt", "") && bytes.IndexByte(s.head, 0) < 0 && bytes.ContainsAny(rows.FirstLine(s.head), ",;\t"))
}

// below reports whether f is true for the name of a file or folder below dir.
func below(dir string, f func(name string) bool) bool {
	found := errors.New("found")
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && f(d.Name()) {
			return found
		}
		return nil // the error is reported where the folder is read
	})
	return err == found
}

// readTable reads a file with the columns of the plain format.
func (c *collector) readTable(s source) { c.readRows(s, c.file(s.path), nil, (*collector).plain) }

// open opens a file of rows.
func (s source) open() (rows.Reader, io.Closer, error) {
	if s.isParquet() {
		r, err := rows.OpenParquet(s.path)
		return r, io.NopCloser(nil), err
	}
	f, err := os.Open(s.path)
	if err != nil {
		return nil, nil, err
	}
	var r rows.Reader
	if s.isJSONL() {
		r, err = rows.JSONL(f)
	} else {
		r, err = rows.CSV(f)
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return r, f, nil
}
