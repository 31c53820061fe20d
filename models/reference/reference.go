// Package reference compares results of tests with the numbers of reference libraries. It
// finds the cases of a kind, reads their inputs, compares with the tolerance that the set
// gives for each key, and reports how many of the expected keys were compared.
//
// A set is a folder with expected/tolerances.json and, below expected/, a
// folder for each case: KIND.json with the case's constants, and
// KIND.safetensors with its tensors, inputs and expected values; some kinds have only one of
// them. Cases of a checkpoint are in the folder expected/NAME, and the checkpoint in NAME. The committed
// set is models/testdata/reference; the environment variable ABLATE_REFERENCE
// names another of the same layout, by an absolute path or one from the repository's root.
// Go's test cache does not see files outside the repository, so add -count=1.
package reference

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ablate/models/checkpoint"
)

// Variable is the environment variable that names another set.
const Variable = "ABLATE_REFERENCE"

// A Case is what one folder has of a kind. It is not safe for parallel subtests.
type Case struct {
	Name string // the folder, from expected/
	Kind string // name of its files, without the extension

	set      string // folder of the set
	tensors  map[string]checkpoint.Tensor
	limits   map[string]limit
	expected map[string]bool
	compared map[string]bool
	others   map[string]string // keys that another test compares: its name
}

// limit is the entry of a key in tolerances.json.
type limit struct {
	Role string   `json:"role"` // input or expected
	Atol *float64 `json:"suggested_atol"`
	Rtol *float64 `json:"suggested_rtol"`
}

// Cases returns a case for every file below expected/ whose name matches a pattern of
// path.Match, such as "metrics.json" or "trajectory_*.safetensors", in the order of their
// paths. It is fatal if there is none. When t ends, it prints to standard output
//
//	reference: compared N of M expected keys
//
// summed over the cases, and fails where N < M, except for keys that other tests compare
// (Elsewhere), whose number and tests it prints after that. Call functions that may skip the
// test (modeltest.Backend) before it.
func Cases(t testing.TB, pattern string) []*Case {
	t.Helper()
	cases, err := find(pattern)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Skipped() {
			return
		}
		line, missing := summary(cases)
		fmt.Println(line)
		if len(missing) > 0 {
			t.Errorf("never compared: %s", strings.Join(missing, ", "))
		}
	})
	return cases
}

func summary(cases []*Case) (line string, missing []string) {
	n, m := 0, 0
	others := map[string]int{}
	for _, c := range cases {
		m += len(c.expected)
		for _, key := range slices.Sorted(maps.Keys(c.expected)) {
			switch test := c.others[key]; {
			case c.compared[key]:
				n++
			case test != "":
				others[test]++
			default:
				missing = append(missing, c.Name+" "+c.Kind+" "+key)
			}
		}
	}
	line = fmt.Sprintf("reference: compared %d of %d expected keys", n, m)
	for _, test := range slices.Sorted(maps.Keys(others)) {
		line += fmt.Sprintf(", %d by %s", others[test], test)
	}
	return line, missing
}

// root is the folder of the set in use.
func root() (string, error) {
	named := os.Getenv(Variable)
	if filepath.IsAbs(named) {
		return named, nil
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("no go.mod above the test's folder: the reference set cannot be found")
		}
		dir = up
	}
	if named != "" {
		return filepath.Join(dir, named), nil
	}
	return filepath.Join(dir, "models", "testdata", "reference"), nil
}

