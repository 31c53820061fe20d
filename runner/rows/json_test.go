package rows_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ablate/runner/rows"
)

// all returns the lines, cells and errors of a file, one a line.
func all(r rows.Reader) (out []string) {
	out = append(out, strings.Join(r.Header(), ","))
	for {
		cells, line, err := r.Next()
		if err == io.EOF {
			return out
		}
		w := (*rows.Wrong)(nil)
		if err != nil {
			out = append(out, fmt.Sprintf("%d! %v", line, err))
			if !errors.As(err, &w) {
				return out
			}
			continue
		}
		out = append(out, fmt.Sprintf("%d: %s", line, strings.Join(cells, ",")))
	}
}

func TestJSON(t *testing.T) {
	const parse = "; allowed: a JSON list of objects; check how it was written"
	for in, want := range map[string][]string{
		"[\n{\"a\": 1, \"b\": {\"c\": [1,\n2]}},\n {\"b\": null, \"d\": \"x\"}]\n": {"a,b.c,b,d", "2: 1,[1,\n2],,", "4: ,,,x"},
		"{\"x.jpg\":\n {\"a\": 1}, \"y\": {\"a\": 2}}":                             {"a", "2: 1", "2: 2"},
		"\ufeff[{\"a\": 1},\n{\"a\": 2}]":                                          {"a", "1: 1", "2: 2"},
		"[]":                                                                       {""},
		"":                                                                         {"", "1! it does not parse from here on (it is empty)" + parse},
		"3":                                                                        {"", "1! it does not parse from here on (it is no list)" + parse},
		"[{\"a\": 1},\n 7, {\"a\": 1, \"a\": 2}, {\"a\": 3}]": {"a", "1: 1", "2! \"7\" is not a JSON object; allowed: a list of objects; correct it", "2! the key \"a\" occurs twice; allowed: each key once; remove one", "2: 3"},
		"[{\"a\": 1},\n\n{\"a\" 2}]":                          {"a", "1: 1", "1! it does not parse from here on (invalid character '2' after object key)" + parse},
		"[{\"a\": 1}\n{\"a\": 2}]":                            {"a", "1: 1", "2! it does not parse from here on (expected comma after array element)" + parse},
		"[{\"a\": 1},\n":                                      {"a", "1: 1", "1! it does not parse from here on (unexpected EOF)" + parse},
		"[{\"a\": 1}":                                         {"a", "1: 1", "1! it does not parse from here on (unexpected EOF)" + parse},
		"[{\"a\": 1}] 2":                                      {"a", "1: 1", "1! it does not parse from here on (the list has ended)" + parse},
		"{\"x\": {\"a\": 1}, \"y\"":                           {"a", "1: 1", "1! it does not parse from here on (unexpected EOF)" + parse},
	} {
		r, err := rows.JSON(strings.NewReader(in))
		if err != nil {
			t.Errorf("%q: %v", in, err)
			continue
		}
		if d := cmp.Diff(want, all(r)); d != "" {
			t.Errorf("%q (-want +got):\n%s", in, d)
		}
	}
}

// TestLongValue: a text without end is not read as a whole.
func TestLongValue(t *testing.T) {
	in := append([]byte(`[{"a": "`), bytes.Repeat([]byte("x"), 3*rows.MostRow)...)
	r, err := rows.JSON(bytes.NewReader(in))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Next(); err == nil || !strings.Contains(err.Error(), "a row has more than 16.8 MB") {
		t.Error(err)
	}
}

func FuzzJSON(f *testing.F) {
	f.Add([]byte("[{\"a\": 1},\n {\"b\": [2, {\"c\": 1}]}]"))
	f.Add([]byte("{\"x\": {\"a\": {\"b\": \"\\u00e4\\\\\"}}}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := rows.JSON(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range all(r)[1:] {
			var line int
			if _, err := fmt.Sscanf(s, "%d", &line); err != nil || line < 1 || line > 1+bytes.Count(b, []byte("\n")) {
				t.Fatalf("line of %q in %q", s, b)
			}
		}
	})
}
