package labels

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"ablate/runner/rows"
)

// format is a format of files.
type format struct {
	name    string
	csv     bool
	named   bool // its rows are the values of one JSON object
	layouts []layout
}

// layout is a form that the files of a format have.
type layout struct {
	columns []string // columns that it needs
	more    []string // columns that it reads where they are there
	take    func(*reader, row) *rows.Wrong
}

// formats are the known formats. Each has its own file, which names the source of its columns.
var formats = []format{
	{name: "jsonl", layouts: ownLayouts},
	{name: "csv", csv: true, layouts: ownLayouts},
	{name: "tia2", named: true, layouts: []layout{tia2}},
	{name: "rapidata", layouts: []layout{rapidata}},
	{name: "hpdv2", layouts: []layout{hpdv2Train, hpdv2Test}},
	{name: "hpdv3", layouts: []layout{hpdv3}},
	{name: "pick-a-pic", layouts: []layout{pickAPic}},
	{name: "imagereward", layouts: []layout{imageRewardRanking, imageRewardRows}},
}

// Formats returns the names of the formats.
func Formats() []string {
	var names []string
	for _, f := range formats {
		names = append(names, f.name)
	}
	return names
}

// columns returns the columns that are read of files of the format.
func (f format) columns() (names []string) {
	for _, l := range f.layouts {
		names = append(append(names, l.columns...), l.more...)
	}
	return names
}

// layout returns the form of a file with the given columns.
func (f format) layout(header []string) (layout, error) {
	var all []string
	for _, l := range f.layouts {
		if !slices.ContainsFunc(l.columns, func(c string) bool { return !slices.Contains(header, c) }) {
			return l, nil
		}
		all = append(all, strings.Join(l.columns, ", "))
	}
	has := "it has no columns"
	if len(header) > 0 {
		has = "it has the columns " + strings.Join(header, ", ")
	}
	return layout{}, &rows.Wrong{What: has,
		Allowed: fmt.Sprintf("in the format %s, these: %s", f.name, strings.Join(all, "; or ")), Do: "check the file and --as"}
}

// kinds describe lists.
var kinds = map[reflect.Kind]string{reflect.Int: "a list of whole numbers", reflect.Float64: "a list of numbers", reflect.String: "a list of texts", reflect.Struct: "a list of objects with rank and user_hash"}

// list parses a JSON list. Its values must be there: Go makes 0 of null.
func list[T any](name, text string) ([]T, *rows.Wrong) {
	var given []*T
	err := json.Unmarshal([]byte(text), &given)
	if err != nil || given == nil || slices.Contains(given, nil) {
		return nil, &rows.Wrong{What: fmt.Sprintf("%s is %.60q", name, text), Allowed: kinds[reflect.TypeFor[T]().Kind()], Do: "correct it"}
	}
	out := make([]T, len(given))
	for i, x := range given {
		out[i] = *x
	}
	return out, nil
}

// sameLength returns what is wrong with two lists that must have a value for each image.
func sameLength(name string, n int, of string, images int) *rows.Wrong {
	if n == images {
		return nil
	}
	return &rows.Wrong{What: fmt.Sprintf("%s has %d values, and %s %d images", name, n, of, images), Allowed: "one for each image", Do: "correct it"}
}

// ranked are the images of a prompt with their ranks, of which the lowest is the best.
type ranked struct {
	pair   Pair // what all of its pairs have
	images []string
	ranks  []float64
}

// pairs returns the pairs of each two images. Equal ranks are ties.
func (x ranked) pairs() (out []Pair, bad *rows.Wrong) {
	if len(x.images) < 2 || len(x.images) > mostImage {
		return nil, &rows.Wrong{What: fmt.Sprintf("%d images are ranked", len(x.images)), Allowed: fmt.Sprintf("2 to %d", mostImage), Do: "correct it"}
	}
	if bad := sameLength("the ranking", len(x.ranks), "it has", len(x.images)); bad != nil {
		return nil, bad
	}
	for i, a := range x.images {
		for j := i + 1; j < len(x.images); j++ {
			p := x.pair
			p.A, p.B, p.Value = a, x.images[j], .5
			if x.ranks[i] < x.ranks[j] {
				p.Value = 1
			} else if x.ranks[i] > x.ranks[j] {
				p.Value = 0
			}
			out = append(out, p)
		}
	}
	return out, nil
}

// add adds the pairs of ranked images.
func (r *reader) add(x ranked) *rows.Wrong {
	pairs, bad := x.pairs()
	r.Pairs = append(r.Pairs, pairs...)
	return bad
}
