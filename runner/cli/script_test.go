package cli_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"ablate/models/modeltest"
	"ablate/runner/cli"
	"ablate/runner/hub/hubtest"
	"ablate/runner/internal/diskfault"
)

// miniature is a whole study that runs in seconds: one layer, few steps, and
// every stage. Scripts find it as mini/study.cue in a module of its own.
const miniature = `package mini

import "ablate.internal/schema"

schema.#Study & {
	title: "miniature"
	seeds: [1]
	base: {
		data: pairs: 256
		model: shapes: {layers: 1, width: 64, heads: 2, steps: 500, batch: 32, learningRate: 4e-3, ema: 0.98}
		embedder: {steps: 3, batch: 16}
		sampler: steps: 6
		feedback: {labelled: 64, unlabelled: 64}
		reward: {steps: 5, batch: 16}
		finetune: {steps: 4, batch: 16, warmup: 1}
		evaluate: {images: 96, fidelityImages: 96}
	}
	arms: {
		"pretrained": set: finetune: method: "none"
		"all data": set: {}
		"beta": sweep: "finetune.beta": [0, 0.5]
		"ones": set: reward: loss: "none"
		"oracle": set: reward: loss: "oracle"
		"best of 2": set: {finetune: method: "none", evaluate: bestOf: 2}
	}
	compare: reference: "all data"
	gate: {alignment: absolute: 0.1, "alignment.unseen": {}, "fidelity.recall": {}, "fidelity.frechet": {}}
}
`

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"ablate": func() {
		if err := diskfault.Enter(); err != nil { // only TestFaults asks for it
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(cli.Main())
	}})
}

func TestScript(t *testing.T) {
	path := modeltest.Plugin(t)
	experiments, err := filepath.Abs("../../experiments")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("ABLATE_PJRT_PLUGIN", path)
			e.Setenv("EXPERIMENTS", experiments)
			for name, text := range map[string]string{
				"cue.mod/module.cue": "module: \"example.com/studies@v0\"\nlanguage: version: \"v0.17.0\"\n",
				"mini/study.cue":     miniature,
			} {
				file := filepath.Join(e.WorkDir, name)
				if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
					return err
				}
				if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
					return err
				}
			}
			return nil
		},
		Condition: func(cond string) (bool, error) {
			if cond == "root" {
				return os.Geteuid() == 0, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"answers": answers, "damage": damage, "drift": drift, "hub": serveHub, "readonly": readonly, "redrawn": redrawn, "snippets": snippets, "valid": valid,
		},
	})
}

// serveHub serves a folder as the model org/tiny of the Hugging Face hub, to the end of the script.
func serveHub(ts *testscript.TestScript, _ bool, args []string) {
	var h hubtest.Hub
	_, err := h.Add("org/tiny", ts.MkAbs(args[0]))
	ts.Check(err)
	server := httptest.NewServer(&h)
	ts.Defer(server.Close)
	ts.Setenv("HF_ENDPOINT", server.URL)
	ts.Setenv("HF_HUB_CACHE", ts.MkAbs("hub"))
}

// readonly makes a folder read-only, or writable again with !. If the test lacks the
// permission to do so, the folder stays writable and the condition [root] is false.
func readonly(ts *testscript.TestScript, neg bool, args []string) {
	dir := ts.MkAbs(args[0])
	if neg {
		ts.Check(syscall.Unmount(dir, 0))
		return
	}
	if os.Geteuid() != 0 {
		return
	}
	ts.Check(syscall.Mount(dir, dir, "", syscall.MS_BIND, ""))
	ts.Defer(func() { _ = syscall.Unmount(dir, 0) })
	ts.Check(syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_BIND|syscall.MS_RDONLY, ""))
}

// valid checks what the last command printed against the JSON schema of a name.
func valid(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(cli.Valid(args[0], []byte(ts.ReadFile("stdout"))))
}

// snippets runs the Python programs of docs/data.md on the tables of the miniature study.
// Each prints a row of the study.
func snippets(ts *testscript.TestScript, _ bool, _ []string) {
	python := os.Getenv("ABLATE_TEST_PYTHON")
	if python == "" {
		if os.Getenv("ABLATE_TEST_STRICT") == "1" {
			ts.Fatalf("ABLATE_TEST_PYTHON names no Python with pandas, polars and duckdb")
		}
		ts.Logf("not run: ABLATE_TEST_PYTHON names no Python with pandas, polars and duckdb")
		return
	}
	programs, err := cli.Snippets()
	ts.Check(err)
	if len(programs) != 3 {
		ts.Fatalf("docs/data.md has %d programs, want 3", len(programs))
	}
	for _, p := range programs {
		ts.Check(ts.Exec(python, "-c", strings.ReplaceAll(p, "quickstart", "mini")))
		if !strings.Contains(ts.ReadFile("stdout"), "pretrained") {
			ts.Fatalf("it prints no row of the study:\n%s", p)
		}
	}
}

