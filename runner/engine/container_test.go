package engine

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// dockerScript stands in for a runtime of containers: what it runs has left its session and its
// environment, so that ablate does not see it, and 'kill' ends it.
const dockerScript = `#!/bin/sh
pids=$(dirname "$0")/pids
mkdir -p "$pids"
case $1 in
run)
	name=$ABLATE_ATTEMPT image=$2; shift 2
	env -i setsid sh -c 'echo $$ >"$1"; shift; exec "$@"' sh "$pids/$name" env "ABLATE_ENGINE_TEST=$HOW" "$@" &
	wait ;;
kill) kill -9 -"$(cat "$pids/$2")" ;;
esac
`

const someImage = "registry.example/engine@sha256:0123456789012345678901234567890123456789012345678901234567890123"

// TestContainer: the digest of a container identifies the program in it, and kill ends it. A kill that
// hangs or that is not there is an error, which says that something goes on.
func TestContainer(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	e := testEngine(t, "")
	docker := filepath.Join(e.Root, "docker")
	if err := os.WriteFile(docker, []byte(dockerScript), 0o777); err != nil {
		t.Fatal(err)
	}
	e.Image, e.Command, e.Kill, e.Env = someImage, []string{docker, "run", "{container}", self}, []string{docker, "kill", "{action}"}, map[string]string{"HOW": "good"}
	if got := e.argv(0)[2]; got != someImage {
		t.Errorf("the command names the container %q", got)
	}
	if d, err := e.SourceDigest(t.Context()); d != someImage || err != nil {
		t.Errorf("%s, %v", d, err)
	}
	if d, err := e.Describe(t.Context(), t.TempDir()); err != nil || d.Name != "test" {
		t.Fatalf("%+v, %v", d, err)
	}
	if _, err := e.Run(t.Context(), scoring(t), filepath.Join(t.TempDir(), "1"), Options{}); err != nil {
		t.Error(err)
	}

	run := func() error {
		task := scoring(t)
		task.Silence = 300 * time.Millisecond
		_, err := e.Run(t.Context(), task, filepath.Join(t.TempDir(), "1"), Options{})
		return err
	}
	running := func() (pids []int) {
		files, err := filepath.Glob(filepath.Join(e.Root, "pids", "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
			if err != nil {
				t.Fatal(err)
			}
			if syscall.Kill(-pid, 0) == nil {
				pids = append(pids, pid)
			}
		}
		return pids
	}
	e.Env["HOW"] = "ignores stop"
	if err := run(); err == nil || !strings.Contains(err.Error(), "it wrote no progress and no output") {
		t.Error(err)
	}
	time.Sleep(50 * time.Millisecond)
	if left := running(); left != nil {
		t.Errorf("%v are left in the container", left)
	}
	e.Kill = []string{"no-such-docker", "{action}"}
	if err := run(); err == nil || !strings.Contains(err.Error(), "kill: there is no program no-such-docker, so that what runs in the container goes on") {
		t.Error(err)
	}
	left := running()
	if len(left) != 1 {
		t.Errorf("%v are left in the container", left)
	}
	for _, pid := range left {
		if err := syscall.Kill(-pid, syscall.SIGKILL); err != nil {
			t.Error(err)
		}
	}
}

// TestStuck: waiting has an end, with an error that names what does not end.
func TestStuck(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits for 10 s twice")
	}
	t.Parallel()
	t.Run("kill", func(t *testing.T) {
		t.Parallel()
		e := testEngine(t, "good")
		e.Kill = []string{"sh", "-c", "sleep 3600 & sleep 3600"}
		start := time.Now()
		_, err := e.Run(t.Context(), scoring(t), filepath.Join(t.TempDir(), "1"), Options{})
		if err == nil || !strings.Contains(err.Error(), "kill: sh -c sleep 3600 & sleep 3600 took longer than 10s") || time.Since(start) > 40*time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
	})
	// A process that has become another user cannot be killed.
	t.Run("process", func(t *testing.T) {
		t.Parallel()
		const inside = "ABLATE_TEST_STUCK"
		if os.Getenv(inside) != "" {
			p, err := testEngine(t, "becomes root").start(command{argv: []string{os.Getenv(inside), "run", "."}, env: []string{"ABLATE_ENGINE_TEST=becomes root"}, log: newLog(nil)})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			if _, err := p.end(newMark(), 0); err == nil || !strings.Contains(err.Error(), "(rooted), state S (sleeping) has had SIGKILL for 10s and does not end") {
				t.Error(err)
			}
			return
		}
		if os.Geteuid() != 0 {
			t.Skip("only root can become another user")
		}
		name, other := asAnyone(t), asAnyone(t)
		rooted := filepath.Join(filepath.Dir(name), "rooted")
		if err := errors.Join(os.Rename(other, rooted), os.Chmod(rooted, 0o755|os.ModeSetuid)); err != nil {
			t.Fatal(err)
		}
		out, err := anyone(name, "^TestStuck$/^process$", inside+"="+rooted).CombinedOutput()
		if err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
}

// asAnyone returns a copy of this program that other users can run.
func asAnyone(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(self)
	dir := t.TempDir()
	name := filepath.Join(dir, "engine.test")
	if err := errors.Join(err, os.WriteFile(name, data, 0o755), os.Chmod(dir, 0o777), os.Chmod(filepath.Dir(dir), 0o755)); err != nil {
		t.Fatal(err)
	}
	return name
}

// anyone returns a command that runs tests as a user without rights.
func anyone(name, tests string, env ...string) *exec.Cmd {
	cmd := exec.Command(name, "-test.run="+tests)
	cmd.Dir = "/"
	cmd.Env = append(env, "PATH=/usr/local/bin:/usr/bin:/bin", "TMPDIR="+filepath.Dir(name))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	return cmd
}

// TestSpecIsSecret: others cannot read the environment that machine.cue gives an engine.
func TestSpecIsSecret(t *testing.T) {
	dir := t.TempDir()
	d, err := ParseDescription([]byte(described))
	if err != nil {
		t.Fatal(err)
	}
	s := &Spec{Engine: *testEngine(t, "good"), Description: d}
	if err := s.Save(dir); err != nil {
		t.Fatal(err)
	}
	id, err := s.ID()
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(dir, id+".json")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if got, err := ReadSpec(dir, id); err != nil || got.Engine.Env["ABLATE_ENGINE_TEST"] != "good" {
		t.Errorf("%+v, %v", got, err)
	}
}
