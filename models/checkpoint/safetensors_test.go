package checkpoint

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// file returns a safetensors file of a header and data, with the right length.
func file(header, data string) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), data...)
}

// Files that Python's safetensors wrote: one of every type (testdata/write.py),
// and half-precision LoRA weights.
func TestReadPython(t *testing.T) {
	all, err := ReadFile("testdata/types.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 14 {
		t.Errorf("%d tensors, want 14", len(all))
	}
	for name, dtype := range map[string]string{"float64": "F64", "float32": "F32", "float16": "F16"} {
		got := all[name]
		x, err := got.Float32()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]float32{-3, -2, -1, 0, 1, 2}, x); diff != "" || got.DType != dtype || !slices.Equal(got.Shape, []int{2, 3}) {
			t.Errorf("%s: %s %v (-want +got)\n%s", name, got.DType, got.Shape, diff)
		}
	}
	for name, want := range map[string]Tensor{
		"int8": {"I8", []int{2, 3}, []byte{0xfd, 0xfe, 0xff, 0, 1, 2}}, "uint8": {"U8", []int{2, 3}, []byte{0, 1, 0, 1, 0, 1}},
		"bool": {"BOOL", []int{2, 3}, []byte{0, 1, 0, 1, 0, 1}}, "int16": {"I16", []int{2, 3}, []byte{0xfd, 255, 0xfe, 255, 255, 255, 0, 0, 1, 0, 2, 0}},
		"scalar": {"F32", []int{}, []byte{0, 0, 0xc0, 0x3f}}, "none": {"F32", []int{0, 4}, []byte{}},
	} {
		if diff := cmp.Diff(want, all[name]); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
	}
	if _, err := all["int64"].Float32(); err == nil {
		t.Error("integers were read as floating-point numbers")
	}
	lora, err := ReadFile("testdata/lora_half.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	for name, w := range lora {
		x, err := w.Float32()
		if err != nil || w.DType != "F16" {
			t.Fatalf("%s: %s, %v", name, w.DType, err)
		}
		for _, v := range x {
			if math.Abs(float64(v)) > 1 { // drawn around 0 with a deviation of .02
				t.Fatalf("%s holds %v", name, v)
			}
		}
	}
}

// Python reads what is written here, with the same types, shapes and bytes.
func TestPythonReads(t *testing.T) {
	python := os.Getenv("ABLATE_TEST_PYTHON")
	if python == "" {
		const how = "needs a Python with safetensors: name it with ABLATE_TEST_PYTHON"
		if os.Getenv("ABLATE_TEST_STRICT") == "1" {
			t.Fatal(how)
		}
		t.Skip(how)
	}
	tensors, err := ReadFile("testdata/types.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	tensors["bf16"] = Tensor{"BF16", []int{3}, []byte{0x80, 0x3f, 0x49, 0xc0, 0, 0}}
	tensors["a name with \"quotes\" <and> ünïcode"] = Floats([]float32{1, 2}, 2, 1)
	path := filepath.Join(t.TempDir(), "written.safetensors")
	if err := WriteFile(path, tensors); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), python, "testdata/read.py", path).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var want strings.Builder
	for _, name := range slices.Sorted(maps.Keys(tensors)) {
		w, sum := tensors[name], 0
		for _, b := range w.Data {
			sum += int(b)
		}
		fmt.Fprintf(&want, "%s %s [%s] %d\n", name, w.DType, strings.Trim(strings.ReplaceAll(fmt.Sprint(w.Shape), " ", ", "), "[]"), sum)
	}
	if diff := cmp.Diff(want.String(), string(out)); diff != "" {
		t.Errorf("Python reads other tensors (-want +got)\n%s", diff)
	}
}

// Every kind of value of 16 bits, from IEEE 754's tables.
func TestHalf(t *testing.T) {
	inf := float32(math.Inf(1))
	for bits, want := range map[uint16]float32{
		0x0000: 0, 0x3c00: 1, 0xc000: -2, 0x7bff: 65504, 0x0400: 0x1p-14, 0x0001: 0x1p-24, 0x83ff: -1023 * 0x1p-24,
		0x3555: 0.333251953125, 0x7c00: inf, 0xfc00: -inf,
	} {
		x, err := Tensor{"F16", []int{1}, binary.LittleEndian.AppendUint16(nil, bits)}.Float32()
		if err != nil || x[0] != want {
			t.Errorf("%#04x is %v, want %v (%v)", bits, x, want, err)
		}
	}
	x, _ := Tensor{"F16", []int{2}, []byte{1, 0x7e, 0, 0x80}}.Float32()
	if !math.IsNaN(float64(x[0])) || x[1] != 0 || !math.Signbit(float64(x[1])) {
		t.Errorf("not a number and minus zero are %v", x)
	}
	y, _ := Tensor{"BF16", []int{2}, []byte{0x80, 0x3f, 0x49, 0xc0}}.Float32()
	if y[0] != 1 || y[1] != -3.140625 {
		t.Errorf("bfloat16 values are %v", y)
	}
}