// damage flips one byte of every file below a folder whose path has a word.
func damage(ts *testscript.TestScript, _ bool, args []string) {
	n := 0
	ts.Check(filepath.WalkDir(ts.MkAbs(args[0]), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.Contains(path, args[1]) {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		b[len(b)/2] ^= 1
		if err := os.Chmod(path, 0o666); err != nil {
			return err
		}
		n++
		return os.WriteFile(path, b, 0o666)
	}))
	if n == 0 {
		ts.Fatalf("nothing below %s has %q in its name", args[0], args[1])
	}
}

// place lays out a module with the miniature study and the program itself in
// dir. The program is a link to this test, which testscript.Main runs as ablate
// when it has that name: os.Executable must give that name too.
func place(t *testing.T, dir string) (bin string) {
	t.Helper()
	for name, text := range map[string]string{
		"cue.mod/module.cue": "module: \"example.com/studies@v0\"\nlanguage: version: \"v0.17.0\"\n",
		"mini/study.cue":     miniature,
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	bin = filepath.Join(dir, "ablate")
	if err := os.WriteFile(bin, b, 0o777); err != nil {
		t.Fatal(err)
	}
	return bin
}

// start runs the miniature study, with a longer pretraining, in another process, and
// returns when pretraining has started.
func start(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(place(t, dir), "run", "mini", "--set", "model.shapes.steps=100000")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "ABLATE_PJRT_PLUGIN="+modeltest.Plugin(t))
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for range 1200 {
		if b, err := os.ReadFile(log.Name()); err == nil && strings.Contains(string(b), `"stage":"pretrain"`) && strings.Contains(string(b), `"message":"working"`) {
			return cmd
		}
		time.Sleep(50 * time.Millisecond)
	}
	b, err := os.ReadFile(log.Name())
	t.Fatalf("pretraining did not begin within a minute (%v):\n%s", err, b)
	return nil
}

// workers lists the worker processes of a program.
func workers(t *testing.T, bin string) (pids []string) {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range dirs {
		if b, err := os.ReadFile(d); err == nil && strings.Contains(string(b), "\x00stages") {
			if exe, err := os.Readlink(filepath.Join(filepath.Dir(d), "exe")); err == nil && exe == bin {
				pids = append(pids, filepath.Base(filepath.Dir(d)))
			}
		}
	}
	return pids
}

func TestInterrupt(t *testing.T) {
	for _, tc := range []struct {
		name   string
		signal syscall.Signal
		code   int
	}{{"ctrl-C", syscall.SIGINT, 130}, {"kill -9", syscall.SIGKILL, -1}} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			cmd := start(t, dir)
			before := time.Now()
			if err := cmd.Process.Signal(tc.signal); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait() // only the exit code matters
			// Without a signal the stage would go on for minutes.
			if took := time.Since(before); took > 15*time.Second {
				t.Errorf("it took %s to stop", took)
			}
			if got := cmd.ProcessState.ExitCode(); got != tc.code {
				t.Errorf("exit code %d, want %d", got, tc.code)
			}
			for range 40 {
				if len(workers(t, cmd.Path)) == 0 {
					break
				}
				time.Sleep(50 * time.Millisecond)
			}
			if left := workers(t, cmd.Path); len(left) > 0 {
				t.Errorf("workers %v outlive their study", left)
			}
			// The next run continues from the finished stages.
			again := exec.Command(filepath.Join(dir, "ablate"), "run", "mini", "--only", "pretrained")
			again.Dir, again.Env = dir, cmd.Env
			if out, err := again.CombinedOutput(); err != nil {
				t.Errorf("the next run: %v\n%s", err, out)
			}
		})
	}
}

// outputs are the artifacts of a store, by the names of their actions.
func outputs(t *testing.T, store string) map[string]string {
	t.Helper()
	entries, err := filepath.Glob(filepath.Join(store, "actions", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]string{}
	for _, e := range entries {
		b, err := os.ReadFile(e)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			if out, ok := strings.CutPrefix(line, "output "); ok {
				m[filepath.Base(e)] = strings.TrimSpace(out)
			}
		}
	}
	return m
}

