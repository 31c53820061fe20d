package cli_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ablate/models/modeltest"
	"ablate/runner/internal/diskfault"
)

// engines is a module with the study engines-tiny, its engines, and the program.
type engines struct {
	t   *testing.T
	dir string
	bin string
}

func newEngines(t *testing.T) *engines {
	python := modeltest.Torch(t)
	dir := t.TempDir()
	e := &engines{t, dir, place(t, dir)}
	if err := os.CopyFS(filepath.Join(dir, "engines-tiny"), os.DirFS("../../experiments/engines-tiny")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"diffusers", "clip", "verdict", "lora-script"} {
		e.run("init", "--engine", name, "engines")
	}
	// The stand-in of diffusers' script has its command line.
	script, err := os.ReadFile("../engine/python/testdata/train_text_to_image_lora.py")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "engines", "train_text_to_image_lora.py"), script, 0o666)
	}
	if err == nil {
		err = os.Symlink(filepath.Dir(filepath.Dir(python)), filepath.Join(dir, "engines", "venv"))
	}
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func (e *engines) command(args ...string) *exec.Cmd {
	cmd := exec.Command(e.bin, args...)
	cmd.Dir = e.dir
	cmd.Env = append(os.Environ(), "ABLATE_PJRT_PLUGIN="+modeltest.Plugin(e.t), "ABLATE_LEASE=3s")
	return cmd
}

// run runs a command, which must succeed, and returns its output and its log.
func (e *engines) run(args ...string) (stdout, log string) {
	e.t.Helper()
	var out, err bytes.Buffer
	cmd := e.command(args...)
	cmd.Stdout, cmd.Stderr = &out, &err
	if failed := cmd.Run(); failed != nil {
		e.t.Fatalf("ablate %q: %v\n%s\n%s", args, failed, &out, &err)
	}
	return out.String(), err.String()
}

