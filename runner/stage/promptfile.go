package stage

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// mostPrompts is the largest number of prompts of a file.
const mostPrompts = 1_000_000

// mostTags is the largest number of different tags of a file: each is three metrics of the study.
const mostTags = 40

// A FilePrompt is a prompt of a user's file.
type FilePrompt struct {
	Text, Negative, Tag string // the tag is written as a category (see category)
	Meta                string // JSON object of everything else that the file says of it; empty if nothing
}

// ReadPromptFile reads a file of prompts: .txt has one on each line; .jsonl has an object with
// prompt on each line, and perhaps negative and tag; .tsv has a head with these names. Other
// fields are the prompt's meta, which judges see. Empty lines are left out. Tags are categories of
// the study's metrics, so that a file has at most [mostTags] different ones.
func ReadPromptFile(path string) ([]FilePrompt, error) {
	read := map[string]func(line string, head *[]string) (FilePrompt, error){".txt": textPrompt, ".jsonl": jsonPrompt, ".tsv": tablePrompt}[strings.ToLower(filepath.Ext(path))]
	if read == nil {
		return nil, fmt.Errorf("%s: a file of prompts ends in .txt, .jsonl or .tsv", path)
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s: there is no such file", path)
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	s.Buffer(nil, maxLine)
	var out []FilePrompt
	var head []string
	tags := map[string]string{} // as the file has them, by category
	n := 0
	fail := func(err error) ([]FilePrompt, error) { return nil, fmt.Errorf("%s:%d: %w", path, n, err) }
	for s.Scan() {
		n++
		line := strings.TrimPrefix(s.Text(), "\ufeff") // a byte order mark
		switch {
		case strings.TrimSpace(line) == "":
			continue
		case !utf8.ValidString(line):
			return fail(errors.New("the line is not UTF-8: save the file as UTF-8"))
		case len(out) == mostPrompts:
			return fail(fmt.Errorf("more than %d prompts: make the file shorter", mostPrompts))
		}
		titles := len(head)
		p, err := read(line, &head)
		if err != nil {
			return fail(err)
		}
		if titles == 0 && head != nil {
			continue
		}
		if p.Text = strings.TrimSpace(p.Text); p.Text == "" {
			return fail(errors.New("the prompt is empty: leave the line out"))
		}
		if err := p.categorize(tags); err != nil {
			return fail(err)
		}
		out = append(out, p)
	}
	if err := s.Err(); err != nil {
		n++
		return fail(fmt.Errorf("%w: a line has at most %d bytes", err, maxLine))
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s has no prompts: write one on each line", path)
	}
	return out, nil
}

// categorize writes the tag as a category: a name of letters, digits and _, in which - stands for
// whatever else is between them, such as Food-Beverage for "Food & Beverage".
func (p *FilePrompt) categorize(tags map[string]string) error {
	if p.Tag == "" {
		return nil
	}
	tag := p.Tag
	p.Tag = strings.Join(strings.FieldsFunc(tag, func(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) }), "-")
	switch known, ok := tags[p.Tag]; {
	case p.Tag == "" || len(p.Tag) > 64:
		return fmt.Errorf("the tag %.80q cannot be the name of a metric: write at most 64 letters and digits", tag)
	case p.Tag == Seen || p.Tag == Unseen || p.Tag == "n":
		return fmt.Errorf("the tag %q would make alignment.%s, which is another column of the tables: write another tag", tag, p.Tag)
	case ok && known != tag:
		return fmt.Errorf("the tags %q and %q would both make alignment.%s: write one of them", known, tag, p.Tag)
	case !ok && len(tags) == mostTags:
		return fmt.Errorf("the tag %q is one more than %d different ones, each of which makes columns of the tables: write fewer tags, or name the field otherwise", tag, mostTags)
	}
	tags[p.Tag] = tag
	return nil
}