// TestResume: trainings that are stopped or killed go on from their saved states, and all
// artifacts have the bytes of an undisturbed run. A state that was damaged meanwhile is
// discarded.
func TestResume(t *testing.T) {
	dir := t.TempDir()
	bin := place(t, dir)
	// One stage at a time: the state that is there when the run is stopped is that of a training which
	// goes on, and not that of one which ends in the same moment.
	run := func(store string) *exec.Cmd {
		cmd := exec.Command(bin, "run", "mini", "--store", store, "-j", "1", "--save-every", "1s", "--set", "model.shapes.steps=6000", "--only", "all data")
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "ABLATE_PJRT_PLUGIN="+modeltest.Plugin(t))
		return cmd
	}
	finish := func(store string) string {
		out, err := run(store).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return string(out)
	}
	undisturbed := filepath.Join(dir, "undisturbed")
	finish(undisturbed)
	want := outputs(t, undisturbed)
	for _, c := range []struct {
		name   string
		signal syscall.Signal
		damage bool
	}{{"SIGTERM", syscall.SIGTERM, false}, {"SIGUSR2", syscall.SIGUSR2, false}, {"kill -9", syscall.SIGKILL, false}, {"damaged", syscall.SIGKILL, true}} {
		t.Run(c.name, func(t *testing.T) {
			store := filepath.Join(dir, c.name)
			states := func() []string {
				files, err := filepath.Glob(filepath.Join(store, "partial", "*", "*", "state"))
				if err != nil {
					t.Fatal(err)
				}
				return files
			}
			cmd := run(store)
			var log bytes.Buffer
			cmd.Stderr = &log
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			for range 6000 {
				if len(states()) > 0 {
					break
				}
				time.Sleep(20 * time.Millisecond)
			}
			if err := cmd.Process.Signal(c.signal); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); c.signal != syscall.SIGKILL && code != 130 {
				t.Errorf("exit code %d\n%s", code, &log)
			}
			saved := states()
			if len(saved) == 0 {
				t.Fatalf("no state was saved\n%s", &log)
			}
			message := "goes on from its saved state"
			if c.damage {
				for _, file := range saved {
					b, err := os.ReadFile(file)
					if err != nil {
						t.Fatal(err)
					}
					b[len(b)/2] ^= 1
					if err := os.WriteFile(file, b, 0o666); err != nil {
						t.Fatal(err)
					}
				}
				message = "its digest does not match: it is damaged"
			}
			if out := finish(store); !strings.Contains(out, message) {
				t.Errorf("no message %q:\n%s", message, out)
			}
			if d := cmp.Diff(want, outputs(t, store)); d != "" {
				t.Errorf("other artifacts than in an undisturbed run (-want +got):\n%s", d)
			}
			if left, _ := filepath.Glob(filepath.Join(store, "partial", "*")); len(left) > 0 {
				t.Errorf("left: %q", left)
			}
		})
	}
}

// TestTogether: runs of one study on one store divide its work. Nothing is computed twice,
// and each run prints the table of an undisturbed run.
func TestTogether(t *testing.T) {
	dir := t.TempDir()
	bin := place(t, dir)
	run := func(store string) *exec.Cmd {
		cmd := exec.Command(bin, "run", "mini", "--store", store, "-j", "1")
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "ABLATE_PJRT_PLUGIN="+modeltest.Plugin(t))
		return cmd
	}
	table := func(out []byte) string {
		s, _, ok := strings.Cut(string(out), "\nreport: ")
		if !ok {
			t.Fatalf("no table:\n%s", out)
		}
		return s
	}
	alone, err := run(filepath.Join(dir, "alone")).Output()
	if err != nil {
		t.Fatal(err)
	}
	store := filepath.Join(dir, "shared")
	var group sync.WaitGroup
	var ran atomic.Int32
	for range 3 {
		group.Go(func() {
			cmd := run(store)
			var log bytes.Buffer
			cmd.Stderr = &log
			out, err := cmd.Output()
			if err != nil {
				t.Errorf("%v\n%s", err, &log)
				return
			}
			if got := table(out); got != table(alone) {
				t.Errorf("table:\n%s\nalone:\n%s", got, table(alone))
			}
			for line := range strings.Lines(log.String()) {
				var l struct {
					Message string
					Ran     int32
				}
				if json.Unmarshal([]byte(line), &l) == nil && strings.HasPrefix(l.Message, "study mini") {
					ran.Add(l.Ran)
				}
			}
		})
	}
	group.Wait()
	want := outputs(t, filepath.Join(dir, "alone"))
	if d := cmp.Diff(want, outputs(t, store)); d != "" {
		t.Errorf("artifacts (-want +got):\n%s", d)
	}
	if int(ran.Load()) != len(want) {
		t.Errorf("%d actions were computed, and the study has %d", ran.Load(), len(want))
	}
	for _, sub := range []string{"claims", "live", "partial", "tmp"} {
		if left, err := os.ReadDir(filepath.Join(store, sub)); err != nil && !os.IsNotExist(err) || len(left) > 0 {
			t.Errorf("%s: %v, %v", sub, left, err)
		}
	}
}

