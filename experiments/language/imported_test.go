package language_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ablate/experiments/language"
)

// imported loads a study of imported results with the given text below its import.
func imported(t *testing.T, text string) (*language.Study, error) {
	t.Helper()
	root := t.TempDir()
	for name, text := range map[string]string{
		"cue.mod/module.cue":    "module: \"example.com/m@v0\"\nlanguage: version: \"v0.17.0\"\n",
		"imported/it/study.cue": "package it\n\nimport \"ablate.internal/schema\"\n\nschema.#Imported & {\n" + text + "\n}\n",
	} {
		file := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return language.Load(filepath.Join(root, "imported", "it"), language.Options{})
}

// TestImported checks that a study of imported results is the same after WriteReply and
// ReadReply.
func TestImported(t *testing.T) {
	s, err := imported(t, `	title: "It"
	from: {files: ["../../runs.csv"], columns: {arm: "method"}, axes: ["lr"]}
	metrics: {acc: {range: "share", better: "higher"}, "a.b": unit: "points"}
	compare: {reference: "base", primary: ["acc"], contrasts: [{a: "x", b: "y"}], detect: acc: 0.05, prompts: "fixed"}
	gate: {acc: absolute: 0.02, "a.b": seeds: 3}`)
	if err != nil {
		t.Fatal(err)
	}
	if in := s.Imported; in == nil || !strings.HasSuffix(in.Files[0], "runs.csv") || !filepath.IsAbs(in.Files[0]) || in.Columns["arm"] != "method" || in.Metrics["acc"].Range != "share" || in.Metrics["a.b"].Unit != "points" {
		t.Errorf("imported: %+v", s.Imported)
	}
	if s.Title != "It" || s.Reference != "base" || s.Detect["acc"] != .05 || s.Prompts != "fixed" || s.Contrasts[0] != [2]string{"x", "y"} || len(s.Gate) != 2 || s.Gate[0].Metric != "a.b" || s.Gate[0].Seeds != 3 || *s.Gate[1].Absolute != .02 {
		t.Errorf("the study: %+v", s)
	}
	var b bytes.Buffer
	if err := language.WriteReply(&b, s, nil); err != nil {
		t.Fatal(err)
	}
	again, err := language.ReadReply(&b)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(s.Imported, again.Imported); d != "" || again.Title != s.Title || len(again.Gate) != 2 || again.Prompts != s.Prompts {
		t.Errorf("in the other process (-want +got):\n%s%+v", d, again)
	}
}

func TestImportedMistakes(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"no files":               {"from: {}", "from.files"},
		"unknown range":          {"from: files: [\"a.csv\"]\nmetrics: acc: range: \"percent\"", "study.cue:7"},
		"unknown field":          {"from: files: [\"a.csv\"]\nmetric: acc: range: \"share\"", "study.cue:7"},
		"two margins":            {"from: files: [\"a.csv\"]\ngate: acc: {absolute: 0.1, relative: 0.1}", "study.cue:7"},
		"a pattern that is none": {"from: {files: [\"a\"], pattern: \"(\"}", "from.pattern"},
	} {
		_, err := imported(t, c.text)
		var list *language.Errors
		if !errors.As(err, &list) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
