package native

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"ablate/experiments/language"
	"ablate/models/finetune"
	"ablate/runner/engine"
)

// small are the constants of methods in probes, where their defaults are too large.
var small = map[string]string{
	"crd": `{"group": 2}`, "grpo": `{"group": 2}`, "dpok": `{"updates": 2}`,
}

// TestMethodsProbe: by every method a task gives whole outputs and, if ABLATE_TEST_LONG is 1, each of its
// constants changes the result. A policy asks the engine's own scorer.
func TestMethodsProbe(t *testing.T) {
	e := diffusionProgram(t)
	long := os.Getenv("ABLATE_TEST_LONG") == "1"
	for _, m := range finetune.Methods() {
		if !latent(m) || !long && m.Name() != "kto" && m.Name() != "ddpo" {
			continue
		}
		t.Run(m.Name(), func(t *testing.T) {
			d := drawer(t, e)
			var probe map[string]any
			if err := json.Unmarshal(d.d.Probe[engine.Train], &probe); err != nil {
				t.Fatal(err)
			}
			probe["method"], probe["steps"] = m.Name(), 4
			probe["rollout"], probe["sampler"] = map[string]any{"images": 4, "noise": .5}, map[string]any{"steps": 3, "guidance": 2.}
			if own, ok := small[m.Name()]; ok {
				probe[m.Name()] = json.RawMessage(own)
			}
			text, err := json.Marshal(probe)
			if err != nil {
				t.Fatal(err)
			}
			d.d.Probe[engine.Train] = text
			params := d.d.Verbs[engine.Train].Parameters()
			own := 0
			for i := range params { // TestDiffusionProbe tries those of all methods
				group, _, _ := strings.Cut(params[i].Path, ".")
				if params[i].Record = group != m.Name() && (m.Name() != "ddpo" || group != "rollout" && group != "sampler"); !params[i].Record {
					own++
				}
			}
			if own == 0 {
				t.Skip("it has no constants")
			}
			checks := []string{"a task with the probe's parameters gives whole outputs"}
			if long {
				checks = append(checks, "each parameter changes the result")
			}
			if m.Name() == "ddpo" {
				checks = append(checks, "a stop saves the state, and the training goes on exactly")
			}
			v, err := engine.Probe(t.Context(), d.e, d.d, engine.ProbeOptions{Dir: filepath.Join(t.TempDir(), "tasks"), CPUs: 1, Only: func(c engine.Check) bool {
				return c.Verb == engine.Train && slices.Contains(checks, c.Name)
			}})
			if err != nil {
				t.Fatal(err)
			}
			if passed := passes(t, v); passed != len(checks) {
				t.Errorf("%d of %d checks passed", passed, len(checks))
			}
		})
	}
}

// trainVerb returns the description of the engine's verb train.
func trainVerb(t *testing.T) *engine.Verb {
	t.Helper()
	data, err := json.Marshal(describeDiffusion())
	if err != nil {
		t.Fatal(err)
	}
	d, err := engine.ParseDescription(data)
	if err != nil {
		t.Fatal(err)
	}
	return d.Verbs[engine.Train]
}

// TestMethodConstants: the constants of methods have the names and the defaults of the schema, all but the
// average of several rounds, which the engine does not have.
func TestMethodConstants(t *testing.T) {
	own := map[string]any{}
	for _, p := range trainVerb(t).Parameters() {
		if p.Unused != nil && strings.Contains(p.Path, ".") {
			own[p.Path] = p.Default
		}
	}
	sections, err := language.Reference()
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, s := range sections {
		for _, f := range s.Fields {
			path, ok := strings.CutPrefix(f.Path, "finetune.")
			group, _, _ := strings.Cut(path, ".")
			m, err := finetune.ByName(group)
			if !ok || f.Default == nil || group != "rollout" && (err != nil || !latent(m)) {
				continue
			}
			switch path {
			case "awm.average", "dpo.beta", "filtered.by", "filtered.fraction", "filtered.threshold": // rounds; dpo_beta here; finetune.rows
				continue
			}
			if compared++; fmt.Sprint(own[path]) != fmt.Sprint(f.Default) {
				t.Errorf("%s is %v, and %v in the schema", path, own[path], f.Default)
			}
			delete(own, path)
		}
	}
	delete(own, "lora.alpha")
	delete(own, "sampler.steps")
	delete(own, "sampler.guidance")
	if compared < 20 || len(own) > 0 {
		t.Errorf("%d constants are compared, and the schema has none of %q", compared, slices.Sorted(maps.Keys(own)))
	}
}

// TestMethodTable: docs/real-models.md has a table of the methods that each engine has, as the schema and
// the descriptions say. UPDATE=1 writes it.
func TestMethodTable(t *testing.T) {
	source, err := os.ReadFile("../engine/python/diffusers_engine.py")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`"method": string\(.*enum=(\[[^]]*\])`).FindSubmatch(source)
	var diffusers []string
	if line == nil || json.Unmarshal(line[1], &diffusers) != nil {
		t.Fatal("the parameter method of the diffusers engine is not found")
	}
	all := trainVerb(t).Parameters()
	native := all[slices.IndexFunc(all, func(p language.Param) bool { return p.Path == "method" })]
	var table strings.Builder
	table.WriteString("| method | learns from | `ablate engine stable-diffusion` | `diffusers` |\n|---|---|---|---|\n")
	for _, m := range finetune.Methods() {
		from := "images and their scores"
		switch {
		case finetune.Differentiates(m):
			from = "the gradient of the reward"
		case policy(m):
			from = "images that it draws, scored by the study's reward"
		case finetune.LearnsFromLabels(m):
			from = "good and bad images"
		}
		own, other := "yes", "yes"
		if !slices.Contains(native.Enum, m.Name()) {
			own = "no: " + native.Absent[m.Name()]
			if native.Absent[m.Name()] == "" {
				t.Errorf("the engine has no %s, and gives no reason", m.Name())
			}
		}
		if !slices.Contains(diffusers, m.Name()) {
			other = "no: it has the methods of one likelihood, and pairs"
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s |\n", m.Name(), from, own, other)
	}
	const file, begin, end = "../../docs/real-models.md", "<!-- methods -->\n", "<!-- /methods -->\n"
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(page), begin)
	have, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s has no place for the table", file)
	}
	if have == table.String() {
		return
	}
	if os.Getenv("UPDATE") == "1" {
		if err := os.WriteFile(file, []byte(before+begin+table.String()+end+after), 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Errorf("%s has another table:\n%s\nwant\n%s\nUPDATE=1 go test ./runner/native -run TestMethodTable writes it", file, have, table.String())
}

// TestAbsentMethods: a method that the engine does not have is refused, with the reason.
func TestAbsentMethods(t *testing.T) {
	v := trainVerb(t)
	for _, m := range finetune.Methods() {
		_, err := v.Complete(fmt.Appendf(nil, `{"method": %q}`, m.Name()))
		if latent(m) != (err == nil) || err != nil && !strings.HasSuffix(err.Error(), noGradient) {
			t.Errorf("%s: %v", m.Name(), err)
		}
	}
}
