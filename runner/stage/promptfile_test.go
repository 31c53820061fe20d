package stage

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func promptFile(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// tagged returns a file of n prompts with different tags.
func tagged(n int) string {
	text := "prompt\ttag\n"
	for i := range n {
		text += fmt.Sprintf("a\tt%d\n", i)
	}
	return text
}

// TestPromptFile: the three formats, and what is wrong with a file, with its line.
func TestPromptFile(t *testing.T) {
	two := []FilePrompt{{Text: "a red cat"}, {Text: "two \"blue\" dogs"}}
	meta := []FilePrompt{{Text: "a red cat", Negative: "blur", Tag: "colour", Meta: `{"include":[{"class":"cat"}],"n":1}`}, {Text: "a dog"}}
	cells := []FilePrompt{{Text: "a red cat", Tag: "colour", Meta: `{"count":"1"}`}, {Text: "a dog"}}
	for _, tc := range []struct {
		name, text string
		want       []FilePrompt
		wrong      string
	}{
		{"p.txt", "\ufeffa red cat\r\n\n  two \"blue\" dogs", two, ""},
		{"p.jsonl", `{"prompt": "a red cat", "n": 1, "tag": "colour", "include": [{"class": "cat"}], "negative": "blur"}` + "\n" + `{"prompt": "a dog"}`, meta, ""},
		{"p.tsv", "tag\tprompt\tcount\ncolour\ta red cat\t1\n\ta dog", cells, ""},
		{"p.csv", "a", nil, "ends in .txt, .jsonl or .tsv"},
		{"p.txt", "\n\n", nil, "p.txt has no prompts"},
		{"p.txt", "a\n\xff", nil, "p.txt:2: the line is not UTF-8"},
		{"p.txt", "a\n" + strings.Repeat("b", maxLine), nil, "p.txt:2: bufio.Scanner: token too long: a line has at most 65536 bytes"},
		{"p.jsonl", "a red cat", nil, "p.jsonl:1: invalid character"},
		{"p.jsonl", `{"text": "a"}`, nil, "p.jsonl:1: the object has no prompt"},
		{"p.jsonl", `{"prompt": 1}`, nil, "p.jsonl:1: prompt is 1; must be a string"},
		{"p.jsonl", `{"prompt": "a", "tag": ["b"]}`, nil, `tag is ["b"]; must be a string`},
		{"p.jsonl", `{"prompt": " "}`, nil, "p.jsonl:1: the prompt is empty"},
		{"p.tsv", "text\na", nil, `p.tsv:1: the head has the columns ["text"], and none is prompt`},
		{"p.tsv", "prompt\na\tb", nil, "p.tsv:2: the line has 2 cells, and the head 1"},
		{"p.tsv", "prompt\ttag\n\tb", nil, "p.tsv:2: the prompt is empty"},
		{"p.tsv", "prompt\ttag\na\t Food & Beverage \nb\ttwo_objects", []FilePrompt{{Text: "a", Tag: "Food-Beverage"}, {Text: "b", Tag: "two_objects"}}, ""},
		{"p.tsv", "prompt\ttag\na\t&", nil, `p.tsv:2: the tag "&" cannot be the name of a metric`},
		{"p.tsv", "prompt\ttag\na\tb\nc\tunseen", nil, `p.tsv:3: the tag "unseen" would make alignment.unseen, which is another column`},
		{"p.tsv", "prompt\ttag\na\tb c\nd\tb-c", nil, `p.tsv:3: the tags "b c" and "b-c" would both make alignment.b-c`},
		{"p.tsv", tagged(mostTags + 1), nil, `p.tsv:42: the tag "t40" is one more than 40 different ones`},
	} {
		got, err := ReadPromptFile(promptFile(t, tc.name, tc.text))
		if tc.wrong != "" {
			if err == nil || !strings.Contains(err.Error(), tc.wrong) {
				t.Errorf("%.60q: error %v, want %s", tc.text, err, tc.wrong)
			}
			continue
		}
		if d := cmp.Diff(tc.want, got); err != nil || d != "" {
			t.Errorf("%.60q: %v (-want +got):\n%s", tc.text, err, d)
		}
	}
	for _, path := range []string{filepath.Join(t.TempDir(), "none.txt"), t.TempDir() + "/.txt"} {
		if _, err := ReadPromptFile(path); err == nil || !strings.Contains(err.Error(), "there is no such file") {
			t.Error(err)
		}
	}
	// The digest is of what a file says.
	a, err := digestFile(promptFile(t, "a.txt", "a red cat\r\na dog\n"))
	if err != nil {
		t.Fatal(err)
	}
	for text, same := range map[string]bool{"a red cat\n\n a dog": true, "a dog\na red cat": false} {
		if b, err := digestFile(promptFile(t, "b.txt", text)); err != nil || (a == b) != same {
			t.Errorf("%q: the same digest is %v, want %v; %v", text, a == b, same, err)
		}
	}
	for a, b := range map[string]string{"A  Red cat.": "a red cat", "a red cat !": "a red cat", "a red cat": "a red cat"} {
		if Normal(a) != b {
			t.Errorf("%q is %q, want %q", a, Normal(a), b)
		}
	}
}

func FuzzPromptFile(f *testing.F) {
	dir := f.TempDir()
	f.Add("jsonl", []byte(`{"prompt": "a", "tag": "b", "n": [1]}`))
	f.Add("tsv", []byte("prompt\ttag\na\tb"))
	f.Add("txt", []byte("a\nb"))
	f.Fuzz(func(t *testing.T, kind string, data []byte) {
		if kind != "jsonl" && kind != "tsv" {
			kind = "txt"
		}
		name := filepath.Join(dir, "p."+kind)
		if err := os.WriteFile(name, data, 0o666); err != nil {
			t.Fatal(err)
		}
		list, err := ReadPromptFile(name)
		if err == nil && (len(list) == 0 || slices.ContainsFunc(list, func(p FilePrompt) bool { return strings.TrimSpace(p.Text) == "" })) {
			t.Errorf("%q", list)
		}
	})
}

// digestFile returns the digest of a file of prompts.
func digestFile(path string) (string, error) {
	list, err := ReadPromptFile(path)
	if err != nil {
		return "", err
	}
	return DigestPrompts(list)
}

// TestFileRows: a list that measures has the prompts in their order again and again; one for a
// training has each once before any comes again, in an order of its seed. Rows of a longer list
// begin with those of a shorter one.
func TestFileRows(t *testing.T) {
	a, e := newActions(t), NewEnv(nil)
	path := promptFile(t, "p.txt", "one\ntwo\nthree\nfour\nfive\n")
	digest, err := digestFile(path)
	if err != nil {
		t.Fatal(err)
	}
	read := func(p PromptsParams) (texts []string) {
		t.Helper()
		p.Path, p.Digest = path, digest
		rows, err := ReadPrompts(a.run(e, Prompts, p, nil))
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range rows {
			if want := map[bool]string{true: Unseen, false: Seen}[p.Unseen]; r.Split != want || r.Index != i {
				t.Errorf("%+v", r)
			}
			texts = append(texts, r.Prompt)
		}
		return texts
	}
	if got := read(PromptsParams{Seed: 1, List: AlignmentList, Rows: 7, Unseen: true}); !slices.Equal(got, []string{"one", "two", "three", "four", "five", "one", "two"}) {
		t.Errorf("%q", got)
	}
	long := read(PromptsParams{Seed: 1, List: LabelledList, Rows: 12})
	for _, part := range [][]string{long[:5], long[5:10]} {
		if s := slices.Sorted(slices.Values(part)); !slices.Equal(s, []string{"five", "four", "one", "three", "two"}) {
			t.Errorf("%q", part)
		}
	}
	if short := read(PromptsParams{Seed: 1, List: LabelledList, Rows: 6}); !slices.Equal(short, long[:6]) {
		t.Errorf("%q, and in a longer list %q", short, long)
	}
	if other := read(PromptsParams{Seed: 2, List: LabelledList, Rows: 12}); slices.Equal(other, long) {
		t.Error("another seed has the same order")
	}
}
