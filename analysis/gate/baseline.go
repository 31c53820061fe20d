// Package gate is a regression test of an ablation table in continuous integration: it compares
// the table with a baseline, the values of an earlier run in a file, and finds the values that
// are significantly worse by more than a declared margin (a one-sided non-inferiority margin).
// It returns the result and prints nothing.
package gate

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"

	"gonum.org/v1/gonum/stat"

	"ablate/analysis/compare"
	"ablate/analysis/stats"
	"ablate/analysis/table"
)

// Baseline is the content of a baseline file: the values of a table by seed, with which later
// tables are compared.
type Baseline struct {
	Version int            `json:"version"` // version of the format: 2
	Study   string         `json:"study"`
	Made    Made           `json:"made"`
	Rows    []BaselineRow  `json:"rows"`
	index   map[string]int // by label, index in Rows
}

// Made is the origin of a table: the backend, the versions of the program and the processors
// that computed it.
type Made struct {
	Backend  string   `json:"backend"`
	Versions []string `json:"versions"`
	CPUs     []string `json:"cpus"`
}

// BaselineRow is an arm, or one point of an arm with a sweep.
type BaselineRow struct {
	Arm    string            `json:"arm"`
	Row    string            `json:"row"`    // label: arm and point
	Trials map[string]string `json:"trials"` // by seed, id of the trial
	// Models are the artifacts of the pretrained models that the trials start from, by seed.
	// They are absent in older baselines, and for imported studies.
	Models  map[string]string       `json:"models,omitempty"`
	Metrics map[string]BaselineCell `json:"metrics"`
}

// BaselineCell has the values of a metric of a row.
type BaselineCell struct {
	Better string  `json:"better"`          // higher or lower
	Range  string  `json:"range,omitempty"` // range of values, as of a column of trials.arrow: share, mean, unit, positive or absent
	Mean   float64 `json:"mean"`            // arithmetic mean over seeds, in the metric's units
	N      int     `json:"n"`               // number of independent seeds
	// Images is the smallest number of samples of a seed's value; absent in older baselines.
	Images int                `json:"images,omitempty"`
	Seeds  map[string]float64 `json:"seeds"` // by seed, the value
}

const version = 2

// largest is the largest absolute value that is accepted: sums of squares of larger ones
// overflow.
const largest = 1e100

// New returns the baseline of the given metrics of a table. It fails where a metric has no
// better direction.
func New(study string, made Made, t *compare.Table, metrics []string) (*Baseline, error) {
	b := &Baseline{Version: version, Study: study, Made: made}
	better, of := map[string]string{}, map[string]string{}
	for _, m := range t.Metrics {
		better[m.Name], of[m.Name] = m.Better, m.Range
	}
	for _, r := range t.Rows {
		if r.Stopped != nil { // it has no values
			continue
		}
		out := BaselineRow{Arm: r.Arm, Row: r.Label, Trials: map[string]string{}, Metrics: map[string]BaselineCell{}}
		for i, s := range r.Seeds {
			out.Trials[s] = r.Trials[i]
			if id := r.Model(i); id != "" {
				if out.Models == nil {
					out.Models = map[string]string{}
				}
				out.Models[s] = id
			}
		}
		for _, m := range metrics {
			c, ok := r.Cells[m]
			if !ok {
				continue
			}
			if better[m] == "" {
				return nil, fmt.Errorf("metric %s has no direction, which a guarded metric needs: declare whether higher or lower is better", m)
			}
			x := BaselineCell{Better: better[m], Range: of[m], Mean: stat.Mean(c.Values, nil), N: c.N, Images: c.Images, Seeds: map[string]float64{}}
			for i, s := range c.Seeds {
				x.Seeds[s] = c.Values[i]
			}
			out.Metrics[m] = x
		}
		b.Rows = append(b.Rows, out)
	}
	return b, b.check()
}

// Write writes the baseline as JSON with one value on a line, so that its diffs are readable.
func (b *Baseline) Write(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	return e.Encode(b)
}

