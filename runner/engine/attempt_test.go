package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The test binary is an engine, too: ABLATE_ENGINE_TEST names how it behaves.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == WallsCommand {
		fmt.Fprintln(os.Stderr, BuildWalls())
		os.Exit(1)
	}
	if how := os.Getenv("ABLATE_ENGINE_TEST"); how != "" {
		os.Exit(behave(how, os.Args[1:]))
	}
	os.Exit(m.Run())
}

const described = `{"protocols": [1], "name": "test", "environment": {}, "verbs": {
	"score": {"revision": 1, "serve": true, "columns": {"x": {"kind": "real"}}, "params": {"type": "object", "properties": {"rate": {"type": "number", "default": 0.5}}}},
	"train": {"revision": 1, "format": "f", "stop": "file"}}}`

// behave does what an engine does for its arguments, and returns the exit status.
func behave(how string, args []string) int {
	finish := func(dir, result string) {
		_ = os.WriteFile(filepath.Join(dir, "x.json"), []byte(result), 0o666)
		_ = os.Rename(filepath.Join(dir, "x.json"), filepath.Join(dir, resultFile))
	}
	good := func(dir string) {
		n := 0
		var rows strings.Builder
		_ = lines(filepath.Join(dir, "in", "images", rowsFile), func(_ int, line []byte) error {
			var r Row
			err := json.Unmarshal(line, &r)
			fmt.Fprintf(&rows, "{\"index\": %d, \"values\": {\"x\": %d}}\n", r.Index, n)
			n++
			return err
		})
		_ = os.MkdirAll(filepath.Join(dir, "out", "scores"), 0o777)
		_ = os.WriteFile(filepath.Join(dir, "out", "scores", rowsFile), []byte(rows.String()), 0o666)
	}
	dir := args[len(args)-1]
	switch args[0] {
	case "estimate":
		fmt.Println("estimates")
		if how == "mute" {
			return 0
		}
		_ = os.WriteFile(args[2], []byte(map[string]string{
			"good": `{"tasks": [{"flops": 1e12, "memory": 5000, "disk": 7}, {"error": "who knows"}]}`, "short": `{"tasks": [{}]}`, "negative": `{"tasks": [{"memory": -1}, {}]}`, "text": `yes`}[how]), 0o666)
		return map[string]int{"fails": 3}[how]
	case "describe":
		switch how {
		case "slow":
			time.Sleep(time.Hour)
		case "mute":
			fmt.Println(described)
			return 0
		case "fails":
			fmt.Fprintln(os.Stderr, "ImportError: no module named torch")
			return 1
		case "wrong":
			_ = os.WriteFile(dir, []byte(`{"protocols": [7], "name": "test", "environment": {}, "verbs": {}}`), 0o666)
			return 0
		}
		_ = os.WriteFile(dir, []byte(described), 0o666)
		return 0
	case "serve":
		var line string
		for {
			if n, _ := fmt.Scanln(&line); n == 0 {
				return 0
			}
			if how == "dies" && exists(filepath.Join(line, "in", "images", rowsFile)) {
				return 3
			}
			fmt.Println("served", line)
			good(line)
			finish(line, `{"protocol": 1, "status": "ok"}`)
		}
	}
	ok := `{"protocol": 1, "status": "ok"}`
	sleeper := func() {
		cmd := exec.Command("sleep", "3600")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		_ = cmd.Start()
	}
	scores := filepath.Join(dir, "out", "scores", rowsFile)
	good(dir)
	switch how {
	case "good":
		fmt.Println("hello")
		_ = os.WriteFile(filepath.Join(dir, progressFile), []byte(`{"step": 1, "of": 2}`+"\n"+`{"step": 2, "of": 2, "metrics": {"loss": 0.5}}`+"\n"+`{"st`), 0o666)
		ok = `{"protocol": 1, "status": "ok", "outputs": {"scores": {"files": 1, "bytes": 66}}, "resolved": {"rate": 0.5, "unused": null}}`
	case "no result":
		return 0
	case "refuses":
		return 2
	case "crashes":
		fmt.Fprintln(os.Stderr, "Segmentation fault")
		return 139
	case "killed":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case "other protocol":
		ok = `{"protocol": 2, "status": "ok"}`
	case "no json":
		ok = `ok`
	case "unknown status":
		ok = `{"protocol": 1, "status": "fine"}`
	case "unasked":
		ok = `{"protocol": 1, "status": "stopped"}`
	case "diverged":
		ok = `{"protocol": 1, "status": "diverged", "message": "loss is NaN at step 3", "step": 3}`
	case "memory":
		ok = `{"protocol": 1, "status": "failed", "class": "memory", "message": "CUDA out of memory"}`
	case "row left out":
		_ = os.WriteFile(scores, []byte(`{"index": 0, "values": {"x": 1}}`+"\n"), 0o666)
	case "NaN":
		_ = os.WriteFile(scores, []byte(`{"index": 0, "values": {"x": NaN}}`+"\n"), 0o666)
	case "link":
		_ = os.Symlink("/etc/passwd", filepath.Join(dir, "out", "scores", "passwd"))
	case "linked result":
		_ = os.WriteFile(filepath.Join(dir, "tmp", "r"), []byte(ok), 0o666)
		_ = os.Symlink("tmp/r", filepath.Join(dir, resultFile))
		return 0
	case "terabyte":
		_ = os.Truncate(scores, 2<<40)
	case "large result":
		ok += strings.Repeat(" ", mostResult)
	case "wrong count":
		ok = `{"protocol": 1, "status": "ok", "outputs": {"scores": {"files": 2, "bytes": 1}}}`
	case "wrong rate":
		ok = `{"protocol": 1, "status": "ok", "resolved": {"rate": 0.25}}`
	case "daemon":
		sleeper()
		sleeper()
	case "becomes root":
		_ = syscall.Setuid(0)
		time.Sleep(15 * time.Second)
		return 0
	case "hangs":
		sleeper()
		time.Sleep(time.Hour)
	case "ignores stop":
		time.Sleep(time.Hour)
	case "lingers":
		finish(dir, ok)
		sleeper()
		time.Sleep(time.Hour)
	case "stops":
		for !exists(filepath.Join(dir, stopFile)) {
			time.Sleep(time.Millisecond)
		}
		data, _ := os.ReadFile(filepath.Join(dir, stopFile))
		_ = os.WriteFile(filepath.Join(dir, "state", "step-7"), data, 0o666)
		ok = `{"protocol": 1, "status": "stopped", "step": 7}`
	case "environment":
		fmt.Println(strings.Join(os.Environ(), "\n"))
		wd, _ := os.Getwd()
		fmt.Println("in", wd)
	}
	finish(dir, ok)
	return 0
}

