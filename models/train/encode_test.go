package train

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type inner struct {
	Floats []float32
	Means  [][]float64
	Next   *struct{ N int }
}

type outer struct {
	Good    bool
	Count   int
	Name    string
	History map[int][]float32
	Weights map[string][]float32
	Inner   inner
}

func example() outer {
	return outer{true, -3, "a", map[int][]float32{3: {1, float32(math.Inf(1))}, -1: {}, 7: nil}, map[string][]float32{"b": {2}, "a": nil},
		inner{[]float32{.1, -0}, [][]float64{{1. / 3}, nil, {}}, &struct{ N int }{4}}}
}

// TestEncode: a value is decoded as it was, with nil and empty slices told apart, and has the
// same bytes each time, although Go's maps have no order.
func TestEncode(t *testing.T) {
	x := example()
	want, err := encode([]byte("before"), &x)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		again := example()
		if got, err := encode([]byte("before"), &again); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("equal values have other bytes; %v", err)
		}
	}
	var got outer
	rest, err := decode(append(want[len("before"):], "after"...), &got)
	if err != nil || string(rest) != "after" {
		t.Errorf("rest %q, %v", rest, err)
	}
	if d := cmp.Diff(x, got); d != "" {
		t.Errorf("mismatch (-want +got):\n%s", d)
	}
	nan, back := []float64{math.NaN()}, []float64(nil)
	if b, err := encode(nil, &nan); err != nil {
		t.Error(err)
	} else if _, err := decode(b, &back); err != nil || len(back) != 1 || !math.IsNaN(back[0]) {
		t.Errorf("NaN is decoded as %v, %v", back, err)
	}
}

// TestEncodeRefuses: a value of another type, or one that is cut, is an error.
func TestEncodeRefuses(t *testing.T) {
	x := example()
	b, err := encode(nil, &x)
	if err != nil {
		t.Fatal(err)
	}
	var other inner
	if _, err := decode(b, &other); err == nil || !strings.Contains(err.Error(), "another version") {
		t.Errorf("a value of another type: %v", err)
	}
	for n := range len(b) {
		if _, err := decode(b[:n:n], new(outer)); err == nil {
			t.Errorf("%d of %d bytes are a value", n, len(b))
		}
	}
	for _, x := range []any{&struct{ hidden int }{}, &struct{ C chan int }{}, &map[float64]int{}, &struct{ I any }{}} {
		if _, err := encode(nil, x); err == nil {
			t.Errorf("%T is encoded", x)
		}
	}
}

func FuzzDecode(f *testing.F) {
	x := example()
	b, err := encode(nil, &x)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		var got outer
		if _, err := decode(b, &got); err != nil {
			return
		}
		again, err := encode(nil, &got)
		if err != nil {
			t.Fatal(err)
		}
		var same outer
		if _, err := decode(again, &same); err != nil {
			t.Error(err)
		}
	})
}
