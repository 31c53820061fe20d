package nn_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"

	"ablate/models/backend"
	"ablate/models/modeltest"
	"ablate/models/nn"
)

// A customCall is a custom call of a program.
type customCall struct {
	Target         string `json:"target"`
	Version        string `json:"api_version"`
	Config         any    `json:"config"`
	OperandLayouts string `json:"operand_layouts"`
	ResultLayouts  string `json:"result_layouts"`
	Operands       []string
	Results        []string
}

var callText = regexp.MustCompile(`(?s)"stablehlo\.custom_call"\([^)]*\) \{(.*?)\n *\} : \(([^)]*)\) -> \(([^)]*)\)`)

// calls returns the custom calls of a program.
func calls(t *testing.T, program string) (list []customCall) {
	for _, m := range callText.FindAllStringSubmatch(program, -1) {
		attribute := func(name string) string {
			a := regexp.MustCompile(name + ` = (.*?),?\n`).FindStringSubmatch(m[1] + "\n")
			if a == nil {
				t.Fatalf("a call has no %s: %s", name, m[0])
			}
			return strings.ReplaceAll(a[1], "dense<[0]>", "dense<0>")
		}
		text := func(name string) string {
			s, err := strconv.Unquote(attribute(name))
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		c := customCall{Target: text("call_target_name"), Version: attribute("api_version"), OperandLayouts: attribute("operand_layouts"), ResultLayouts: attribute("result_layouts"),
			Operands: strings.Split(m[2], ", "), Results: strings.Split(m[3], ", ")}
		if err := json.Unmarshal([]byte(text("backend_config")), &c.Config); err != nil {
			t.Fatal(err)
		}
		list = append(list, c)
	}
	return list
}

// different returns where a value of a configuration is not as wanted. A field of a protocol buffer that is missing
// has its default.
func different(at string, want, got any) (list []string) {
	w, ok := want.(map[string]any)
	if !ok {
		if got == nil && slices.ContainsFunc([]any{[]any{}, "0", "PRIMITIVE_TYPE_INVALID"}, func(x any) bool { return reflect.DeepEqual(x, want) }) || reflect.DeepEqual(want, got) {
			return nil
		}
		return []string{fmt.Sprintf("%s is %v, want %v", at, got, want)}
	}
	g, _ := got.(map[string]any)
	for key, x := range w {
		list = append(list, different(at+"."+key, x, g[key])...)
	}
	for key, x := range g {
		if _, ok := w[key]; !ok {
			list = append(list, fmt.Sprintf("%s.%s is %v, and JAX has none", at, key, x))
		}
	}
	return list
}

// attend returns an attention of 8 heads and its gradients, of which the leading rows of the batch are computed if
// leading is not 0.
func attend(t *testing.T, s nn.Saving, leading int) *backend.Fn {
	t.Helper()
	fn, err := backend.NewFn(modeltest.Backend(t), "attention", 0, func(in []*graph.Node) []*graph.Node {
		w := nn.Weights{}
		if leading > 0 {
			w = w.Leading(in[0].Graph(), leading)
		}
		y := w.Attention(in[0], in[1], in[2], 8, &s)
		return append(graph.Gradient(graph.ReduceAllSum(graph.Mul(y, in[3])), in[:3]...), y)
	})
	if err != nil {
		t.Fatal(err)
	}
	return fn
}

// TestFlash compares the calls of cuDNN's attention and of its gradient with JAX's (testdata/flash.py). Cross-attention,
// few rows and float32 have the plain form.
func TestFlash(t *testing.T) {
	program := func(rows, columns int, dtype dtypes.DType, leading int) []customCall {
		q, kv := shapes.Make(dtype, 2, rows, 640), shapes.Make(dtype, 2, columns, 640)
		text, err := attend(t, nn.Saving{Queries: 64, Flash: true}, leading).Program(q, kv, kv, q)
		if err != nil {
			t.Fatal(err)
		}
		return calls(t, text)
	}
	data, err := os.ReadFile("testdata/flash.json")
	if err != nil {
		t.Fatal(err)
	}
	var want struct{ Calls []customCall }
	if err := json.Unmarshal(data, &want); err != nil {
		t.Fatal(err)
	}
	got := program(1024, 1024, dtypes.BFloat16, 0)
	if len(got) != 2 || len(want.Calls) != 2 {
		t.Fatalf("there are %d calls; JAX has %d", len(got), len(want.Calls))
	}
	for i, w := range want.Calls {
		for _, d := range different("config", w.Config, got[i].Config) {
			t.Errorf("%s: %s", w.Target, d)
		}
		w.Config, got[i].Config = nil, nil
		if !reflect.DeepEqual(w, got[i]) {
			t.Errorf("got %+v\nwant %+v", got[i], w)
		}
	}
	// Two products in the attention and five in its gradient, where the plain form has four.
	q := shapes.Make(dtypes.BFloat16, 2, 1024, 640)
	for products, s := range map[float64]nn.Saving{6: {}, 7: {Flash: true}} {
		work, err := attend(t, s, 0).Work(q, q, q, q)
		if want := products * 2 * 2 * 1024 * 1024 * 640; err != nil || work.Flops != want {
			t.Errorf("%+v: %v operations, %v; want %v", s, work.Flops, err, want)
		}
	}
	// The gradient is that of the leading rows of the batch.
	got = program(1024, 1024, dtypes.BFloat16, 1)
	if len(got) != 2 || got[0].Operands[0] != "tensor<2x1024x8x80xbf16>" || got[1].Operands[0] != "tensor<1x1024x8x80xbf16>" || got[1].Results[0] != "tensor<1x8x1024x80xbf16>" {
		t.Errorf("with one leading row: %+v", got)
	}
	for _, c := range []struct {
		rows, columns int
		dtype         dtypes.DType
	}{{1024, 77, dtypes.BFloat16}, {64, 64, dtypes.BFloat16}, {1024, 1024, dtypes.Float32}} {
		if got := program(c.rows, c.columns, c.dtype, 0); len(got) != 0 {
			t.Errorf("%+v has calls %+v", c, got)
		}
	}
}

// TestFlashComputes: with numpy in the place of cuDNN, programs have the output and the gradients of the plain form. So
// all but cuDNN's own numbers is compared.
func TestFlashComputes(t *testing.T) {
	python := os.Getenv("ABLATE_TEST_CUDA")
	if python == "" {
		t.Skip("needs a Python with JAX: name it with ABLATE_TEST_CUDA")
	}
	const width = 16
	x := shapes.Make(dtypes.BFloat16, 3, 256, 8*width)
	for _, leading := range []int{0, 2} {
		dir := t.TempDir()
		args := []string{"testdata/flash_numpy.py", fmt.Sprint(width), filepath.Join(dir, "results.json")}
		for name, s := range map[string]nn.Saving{"1 plain": {}, "2 flash": {Flash: true}} {
			file := filepath.Join(dir, name)
			program, err := attend(t, s, leading).Program(x, x, x, x)
			if err == nil {
				err = os.WriteFile(file, []byte(program), 0o666)
			}
			if err != nil {
				t.Fatal(err)
			}
			args = append(args, file)
		}
		slices.Sort(args[3:])
		if out, err := exec.CommandContext(t.Context(), python, args...).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		data, err := os.ReadFile(args[2])
		if err != nil {
			t.Fatal(err)
		}
		var results [2][4][]float64
		if err := json.Unmarshal(data, &results); err != nil {
			t.Fatal(err)
		}
		for k, want := range results[0] {
			largest, worst := 0., 0.
			for i, x := range results[1][k] {
				largest, worst = max(largest, math.Abs(want[i])), max(worst, math.Abs(x-want[i]))
			}
			// Two roundings to bfloat16.
			if largest == 0 || worst > largest/128 {
				t.Errorf("%d leading rows: array %d differs by %v from one with values up to %v", leading, k, worst, largest)
			}
		}
	}
}
