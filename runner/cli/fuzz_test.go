package cli_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// FuzzVet gives the program a study of any bytes: it may not hang, show a panic
// or take the machine's memory, and says what is wrong with exit code 1.
func FuzzVet(f *testing.F) {
	f.Add([]byte(miniature))
	f.Add([]byte("package mini\n"))
	f.Add([]byte("package mini\nimport \"ablate.internal/schema\"\nschema.#Study & {seeds: [1], base: _b}\n_b: {x: _b} | {y: _b} | {z: _b}\n"))
	f.Add([]byte("package mini\nimport \"ablate.internal/schema\"\nschema.#Study & {seeds: [1], arms: a: where: finetune: a}\na: (1|2|a) & (2|3|a) & (3|4|a) & (4|5|a)\n"))
	f.Add([]byte("package mini\nimport \"ablate.internal/schema\"\nschema.#Study & {seeds: [1], arms: a: {sweep: \"finetune.beta\": [0, 1], zip: {\"finetune.steps\": [1], \"reward.lambda\": [1]}, arms: b: arms: c: seeds: [1]}}\n"))
	f.Add([]byte("package mini\nx: x.y\ny: [...y]\nimport \"ablate.internal/schema/presets\"\n"))
	f.Add([]byte("\xff\xfe\x00"))
	dir := f.TempDir()
	bin := filepath.Join(dir, "ablate")
	build := exec.Command("go", "build", "-o", bin, ".")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		f.Fatalf("%v\n%s", err, out)
	}
	module := filepath.Join(dir, "cue.mod")
	if err := errors.Join(os.Mkdir(module, 0o777), os.Mkdir(filepath.Join(dir, "mini"), 0o777),
		os.WriteFile(filepath.Join(module, "module.cue"), []byte("module: \"example.com/studies@v0\"\nlanguage: version: \"v0.17.0\"\n"), 0o666)); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, study []byte) {
		if err := os.WriteFile(filepath.Join(dir, "mini", "study.cue"), study, 0o666); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		cmd := exec.CommandContext(ctx, bin, "vet", "mini")
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "ABLATE_LOAD_TIMEOUT=3s", "ABLATE_LOAD_MEMORY=512", "ABLATE_BACKEND=xla:cpu")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		err := cmd.Run()
		if ctx.Err() != nil {
			t.Fatal("it hangs")
		}
		var exit *exec.ExitError
		if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
			t.Fatalf("%v\n%s", err, stderr.String())
		}
		if err != nil && (!strings.HasPrefix(stderr.String(), "ablate: ") && !strings.HasPrefix(stderr.String(), "mini/study.cue:") && !strings.Contains(stderr.String(), "\nablate: ") ||
			strings.Contains(stderr.String(), "goroutine ") || strings.Contains(stderr.String(), "panic")) {
			t.Fatalf("it does not say what is wrong:\n%s", stderr.String())
		}
	})
}
