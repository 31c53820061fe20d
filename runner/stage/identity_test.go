package stage

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"ablate/models/finetune"
)

// eachLeaf calls f with each field of a struct that holds a value, whatever the depth.
func eachLeaf(path string, v reflect.Value, f func(path string, tag reflect.StructTag, v reflect.Value)) {
	for i := range v.NumField() {
		field := v.Type().Field(i)
		name := path + "." + field.Name
		switch v.Field(i).Kind() {
		case reflect.Struct:
			eachLeaf(name, v.Field(i), f)
		case reflect.Interface: // TestLinesOfMethods
		default:
			f(name, field.Tag, v.Field(i))
		}
	}
}

// TestLines: every parameter of a stage is in its key. Each is changed alone and must
// change the lines, except for fields with the tag key:"-".
func TestLines(t *testing.T) {
	for _, d := range table {
		params := d.params
		if params == (NoParams{}) {
			continue
		}
		kind := reflect.TypeOf(params)
		if got := Lines(params); len(got) != 0 {
			t.Errorf("%s: without any parameter its lines are %q", kind, got)
		}
		n := 0
		eachLeaf(kind.Name(), reflect.New(kind).Elem(), func(string, reflect.StructTag, reflect.Value) { n++ })
		if n == 0 {
			t.Fatalf("%s has no fields", kind)
		}
		seen := map[string]string{}
		for i := range n {
			v, k := reflect.New(kind).Elem(), 0
			var changed string
			var out bool
			eachLeaf(kind.Name(), v, func(path string, tag reflect.StructTag, x reflect.Value) {
				if k++; k-1 != i {
					return
				}
				changed, out = path, tag.Get("key") == "-"
				switch x.Kind() {
				case reflect.Float64:
					x.SetFloat(.5)
				case reflect.Int, reflect.Int64:
					x.SetInt(3)
				case reflect.String:
					x.SetString("word")
				case reflect.Bool:
					x.SetBool(true)
				default:
					t.Fatalf("%s is a %s: teach Lines and this test what that is in a key", path, x.Type())
				}
			})
			lines := Lines(v.Interface())
			switch {
			case out && len(lines) != 0:
				t.Errorf("%s is to be left out, and gives %q", changed, lines)
			case out:
			case len(lines) != 1:
				t.Errorf("%s gives %q, want one line", changed, lines)
			case seen[lines[0]] != "":
				t.Errorf("%s and %s have the same line %q", changed, seen[lines[0]], lines[0])
			default:
				seen[lines[0]] = changed
			}
		}
		// All parameters are set together, because Lines panics if two have the same
		// path.
		v := reflect.New(kind).Elem()
		eachLeaf(kind.Name(), v, func(_ string, _ reflect.StructTag, x reflect.Value) {
			if x.Kind() == reflect.Float64 {
				x.SetFloat(.5)
			} else if x.CanInt() {
				x.SetInt(3)
			}
		})
		Lines(v.Interface())
	}
}

// TestLinesOfTrials: paths are those of a trial, where it has the parameter.
func TestLinesOfTrials(t *testing.T) {
	values := map[string]any{"seed.feedback": int64(2), "sampler.steps": int64(20), "sampler.shift": 1.5, "finetune.mix.labelled": 1., "finetune.method": "softmax-weighted",
		"finetune.softmax.tau": .2, "finetune.fresh.images": int64(64), "data.captions.count": .4, "finetune.dpo.beta": 5000., "reward.loss": "mse"}
	var p FinetuneParams
	if err := Fill(&p, func(path string) (any, bool) { v, ok := values[path]; return v, ok }); err != nil {
		t.Fatal(err)
	}
	want := []string{"data.captions.count 0.4", "finetune.fresh.images 64", `finetune.method "softmax-weighted"`, "finetune.mix.labelled 1",
		"finetune.softmax.tau 0.2", "sampler.shift 1.5", "sampler.steps 20", "seed.feedback 2"}
	if got := Lines(p); !slices.Equal(got, want) {
		t.Errorf("lines\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for path, v := range map[string]any{"sampler.steps": 1.5, "finetune.method": "dopo", "finetune.anchor": int64(1)} {
		if err := Fill(&p, func(p string) (any, bool) { return v, p == path }); err == nil {
			t.Errorf("%s takes %v", path, v)
		}
	}
}

// TestLaterParameter: a parameter that a later version adds does not change existing keys
// as long as it has its absent value.
func TestLaterParameter(t *testing.T) {
	type sampler struct {
		Steps int `json:"steps"`
	}
	type before struct {
		Seed    int64   `json:"seed" key:"seed.feedback"`
		Sampler sampler `json:"sampler"`
	}
	type after struct {
		Seed    int64   `json:"seed" key:"seed.feedback"`
		Sampler sampler `json:"sampler"`
		Batch   int     `json:"batch" absent:"64"`
		Eta     float64 `json:"eta"`
	}
	old := Lines(before{1, sampler{20}})
	for _, tc := range []struct {
		now  after
		same bool
	}{
		{after{1, sampler{20}, 64, 0}, true},
		{after{1, sampler{20}, 128, 0}, false},
		{after{1, sampler{20}, 0, 0}, false},
		{after{1, sampler{20}, 64, .5}, false},
	} {
		if got := Lines(tc.now); slices.Equal(got, old) != tc.same {
			t.Errorf("%+v: lines %q beside %q: want equal: %v", tc.now, got, old, tc.same)
		}
	}
}

// TestLinesRefuse: Lines panics for a field that a key cannot represent, and for two
// fields with the same path.
func TestLinesRefuse(t *testing.T) {
	for _, params := range []any{
		struct {
			A int `key:"x"`
			B int `key:"x"`
		}{1, 2},
		struct{ P *int }{},
		struct{ L []int }{},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s was accepted", fmt.Sprintf("%T", params))
				}
			}()
			Lines(params)
		}()
	}
}

// TestLinesOfMethods: every constant of every method is in the key, below finetune.
func TestLinesOfMethods(t *testing.T) {
	for _, m := range finetune.Methods() {
		plain := Lines(FinetuneParams{Recipe: finetune.Recipe{Method: finetune.Choice{Method: m}}})
		eachLeaf(m.Name(), reflect.New(reflect.TypeOf(m)).Elem(), func(path string, tag reflect.StructTag, _ reflect.Value) {
			key := "finetune." + tag.Get("key")
			for _, value := range []any{.5, int64(3), "word"} {
				p := FinetuneParams{Recipe: finetune.Recipe{Method: finetune.Choice{Method: m}}}
				err := Fill(&p, func(path string) (any, bool) { return value, path == key })
				if err != nil {
					continue // of another kind
				}
				if got := Lines(p); len(got) != len(plain)+1 || !slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, key+" ") }) {
					t.Errorf("%s: with %s lines are %q", path, key, got)
				}
				return
			}
			t.Errorf("%s has the path %q, and no value can be set there", path, key)
		})
	}
}
