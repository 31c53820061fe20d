package modeltest

import (
	_ "embed"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"ablate/models/backend"
)

//go:embed compile.py
var compiler string

//go:embed h100.txtpb
var h100 string

// A Compiled is a program for an H100.
type Compiled struct {
	Seconds float64
	backend.Memory
	Text string // of XLA's module after all of its passes
}

// Compile compiles a program (backend.Fn) for an H100 with 80 GB by JAX's plugin, which needs none. It skips the
// test unless ABLATE_TEST_LONG is 1 and ABLATE_TEST_CUDA names a Python with jax[cuda12].
func Compile(t testing.TB, program string) (c Compiled) {
	t.Helper()
	python := os.Getenv("ABLATE_TEST_CUDA")
	if python == "" || os.Getenv("ABLATE_TEST_LONG") != "1" {
		t.Skip("compiles for minutes: runs if ABLATE_TEST_LONG is 1 and ABLATE_TEST_CUDA names a Python with jax[cuda12]")
	}
	dir := t.TempDir()
	args := []string{"compile.py", "h100.txtpb", "program.mlir", "answer.json"}
	for i, text := range []string{compiler, h100, program} {
		args[i] = filepath.Join(dir, args[i])
		if err := os.WriteFile(args[i], []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	args[3] = filepath.Join(dir, args[3])
	out, err := exec.CommandContext(t.Context(), python, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	answer, err := os.ReadFile(args[3])
	if err == nil {
		err = json.Unmarshal(answer, &c)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}