// Read parses a baseline and checks that its values are consistent. Errors name the line, or
// the row and metric.
func Read(in []byte) (*Baseline, error) {
	walk := json.NewDecoder(bytes.NewReader(in))
	walk.UseNumber()
	if err := exact(in, walk, reflect.TypeFor[Baseline]()); err != nil && !errors.Is(err, errOther) {
		return nil, err
	}
	b := &Baseline{}
	d := json.NewDecoder(bytes.NewReader(in))
	if err := d.Decode(b); err != nil {
		at := d.InputOffset()
		var syntax *json.SyntaxError
		var typed *json.UnmarshalTypeError
		switch {
		case errors.Is(err, io.ErrUnexpectedEOF):
			return nil, fmt.Errorf("line %d: the file ends in the middle of a value: restore it, or write it again with 'ablate baseline'", 1+bytes.Count(in, []byte("\n")))
		case errors.As(err, &syntax):
			at = syntax.Offset
		case errors.As(err, &typed):
			at = typed.Offset
		}
		at = min(max(at, 0), int64(len(in)))
		return nil, fmt.Errorf("line %d: %w", 1+bytes.Count(in[:at], []byte("\n")), err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("line %d: there is further text after the baseline: restore the file, or write it again with 'ablate baseline'", 1+bytes.Count(in[:d.InputOffset()], []byte("\n")))
	}
	return b, b.check()
}

// exact returns an error for a value of type t that Go's decoder would accept although it is
// ambiguous: a name that is repeated or differs from a field's in case, of which the last would
// win, and null for a number or an object. It leaves errors of syntax and type to the decoder.
func exact(in []byte, d *json.Decoder, t reflect.Type) error {
	fail := func(format string, of ...any) error {
		line := 1 + bytes.Count(in[:d.InputOffset()], []byte("\n"))
		return fmt.Errorf("line %d: %s: write the baseline again with 'ablate baseline'", line, fmt.Sprintf(format, of...))
	}
	token, err := d.Token()
	switch {
	case err != nil:
		return errOther
	case token == nil && t.Kind() != reflect.Slice:
		return fail("null is not a valid value here")
	case token == json.Delim('[') && t.Kind() == reflect.Slice:
		for d.More() {
			if err := exact(in, d, t.Elem()); err != nil {
				return err
			}
		}
	case token == json.Delim('{') && (t.Kind() == reflect.Struct || t.Kind() == reflect.Map):
		seen := map[string]bool{}
		for d.More() {
			token, err := d.Token()
			name, ok := token.(string)
			if err != nil || !ok {
				return errOther
			}
			of, known := fieldType(t, name)
			switch {
			case !known:
				return fail("%q is not a valid name here", name)
			case seen[name]:
				return fail("%q is repeated", name)
			}
			seen[name] = true
			if err := exact(in, d, of); err != nil {
				return err
			}
		}
	default:
		if _, opens := token.(json.Delim); opens {
			return errOther
		}
		return nil
	}
	if _, err := d.Token(); err != nil { // the closing bracket
		return errOther
	}
	return nil
}

// errOther stands for errors that the decoder reports in its own words.
var errOther = errors.New("not a baseline")

// fieldType returns the type of a field by its name in JSON, or of a map's values, and false
// for an unknown name.
func fieldType(t reflect.Type, name string) (reflect.Type, bool) {
	if t.Kind() == reflect.Map {
		return t.Elem(), true
	}
	for i := range t.NumField() {
		if tag, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ","); tag != "" && tag == name {
			return t.Field(i).Type, true
		}
	}
	return nil, false
}

func (b *Baseline) check() error {
	if b.Version != version {
		return fmt.Errorf("version is %d, and this program reads version %d: write the baseline again with 'ablate baseline'", b.Version, version)
	}
	if len(b.Rows) == 0 {
		return errors.New("it has no rows: write the baseline again with 'ablate baseline'")
	}
	b.index = map[string]int{}
	for i, r := range b.Rows {
		if _, ok := b.index[r.Row]; ok {
			return fmt.Errorf("row %q is repeated: write the baseline again with 'ablate baseline'", r.Row)
		}
		b.index[r.Row] = i
		for name, c := range r.Metrics {
			at := fmt.Sprintf("row %q, metric %s", r.Row, name)
			seeds, values, err := c.values()
			switch {
			case err != nil:
				return fmt.Errorf("%s: %w", at, err)
			case c.Better != "higher" && c.Better != "lower":
				return fmt.Errorf("%s: better is %q; must be higher or lower", at, c.Better)
			case len(values) == 0:
				return fmt.Errorf("%s: there are no seeds: write the baseline again with 'ablate baseline'", at)
			case math.Abs(stat.Mean(values, nil)-c.Mean) > 1e-9*(1+math.Abs(c.Mean)):
				return fmt.Errorf("%s: the mean is %v, but its seeds give %v: write the baseline again with 'ablate baseline' instead of editing it", at, c.Mean, stat.Mean(values, nil))
			case stats.Independent(seeds) != c.N:
				return fmt.Errorf("%s: n is %d, but there are %d independent seeds: write the baseline again with 'ablate baseline'", at, c.N, stats.Independent(seeds))
			case !slices.Contains([]string{"", table.Share, table.Mean, table.Unit, table.Positive}, c.Range):
				return fmt.Errorf("%s: range is %q; must be share, mean, unit, positive or absent", at, c.Range)
			case c.Images < 0:
				return fmt.Errorf("%s: images is %d; must be 0 or more", at, c.Images)
			}
			for s := range c.Seeds {
				if r.Trials[s] == "" {
					return fmt.Errorf("%s: seed %s has a value but no trial: write the baseline again with 'ablate baseline'", at, s)
				}
			}
		}
	}
	return nil
}

