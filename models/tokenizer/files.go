package tokenizer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"ablate/models/checkpoint"
)

// Files of a tokenizer's folder.
const (
	vocabFile   = "vocab.json"
	mergesFile  = "merges.txt"
	configFile  = "tokenizer_config.json"
	specialFile = "special_tokens_map.json"
)

// Names of CLIP's special tokens, unless the files give others.
const (
	begin = "<|startoftext|>"
	end   = "<|endoftext|>"
)

// wordEnd is appended to the last token of a word.
const wordEnd = "</w>"

// maxID bounds ids, and with them the size of an embedding table.
const maxID = 1 << 24

// OpenCLIP reads a tokenizer's folder, in the layout of Hugging Face's CLIPTokenizer:
// vocab.json and merges.txt, and, where they are, tokenizer_config.json and
// special_tokens_map.json.
func OpenCLIP(dir string) (*CLIP, error) {
	t := &CLIP{}
	path := filepath.Join(dir, vocabFile)
	var vocab map[string]int32
	if err := checkpoint.ReadJSON(path, &vocab, false); err != nil {
		return nil, err
	}
	if err := t.readVocab(vocab); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	path = filepath.Join(dir, mergesFile)
	merges, err := readFile(path)
	if err != nil {
		return nil, err
	}
	if err := t.readMerges(path, merges, vocab); err != nil {
		return nil, err
	}
	if err := t.readSpecial(dir, vocab); err != nil {
		return nil, err
	}
	return t, nil
}

func readFile(path string) ([]byte, error) {
	f, size, err := checkpoint.OpenRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, size))
}

// readVocab finds the tokens of the 256 bytes, within a word and at its end.
func (t *CLIP) readVocab(vocab map[string]int32) error {
	tokens := make(map[int32]string, len(vocab))
	for _, token := range slices.Sorted(maps.Keys(vocab)) {
		id := vocab[token]
		if id < 0 || id >= maxID {
			return fmt.Errorf("token %q has the id %d: ids must be from 0 to %d", token, id, maxID-1)
		}
		if other, ok := tokens[id]; ok {
			return fmt.Errorf("tokens %q and %q both have the id %d: each needs its own", other, token, id)
		}
		tokens[id] = token
		t.Size = max(t.Size, int(id)+1)
	}
	for b := range 256 {
		var ok bool
		token := string(printable(byte(b)))
		if t.inner[b], ok = vocab[token]; !ok {
			return fmt.Errorf("token %q is missing, which is the byte 0x%02x: this is not the vocabulary of a CLIPTokenizer", token, b)
		}
		if t.last[b], ok = vocab[token+wordEnd]; !ok {
			return fmt.Errorf("token %q is missing, which is the byte 0x%02x at the end of a word: this is not the vocabulary of a CLIPTokenizer", token+wordEnd, b)
		}
	}
	return nil
}

// printable is the character that represents a byte in vocab.json: itself if it is printable,
// and otherwise the next one from U+0100 on (GPT-2's bytes_to_unicode).
func printable(b byte) rune {
	plain := func(b byte) bool { return b > ' ' && b < 0x7f || b > 0xa0 && b != 0xad }
	if plain(b) {
		return rune(b)
	}
	r := rune(0x100)
	for c := range b {
		if !plain(c) {
			r++
		}
	}
	return r
}

// readMerges reads a pair of tokens from each line. The first lines have the lowest ranks.
func (t *CLIP) readMerges(path string, text []byte, vocab map[string]int32) error {
	t.merges = map[pair]merged{}
	line, lines := 0, map[pair]int{}
	for s := range bytes.Lines(text) {
		line++
		at := func(format string, args ...any) error {
			return fmt.Errorf("%s:%d: %w", path, line, fmt.Errorf(format, args...))
		}
		s := string(bytes.TrimRight(s, "\r\n"))
		if line == 1 && strings.HasPrefix(s, "#version") {
			continue
		}
		left, right, ok := strings.Cut(s, " ")
		if !ok || left == "" || right == "" || strings.Contains(right, " ") {
			return at("%.100q is not a merge: a line has two tokens with a space between them", s)
		}
		var ids [3]int32
		for i, token := range []string{left, right, left + right} {
			if ids[i], ok = vocab[token]; !ok {
				return at("the merge %.100q needs the token %.100q, which %s does not have: both files must come from one tokenizer", s, token, vocabFile)
			}
		}
		p := pair{ids[0], ids[1]}
		if first, ok := lines[p]; ok {
			return at("the merge %.100q is that of line %d: remove one of them", s, first)
		}
		lines[p] = line
		t.merges[p] = merged{line, ids[2]}
	}
	return nil
}

// special is a token of tokenizer_config.json or special_tokens_map.json, which are a string
// or an object.
type special struct {
	Content    string `json:"content"`
	Normalized bool   `json:"normalized"`
	SingleWord bool   `json:"single_word"`
	LStrip     bool   `json:"lstrip"`
	RStrip     bool   `json:"rstrip"`

	file, key string
}

