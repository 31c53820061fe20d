package reference

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ablate/models/checkpoint"
)

// recorder is a testing.TB that only records the calls.
type recorder struct {
	testing.TB
	errors []string
}

func (*recorder) Helper()                     {}
func (r *recorder) Errorf(f string, a ...any) { r.errors = append(r.errors, fmt.Sprintf(f, a...)) }

// TestCommitted: the committed set has the kinds that tests read, each with a case whose
// tensors are in tolerances.json.
func TestCommitted(t *testing.T) {
	t.Setenv(Variable, "")
	for _, kind := range []string{"metrics", "reward_model", "preference", "forward"} {
		cases, err := find(kind + ".json")
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range cases {
			if len(c.Keys()) == 0 {
				t.Errorf("%s has no tensors", c.Name)
			}
			if kind != "metrics" && len(c.Expected()) == 0 {
				t.Errorf("%s expects nothing", c.Name)
			}
		}
	}
	// The kinds that have only one of the two files, and are about a checkpoint.
	for _, kind := range []string{"unet.safetensors", "trajectory_*.safetensors", "tokenizer_ids.json"} {
		cases, err := find(kind)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range cases {
			if _, err := os.Stat(c.Checkpoint()); err != nil {
				t.Errorf("%s of %s: %v", c.Kind, c.Name, err)
			}
		}
	}
	if _, err := find("nothing.json"); err == nil || !strings.Contains(err.Error(), "nothing.json") {
		t.Errorf("a kind without cases: %v", err)
	}
}

// set writes a set of two cases, one of them in a deeper folder, and makes it the set in use.
func set(t *testing.T, tolerances string) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv(Variable, dir)
	write := func(name, text string) {
		path := filepath.Join(dir, "expected", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	write("tolerances.json", tolerances)
	for _, c := range []string{"one", "deep/two"} {
		write(c+"/kind.json", `{"k": 3}`)
		x := make([]float32, 400)
		for i := range x {
			x[i] = 100
		}
		err := checkpoint.WriteFile(filepath.Join(dir, "expected", c, "kind.safetensors"), map[string]checkpoint.Tensor{
			"in": checkpoint.Floats([]float32{1}, 1), "a": checkpoint.Floats(x[:2], 2),
			"s:delta_step1:w": checkpoint.Floats(x, 400), "bytes": checkpoint.Bytes(make([]byte, 200), 200),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

const both = `{"files": {"expected/one/kind.safetensors": %[1]s, "expected/deep/two/kind.safetensors": %[1]s}}`

var limits = fmt.Sprintf(both, `{"in": {"role": "input"}, "bytes": {"role": "expected"},
	"a": {"role": "expected", "suggested_atol": 0.01, "suggested_rtol": 0.001},
	"s:delta_step1:w": {"role": "expected", "suggested_atol": 0.01, "suggested_rtol": 0}}`)

// TestCheck: values within the tolerance pass and others fail, by every
// rule, and only compared keys are counted.
func TestCheck(t *testing.T) {
	set(t, limits)
	cases, err := find("kind.json")
	if err != nil || len(cases) != 2 || cases[0].Name != "deep/two" || cases[1].Name != "one" {
		t.Fatalf("cases %v, %v", cases, err)
	}
	c := cases[1]
	var k struct{ K int }
	if c.JSON(t, &k); k.K != 3 {
		t.Errorf("the constant is %d, want 3", k.K)
	}
	check := func(what string, ok bool, f func(t testing.TB)) {
		t.Helper()
		r := &recorder{TB: t}
		if f(r); (len(r.errors) == 0) != ok {
			t.Errorf("%s: passes is %v, want %v: %v", what, !ok, ok, r.errors)
		}
	}
	// step is the delta with some entries wrong.
	step := func(wrong int, by float32) []float32 {
		x := make([]float32, 400)
		for i := range x {
			x[i] = 100
			if i < wrong {
				x[i] += by
			}
		}
		return x
	}
	level := func(n int, by uint8) []uint8 {
		x := make([]uint8, 200)
		for i := range n {
			x[i] = by
		}
		return x
	}
	if _, missing := summary(cases); len(missing) != 6 {
		t.Errorf("before anything is compared %v are missing, want 6", missing)
	}
	check("equal", true, func(t testing.TB) { Check(t, c, "a", []float32{100, 100}) })
	check("within atol and rtol", true, func(t testing.TB) { Check(t, c, "a", []float64{100.1, 99.9}) })
	check("beyond", false, func(t testing.TB) { Check(t, c, "a", []float64{100.2, 100}) })
	check("no number", false, func(t testing.TB) { Check(t, c, "a", []float64{100, math.NaN()}) })
	check("too few", false, func(t testing.TB) { Check(t, c, "a", []float64{100}) })
	check("an input", false, func(t testing.TB) { Check(t, c, "in", []float64{1}) })
	check("0.5 % missing", true, func(t testing.TB) { Check(t, c, "s:delta_step1:w", step(2, 1)) })
	check("more missing", false, func(t testing.TB) { Check(t, c, "s:delta_step1:w", step(3, 1)) })
	check("all within", true, func(t testing.TB) { Check(t, c, "s:delta_step1:w", step(400, .005)) })
	check("one level in few", true, func(t testing.TB) { Check(t, c, "bytes", level(1, 1)) })
	check("one level in many", false, func(t testing.TB) { Check(t, c, "bytes", level(2, 1)) })
	check("two levels", false, func(t testing.TB) { Check(t, c, "bytes", level(1, 2)) })
	c.Expect("k")
	check("figure", true, func(t testing.TB) { c.Near(t, "k", []float64{1, 2 + 1e-6}, []float64{1, 2}, 1e-6) })
	check("figure beyond", false, func(t testing.TB) { c.Near(t, "k", []float64{1, 2 + 1e-5}, []float64{1, 2}, 1e-6) })
	check("exact figure", false, func(t testing.TB) { c.Near(t, "k", []float64{math.Nextafter(.3, 1)}, []float64{.3}, 0) })
	check("figure of another name", false, func(t testing.TB) { c.Near(t, "l", []float64{1}, []float64{1}, 0) })
	line, missing := summary(cases)
	if want := "reference: compared 4 of 7 expected keys"; line != want || len(missing) != 3 || missing[0] != "deep/two kind a" {
		t.Errorf("%q, missing %v, want %q and the three of deep/two", line, missing, want)
	}
	check("two keys elsewhere", true, func(t testing.TB) { cases[0].Elsewhere(t, "TestOther", "a", "bytes") })
	check("a compared key elsewhere", true, func(t testing.TB) { c.Elsewhere(t, "TestOther", "a") })
	check("an input elsewhere", false, func(t testing.TB) { c.Elsewhere(t, "TestOther", "in") })
	line, missing = summary(cases)
	if want := "reference: compared 4 of 7 expected keys, 2 by TestOther"; line != want || len(missing) != 1 || missing[0] != "deep/two kind s:delta_step1:w" {
		t.Errorf("%q, missing %v, want %q and the delta of deep/two", line, missing, want)
	}
}

// TestSets: a tensor without a tolerance, and one that is listed and missing,
// are errors that name it.
func TestSets(t *testing.T) {
	for text, want := range map[string]string{
		fmt.Sprintf(both, `{"in": {"role": "input"}}`):      "has no tolerance of",
		strings.Replace(limits, `"in"`, `"x": {}, "in"`, 2): "has no x",
		`{"files": {}}`: "has no tolerance of",
		`{"files": `:    "tolerances.json",
	} {
		set(t, text)
		if _, err := find("kind.json"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", text, err, want)
		}
	}
}
