package spec

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"ablate/experiments/schema"
)

// Content is what a trial says but for its seed: dotted paths and values,
// sorted, with defaults resolved and without what the trial does not use. Two
// contents are one trial exactly if their lines are equal. The zero Content is
// empty.
type Content struct {
	paths  []string // sorted
	values []any    // float64, int64 or string
}

func newContent(values map[string]any) Content {
	c := Content{}
	for p := range values {
		c.paths = append(c.paths, p)
	}
	slices.Sort(c.paths)
	for _, p := range c.paths {
		c.values = append(c.values, values[p])
	}
	return c
}

// Paths returns the dotted paths that the trial uses, sorted.
func (c Content) Paths() []string { return slices.Clone(c.paths) }

// Value returns the value at a path: float64, int64 or string, by the axis's
// kind. It reports false where the trial does not use the path.
func (c Content) Value(path string) (any, bool) {
	if i, ok := slices.BinarySearch(c.paths, path); ok {
		return c.values[i], true
	}
	return nil, false
}

// Lines returns "PATH VALUE" lines, sorted, for the key of an action: those at
// or below one of the prefixes ("finetune", "finetune.mix"), or all of them
// where no prefix is given. Strings are quoted.
func (c Content) Lines(prefixes ...string) []string {
	var lines []string
	for i, p := range c.paths {
		if len(prefixes) == 0 || slices.ContainsFunc(prefixes, func(prefix string) bool { return under(p, prefix) }) {
			lines = append(lines, p+" "+line(c.values[i]))
		}
	}
	return lines
}

// under reports whether path is prefix or lies below it.
func under(path, prefix string) bool {
	return path == prefix || strings.HasPrefix(path, prefix+".")
}

// Trial is a content and a seed.
type Trial struct {
	Content Content
	Seed    Seed
}

// ID names a trial.
type ID [32]byte

// ID returns the trial's name: the SHA-256 of its lines and its seed, salted with
// the version of the schema, which gives them their meaning.
func (t Trial) ID() ID {
	h := sha256.New()
	fmt.Fprintf(h, "ablate trial, schema %d\n", schema.Version)
	for _, l := range t.Content.Lines() {
		fmt.Fprintln(h, l)
	}
	fmt.Fprintf(h, "seed.feedback %d\nseed.pretraining %d\n", t.Seed.Feedback, t.Seed.Pretraining)
	return ID(h.Sum(nil))
}

// String returns the id in 64 hexadecimal digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Short returns the first 12 hexadecimal digits.
func (id ID) Short() string { return id.String()[:12] }

// ParseID reads what String wrote.
func ParseID(s string) (ID, error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(ID{}) {
		return ID{}, fmt.Errorf("trial id %q: not 64 hexadecimal digits", s)
	}
	return ID(b), nil
}
