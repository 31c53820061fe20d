package language

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"ablate/experiments/schema"
)

// Content is a trial without its seed: dotted paths and values, sorted, with defaults filled in
// and without parameters that the trial does not use. Two contents are the same exactly if
// their lines are equal. The zero Content is empty.
//
// A parameter that an engine only records has a value, but no line.
type Content struct {
	pool *pool
	refs []uint32 // by place in the pool's layout, index in pool; 0 where the trial does not use it
}

// A pool has each value of a study once: a sweep of a hundred thousand points has few distinct
// values. Index 0 stands for no value.
type pool struct {
	layout *layout
	values []any // float64, int64, string or bool
	lines  []string
	index  map[any]uint32
}

func newPool(l *layout) *pool {
	return &pool{layout: l, values: []any{nil}, lines: []string{""}, index: map[any]uint32{}}
}

// put returns the index of a value, and adds the value if it is new.
func (p *pool) put(v any) uint32 {
	if v == nil {
		return 0
	}
	i, ok := p.index[v]
	if !ok {
		i = uint32(len(p.values))
		p.index[v] = i
		p.values, p.lines = append(p.values, v), append(p.lines, line(v))
	}
	return i
}

// layout returns the places of the content's values.
func (c Content) layout() *layout {
	if c.pool == nil {
		return native()
	}
	return c.pool.layout
}

// Value returns the value at a path as float64, int64, string or bool, according to the axis's
// kind, and false where the trial does not use the path.
func (c Content) Value(path string) (any, bool) {
	l := c.layout()
	i, ok := l.place[path]
	if !ok || i >= len(c.refs) || c.refs[i] == 0 {
		if i, ok = l.record[path]; !ok || i >= len(c.refs) || c.refs[i] == 0 {
			return nil, false
		}
	}
	return c.pool.values[c.refs[i]], true
}

// A Value is a value of a trial by its path.
type Value struct {
	Path     string
	Value    any  // float64, int64, string or bool
	Recorded bool // it identifies no trial
}

// Params returns the parameters of an engine that a trial uses, with their paths below a group
// such as "finetune.params", sorted. It is empty where the trial names no engine for the group.
func (c Content) Params(group string) (out []Value) {
	l := c.layout()
	for i, ref := range c.refs {
		if name, ok := strings.CutPrefix(l.paths[i], group+"."); ok && ref != 0 {
			out = append(out, Value{name, c.pool.values[ref], i >= l.keyed})
		}
	}
	slices.SortFunc(out, func(a, b Value) int { return strings.Compare(a.Path, b.Path) })
	return out
}

// Lines returns sorted "PATH VALUE" lines for the key of an action: those at or below one of
// the prefixes ("finetune", "finetune.mix"), or all of them without prefixes. Strings are
// quoted.
func (c Content) Lines(prefixes ...string) []string {
	l := c.layout()
	paths, lines := l.paths, make([]string, 0, 8)
	for i, ref := range c.keyed() {
		if ref != 0 && (len(prefixes) == 0 || slices.ContainsFunc(prefixes, func(prefix string) bool { return under(paths[i], prefix) })) {
			lines = append(lines, paths[i]+" "+c.pool.lines[ref])
		}
	}
	return lines
}

// Without returns a text that two contents of one study share if and only if their values are
// equal everywhere but at or below a path.
func (c Content) Without(prefix string) string {
	l := c.layout()
	b := make([]byte, 0, 4*len(c.refs))
	for i, ref := range c.keyed() {
		if under(l.paths[i], prefix) {
			ref = 0
		}
		b = binary.LittleEndian.AppendUint32(b, ref)
	}
	return string(b)
}

// keyed returns the references of the values that identify a trial.
func (c Content) keyed() []uint32 { return c.refs[:min(len(c.refs), c.layout().keyed)] }

// Same reports, in constant time, whether two contents of one study share memory. It may be
// false for equal contents of different arms.
func (c Content) Same(o Content) bool {
	return len(c.refs) > 0 && len(o.refs) > 0 && &c.refs[0] == &o.refs[0]
}

// under reports whether path is prefix or below it.
func under(path, prefix string) bool {
	return strings.HasPrefix(path, prefix) && (len(path) == len(prefix) || path[len(prefix)] == '.')
}

// Trial is a content and a seed.
type Trial struct {
	Content Content
	Seed    Seed
	id      ID // zero where it is not computed yet
}

// ID identifies a trial.
type ID [32]byte

// ID returns the SHA-256 of the trial's lines and seed, salted with the version of the schema,
// which defines their meaning.
func (t Trial) ID() ID {
	if t.id != (ID{}) {
		return t.id
	}
	return t.name(t.Content.text())
}

// text returns the bytes that every trial of a content hashes before its seed.
func (c Content) text() []byte {
	l := c.layout()
	return c.identity(l.paths, l.absent)
}

// Training returns a text that two contents share if and only if they differ in their evaluation at
// most.
func (c Content) Training() string {
	var b strings.Builder
	for line := range strings.Lines(string(c.text())) {
		if path, _, _ := strings.Cut(line, " "); !under(path, "evaluate") && path != "prompts.evaluate" {
			b.WriteString(line)
		}
	}
	return b.String()
}

// identity returns the lines of a content, without parameters at their absent value, so that
// adding a parameter does not change ids.
func (c Content) identity(paths []string, absent []any) []byte {
	b := make([]byte, 0, 2048)
	b = fmt.Appendf(b, "ablate trial, schema %d\n", schema.Version)
	for i, ref := range c.refs[:min(len(c.refs), len(absent))] {
		if ref != 0 && (absent[i] == nil || c.pool.values[ref] != absent[i]) {
			b = append(append(append(append(b, paths[i]...), ' '), c.pool.lines[ref]...), '\n')
		}
	}
	return b
}

func (t Trial) name(text []byte) ID {
	b := append(text[:len(text):cap(text)], "seed.feedback "...)
	b = append(strconv.AppendInt(b, t.Seed.Feedback, 10), "\nseed.pretraining "...)
	b = append(strconv.AppendInt(b, t.Seed.Pretraining, 10), '\n')
	return sha256.Sum256(b)
}

// String returns the id in 64 hexadecimal digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Short returns the first 12 hexadecimal digits.
func (id ID) Short() string { return id.String()[:12] }
