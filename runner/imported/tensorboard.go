package imported

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

func isEvents(name string) bool { return strings.Contains(name, "tfevents") }

func (s source) isTensorBoard() bool {
	return isEvents(filepath.Base(s.path)) || s.dir && below(s.path, isEvents)
}

// tag is a TensorBoard tag in one folder of event files.
type tag struct{ folder, name string }

// logged is the last value of a tag, and where it is.
type logged struct {
	scalar
	at place
}

// readTensorBoard reads the event files below a folder. A run's folder names its arm
// and its seed. Folders below that, such as train and eval, are parts of the run.
func (c *collector) readTensorBoard(s source) {
	root := s.path
	if !s.dir {
		root = filepath.Dir(root)
	}
	runs := map[string]map[tag]logged{} // values by tag, of each arm, seed and axis values
	matched := map[string]named{}       // parts of the name by folder
	others := map[string]bool{}
	err := filepath.WalkDir(s.path, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if c.stopped() {
			return fs.SkipAll
		}
		if d.IsDir() || !isEvents(d.Name()) {
			return nil
		}
		number := c.file(file)
		folder, n, ok := c.runFolder(root, filepath.Dir(file))
		if !ok {
			c.problem(BadRow, place{number, 0}, fmt.Sprintf("the folder %s names no arm and seed", quote(folder)), "folders such as ARM/seed_3, ARM_seed3 or ARM-s3", "give a pattern with the groups arm and seed")
			return nil
		}
		matched[folder] = n
		key := fmt.Sprintf("%q%q%q", n.arm, n.seed, n.axes)
		if runs[key] == nil {
			runs[key] = map[tag]logged{}
		}
		c.readEvents(file, number, func(name string, v logged) {
			t := tag{folder, name}
			if old, ok := runs[key][t]; !ok || v.later(old.scalar) {
				runs[key][t] = v
			}
		}, func(name string) { others[name] = true })
		return nil
	})
	if err != nil {
		c.unreadable(c.file(s.path), err)
		return
	}
	base := filepath.Base(s.path)
	if len(others) > 0 {
		c.note("%s: tags without one number, such as pictures, are not used: %s", base, list(slices.Sorted(maps.Keys(others))))
	}
	c.note("%s: event files of TensorBoard; a value is the last of its tag", base)
	c.tagValues(runs, matched)
}

// tagValues adds the values of tags to runs. If a run has a tag in several of its
// folders, the metric is named by folder and tag, in all runs.
func (c *collector) tagValues(runs map[string]map[tag]logged, matched map[string]named) {
	several := map[string]bool{}
	for _, tags := range runs {
		folder := map[string]string{}
		for t := range tags {
			if f, ok := folder[t.name]; ok && f != t.folder {
				several[t.name] = true
			}
			folder[t.name] = t.folder
		}
	}
	for _, tags := range runs {
		for _, t := range slices.SortedFunc(maps.Keys(tags), func(a, b tag) int { return strings.Compare(a.folder+"\x00"+a.name, b.folder+"\x00"+b.name) }) {
			n, v := matched[t.folder], tags[t]
			var axes []axisValue
			for _, a := range n.axes {
				axes = append(axes, axisValue{c.axis(v.at, a[0]), a[1]})
			}
			r := c.run(v.at, n.arm, n.seed, axes)
			name := t.name
			if several[name] {
				name = path.Join(n.rest, name)
			}
			if id := c.metric(v.at, name); r != nil && id >= 0 {
				c.value(r, id, v.value, 0, v.at)
			}
		}
	}
}

// runFolder returns the path of a run's folder, beginning with the name of root, and its
// parts. If root itself is a run, its parent folder may name the arm.
func (c *collector) runFolder(root, dir string) (folder string, n named, ok bool) {
	abs, err := filepath.Abs(root)
	if err != nil {
		abs = root
	}
	rel, err := filepath.Rel(root, dir)
	if err != nil {
		rel = dir
	}
	folder = path.Join(filepath.Base(abs), filepath.ToSlash(rel))
	if n, ok = parse(c.o.patterns(), folder); !ok {
		n, ok = parse(c.o.patterns(), path.Join(filepath.Base(filepath.Dir(abs)), folder))
	}
	return folder, n, ok
}

// readEvents reads an event file.
func (c *collector) readEvents(path string, number int32, f func(name string, v logged), other func(name string)) {
	file, err := os.Open(path)
	if err != nil {
		c.unreadable(number, err)
		return
	}
	defer file.Close()
	c.events(bufio.NewReaderSize(file, 64<<10), number, f, other)
}

func (c *collector) events(r io.Reader, number int32, f func(name string, v logged), other func(name string)) {
	records(r, func(n int, data []byte, err error) {
		at := place{number, int32(n)}
		if err == nil {
			err = readEvent(data, func(name string, s scalar) { f(name, logged{s, at}) }, other)
		}
		switch {
		case errors.Is(err, errTruncated):
			c.problem(Truncated, at, err.Error(), "whole records", "the records before it are used; check that the run ended")
		case err != nil:
			c.problem(BadRow, at, err.Error(), "TFRecords of tensorflow.Event", "copy the file again from where it was written")
		}
	})
}