func find(pattern string) ([]*Case, error) {
	set, err := root()
	if err != nil {
		return nil, err
	}
	expected := filepath.Join(set, "expected")
	var tolerances struct {
		Files map[string]map[string]limit `json:"files"`
	}
	if err := decode(filepath.Join(expected, "tolerances.json"), &tolerances); err != nil {
		return nil, err
	}
	var cases []*Case
	err = filepath.WalkDir(expected, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if ok, err := path.Match(pattern, d.Name()); !ok || err != nil {
			return err
		}
		name, err := filepath.Rel(expected, filepath.Dir(file))
		if err != nil {
			return err
		}
		c := &Case{Name: filepath.ToSlash(name), Kind: strings.TrimSuffix(d.Name(), filepath.Ext(file)), set: set, expected: map[string]bool{}, compared: map[string]bool{}, others: map[string]string{}}
		tensors := c.Kind + ".safetensors"
		c.limits = tolerances.Files["expected/"+c.Name+"/"+tensors]
		c.tensors, err = checkpoint.ReadFile(filepath.Join(filepath.Dir(file), tensors))
		if errors.Is(err, fs.ErrNotExist) && c.limits == nil {
			err = nil // all of it is in the JSON file
		}
		if err != nil {
			return err
		}
		for key := range c.tensors {
			switch l, ok := c.limits[key]; {
			case !ok:
				return fmt.Errorf("tolerances.json has no tolerance of %s in expected/%s/%s", key, c.Name, tensors)
			case l.Role == "expected":
				c.expected[key] = true
			}
		}
		for key := range c.limits {
			if _, ok := c.tensors[key]; !ok {
				return fmt.Errorf("expected/%s/%s has no %s, which tolerances.json lists", c.Name, tensors, key)
			}
		}
		cases = append(cases, c)
		return nil
	})
	if err == nil && len(cases) == 0 {
		err = fmt.Errorf("no folder below %s has a %s", expected, pattern)
	}
	return cases, err
}

