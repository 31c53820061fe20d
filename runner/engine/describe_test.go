package engine

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ablate/experiments/language"
)

// description is a description with a verb train whose fields the tests change.
func description(train string) []byte {
	return []byte(`{"protocols": [1], "name": "e", "environment": {}, "verbs": {"train": {"revision": 1, "format": "f"` + train + `}}}`)
}

// TestDescription: mistakes of a description are found, with the field and what it may be.
func TestDescription(t *testing.T) {
	params := func(s string) string {
		return `, "params": {"type": "object", "properties": {"rate": ` + s + `}}`
	}
	for train, want := range map[string]string{
		``: "",
		params(`{"type": "number", "exclusiveMinimum": 0, "default": 1e-4, "x-unit": "per step", "description": "rate", "x-note": 1}`): "",
		`, "speed": 1`:                                                                 `unknown field "speed"`,
		`, "revision": 0`:                                                              "verbs.train.revision: 0; must be 1 or more",
		`, "repeat": "maybe"`:                                                          `verbs.train.repeat: "maybe"; must be one of ["bytes" "draws" "none"]`,
		`, "resume": "yes"`:                                                            `must be one of ["none" "approximate" "exact"]`,
		`, "noise": "a b"`:                                                             `noise: "a b" is not a name`,
		`, "serve": true`:                                                              "train always gets a process of its own",
		`, "columns": {"a": {"kind": "real"}}`:                                         "columns: they belong to score",
		`, "seeds": ["a b"]`:                                                           `seeds: "a b" is not a name`,
		`, "inputs": {"gold": {}}`:                                                     "inputs.gold: unknown role; must be one of base, images, pairs, pretraining, prompts",
		`, "inputs": {"base": {"when": {"a":1}}}`:                                      "inputs.base.when: a: 1; must be a list of values",
		`, "inputs": {"base": {"when": {"a":[1]}}}`:                                    `inputs.base.when: "a" is not a parameter`,
		`, "params": []`:                                                               "params: must be an object",
		`, "params": {"type": "number"}`:                                               `params.type: "number"; the parameters of a verb are an "object"`,
		params(`{"type": "float"}`):                                                    `params.properties.rate.type: "float"; must be "object", "integer", "number", "string" or "boolean"`,
		params(`{"type": "number", "multipleOf": 2}`):                                  `"multipleOf" is not supported`,
		params(`{"type": "string", "minimum": 2}`):                                     "params.properties.rate.minimum: a string has no bounds",
		params(`{"type": "number", "minimum": "2"}`):                                   `minimum: "2"; must be a number`,
		params(`{"type": "integer", "default": 1.5}`):                                  "params.properties.rate.default: 1.5; must be a whole number",
		params(`{"type": "number", "maximum": 1, "default": 2}`):                       "default: 2; must be a number <= 1",
		params(`{"type": "string", "enum": ["a"], "default": "b"}`):                    `default: "b"; must be one of "a"`,
		params(`{"type": "boolean", "enum": ["a"]}`):                                   "enum: must be a list of strings",
		params(`{"type": "number", "default": null}`):                                  "default: null; must be a number",
		params(`{"type": "number", "x-identity": "key"}`):                              `must be "record", or absent`,
		params(`{"type": "number", "x-unused": {}}`):                                   "x-unused: it is empty",
		params(`{"type": "number", "x-unused": {"b": [0]}}`):                           `x-unused of rate names "b", which is not a parameter`,
		params(`{"type": "number", "x-absent": {"a": "b"}}`):                           "x-absent: must be a map from names that are not in enum",
		params(`{"type": "number", "default": 1}`) + `, "scorers_when": {"rate": [1]}`: "scorers_when: it is a condition of scorers, which is not set",
		params(`{"type": "number", "default": 1}`) + `, "scorers": true, "scorers_when": {"rite": [1]}`: `scorers_when: "rite" is not a parameter`,
		params(`{"type": "number", "default": 1}`) + `, "scorers": true, "scorers_when": {"rate": [1]}`: "",
		params(`{"type": "number", "type": "number"}`):                                                  `"type" is there twice`,
		`, "params": {"type": "object", "properties": {"a.b": {"type": "number"}}}`:                     `"a.b" must be letters, digits and underscores`,
	} {
		_, err := ParseDescription(description(train))
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", train, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: error %v, want %s", train, err, want)
		}
	}
	for text, want := range map[string]string{
		`{"protocols": [2], "name": "e", "environment": {}, "verbs": {}}`:                                                                                 "it speaks [2], and this program version 1",
		`{"protocols": [1], "name": "a b", "environment": {}, "verbs": {}}`:                                                                               `name: "a b" must be`,
		`{"protocols": [1], "name": "e", "environment": {}, "verbs": {}}`:                                                                                 "verbs: there are none",
		`{"protocols": [1], "name": "e", "environment": {}, "verbs": {"prepare": {}}}`:                                                                    "reserved for a later version",
		`{"protocols": [1], "name": "e", "environment": {}, "verbs": {"draw": {}}}`:                                                                       "verbs.draw: unknown verb; must be one of load, sample, train, score, embed",
		`{"protocols": [1], "name": "e", "environment": {}, "verbs": {"score": {"revision": 1}}}`:                                                         "verbs.score.columns: missing",
		`{"protocols": [1], "name": "e", "environment": {}, "verbs": {"score": {"revision": 1, "columns": {"a": {"kind": "verdict", "range": [0, 1]}}}}}`: "verbs.score.columns.a.range: a verdict has none",
		`{"protocols": [1], "name": "e", "environment": {}, "verbs": {"score": {"revision": 1, "columns": {"a": {"range": [0]}}}}}`:                       "verbs.score.columns.a.range: [0]; must be the smallest and the largest",
		`{"protocols": [1], "name": "e", "environment": {}, "verbs": {"sample": {"revision": 1}}}`:                                                        "verbs.sample.formats: missing",
		`{"protocols": [1], "name": "e", "environment": {}, "verbs": {"load": null}}`:                                                                     "verbs.load: null",
		`{"protocols": [1], "name": "e", "environment": {}, "verbs": {"load": {"revision": 1}}, "probe": {"train": {}}}`:                                  "probe.train: the engine has no such verb",
		`{"protocols": [1]} {}`: "more than one JSON value",
	} {
		if _, err := ParseDescription([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %s", text, err, want)
		}
	}
}