// A foreign or damaged file gives an error that names the tensor.
func TestDecodeRefuses(t *testing.T) {
	entry := func(name, dtype, shape, offsets string) string {
		return fmt.Sprintf(`%q:{"dtype":%q,"shape":%s,"data_offsets":%s}`, name, dtype, shape, offsets)
	}
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"empty":              {nil, "0 bytes"},
		"cut in the header":  {file(`{"a":`, "")[:10], "cut short"},
		"huge header":        {[]byte{255, 255, 255, 255, 255, 255, 255, 255}, "cut short"},
		"no JSON":            {file("hello", ""), "header"},
		"a list":             {file("[]", ""), "not a JSON object"},
		"no end":             {file(`{"a":1`, ""), "header"},
		"more than one":      {file(`{}{}`, ""), "unexpected data after"},
		"a number":           {file(`{"a":1}`, ""), `"a"`},
		"nothing":            {file(`{"a":null}`, ""), `"a"`},
		"no shape":           {file(`{"a":{"dtype":"U8","data_offsets":[0,1]}}`, "x"), `"a": it has no shape`},
		"unknown type":       {file("{"+entry("a", "F7", "[1]", "[0,1]")+"}", "x"), `type "F7"`},
		"twice":              {file("{"+entry("a", "U8", "[1]", "[0,1]")+","+entry("a", "U8", "[1]", "[0,1]")+"}", "x"), `"a" appears twice`},
		"negative dimension": {file("{"+entry("a", "U8", "[-1]", "[0,1]")+"}", "x"), `"a": shape [-1]`},
		"overflowing shape":  {file("{"+entry("a", "F32", "[4294967296,4294967296]", "[0,0]")+"}", ""), `"a": shape`},
		"outside":            {file("{"+entry("a", "U8", "[2]", "[0,2]")+"}", "x"), `"a": data_offsets [0 2]`},
		"backwards":          {file("{"+entry("a", "U8", "[1]", "[1,0]")+"}", "x"), `"a": data_offsets [1 0]`},
		"other size":         {file("{"+entry("a", "F32", "[2]", "[0,4]")+"}", "xxxx"), `"a": shape [2] of F32 needs 8 bytes`},
		"overlap":            {file("{"+entry("a", "U8", "[2]", "[0,2]")+","+entry("b", "U8", "[2]", "[1,3]")+"}", "xxx"), `"a" and "b" overlap`},
		"gap":                {file("{"+entry("a", "U8", "[1]", "[0,1]")+","+entry("b", "U8", "[1]", "[2,3]")+"}", "xxx"), `"b": bytes 1 to 2`},
		"rest":               {file("{"+entry("a", "U8", "[1]", "[0,1]")+"}", "xxx"), "last 2 bytes"},
	} {
		if _, err := Decode(c.file); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
		path := filepath.Join(t.TempDir(), "x.safetensors")
		if err := os.WriteFile(path, c.file, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadFile(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v does not name the file", name, err)
		}
	}
}

// The header of a file is read as a whole, so its length is limited, whatever the file's size.
// Tensors are read only when they are asked for.
func TestOpenReadsNoTensor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.safetensors")
	sparse := func(header string, size int64) {
		t.Helper()
		if err := os.WriteFile(path, file(header, ""), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, 8+int64(len(header))+size); err != nil {
			t.Fatal(err)
		}
	}
	const size = 1 << 40
	sparse(fmt.Sprintf(`{"a":{"dtype":"U8","shape":[%d],"data_offsets":[0,%d]}}`, size, size), size)
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if shape, ok := f.Shape("a"); !ok || !slices.Equal(shape, []int{size}) || !slices.Equal(f.Names(), []string{"a"}) {
		t.Errorf("tensors %v, the first of shape %v", f.Names(), shape)
	}
	sparse("{}", size)
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "belong to no tensor") {
		t.Errorf("error %v, want one of bytes that belong to no tensor", err)
	}
	sparse("{}"+strings.Repeat(" ", maxHeader), 0)
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "must be at most 16777216") {
		t.Errorf("error %v, want one of the header's limit", err)
	}
}