// values returns the seeds in ascending order, with their values.
func (c BaselineCell) values() ([]stats.Seed, []float64, error) {
	var names []string
	for s := range c.Seeds {
		names = append(names, s)
	}
	order := map[string]stats.Seed{}
	for _, s := range names {
		seed, err := compare.ParseSeed(s)
		if err != nil {
			return nil, nil, err
		}
		if name := compare.SeedName(seed); name != s {
			return nil, nil, fmt.Errorf("seed %s must be written %s", s, name)
		}
		order[s] = seed
	}
	slices.SortFunc(names, func(x, y string) int { return compareSeeds(order[x], order[y]) })
	var seeds []stats.Seed
	var values []float64
	for _, s := range names {
		if v := c.Seeds[s]; math.Abs(v) > largest {
			return nil, nil, fmt.Errorf("seed %s: %v is too large; must be within ±1e100", s, v)
		}
		seeds, values = append(seeds, order[s]), append(values, c.Seeds[s])
	}
	return seeds, values, nil
}

func compareSeeds(a, b stats.Seed) int {
	return cmp.Or(cmp.Compare(a.Pretraining, b.Pretraining), cmp.Compare(a.Feedback, b.Feedback))
}

// Trials returns the baseline in the form of trials.arrow, with the columns that it has values
// for.
func (b *Baseline) Trials() *table.Table {
	t := &table.Table{Meta: map[string]string{"study": b.Study}}
	add := func(c table.Column) *table.Column { t.Columns = append(t.Columns, &c); return &c }
	arm, view, trial := add(table.Column{Name: "arm", Kind: table.String}), add(table.Column{Name: "view", Kind: table.String}), add(table.Column{Name: "trial", Kind: table.String})
	model := add(table.Column{Name: compare.Model, Kind: table.String, Valid: []bool{}})
	pretraining, feedback := add(table.Column{Name: "seed.pretraining", Kind: table.Int}), add(table.Column{Name: "seed.feedback", Kind: table.Int})
	var metrics []string
	values, counts := map[string]*table.Column{}, map[string]*table.Column{}
	for _, r := range b.Rows {
		for name, c := range r.Metrics {
			if values[name] == nil {
				metrics = append(metrics, name)
				values[name] = &table.Column{Name: name, Kind: table.Float, Better: c.Better, Range: c.Range, Valid: []bool{}}
				counts[name] = &table.Column{Name: name + ".n", Kind: table.Int, Valid: []bool{}}
			}
		}
	}
	slices.Sort(metrics)
	for _, name := range metrics {
		t.Columns = append(t.Columns, values[name], counts[name])
	}
	for _, r := range b.Rows {
		for _, name := range slices.SortedFunc(maps.Keys(r.Trials), seedOrder) {
			seed, _ := compare.ParseSeed(name) // Read has checked the seeds that have values
			arm.Strings, view.Strings, trial.Strings = append(arm.Strings, r.Arm), append(view.Strings, r.Row+"@"+name), append(trial.Strings, r.Trials[name])
			pretraining.Ints, feedback.Ints = append(pretraining.Ints, seed.Pretraining), append(feedback.Ints, seed.Feedback)
			model.Strings, model.Valid = append(model.Strings, r.Models[name]), append(model.Valid, r.Models[name] != "")
			for _, m := range metrics {
				c := r.Metrics[m]
				x, ok := c.Seeds[name]
				v, n := values[m], counts[m]
				v.Floats, v.Valid = append(v.Floats, x), append(v.Valid, ok)
				n.Ints, n.Valid = append(n.Ints, int64(c.Images)), append(n.Valid, ok && c.Images > 0)
			}
		}
	}
	return t
}

// seedOrder compares names of seeds by their numbers.
func seedOrder(x, y string) int {
	a, _ := compare.ParseSeed(x)
	b, _ := compare.ParseSeed(y)
	return cmp.Or(compareSeeds(a, b), cmp.Compare(x, y))
}