// TestWorkers: workers take stages of a run file, one after the other and beside each other. A
// worker whose time is up leaves the rest, and another one goes on from its saved states; the
// artifacts are those of an undisturbed run.
func TestWorkers(t *testing.T) {
	dir := t.TempDir()
	bin := place(t, dir)
	command := func(args ...string) *exec.Cmd {
		cmd := exec.Command(bin, args...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "ABLATE_PJRT_PLUGIN="+modeltest.Plugin(t))
		return cmd
	}
	study := []string{"mini", "--set", "model.shapes.steps=4000"}
	alone, store := filepath.Join(dir, "alone"), filepath.Join(dir, "shared")
	if out, err := command(append([]string{"run", "--store", alone}, study...)...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	want := outputs(t, alone)
	// A run that ends at once leaves the run file.
	out, err := command(append([]string{"run", "--store", store, "--limit", "1"}, study...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	file := filepath.Join(store, "studies", "mini@*", "run.json")
	files, err := filepath.Glob(file)
	if err != nil || len(files) != 1 {
		t.Fatalf("run files %q, %v", files, err)
	}
	type result struct {
		Ran, Left int
		Stopped   string
	}
	work := func(args ...string) result {
		cmd := command(append([]string{"worker", files[0], "--json"}, args...)...)
		var log bytes.Buffer
		cmd.Stderr = &log
		out, err := cmd.Output()
		var r result
		if err := errors.Join(err, json.Unmarshal(out, &r)); err != nil {
			t.Errorf("%v\n%s", err, &log)
		}
		return r
	}
	sum := 1 // by the run
	var states []string
	// A slow machine compiles for some seconds. The limits grow slowly, so that one of them ends between
	// that and the end of the training.
	for _, limit := range []string{"4s", "5s", "6s", "7s", "9s", "11s", "14s", "17s", "21s", "26s", "32s"} {
		first := work("--max-time", limit, "-j", "1")
		sum += first.Ran
		if first.Stopped != "--max-time" || first.Left == 0 {
			t.Errorf("a worker with little time: %+v", first)
		}
		if states, _ = filepath.Glob(filepath.Join(store, "partial", "*", "*", "state")); len(states) > 0 {
			break
		}
	}
	if len(states) == 0 {
		t.Error("no state was saved when its time was up")
	}
	var group sync.WaitGroup
	rest := make([]result, 2)
	for i := range rest {
		group.Go(func() { rest[i] = work("-j", "1") })
	}
	group.Wait()
	for _, r := range rest {
		sum += r.Ran
		if r.Left != 0 || r.Stopped != "" {
			t.Errorf("a worker: %+v", r)
		}
	}
	if sum != len(want) {
		t.Errorf("%d stages were computed, and the study has %d", sum, len(want))
	}
	if d := cmp.Diff(want, outputs(t, store)); d != "" {
		t.Errorf("artifacts (-want +got):\n%s", d)
	}
	// The run makes the tables of what the workers computed.
	if out, err := command(append([]string{"run", "--store", store}, study...)...).CombinedOutput(); err != nil || !strings.Contains(string(out), "nothing to run") {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := command("worker", filepath.Join(dir, "mini", "study.cue")).CombinedOutput(); err == nil || !strings.Contains(string(out), "is not a plan") {
		t.Errorf("not a run file: %v\n%s", err, out)
	}
}

// TestFullDisk runs a study on a file system of 300 kB.
func TestFullDisk(t *testing.T) {
	path := modeltest.Plugin(t)
	dir := t.TempDir()
	small := filepath.Join(dir, "small")
	if err := os.Mkdir(small, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", small, "tmpfs", 0, "size=300k"); err != nil {
		if os.Getenv("ABLATE_TEST_STRICT") == "1" && os.Geteuid() == 0 {
			t.Fatalf("cannot mount a small file system: %v", err)
		}
		t.Skipf("needs the right to mount a small file system: %v", err)
	}
	defer syscall.Unmount(small, 0)
	bin := place(t, dir)
	cmd := exec.Command(bin, "run", "mini", "--store", small)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "ABLATE_PJRT_PLUGIN="+path)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("exit code %d (%v), want 1", cmd.ProcessState.ExitCode(), err)
	}
	text := string(out)
	if !strings.Contains(text, "the disk is full: free some space, or name another folder with --store") {
		t.Errorf("the message does not say what to do:\n%s", text)
	}
	if strings.Contains(text, "goroutine") {
		t.Errorf("a stack trace reaches the user:\n%s", text)
	}
}