// TestComplete: a task gets all parameters that are used, with their defaults.
func TestComplete(t *testing.T) {
	d, err := ParseDescription(description(`, "inputs": {"base": {}, "pretraining": {"when": {"beta": {"above": 0}}}}, "params": {"type": "object", "properties": {
		"method": {"type": "string", "enum": ["rw", "dpo"], "default": "rw"},
		"beta": {"type": "number", "minimum": 0, "default": 0.5},
		"steps": {"type": "integer", "minimum": 1},
		"flag": {"type": "boolean", "default": false},
		"lora": {"type": "object", "properties": {"rank": {"type": "integer", "minimum": 0, "default": 4}, "alpha": {"type": "number", "default": 8, "x-unused": {"lora.rank": [0]}}}}}}`))
	if err != nil {
		t.Fatal(err)
	}
	v := d.Verbs["train"]
	for _, tc := range []struct {
		given, wrong string
		want         map[string]any
		roles        []string
	}{
		{`{"steps": 10}`, "", map[string]any{"method": "rw", "beta": .5, "steps": int64(10), "flag": false, "lora.rank": int64(4), "lora.alpha": 8.}, []string{"base", "pretraining"}},
		{`{"steps": 1e1, "beta": 0, "lora": {"rank": 0}, "flag": true}`, "", map[string]any{"method": "rw", "beta": 0., "steps": int64(10), "flag": true, "lora.rank": int64(0)}, []string{"base"}},
		{`{}`, "steps: it has no default: give a whole number >= 1", nil, nil},
		{`{"steps": 1, "lora": {"size": 2}}`, "lora.size: there is no such parameter", nil, nil},
		{`{"steps": "1"}`, `steps: "1"; must be a whole number >= 1`, nil, nil},
		{`{"steps": 1, "flag": 1}`, "flag: 1; must be true or false", nil, nil},
		{`{"steps": 1, "lora": 2}`, "lora: must be an object", nil, nil},
	} {
		got, err := v.Complete(json.RawMessage(tc.given))
		if tc.wrong != "" {
			if err == nil || !strings.Contains(err.Error(), tc.wrong) {
				t.Errorf("%s: error %v, want %s", tc.given, err, tc.wrong)
			}
			continue
		}
		if d := cmp.Diff(tc.want, got); err != nil || d != "" {
			t.Errorf("%s: %v (-want +got):\n%s", tc.given, err, d)
		}
		if d := cmp.Diff(tc.roles, v.Needs(got)); d != "" {
			t.Errorf("%s: roles (-want +got):\n%s", tc.given, d)
		}
	}
	p := d.Program().Verbs["train"].Params
	if len(p) != 6 || p[5].Path != "lora.alpha" || p[5].Kind != language.Real || len(p[5].Unused) != 1 || p[3].Kind != language.Truth {
		t.Errorf("parameters %+v", p)
	}
}