// processes returns the processes of engines of the module.
func (e *engines) processes() (pids []int) {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, name := range files {
		if b, err := os.ReadFile(name); err == nil && bytes.Contains(b, []byte(filepath.Join(e.dir, "engines")+"/")) {
			var pid int
			if _, err := fmt.Sscanf(name, "/proc/%d/", &pid); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// TestEngines runs the committed study of the paper's arms on tiny random models: diffusers draws and
// trains, CLIP gives features, a judge gives verdicts. Again, nothing runs. Killed at random moments, it
// ends with the same bytes and leaves no process. Two arms then run on a wrapped trainer, with one line
// changed.
func TestEngines(t *testing.T) {
	e := newEngines(t)
	begin := time.Now()
	store := filepath.Join(e.dir, "whole")
	table, _ := e.run("run", "engines-tiny", "--store", store)
	took := time.Since(begin)
	t.Logf("the study: %v", took.Round(time.Second))
	for _, row := range []string{"all data", "pretrained", "no unlabelled", "no pretraining", "weights all one", "filtered", "best of 4", "beta "} {
		if !strings.Contains(table, "\n"+row) {
			t.Errorf("the table has no row %q:\n%s", row, table)
		}
	}
	if strings.Contains(table, "°") {
		t.Errorf("values are missing:\n%s", table)
	}
	if page, err := os.ReadFile(filepath.Join(store, "studies", "engines-tiny", "report", "index.html")); err != nil || !bytes.Contains(page, []byte("best of 4")) {
		t.Errorf("the report: %v", err)
	}
	want := outputs(t, store)
	again, log := e.run("run", "engines-tiny", "--store", store)
	if !strings.Contains(log, "nothing to run") || again != table {
		t.Errorf("the second run:\n%s\n%s", again, log)
	}
	t.Run("killed", func(t *testing.T) {
		study := "engines-tiny"
		if os.Getenv("ABLATE_TEST_FAULTS") == "" { // rows with every stage are enough
			study = "three"
			e.three()
			begin, store = time.Now(), filepath.Join(e.dir, study+" whole")
			table, _ = e.run("run", study, "--store", store)
			took, want = time.Since(begin), outputs(t, store)
		}
		e.killed(t, study, took, table, want)
	})
	t.Run("wrapped", func(t *testing.T) { e.wrapped(t) })
}

// TestTwins runs the committed study whose arms are trained by diffusers and by the native engine, on
// the reference checkpoint: one table has the same numbers for both. A value that counts images may
// differ by one of them.
func TestTwins(t *testing.T) {
	e := newEngines(t)
	dir := filepath.Join(e.dir, "stable-diffusion-tiny")
	if err := os.CopyFS(dir, os.DirFS("../../experiments/stable-diffusion-tiny")); err != nil {
		t.Fatal(err)
	}
	stored, err := filepath.Abs("../../models/testdata/reference")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "study.cue")
	text, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, bytes.ReplaceAll(text, []byte("../models/testdata/reference"), []byte(stored)), 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
	out, _ := e.run("run", "stable-diffusion-tiny", "--json")
	var answer struct {
		Table struct {
			Metrics []struct{ Name, Range string }
			Rows    []struct {
				Arm   string
				Cells map[string]struct{ Mean float64 }
			}
		}
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	table := answer.Table
	values := map[string]map[string]float64{}
	for _, r := range table.Rows {
		values[r.Arm] = map[string]float64{}
		for _, m := range table.Metrics {
			if c, ok := r.Cells[m.Name]; ok {
				values[r.Arm][m.Name] = c.Mean
			}
		}
	}
	const kid, images = "fidelity.kid", 12
	pairs := 0
	for arm, own := range values {
		twin, ok := values[arm+" natively"]
		if !ok {
			continue
		}
		pairs++
		if len(own) < 8 || len(twin) != len(own) {
			t.Errorf("%s has %d values, its twin %d", arm, len(own), len(twin))
		}
		for _, m := range table.Metrics {
			tolerance := 2e-3 * max(1, math.Abs(own[m.Name]))
			if m.Range == "share" || m.Name == "fidelity.density" {
				tolerance = 1.0/images + 1e-9
			}
			if d := math.Abs(own[m.Name] - twin[m.Name]); d > tolerance {
				t.Errorf("%s, %s: %v and %v", arm, m.Name, own[m.Name], twin[m.Name])
			}
		}
		// Fine-tuning changes more than the engine does.
		if d := math.Abs(own[kid] - values["pretrained"][kid]); arm != "pretrained" && d < 3*math.Abs(own[kid]-twin[kid]) {
			t.Errorf("%s, %s: %v and %v, and %v pretrained", arm, kid, own[kid], twin[kid], values["pretrained"][kid])
		}
	}
	if pairs != 5 {
		t.Errorf("%d arms have a twin, want 5", pairs)
	}
}

// three writes the study with one seed and three of its rows.
func (e *engines) three() {
	dir := filepath.Join(e.dir, "three")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(e.dir, "engines-tiny"))); err != nil {
		e.t.Fatal(err)
	}
	file := filepath.Join(dir, "study.cue")
	text, err := os.ReadFile(file)
	if err != nil {
		e.t.Fatal(err)
	}
	base, arms, ok := strings.Cut(strings.Replace(string(text), "seeds: [1, 2]", "seeds: [1]", 1), "\n\tarms: {\n")
	if !ok {
		e.t.Fatalf("%s has no arms", file)
	}
	var kept []string
	for line := range strings.Lines(arms) {
		if name := strings.TrimSpace(line); !strings.HasPrefix(name, `"`) || strings.HasPrefix(name, `"all data"`) || strings.HasPrefix(name, `"pretrained"`) || strings.HasPrefix(name, `"best of 4"`) {
			kept = append(kept, line)
		}
	}
	if err := os.WriteFile(file, []byte(base+"\n\tarms: {\n"+strings.Join(kept, "")), 0o666); err != nil {
		e.t.Fatal(err)
	}
}

// killed kills a run of a study in an empty store again and again, and compares its table and artifacts.
func (e *engines) killed(t *testing.T, study string, took time.Duration, table string, want map[string]string) {
	number, r := diskfault.Random(t, 3)
	for round, n := 0, 0; n < number; round++ {
		store := filepath.Join(e.dir, fmt.Sprint("killed ", round))
		for n < number && len(outputs(t, store)) < len(want) {
			cmd := e.command("run", study, "--store", store, "--save-every", "1s")
			var log bytes.Buffer
			cmd.Stdout, cmd.Stderr = &log, &log
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() { _ = cmd.Wait(); close(done) }()
			select {
			case <-done:
				if !cmd.ProcessState.Success() {
					t.Fatalf("a run that nobody killed: %v\n%s", cmd.ProcessState, &log)
				}
				continue
			case <-time.After(time.Second + time.Duration(r.Int64N(int64(took/2)))):
			}
			how := []string{"kill ablate", "kill an engine", "interrupt"}[n%3]
			switch how {
			case "kill ablate":
				_ = cmd.Process.Kill()
			case "kill an engine":
				if pids := e.processes(); len(pids) > 0 {
					_ = syscall.Kill(pids[r.IntN(len(pids))], syscall.SIGKILL)
				}
				time.Sleep(time.Duration(r.IntN(3000)) * time.Millisecond)
				fallthrough
			case "interrupt":
				_ = cmd.Process.Signal(os.Interrupt)
			}
			select {
			case <-done:
			case <-time.After(2 * time.Minute):
				t.Fatalf("%s: it does not end:\n%s", how, &log)
			}
			if text := log.String(); strings.Contains(text, "goroutine ") || strings.Contains(text, "panic") {
				t.Errorf("%s: a stack trace reaches the user:\n%s", how, text)
			}
			n++
			t.Logf("%s: %d of %d results", how, len(outputs(t, store)), len(want))
		}
		// The path of the report follows the table.
		got, _ := e.run("run", study, "--store", store)
		got, _, _ = strings.Cut(got, "\nreport: ")
		undisturbed, _, _ := strings.Cut(table, "\nreport: ")
		if d := cmp.Diff(undisturbed, got); d != "" {
			t.Errorf("table (-undisturbed +killed):\n%s", d)
		}
		if d := cmp.Diff(want, outputs(t, store)); d != "" {
			t.Errorf("artifacts (-undisturbed +killed):\n%s", d)
		}
		for end := time.Now().Add(20 * time.Second); len(e.processes()) > 0; time.Sleep(100 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("processes %v of engines are left", e.processes())
			}
		}
	}
}