func testEngine(t *testing.T, how string) *Engine {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return &Engine{Name: "test", Root: t.TempDir(), Command: []string{self}, Env: map[string]string{"ABLATE_ENGINE_TEST": how}}
}

// scoring is a task of two rows.
func scoring(t *testing.T) Task {
	t.Helper()
	d, err := ParseDescription([]byte(described))
	if err != nil {
		t.Fatal(err)
	}
	return Task{Verb: Score, Spec: d.Verbs[Score], Action: "a", Attempt: 1, Params: map[string]any{"rate": .5}, Grace: 300 * time.Millisecond,
		Inputs: map[string]TaskInput{"images": {ID: "i", Rows: []Row{{Index: 0, Prompt: "<a>"}, {Index: 1}}}}}
}

// TestAttempt: each way in which a program fails gives one message that says what was wrong,
// and no process of it is left.
func TestAttempt(t *testing.T) {
	for how, want := range map[string]struct{ status, class, message string }{
		"no result":      {Failed, Program, "it ended with exit status 0 and without a result.json"},
		"refuses":        {Refused, "", "it refuses its arguments"},
		"crashes":        {Failed, Program, "it ended without a result (exit status 139): Segmentation fault"},
		"killed":         {Failed, Program, "it ended without a result (killed by killed)"},
		"other protocol": {Failed, Contract, "result.json: protocol is 2; must be 1"},
		"no json":        {Failed, Contract, "result.json: invalid character"},
		"unknown status": {Failed, Contract, `status is "fine"; must be`},
		"unasked":        {Failed, Contract, "nobody has asked it to stop"},
		"diverged":       {Diverged, "", "score: loss is NaN at step 3"},
		"memory":         {Failed, Memory, "CUDA out of memory"},
		"row left out":   {Failed, Contract, "the row of index 1 is missing"},
		"NaN":            {Failed, Contract, "out/scores: rows.jsonl:1: invalid character 'N'"},
		"link":           {Failed, Contract, "out/scores/passwd is a link"},
		"linked result":  {Failed, Contract, "result.json is not a regular file"},
		"terabyte":       {Failed, Contract, "the outputs have more than 1024 GiB"},
		"large result":   {Failed, Contract, "result.json has more than 1048576 bytes"},
		"wrong count":    {Failed, Contract, "outputs.scores names 2 files of 1 bytes, and out/scores has 1 of"},
		"wrong rate":     {Failed, Contract, "the program computes with rate = 0.25, and the study asks for 0.5"},
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			_, err := testEngine(t, how).Run(t.Context(), scoring(t), filepath.Join(t.TempDir(), "1"), Options{})
			var e *TaskError
			if !errors.As(err, &e) || e.Status != want.status || e.Class != want.class || !strings.Contains(err.Error(), want.message) {
				t.Errorf("%v, %+v, want %+v", err, e, want)
			}
		})
	}
}

