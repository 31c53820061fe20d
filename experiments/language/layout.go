package language

import (
	"maps"
	"slices"
	"sync"
)

// A layout is the order in which the values of a study's trials are kept. All contents of a
// study share it.
type layout struct {
	paths  []string       // the paths that identify a trial, sorted, then those that are only recorded
	keyed  int            // number of the first ones
	place  map[string]int // index of a path that identifies a trial
	record map[string]int // index of a path that is only recorded; one of two engines may key what the other records
	absent []any          // by index, the values at which a parameter has no line in an id; nil where there is none
}

// native is the layout of a study without engines.
var native = sync.OnceValue(func() *layout { return newLayout(axes(), nil) })

// newLayout returns the layout of parameters, and of further paths that are recorded.
func newLayout(keyed []Axis, recorded []string) *layout {
	l := &layout{place: map[string]int{}, record: map[string]int{}}
	absent := map[string]any{}
	for _, a := range keyed {
		absent[a.Path] = a.Absent
	}
	l.paths = slices.Sorted(maps.Keys(absent))
	l.keyed = len(l.paths)
	l.absent = make([]any, l.keyed)
	for i, path := range l.paths {
		l.place[path], l.absent[i] = i, absent[path]
	}
	for _, path := range slices.Sorted(slices.Values(recorded)) {
		l.record[path] = len(l.paths)
		l.paths = append(l.paths, path)
	}
	return l
}

// places returns the places of the paths at or below one of the prefixes.
func (l *layout) places(prefixes []string) []int {
	var out []int
	for i, path := range l.paths {
		if slices.ContainsFunc(prefixes, func(prefix string) bool { return under(path, prefix) }) {
			out = append(out, i)
		}
	}
	return out
}