// script is a study whose trained arm needs no weights, so that a wrapped trainer can do it.
const script = `package script

import "ablate.internal/schema"

#python: "engines/venv/bin/python"

schema.#Study & {
	seeds: [1]
	engines: {
		sd: {command: [#python, "engines/diffusers_engine.py"], source: ["engines/*.py"]}
		script: {command: [#python, "engines/lora_script_engine.py"], source: ["engines/*.py"]}
		clip: {command: [#python, "engines/clip_engine.py"], source: ["engines/*.py"]}
		judge: {command: [#python, "engines/verdict_engine.py"], source: ["engines/*.py"]}
	}
	base: {
		model: program: {engine: "sd", params: name: "tiny-sd"}
		prompts: {train: "../engines-tiny/train.txt", evaluate: "../engines-tiny/evaluate.txt"}
		sampler: params: {steps: 4, guidance: 3, width: 32, height: 32}
		feedback: {labelled: 0, unlabelled: 24}
		reward: program: {engine: "clip", column: "cosine", params: model: "tiny-clip"}
		finetune: {
			engine: "sd"
			rows: "filtered", filtered: fraction: 0.5
			params: {method: "filtered", steps: 4, batch: 4, size: 32, learning_rate: 0.001, lora: rank: 4}
		}
		evaluate: {images: 20, gold: {engine: "judge", column: "correct"}}
	}
	arms: {
		"pretrained": set: finetune: method: "none"
		"filtered": set: {}
		"best of 4": set: {finetune: method: "none", evaluate: bestOf: 4}
	}
}
`

// wrapped runs arms with the reference engine, and then with a wrapped trainer on the same base, prompts
// and images.
func (e *engines) wrapped(t *testing.T) {
	file := filepath.Join(e.dir, "script", "study.cue")
	write := func(text string) {
		if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	write(script)
	e.run("run", "script")
	line := "\t\t\tengine: \"sd\"\n"
	write(strings.Replace(script, line, strings.Replace(line, "sd", "script", 1), 1))
	table, log := e.run("run", "script")
	var ran []string
	for l := range strings.Lines(log) {
		if strings.Contains(l, `"message":"done"`) {
			_, rest, _ := strings.Cut(l, `"stage":"`)
			kind, _, _ := strings.Cut(rest, `"`)
			ran = append(ran, kind)
		}
	}
	// Equal verdicts or scores have columns already.
	ran = slices.DeleteFunc(ran, func(kind string) bool { return kind == "engine-column" })
	slices.Sort(ran)
	if want := []string{"engine-sample", "engine-score", "engine-score", "engine-train"}; !slices.Equal(ran, want) {
		t.Errorf("with the other trainer ran %q, want %q", ran, want)
	}
	for _, row := range []string{"pretrained", "filtered", "best of 4"} {
		if !strings.Contains(table, "\n"+row) {
			t.Errorf("the table has no row %q:\n%s", row, table)
		}
	}
}