// TestRun: a task that is done has its outputs, its progress and its log.
func TestRun(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "1")
	var seen []Progress
	a, err := testEngine(t, "good").Run(t.Context(), scoring(t), dir, Options{Progress: func(p Progress) { seen = append(seen, p) }})
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Files) != 1 || a.Files[0].Path != "scores/rows.jsonl" || a.Others != 0 {
		t.Errorf("%+v", a)
	}
	if len(seen) != 1 || seen[0].Step != 2 || seen[0].Metrics["loss"] != .5 {
		t.Errorf("progress %+v", seen)
	}
	if b, err := os.ReadFile(filepath.Join(dir, logFile)); err != nil || string(b) != "hello\n" {
		t.Errorf("log %q, %v", b, err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "in", "images", rowsFile)); err != nil || string(b) != `{"index":0,"prompt":"<a>"}`+"\n"+`{"index":1}`+"\n" {
		t.Errorf("rows %q, %v", b, err)
	}
}

// TestEnvironment: a program sees what the protocol lists, and nothing else of ablate's
// environment.
func TestEnvironment(t *testing.T) {
	t.Setenv("SECRET", "x")
	dir := filepath.Join(t.TempDir(), "1")
	if _, err := testEngine(t, "environment").Run(t.Context(), scoring(t), dir, Options{}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, logFile))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(string(b)) {
		name, _, _ := strings.Cut(line, "=")
		names = append(names, strings.TrimSpace(name))
	}
	slices.Sort(names)
	want := []string{"ABLATE_ATTEMPT", "ABLATE_DIR", "ABLATE_ENGINE_TEST", "ABLATE_ROOT", "CUDA_VISIBLE_DEVICES", "HF_HUB_OFFLINE", "HOME", "LANG", "OMP_NUM_THREADS", "PATH", "PYTHONHASHSEED", "TMPDIR", "in " + filepath.Join(dir, "work")}
	if !slices.Equal(names, want) {
		t.Errorf("%q, want %q", names, want)
	}
}

// TestNothingLeft: processes that a program leaves behind, in sessions of their own too, are
// ended.
func TestNothingLeft(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "1")
	a, err := testEngine(t, "daemon").Run(t.Context(), scoring(t), dir, Options{})
	if err != nil || a.Others != 2 || len(byFolder(dir)) > 0 {
		t.Errorf("%+v, %v; left are %v", a, err, byFolder(dir))
	}
	task := scoring(t)
	task.Silence = 100 * time.Millisecond
	dir = filepath.Join(t.TempDir(), "1")
	_, err = testEngine(t, "hangs").Run(t.Context(), task, dir, Options{})
	var e *TaskError
	if !errors.As(err, &e) || e.Class != Silent || !strings.Contains(err.Error(), "it wrote no progress and no output for 100ms") || len(byFolder(dir)) > 0 {
		t.Errorf("%v; left are %v", err, byFolder(dir))
	}
	task.Silence, task.Time = 0, 100*time.Millisecond
	dir = filepath.Join(t.TempDir(), "1")
	_, err = testEngine(t, "hangs").Run(t.Context(), task, dir, Options{})
	if !errors.As(err, &e) || !strings.Contains(err.Error(), "it took longer than its limit of 100ms") || len(byFolder(dir)) > 0 {
		t.Errorf("%v; left are %v", err, byFolder(dir))
	}
}

// TestStop: a program that is asked to stop saves its state, which outlives the attempt; one
// that does not is ended after the grace.
func TestStop(t *testing.T) {
	task := scoring(t)
	task.Verb = Train
	cause := errors.New("preempted")
	for how, saves := range map[string]bool{"stops": true, "ignores stop": false} {
		state := filepath.Join(t.TempDir(), "state")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(50*time.Millisecond, func() { cancel(cause) })
		begin := time.Now()
		_, err := testEngine(t, how).Run(ctx, task, filepath.Join(t.TempDir(), "1"), Options{State: state, Why: func(context.Context) string { return "preempted" }})
		if !errors.Is(err, cause) || time.Since(begin) > grace {
			t.Errorf("%s: %v after %v", how, err, time.Since(begin))
		}
		data, err := os.ReadFile(filepath.Join(state, "step-7"))
		if saves && string(data) != `{"why":"preempted","grace_s":0.3}`+"\n" || !saves && err == nil {
			t.Errorf("%s: state %q, %v", how, data, err)
		}
	}
}

