package cli_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ablate/runner/cli"
)

// TestCueVet: the cue command, as people and editors run it, accepts what 'ablate
// init' writes and the studies of this repository, and finds a mistake in them by
// the schema alone.
func TestCueVet(t *testing.T) {
	dir := t.TempDir()
	cue := filepath.Join(dir, "cue")
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-modfile=runner/internal/tools/tools.mod", "-o", cue, "cuelang.org/go/cmd/cue")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		if os.Getenv("ABLATE_TEST_STRICT") != "1" {
			t.Skipf("needs the cue command, which did not build: %s", out)
		}
		t.Fatalf("cue: %v\n%s", err, out)
	}
	vet := func(dir string) (string, error) {
		cmd := exec.Command(cue, "vet", "./...")
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "CUE_REGISTRY=none")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := vet(filepath.Join(root, "experiments")); err != nil {
		t.Errorf("experiments: %v\n%s", err, out)
	}
	mine := filepath.Join(dir, "mine")
	if code := cli.Run(t.Context(), []string{"init", mine}, os.Stderr, os.Stderr); code != 0 {
		t.Fatalf("init: exit code %d", code)
	}
	if out, err := vet(mine); err != nil {
		t.Errorf("a new module: %v\n%s", err, out)
	}
	first := filepath.Join(mine, "first", "study.cue")
	study, err := os.ReadFile(first)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ old, new, want string }{
		{`"finetune.beta": [0, 0.5]`, `"finetune.beto": [0, 0.5]`, "finetune.beto"},
		{`"finetune.beta": [0, 0.5]`, `"finetune.beta": [0, -0.5]`, "finetune.beta"},
		{`loss: "none"`, `loss: "nnone"`, `reward.loss must be "none", "oracle"`},
		{`method: "none"`, `methd: "none"`, "methd"},
	} {
		if err := os.WriteFile(first, []byte(strings.Replace(string(study), tc.old, tc.new, 1)), 0o666); err != nil {
			t.Fatal(err)
		}
		out, err := vet(mine)
		if err == nil || !strings.Contains(out, tc.want) || !strings.Contains(out, "first/study.cue") {
			t.Errorf("cue vet says of %s: %v\n%s", tc.new, err, out)
		}
	}
}

// TestReferencePage: the README's page is what 'ablate schema' prints. UPDATE=1
// writes it.
func TestReferencePage(t *testing.T) {
	var out bytes.Buffer
	if code := cli.Run(t.Context(), []string{"schema"}, &out, os.Stderr); code != 0 {
		t.Fatalf("schema: exit code %d", code)
	}
	const name = "../../REFERENCE.md"
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(name, out.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	page, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(out.String(), string(page)); d != "" {
		t.Errorf("REFERENCE.md is not what 'ablate schema' prints (-want +got):\n%s\nUPDATE=1 go test ./runner/cli -run TestReferencePage writes it", d)
	}
}
