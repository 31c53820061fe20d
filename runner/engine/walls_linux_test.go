package engine

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// walled is an engine that does what TRY says, and is done if that succeeds.
const walled = `#!/bin/sh
try() {
	cd "$1/work"
	if (eval "$TRY") >../tmp/log 2>&1; then
		mkdir -p ../out/scores
		printf '{"index": 0, "values": {"x": 1}}\n{"index": 1, "values": {"x": 2}}\n' >../out/scores/rows.jsonl
		echo '{"protocol": 1, "status": "ok"}' >../.result
	else
		printf '{"protocol": 1, "status": "failed", "class": "program", "message": "%s"}' "$(tr -d '"\n' <../tmp/log)" >../.result
	fi
	mv ../.result ../result.json
}
case $1 in
run) try "$2" ;;
serve) while read -r dir; do try "$dir"; done ;;
esac
`

// TestWalls: behind walls, a task can read its inputs and write its outputs; what it must not do fails,
// and the message names the rule. Workers have the same walls, and those of one task are not those of
// the next.
func TestWalls(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	root, store := filepath.Join(home, "module"), filepath.Join(home, "store")
	write := func(path, text string) string {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, []byte(text), 0o777)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write(filepath.Join(root, "engines/prog"), walled)
	write(filepath.Join(root, "models/weights"), "weights")
	prompts := write(filepath.Join(root, "evaluate.txt"), "a cat")
	secret := write(filepath.Join(home, "secret"), "s")
	other := write(filepath.Join(store, "other/files/x"), "o")
	input := write(filepath.Join(store, "input/files/picture"), "p")
	base := write(filepath.Join(store, "base/files/checkpoint.json"), `{"format": "f", "root": "`+home+`/models", "files": ["linked"]}`)
	write(filepath.Join(home, "blobs/model"), "model")
	write(filepath.Join(home, "models/secret"), "s")
	if err := os.Symlink("../blobs/model", filepath.Join(home, "models/linked")); err != nil {
		t.Fatal(err)
	}
	const (
		none    = ""
		writes  = "a program writes only into its attempt folder"
		network = `score has no network; in the study, network: ["score"]`
		sees    = `in the study, read: ["PATH"] shows more`
	)
	tries := map[string]struct{ try, rule string }{
		"inputs":           {"grep -q '<a>' ../in/images/rows.jsonl && cat ../in/images/files/picture ../in/checkpoint/checkpoint.json " + home + "/models/linked", none},
		"outputs":          {"for d in out state work tmp emit; do echo x >../$d/x || exit 1; done; echo x >../progress.jsonl; rm ../out/x; echo x >$TMPDIR/x; echo x >/dev/null; echo x >/dev/shm/x", none},
		"source, and read": {"cat " + root + "/engines/prog " + root + "/models/weights", none},
		"this machine":     {`python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); socket.create_connection(s.getsockname())'`, none},
		"the home":         {"cat " + secret, sees},
		"a model beside":   {"cat " + home + "/models/secret", sees},
		"the store":        {"cat " + other, sees},
		"the study":        {"cat " + prompts, sees},
		"an input":         {"echo x >>../in/images/files/picture", writes},
		"the request":      {"chmod u+w ../request.json", writes},
		"the source":       {"echo x >>" + root + "/engines/prog", writes},
		"a hidden folder":  {"echo x >" + home + "/new", writes},
		"the system":       {"echo x >/etc/ablate-test", writes},
		"a socket":         {`python3 -c 'import socket; socket.create_connection(("192.0.2.1", 80), 5)'`, network},
		"other walls":      {"! umount -l " + home + " && ! mount -o remount,rw / && ! unshare -Urm sh -c 'umount -l " + home + " || mount -o remount,bind,rw /etc'", none},
		"another process":  {"! ls /proc/" + "$PPID" + "/root" + home + "/secret", none},
	}
	interpreters := []string{"sh"}
	if path, err := exec.LookPath("python3"); err == nil {
		interpreters = append(interpreters, path)
	}
	e := &Engine{Name: "test", Root: root, Command: []string{"engines/prog"}, Source: []string{"engines/*"}, Sandbox: Declared,
		Read: append([]string{"models"}, filepath.Dir(filepath.Dir(interpreters[len(interpreters)-1]))), Store: store, Env: map[string]string{}}
	task := scoring(t)
	task.Inputs["images"] = TaskInput{ID: "i", Files: filepath.Dir(input), Rows: task.Inputs["images"].Rows}
	task.Inputs["checkpoint"] = TaskInput{ID: "b", Files: filepath.Dir(base)}
	check := func(t *testing.T, how string, w *Worker, rule string) {
		t.Helper()
		dir := filepath.Join(store, "attempts", strings.ReplaceAll(t.Name()+how, "/", "-"))
		write(filepath.Join(filepath.Dir(dir), "x"), "")
		state := filepath.Join(store, "states", filepath.Base(dir))
		_, err := e.Run(t.Context(), task, dir, Options{Worker: w, State: state})
		if (err == nil) != (rule == none) || err != nil && !strings.Contains(err.Error(), rule) {
			t.Errorf("%s: %v, want the rule %q", how, err, rule)
		}
		if exists(filepath.Join(dir, requestFile)) == false || exists("/etc/ablate-test") || exists(filepath.Join(home, "new")) || exists("/dev/shm/x") {
			t.Errorf("%s: files have changed", how)
		}
	}
	for name, x := range tries {
		t.Run(name, func(t *testing.T) {
			if strings.Contains(x.try, "python3") && len(interpreters) == 1 {
				t.Skip("there is no python3: install it, as in apt-get install python3")
			}
			e.Env["TRY"] = x.try
			check(t, "run", nil, x.rule)
			w, err := e.Serve(0, "", 1)
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			check(t, "first", w, x.rule)
			check(t, "second", w, x.rule)
		})
	}
	t.Run("an earlier task", func(t *testing.T) {
		e.Env["TRY"] = "! cat " + filepath.Join(store, "attempts", strings.ReplaceAll(t.Name()+"first", "/", "-"), "request.json")
		w, err := e.Serve(0, "", 1)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		e.Env["TRY"] = ""
		dir := filepath.Join(store, "attempts", strings.ReplaceAll(t.Name()+"first", "/", "-"))
		if _, err := e.Run(t.Context(), task, dir, Options{Worker: w}); err == nil {
			t.Error("a task does not see its own request")
		}
		check(t, "second", w, none)
	})
	t.Run("a daemon", func(t *testing.T) {
		e.Env["TRY"] = "setsid sleep 3600 & true"
		dir := filepath.Join(store, "daemon")
		a, err := e.Run(t.Context(), task, dir, Options{})
		if err != nil || a.Others != 1 {
			t.Errorf("%+v, %v", a, err)
		}
	})
	t.Run("a load", func(t *testing.T) {
		w, err := e.walls(Load)
		if err != nil || len(w.Hidden) != 1 || w.Network {
			t.Errorf("%+v, %v: hides the store only", w, err)
		}
		with := *e
		with.Network = []string{Load}
		if w, err := with.walls(Load); err != nil || !w.Network || with.Serves(Load) {
			t.Errorf("%+v, %v: has a network", w, err)
		}
	})
}

// TestWallsOfUsers: users other than root have the same walls.
func TestWallsOfUsers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user")
	}
	cmd := anyone(asAnyone(t), "^TestWalls$")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestNoWalls: where walls cannot be built, one message says what to do, before anything runs.
func TestNoWalls(t *testing.T) {
	e := testEngine(t, "good")
	e.Sandbox, e.Source, e.Command = Declared, []string{"*"}, []string{"sh"}
	refused := func(want string) {
		t.Helper()
		if err := e.CheckWalls(); !errors.Is(err, errNoWalls) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		if _, err := e.Describe(t.Context(), ""); !errors.Is(err, errNoWalls) {
			t.Error(err)
		}
	}
	const inside = "ABLATE_TEST_NO_NAMESPACES"
	if os.Getenv(inside) != "" {
		refused("no space left on device") // which the kernel answers above its limit of namespaces
		return
	}
	if err := e.CheckWalls(); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("unshare", "-Ur", "sh", "-c", `echo 0 >/proc/sys/user/max_user_namespaces && exec "$@"`, "sh", self, "-test.run=^TestNoWalls$")
	cmd.Env = append(os.Environ(), inside+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	e.Store = "/etc/hostname"
	refused("not a directory")
}