func decode(path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// JSON decodes the case's JSON file into v.
func (c *Case) JSON(t testing.TB, v any) {
	t.Helper()
	c.Beside(t, c.Kind+".json", v)
}

// Beside decodes another JSON file of the case's folder into v.
func (c *Case) Beside(t testing.TB, file string, v any) {
	t.Helper()
	if err := decode(filepath.Join(c.set, "expected", filepath.FromSlash(c.Name), file), v); err != nil {
		t.Fatal(err)
	}
}

// Checkpoint returns the folder of the checkpoint that a case is about.
func (c *Case) Checkpoint() string { return filepath.Join(c.set, filepath.FromSlash(c.Name)) }

// Keys are the names of the case's tensors, sorted.
func (c *Case) Keys() []string { return slices.Sorted(maps.Keys(c.tensors)) }

// Expected are the keys that must be compared, sorted.
func (c *Case) Expected() []string { return slices.Sorted(maps.Keys(c.expected)) }

// Has reports whether there is a tensor of that name.
func (c *Case) Has(key string) bool { _, ok := c.tensors[key]; return ok }

// Shape is the shape of a tensor.
func (c *Case) Shape(t testing.TB, key string) []int {
	t.Helper()
	return slices.Clone(c.tensor(t, key).Shape)
}

// Floats are the values of a tensor of floating-point numbers.
func (c *Case) Floats(t testing.TB, key string) []float32 {
	t.Helper()
	x, err := c.tensor(t, key).Float32()
	if err != nil {
		t.Fatalf("%s: %s: %v", c.Name, key, err)
	}
	return x
}

// Ints are the values of a tensor of whole numbers or truth values.
func (c *Case) Ints(t testing.TB, key string) []int {
	t.Helper()
	x, err := ints(c.tensor(t, key))
	if err != nil {
		t.Fatalf("%s: %s: %v", c.Name, key, err)
	}
	return x
}

func (c *Case) tensor(t testing.TB, key string) checkpoint.Tensor {
	t.Helper()
	x, ok := c.tensors[key]
	if !ok {
		t.Fatalf("%s has no tensor %q; it has %s", c.Name, key, strings.Join(c.Keys(), ", "))
	}
	return x
}

func ints(x checkpoint.Tensor) ([]int, error) {
	wide := map[string]int{"I64": 8, "I32": 4, "U8": 1, "BOOL": 1}[x.DType]
	if wide == 0 {
		return nil, fmt.Errorf("a tensor of type %s does not have whole numbers", x.DType)
	}
	out := make([]int, len(x.Data)/wide)
	for i := range out {
		switch b := x.Data[i*wide:]; wide {
		case 8:
			out[i] = int(int64(binary.LittleEndian.Uint64(b)))
		case 4:
			out[i] = int(int32(binary.LittleEndian.Uint32(b)))
		default:
			out[i] = int(b[0])
		}
	}
	return out, nil
}

// A Number is a value that Check can compare.
type Number interface {
	~float32 | ~float64 | ~int | ~int32 | ~int64 | ~uint8
}

// Check compares computed values, row-major, with an expected tensor: every
// entry must have |got-want| <= atol + rtol·|want|, with the key's tolerances from
// tolerances.json. It counts the key as compared. Whole numbers must be equal; bytes may
// differ by one in fewer than 1 % of the entries. Parameters
// after steps of AdamW and their differences (delta_step, param_step) have
// rtol 0, and 0.5 % of their entries may be off, because an entry whose gradient is
// within rounding of 0 may move in either direction.
func Check[T Number](t testing.TB, c *Case, key string, got []T) {
	t.Helper()
	x := c.tensor(t, key)
	if !c.expected[key] {
		t.Errorf("%s: %s is an input, not an expected value", c.Name, key)
		return
	}
	c.compared[key] = true
	want, err := floats(x)
	if err != nil {
		t.Errorf("%s: %s: %v", c.Name, key, err)
		return
	}
	if len(got) != len(want) {
		t.Errorf("%s: %s: %d values, want %d of shape %v", c.Name, key, len(got), len(want), x.Shape)
		return
	}
	l := c.limits[key]
	var atol, rtol float64
	misses := 0 // entries that may be off
	switch x.DType {
	case "F16", "BF16", "F32", "F64":
		if l.Atol == nil || l.Rtol == nil {
			t.Errorf("%s: tolerances.json has no tolerance for %s", c.Name, key)
			return
		}
		atol, rtol = *l.Atol, *l.Rtol
		if strings.Contains(key, "delta_step") || strings.Contains(key, "param_step") {
			rtol, misses = 0, len(want)/200
		}
	case "U8":
		for i, g := range got {
			if d := math.Abs(float64(g) - want[i]); d == 1 {
				misses++
			}
		}
		if misses*100 >= len(want) {
			misses = 0
		}
	}
	missed, worst, at := 0, -1.0, 0
	for i, g := range got {
		d := math.Abs(float64(g) - want[i])
		if d <= atol+rtol*math.Abs(want[i]) {
			continue
		}
		missed++
		if math.IsNaN(d) {
			d = math.Inf(1)
		}
		if d > worst {
			worst, at = d, i
		}
	}
	if missed > misses {
		t.Errorf("%s: %s: %d of %d values are off (%d may be); the worst, [%d], is %v, want %v ± %.2g",
			c.Name, key, missed, len(got), misses, at, got[at], want[at], atol+rtol*math.Abs(want[at]))
	}
}

func floats(x checkpoint.Tensor) ([]float64, error) {
	switch x.DType {
	case "F64":
		out := make([]float64, len(x.Data)/8)
		for i := range out {
			out[i] = math.Float64frombits(binary.LittleEndian.Uint64(x.Data[8*i:]))
		}
		return out, nil
	case "F16", "BF16", "F32":
		f, err := x.Float32()
		out := make([]float64, len(f))
		for i, v := range f {
			out[i] = float64(v)
		}
		return out, err
	}
	n, err := ints(x)
	out := make([]float64, len(n))
	for i, v := range n {
		out[i] = float64(v)
	}
	return out, err
}

// Expect adds names to the keys that must be compared, for values that are in
// the JSON file and not among the tensors.
func (c *Case) Expect(names ...string) {
	for _, n := range names {
		c.expected[n] = true
	}
}

// Elsewhere declares that another test, of the given name, compares expected keys of the case,
// which this test takes as inputs or does not compute. It hides nothing: the keys stay among
// the M of the printed line, which has their number and that test's name, and a key that is
// neither compared nor declared still fails this test.
func (c *Case) Elsewhere(t testing.TB, test string, keys ...string) {
	t.Helper()
	for _, key := range keys {
		if !c.expected[key] {
			t.Errorf("%s: %s is not an expected value, which %s could compare", c.Name, key, test)
			continue
		}
		c.others[key] = test
	}
}

// Near compares values of the JSON file to a relative tolerance (0 means equal), and counts
// the name as compared.
func (c *Case) Near(t testing.TB, name string, got, want []float64, rtol float64) {
	t.Helper()
	if !c.expected[name] {
		t.Errorf("%s: %s is not an expected value", c.Name, name)
		return
	}
	c.compared[name] = true
	if len(got) != len(want) {
		t.Errorf("%s: %s: %d values, want %d", c.Name, name, len(got), len(want))
		return
	}
	for i, g := range got {
		if !(math.Abs(g-want[i]) <= rtol*math.Abs(want[i])) {
			t.Errorf("%s: %s is %.15g, want %.15g ± %.1g relative", c.Name, name, g, want[i], rtol)
		}
	}
}