func TestEncodeRefuses(t *testing.T) {
	for name, w := range map[string]Tensor{
		"short": {"F32", []int{2}, make([]byte, 4)}, "type": {"F9", []int{0}, nil}, "negative": {"U8", []int{-1}, nil},
		metadata: {"U8", []int{0}, nil}, "\xff": {"U8", []int{0}, nil},
	} {
		if err := Encode(&bytes.Buffer{}, map[string]Tensor{name: w}); err == nil {
			t.Errorf("a tensor %q that cannot be written was", name)
		}
	}
}

// anyTensors draws the tensors of a file.
func anyTensors(t *rapid.T) map[string]Tensor {
	dtypes := slices.Sorted(maps.Keys(width))
	one := rapid.Custom(func(t *rapid.T) Tensor {
		w := Tensor{DType: rapid.SampledFrom(dtypes).Draw(t, "dtype"), Shape: rapid.SliceOfN(rapid.IntRange(0, 4), 0, 4).Draw(t, "shape")}
		n := width[w.DType]
		for _, d := range w.Shape {
			n *= d
		}
		w.Data = rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, "data")
		return w
	})
	names := rapid.String().Filter(func(s string) bool { return s != metadata })
	return rapid.MapOfN(names, one, 0, 6).Draw(t, "tensors")
}

// Writing and reading give the same tensors, and the same tensors the same bytes.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := anyTensors(t)
		var a, b bytes.Buffer
		if err := Encode(&a, want); err != nil {
			t.Fatal(err)
		}
		if err := Encode(&b, maps.Clone(want)); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a.Bytes(), b.Bytes()) {
			t.Fatal("the same tensors gave two files")
		}
		if n := binary.LittleEndian.Uint64(a.Bytes()); n%8 != 0 {
			t.Fatalf("the data begin at byte %d, which is no multiple of 8", n+8)
		}
		got, err := Decode(a.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("mismatch (-want +got)\n%s", diff)
		}
	})
}

// Any bytes are read or refused, and a file that is read can be written and read again.
func FuzzDecode(f *testing.F) {
	b, err := os.ReadFile("testdata/types.safetensors")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, "abcd"))
	f.Add(file(`{"__metadata__":{"format":"pt"}}`, ""))
	f.Fuzz(func(t *testing.T, b []byte) {
		tensors, err := Decode(b)
		if err != nil {
			return
		}
		var w bytes.Buffer
		if err := Encode(&w, tensors); err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		again, err := Decode(w.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if !maps.EqualFunc(tensors, again, func(a, b Tensor) bool {
			return a.DType == b.DType && slices.Equal(a.Shape, b.Shape) && bytes.Equal(a.Data, b.Data)
		}) {
			t.Fatalf("%v was written and read as %v", tensors, again)
		}
	})
}

// TestFinite: the first NaN or infinite value is found at each position of each type, and no other
// value is taken for one.
func TestFinite(t *testing.T) {
	of := map[string]struct {
		largest, nan, inf uint64
	}{
		"F64":  {0xffefffffffffffff, 0x7ff8000000000001, 0xfff0000000000000},
		"F32":  {0xff7fffff, 0x7fc00000, 0xff800000},
		"BF16": {0xff7f, 0x7fc0, 0xff80},
		"F16":  {0xfbff, 0x7e00, 0xfc00},
	}
	for dtype, bits := range of {
		w := width[dtype]
		for n := range 12 {
			x := Tensor{DType: dtype, Shape: []int{2, n}, Data: make([]byte, 2*n*w)}
			put := func(i int, v uint64) {
				var b [8]byte
				binary.LittleEndian.PutUint64(b[:], v)
				copy(x.Data[i*w:(i+1)*w], b[:])
			}
			for i := range 2 * n {
				put(i, bits.largest)
			}
			if err := x.Finite(); err != nil {
				t.Errorf("%s[2, %d] of finite values: %v", dtype, n, err)
			}
			before := slices.Clone(x.Data)
			for i := range 2 * n {
				for v, want := range map[uint64]string{bits.nan: "NaN", bits.inf: "-Inf"} {
					put(i, v)
					want = fmt.Sprintf("its value at [%d %d] is %s", i/n, i%n, want)
					if err := x.Finite(); err == nil || !strings.Contains(err.Error(), want) {
						t.Errorf("%s[2, %d]: error %v, want %q", dtype, n, err, want)
					}
					copy(x.Data, before)
				}
			}
		}
	}
	if err := (Tensor{DType: "I16", Shape: []int{1}, Data: []byte{0xff, 0x7f}}).Finite(); err != nil {
		t.Errorf("a whole number: %v", err)
	}
}

func BenchmarkFinite(b *testing.B) {
	x := Tensor{DType: "BF16", Shape: []int{1 << 23}, Data: make([]byte, 1<<24)}
	b.SetBytes(1 << 24)
	for b.Loop() {
		if err := x.Finite(); err != nil {
			b.Fatal(err)
		}
	}
}