func (s *special) UnmarshalJSON(b []byte) error {
	*s = special{}
	if len(b) > 0 && b[0] == '"' {
		return json.Unmarshal(b, &s.Content)
	}
	type object special
	return json.Unmarshal(b, (*object)(s))
}

// specialKeys are the keys of special tokens. Of two tokens with one text, the later counts.
var specialKeys = []string{"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"}

// specialFields are what both files may have of special tokens. null is no value.
type specialFields struct {
	Bos        *special          `json:"bos_token"`
	Eos        *special          `json:"eos_token"`
	Unk        *special          `json:"unk_token"`
	Sep        *special          `json:"sep_token"`
	Pad        *special          `json:"pad_token"`
	Cls        *special          `json:"cls_token"`
	Mask       *special          `json:"mask_token"`
	Additional []json.RawMessage `json:"additional_special_tokens"`
}

// named returns the tokens in the order of specialKeys.
func (f specialFields) named() []*special {
	return []*special{f.Bos, f.Eos, f.Unk, f.Sep, f.Pad, f.Cls, f.Mask}
}

// readSpecial reads the special tokens, as transformers 5 does: special_tokens_map.json is
// only read where tokenizer_config.json has no added_tokens_decoder, and has priority then. A
// token given as a string is found in the text as it is, one with "normalized": true in the
// normalized text.
func (t *CLIP) readSpecial(dir string, vocab map[string]int32) error {
	var config struct {
		specialFields
		Class   string             `json:"tokenizer_class"`
		Length  *float64           `json:"model_max_length"`
		Decoder map[string]special `json:"added_tokens_decoder"`
	}
	var override specialFields
	configPath, overridePath := filepath.Join(dir, configFile), filepath.Join(dir, specialFile)
	if err := readIfThere(configPath, &config); err != nil {
		return err
	}
	if config.Class != "" && config.Class != "CLIPTokenizer" && config.Class != "CLIPTokenizerFast" {
		return fmt.Errorf("%s: tokenizer_class is %q: only CLIPTokenizer is supported", configPath, config.Class)
	}
	if n := config.Length; n != nil && *n < 1e6 { // transformers writes 1e30 for no limit
		if *n < 2 || *n != float64(int(*n)) {
			return fmt.Errorf("%s: model_max_length is %v: it must be a whole number of at least 2, for the first and last token", configPath, *n)
		}
		t.Length = int(*n)
	}
	if config.Decoder == nil {
		if err := readIfThere(overridePath, &override); err != nil {
			return err
		}
	}
	for path, f := range map[string]specialFields{configPath: config.specialFields, overridePath: override} {
		if len(f.Additional) > 0 {
			return fmt.Errorf("%s: additional_special_tokens has %d tokens: they are not supported; a tokenizer must be as CLIP published it", path, len(f.Additional))
		}
	}

	found := map[string]special{}
	for _, id := range slices.Sorted(maps.Keys(config.Decoder)) {
		s := config.Decoder[id]
		s.file, s.key = configPath, "added_tokens_decoder."+id
		if have, ok := vocab[s.Content]; ok && fmt.Sprint(have) != id {
			return fmt.Errorf("%s: %s is %q, to which %s gives the id %d", s.file, s.key, s.Content, vocabFile, have)
		}
		found[s.Content] = s
	}
	listed := maps.Clone(found)
	ids := map[string]int32{}
	replaced := override.named()
	for i, s := range config.named() {
		key := specialKeys[i]
		switch {
		case replaced[i] != nil:
			s = replaced[i]
			s.file = overridePath
		case s != nil:
			s.file = configPath
		case key == "bos_token":
			s = &special{Content: begin, file: configPath}
		case key == "eos_token" || key == "unk_token" || key == "pad_token":
			s = &special{Content: end, file: configPath}
		default:
			continue
		}
		s.key = key
		id, ok := vocab[s.Content]
		if !ok {
			return fmt.Errorf("%s: %s is %.100q, which %s does not have: all files must come from one tokenizer", s.file, key, s.Content, vocabFile)
		}
		ids[key] = id
		if _, ok := listed[s.Content]; !ok {
			found[s.Content] = *s
		}
	}
	t.Begin, t.End, t.Pad = ids["bos_token"], ids["eos_token"], ids["pad_token"]

	for _, content := range slices.Sorted(maps.Keys(found)) {
		s := found[content]
		id, ok := vocab[content]
		switch {
		case !ok:
			return fmt.Errorf("%s: %s is %.100q, which %s does not have: tokens that were added later are not supported", s.file, s.key, content, vocabFile)
		case s.SingleWord || s.LStrip || s.RStrip:
			return fmt.Errorf("%s: %s has single_word, lstrip or rstrip, which must be false", s.file, s.key)
		case s.Normalized:
			content = normalize(content)
		}
		if content == "" {
			return fmt.Errorf("%s: %s is empty", s.file, s.key)
		}
		if s.Normalized {
			t.normal = append(t.normal, added{content, id})
		} else {
			t.raw = append(t.raw, added{content, id})
		}
	}
	return nil
}

// readIfThere reads a JSON file into v, which stays as it is where there is none.
func readIfThere(path string, v any) error {
	err := checkpoint.ReadJSON(path, v, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
