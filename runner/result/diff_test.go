package result

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ablate/analysis/compare"
)

// TestDiffWithout: a study without results cannot be compared, and errors name the file
// or study.
func TestDiffWithout(t *testing.T) {
	r := empty(t)
	if _, err := r.Diff("mine", func(string) (*Result, error) { return r, nil }); err == nil || !strings.Contains(err.Error(), "no row has a result in both mine (A) and mine (B)") {
		t.Errorf("without a result: %v", err)
	}
	cause := errors.New("cannot be loaded")
	if _, err := r.Diff("mine", func(string) (*Result, error) { return nil, cause }); !errors.Is(err, cause) {
		t.Errorf("error %v, want %v", err, cause)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "trials.arrow"), []byte("no table"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Diff(dir, nil); err == nil || !strings.Contains(err.Error(), "trials.arrow") {
		t.Errorf("a broken folder: %v", err)
	}
}

// TestActions: for rows of the same name, the stages whose keys differ are listed with
// the lines that differ, and later stages without lines.
func TestActions(t *testing.T) {
	a := emptyOf(t, "seeds: [1, 2]\narms: {plain: set: {}, none: set: finetune: method: \"none\"}")
	b := emptyOf(t, "seeds: [1, 2]\nbase: finetune: beta: 0.25\narms: {plain: set: {}, none: set: finetune: method: \"none\"}")
	rows := []compare.DiffRow{{Row: "plain"}, {Row: "none"}}
	list := actions(&compare.Diff{A: "A", B: "B", Rows: rows}, a, b)
	i := slices.IndexFunc(list, func(x compare.Action) bool { return x.Stage == "finetune" })
	if i < 0 {
		t.Fatalf("no fine-tuning among %+v", list)
	}
	if d := cmp.Diff(compare.Action{Stage: "finetune", Rows: []string{"plain"}, Settings: []compare.Setting{{Path: "finetune.beta", A: "0.5", B: "0.25"}}}, list[i]); d != "" {
		t.Error(d)
	}
	for _, x := range list {
		if x.Stage == "pretrain" || x.Stage == "reward" || slices.Contains(x.Rows, "none") {
			t.Errorf("beta changes %+v", x)
		}
		if x.Stage == "draw.alignment" && x.Settings != nil {
			t.Errorf("a stage that follows: %+v", x)
		}
	}
	if same := actions(&compare.Diff{A: "A", B: "B", Rows: rows}, a, a); len(same) != 0 {
		t.Errorf("between equal studies: %+v", same)
	}
	// A row that is fine-tuned in one of two studies.
	c := emptyOf(t, "seeds: [1, 2]\narms: plain: set: finetune: method: \"none\"")
	list = actions(&compare.Diff{A: "A", B: "B", Rows: rows[:1]}, a, c)
	if i := slices.IndexFunc(list, func(x compare.Action) bool { return x.Stage == "finetune" }); i < 0 || list[i].Only != "A" {
		t.Errorf("a stage of one study: %+v", list)
	}
}
