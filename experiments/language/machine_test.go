package language_test

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"ablate/experiments/language"
)

// TestMachine: the file of the site is read from the folder of cue.mod, and changes neither the
// name nor the trials of a study, not even of one in the same folder.
func TestMachine(t *testing.T) {
	load := func(files map[string]string) *language.Study {
		t.Helper()
		files["study.cue"] = head + "seeds: [1]\n}\n"
		s, err := language.Load(filepath.Join(module(t, files), "study.cue"), language.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	without := load(map[string]string{})
	with := load(map[string]string{"machine.cue": "resources: {finetune: {cpus: 2 + 2, memory: \"8GiB\"}, draw: gpus: 0}\n"})
	if without.Machine != nil || with.Path != "." || without.Path != "." {
		t.Errorf("%v, paths %q and %q", without.Machine, without.Path, with.Path)
	}
	if a, b := without.Views[0].Trial.ID(), with.Views[0].Trial.ID(); a != b {
		t.Errorf("the trial %v became %v", a, b)
	}
	var b bytes.Buffer
	if err := language.WriteReply(&b, with, nil); err != nil {
		t.Fatal(err)
	}
	if got, err := language.ReadReply(&b); err != nil || cmp.Diff(with.Machine, got.Machine) != "" {
		t.Errorf("another process reads %v, %v", got, err)
	}
	four, none := 4, 0
	want := []language.Resources{{Stage: "finetune", CPUs: &four, Memory: "8GiB"}, {Stage: "draw", GPUs: &none}}
	if d := cmp.Diff(want, with.Machine, cmpopts.IgnoreFields(language.Resources{}, "Where")); d != "" {
		t.Errorf("machine (-want +got):\n%s", d)
	}
	if w := with.Machine[1].Where; filepath.Base(w.File) != "machine.cue" || w.Line != 1 || w.Path != "resources.draw" {
		t.Errorf("place %+v", w)
	}
}
