package tokenizer_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ablate/models/tokenizer"
)

const set = "../testdata/reference"

// files are the contents of a tokenizer's folder by the names of its files.
type files map[string][]byte

func read(t testing.TB, folder string) files {
	t.Helper()
	f := files{}
	for _, name := range []string{"vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json"} {
		b, err := os.ReadFile(filepath.Join(set, folder, name))
		if err != nil {
			t.Fatal(err)
		}
		f[name] = b
	}
	return f
}

// change sets fields of a JSON file. A file whose fields are nil is removed.
func (f files) change(t testing.TB, name string, fields map[string]any) {
	t.Helper()
	if fields == nil {
		delete(f, name)
		return
	}
	var all map[string]any
	if err := json.Unmarshal(f[name], &all); err != nil {
		t.Fatal(err)
	}
	maps.Copy(all, fields)
	b, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	f[name] = b
}

func (f files) write(t testing.TB, dir string) {
	t.Helper()
	for name, b := range f {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func open(t testing.TB, f files) *tokenizer.CLIP {
	t.Helper()
	dir := t.TempDir()
	f.write(t, dir)
	tok, err := tokenizer.OpenCLIP(dir)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// TestOdd compares ids of odd prompts, among them runs of more than 30 combining marks and
// special tokens in capitals, with those of transformers, for several ways in which the files
// may give special tokens (testdata/odd.py).
func TestOdd(t *testing.T) {
	b, err := os.ReadFile("testdata/odd.json")
	if err != nil {
		t.Fatal(err)
	}
	var want struct {
		Prompts []string `json:"prompts"`
		Cases   []struct {
			Folder  string         `json:"folder"`
			Config  map[string]any `json:"tokenizer_config"`
			Special map[string]any `json:"special_tokens_map"`
			IDs     [][]int32      `json:"ids"`
		} `json:"cases"`
	}
	if err := json.Unmarshal(b, &want); err != nil {
		t.Fatal(err)
	}
	for i, c := range want.Cases {
		f := read(t, c.Folder)
		f.change(t, "tokenizer_config.json", c.Config)
		f.change(t, "special_tokens_map.json", c.Special)
		tok := open(t, f)
		for j, prompt := range want.Prompts {
			if ids, n := tok.Encode(prompt, 1000); !slices.Equal(ids[:n], c.IDs[j]) {
				t.Errorf("case %d, %+q: %v, want %v", i, prompt, ids[:n], c.IDs[j])
			}
		}
	}
}

// TestBadFiles: an error names the file, and what in it is wrong.
func TestBadFiles(t *testing.T) {
	const config, special = "tokenizer_config.json", "special_tokens_map.json"
	object := func(fields map[string]any) map[string]any {
		o := map[string]any{"content": "<|endoftext|>", "normalized": true}
		maps.Copy(o, fields)
		return o
	}
	for name, c := range map[string]struct {
		change func(f files)
		want   []string
	}{
		"no vocabulary":    {func(f files) { delete(f, "vocab.json") }, []string{"vocab.json", "no such file"}},
		"no merges":        {func(f files) { delete(f, "merges.txt") }, []string{"merges.txt", "no such file"}},
		"not JSON":         {func(f files) { f["vocab.json"] = []byte("[1") }, []string{"vocab.json"}},
		"no bytes":         {func(f files) { f["vocab.json"] = []byte(`{"a": 0}`) }, []string{"vocab.json", `"Ā"`, "0x00"}},
		"ids are equal":    {func(f files) { f.change(t, "vocab.json", map[string]any{"a": 0}) }, []string{"vocab.json", `"!"`, `"a"`, "id 0"}},
		"an id is fewer":   {func(f files) { f.change(t, "vocab.json", map[string]any{"a": -5}) }, []string{"vocab.json", `"a"`, "-5"}},
		"an id is large":   {func(f files) { f.change(t, "vocab.json", map[string]any{"a": 1 << 30}) }, []string{"vocab.json", `"a"`, "1073741824"}},
		"other vocabulary": {func(f files) { f["vocab.json"] = read(t, "clip-tiny")["vocab.json"] }, []string{"merges.txt:1002", "vocab.json", `"`}},
		"no pair":          {func(f files) { f["merges.txt"] = []byte("#version: 0.2\ni n\nin\n") }, []string{"merges.txt:3", `"in"`}},
		"three tokens":     {func(f files) { f["merges.txt"] = []byte("i n g\n") }, []string{"merges.txt:1", `"i n g"`}},
		"a merge twice":    {func(f files) { f["merges.txt"] = []byte("#version: 0.2\ni n\nt h\ni n\n") }, []string{"merges.txt:4", `"i n"`, "line 2"}},
		"other class":      {func(f files) { f.change(t, config, map[string]any{"tokenizer_class": "T5Tokenizer"}) }, []string{config, "tokenizer_class", "T5Tokenizer", "CLIPTokenizer"}},
		"short":            {func(f files) { f.change(t, config, map[string]any{"model_max_length": 1}) }, []string{config, "model_max_length is 1"}},
		"half a token":     {func(f files) { f.change(t, config, map[string]any{"model_max_length": 7.5}) }, []string{config, "model_max_length is 7.5"}},
		"other pad":        {func(f files) { f.change(t, special, map[string]any{"pad_token": "[PAD]"}) }, []string{special, "pad_token", `"[PAD]"`, "vocab.json"}},
		"missing end": {func(f files) {
			f.change(t, special, map[string]any{"eos_token": object(map[string]any{"content": "</s>"})})
		}, []string{special, "eos_token", `"</s>"`}},
		"empty": {func(f files) { f.change(t, special, map[string]any{"pad_token": ""}) }, []string{special, "pad_token", `""`}},
		"strips": {func(f files) {
			f.change(t, special, map[string]any{"bos_token": object(map[string]any{"content": "<|startoftext|>", "lstrip": true})})
		}, []string{special, "bos_token", "lstrip"}},
		"additional": {func(f files) { f.change(t, config, map[string]any{"additional_special_tokens": []string{"<cat>"}}) }, []string{config, "additional_special_tokens"}},
		"other id": {func(f files) {
			f.change(t, config, map[string]any{"added_tokens_decoder": map[string]any{"5": object(nil)}})
		}, []string{config, "added_tokens_decoder.5", "<|endoftext|>", "2013"}},
		"added": {func(f files) {
			f.change(t, config, map[string]any{"added_tokens_decoder": map[string]any{"2014": object(map[string]any{"content": "<cat>"})}})
		}, []string{config, "added_tokens_decoder.2014", "<cat>"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := read(t, "sd-tiny/tokenizer")
			c.change(f)
			dir := t.TempDir()
			f.write(t, dir)
			_, err := tokenizer.OpenCLIP(dir)
			if err == nil {
				t.Fatal("no error")
			}
			for _, part := range c.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%v\nlacks %q", err, part)
				}
			}
		})
	}
}

// TestTruncated: the last id stays the end token, and the number of tokens shows that there
// were more.
func TestTruncated(t *testing.T) {
	tok := open(t, read(t, "clip-tiny"))
	for words, want := range map[int]int{0: 2, 75: 77, 76: 78, 200: 202} {
		ids, n := tok.Encode(strings.Repeat("a ", words), 77)
		if n != want || len(ids) != 77 || ids[0] != tok.Begin || ids[min(n, 77)-1] != tok.End {
			t.Errorf("%d words: %d tokens, %d ids %v; want %d tokens", words, n, len(ids), ids, want)
		}
	}
	if ids, n := tok.Encode("a cat", 2); n != 5 || !slices.Equal(ids, []int32{tok.Begin, tok.End}) {
		t.Errorf("at length 2: %v of %d", ids, n)
	}
}

// TestInvalidText: bytes that are not UTF-8 are read as the replacement character.
func TestInvalidText(t *testing.T) {
	tok := open(t, read(t, "clip-tiny"))
	got, _ := tok.Encode("a\xff\xfeb", 77)
	if want, _ := tok.Encode("a\ufffdb", 77); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestLongWord: a prompt of 262,144 letters, digits or marks takes seconds at most.
func TestLongWord(t *testing.T) {
	tok := open(t, read(t, "sd-tiny/tokenizer"))
	for _, text := range []string{"a", "the", "1", "!", "\u0301\u0323", "<|"} {
		start := time.Now()
		if _, n := tok.Encode(strings.Repeat(text, 1<<18/len(text)), 77); n < 1<<10 {
			t.Errorf("%+q: %d tokens", text, n)
		}
		if d := time.Since(start); d > 30*time.Second {
			t.Errorf("%+q took %v", text, d)
		}
	}
}

// FuzzTokenizer: files that are not valid are errors, and a prompt has ids of the vocabulary,
// at most three a byte and one a character that is not valid. vocab.json has the tokens that
// CLIP's vocabulary begins with, and those of more.
func FuzzTokenizer(f *testing.F) {
	good := read(f, "sd-tiny/tokenizer")
	var base map[string]int32
	if err := json.Unmarshal(good["vocab.json"], &base); err != nil {
		f.Fatal(err)
	}
	maps.DeleteFunc(base, func(_ string, id int32) bool { return id >= 512 })
	whole, err := json.Marshal(base)
	if err != nil {
		f.Fatal(err)
	}
	whole = whole[:len(whole)-1]
	const more = `,"in":512,"th":513,"the</w>":514,"<|startoftext|>":515,"<|endoftext|>":516}`
	const merges = "#version: 0.2\ni n\nt h\nth e</w>\n"
	f.Add(more, merges, `{"pad_token": "!", "model_max_length": 77}`, string(good["special_tokens_map.json"]), "in the thin <|endoftext|>!")
	f.Add(more, merges, string(good["tokenizer_config.json"]), `{}`, "e\u0301\u0323\u0344 İ\xff")
	f.Add(more, "", `{"added_tokens_decoder": {"516": {"content": "<|endoftext|>", "normalized": true}}}`, ``, "<|ENDOFTEXT|>")
	f.Add(`}`, `a b c`, `{}`, `{"pad_token": {"content": "", "lstrip": true}}`, "")
	f.Fuzz(func(t *testing.T, more, merges, config, special, prompt string) {
		dir := t.TempDir()
		files{"vocab.json": append(slices.Clone(whole), more...), "merges.txt": []byte(merges),
			"tokenizer_config.json": []byte(config), "special_tokens_map.json": []byte(special)}.write(t, dir)
		tok, err := tokenizer.OpenCLIP(dir)
		if err != nil {
			if !strings.Contains(err.Error(), dir) {
				t.Errorf("the error names no file: %v", err)
			}
			return
		}
		ids, n := tok.Encode(prompt, 77)
		if len(ids) != 77 || n < 2 || n > 2+3*len(prompt) {
			t.Errorf("%q: %d ids of %d tokens", prompt, len(ids), n)
		}
		for _, id := range ids {
			if id < 0 || int(id) >= tok.Size {
				t.Errorf("%q: id %d, and there are %d", prompt, id, tok.Size)
			}
		}
	})
}