func FuzzParseDescription(f *testing.F) {
	f.Add(description(`, "params": {"type": "object", "properties": {"a": {"type": "number", "default": 1, "x-unused": {"a": {"above": 1}}}}}`))
	f.Add([]byte(`{"protocols": [1], "name": "e", "environment": {}, "verbs": {"score": {"revision": 1, "columns": {"a": {"kind": "real"}}}}, "probe": {"score": {}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := ParseDescription(data)
		if err != nil {
			return
		}
		for _, v := range d.Verbs {
			for _, p := range v.Parameters() {
				if p.Path == "" || p.Allowed() == "" {
					t.Errorf("parameter %+v", p)
				}
			}
		}
		d.Program()
	})
}

// TestSource: the source of an engine is the files that its globs match, and a change of one
// of them changes its digest.
func TestSource(t *testing.T) {
	root := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	write("e/a.py", "a")
	write("e/b/c.py", "c")
	write("e/__pycache__/a.pyc", "x")
	write("e/.git/x", "x")
	e := &Engine{Name: "e", Root: root, Source: []string{"e"}}
	sum := func() string {
		t.Helper()
		s, err := e.SourceDigest(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	list, err := e.sources(t.Context())
	if d := cmp.Diff([]string{"e/a.py", "e/b/c.py"}, list); err != nil || d != "" {
		t.Errorf("%v, %s", err, d)
	}
	first := sum()
	write("e/__pycache__/a.pyc", "y")
	if sum() != first {
		t.Error("a cached file is part of the source")
	}
	write("e/b/c.py", "d")
	if sum() == first {
		t.Error("a change of the source is not seen")
	}
	for glob, want := range map[string]string{"none*": `"none*" matches no file`, "/etc": "must be a path below", "../e": "must be a path below", "e/**": "must be a path below"} {
		e.Source = []string{glob}
		if _, err := e.SourceDigest(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", glob, err, want)
		}
	}
	e.Source = nil
	if _, err := e.SourceDigest(t.Context()); err == nil || !strings.Contains(err.Error(), "it names no source") {
		t.Error(err)
	}
	// Without source, the description's own identity counts.
	if _, err := e.Identity(t.Context(), &Description{}); err == nil || !strings.Contains(err.Error(), "it names no source") {
		t.Errorf("neither source nor identity: %v", err)
	}
	one, err := e.Identity(t.Context(), &Description{Identity: "draw 1"})
	if err != nil {
		t.Fatal(err)
	}
	if two, err := e.Identity(t.Context(), &Description{Identity: "draw 2"}); err != nil || two == one || len(two) != len(one) {
		t.Errorf("identities %s and %s, %v", one, two, err)
	}
}