func textPrompt(line string, _ *[]string) (FilePrompt, error) { return FilePrompt{Text: line}, nil }

func jsonPrompt(line string, _ *[]string) (FilePrompt, error) {
	var m map[string]json.RawMessage
	if err := json.Unmarshal([]byte(line), &m); err != nil {
		return FilePrompt{}, fmt.Errorf("%w: a line is one JSON object", err)
	}
	var p FilePrompt
	for name, to := range map[string]*string{"prompt": &p.Text, "negative": &p.Negative, "tag": &p.Tag} {
		raw, ok := m[name]
		if ok && json.Unmarshal(raw, to) != nil {
			return p, fmt.Errorf("%s is %.60s; must be a string", name, raw)
		}
		if !ok && name == "prompt" {
			return p, errors.New("the object has no prompt")
		}
		delete(m, name)
	}
	return p, p.meta(m)
}

// meta sets the meta of a prompt to the fields that are left, if there are any.
func (p *FilePrompt) meta(m map[string]json.RawMessage) error {
	if len(m) == 0 {
		return nil
	}
	text, err := json.Marshal(m) // which sorts the names
	p.Meta = string(text)
	return err
}

func tablePrompt(line string, head *[]string) (FilePrompt, error) {
	cells := strings.Split(line, "\t")
	if *head == nil {
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if !slices.Contains(cells, "prompt") {
			return FilePrompt{}, fmt.Errorf("the head has the columns %q, and none is prompt", cells)
		}
		*head = cells
		return FilePrompt{}, nil
	}
	if len(cells) > len(*head) {
		return FilePrompt{}, fmt.Errorf("the line has %d cells, and the head %d", len(cells), len(*head))
	}
	var p FilePrompt
	m := map[string]json.RawMessage{}
	for i, cell := range cells {
		cell = strings.TrimSpace(cell)
		switch name := (*head)[i]; {
		case name == "prompt":
			p.Text = cell
		case name == "negative":
			p.Negative = cell
		case name == "tag":
			p.Tag = cell
		case cell != "":
			raw, err := json.Marshal(cell)
			if err != nil {
				return p, err
			}
			m[name] = raw
		}
	}
	return p, p.meta(m)
}

// DigestPrompts returns the SHA-256 of what a file of prompts says, whatever its format,
// spaces and line ends are.
func DigestPrompts(list []FilePrompt) (string, error) {
	h := sha256.New()
	enc := json.NewEncoder(h)
	for _, p := range list {
		if err := enc.Encode(p); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Normal returns a prompt in the form in which two prompts count as the same: in lower case,
// with single spaces, without marks at its end.
func Normal(prompt string) string {
	return strings.TrimRight(strings.ToLower(strings.Join(strings.Fields(prompt), " ")), ".,;:!? ")
}

// filePrompts writes the prompts of a user's file as a list of rows. A list that measures a
// model has them in their order, again and again; one that a training may use has them in an
// order of its seed, each once before any comes again.
func (t Task) filePrompts(p PromptsParams) ([]Prompt, error) {
	list, err := ReadPromptFile(p.Path)
	if err != nil {
		return nil, err
	}
	digest, err := DigestPrompts(list)
	if err != nil {
		return nil, err
	}
	if digest != p.Digest {
		return nil, fmt.Errorf("%s has changed since this run began: run again", p.Path)
	}
	rows := make([]Prompt, p.Rows)
	var order []int
	for i := range rows {
		k := i % len(list)
		if k == 0 {
			order = t.stream(p.Seed, p.List, i/len(list)).Perm(len(list))
		}
		q := list[k]
		rows[i] = Prompt{Split: Unseen}
		if !p.Unseen {
			q, rows[i].Split = list[order[k]], Seen
		}
		rows[i].Prompt, rows[i].Negative, rows[i].Category, rows[i].Meta = q.Text, q.Negative, q.Tag, q.Meta
	}
	return rows, nil
}