// TestServe: a worker does one task after the other, each with a log of its own.
func TestServe(t *testing.T) {
	e := testEngine(t, "good")
	w, err := e.Serve(0, "", 1)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	root := t.TempDir()
	for i := range 3 {
		dir := filepath.Join(root, fmt.Sprint(i))
		if _, err := e.Run(t.Context(), scoring(t), dir, Options{Worker: w}); err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(filepath.Join(dir, logFile)); err != nil || string(b) != "served "+dir+"\n" {
			t.Errorf("log %q, %v", b, err)
		}
	}
	e = testEngine(t, "dies")
	dying, err := e.Serve(0, "", 1)
	if err != nil {
		t.Fatal(err)
	}
	defer dying.Close()
	for _, want := range []string{"the worker ended (exit status 3) without a result", "the worker has ended (exit status 3)"} {
		if _, err := e.Run(t.Context(), scoring(t), filepath.Join(t.TempDir(), "1"), Options{Worker: dying}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// TestDescribe: an engine describes itself once for each state of its source.
func TestDescribe(t *testing.T) {
	for how, want := range map[string]string{
		"fails": "'describe' failed (exit status 1): ImportError: no module named torch",
		"mute":  "ended without writing FILE: the answer belongs there, and not on standard output",
		"wrong": "its description is not valid: protocols: it speaks [7]",
	} {
		if _, err := testEngine(t, how).Describe(t.Context(), ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", how, err, want)
		}
	}
	e := testEngine(t, "good")
	e.Source = []string{"*"}
	put(t, filepath.Join(e.Root, "source"), "1")
	cache := filepath.Join(t.TempDir(), "cache")
	for i, name := range []string{"test", "stored", "stored", "test"} {
		d, err := e.Describe(t.Context(), cache)
		if err != nil || d.Name != name {
			t.Fatalf("%d: %+v, %v, want %s", i, d, err, name)
		}
		switch i {
		case 0: // what is stored is not asked for again
			list, err := filepath.Glob(filepath.Join(cache, "*"))
			if err != nil || len(list) != 1 {
				t.Fatalf("%q, %v", list, err)
			}
			put(t, list[0], strings.Replace(described, `"test"`, `"stored"`, 1))
		case 2:
			put(t, filepath.Join(e.Root, "source"), "2")
		}
	}
	pip := func(list string) string {
		at := func(name string) string { return filepath.Join(e.Root, name) }
		return "; 'python3 -m venv " + at("b/venv") + "' and '" + at("b/venv/bin/pip") + " install " + strings.Replace(list, "b/", at("b")+"/", 1) + "' make it"
	}
	put(t, filepath.Join(e.Root, "b", "requirements.txt"), "")
	put(t, filepath.Join(e.Root, "b", "c", "requirements.lock"), "")
	put(t, filepath.Join(e.Root, "b", "c", "e.py"), "")
	for _, tc := range []struct {
		command []string
		want    string
	}{
		{[]string{"b/venv/bin/python", "e.py"}, pip("-r b/requirements.txt")}, {[]string{"b/venv/bin/python3", "-u", "b/c/e.py"}, pip("--require-hashes -r b/c/requirements.lock")},
		{nil, "its command is empty"}, {[]string{"no-such-program"}, `there is no program "no-such-program" on the PATH`}, {[]string{"a/b"}, "there is no program a/b"},
		{[]string{"a/python", "a/clip_engine.py"}, "; 'ablate init --engine clip " + filepath.Join(e.Root, "a") + "' writes clip_engine.py"}, {[]string{"./source"}, "is not executable"},
	} {
		e.Command = tc.command
		if _, err := e.Describe(t.Context(), ""); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q: %v, want %s", tc.command, err, tc.want)
		}
	}
}

// TestLingers: a program that has written its result and does not end has done its task.
func TestLingers(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "1")
	if a, err := testEngine(t, "lingers").Run(t.Context(), scoring(t), dir, Options{}); err != nil || a.Status != OK || len(byFolder(dir)) > 0 {
		t.Errorf("%+v, %v; left are %v", a, err, byFolder(dir))
	}
}

// TestDescribeHangs: a description that takes too long is given up.
func TestDescribeHangs(t *testing.T) {
	t.Parallel()
	if _, err := testEngine(t, "slow").Describe(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "'describe' took longer than 10s: it must load no model") {
		t.Error(err)
	}
}
