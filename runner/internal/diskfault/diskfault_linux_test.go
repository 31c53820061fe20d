//go:build amd64 || arm64

package diskfault

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// TestMain is the program that is disturbed, if the environment has its folder.
func TestMain(m *testing.M) {
	dir := os.Getenv("ABLATE_TEST_PROGRAM")
	if dir == "" {
		os.Exit(m.Run())
	}
	if err := errors.Join(Enter(), program(dir)); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// program changes files in each way that a store does.
func program(dir string) error {
	name := func(n string) string { return filepath.Join(dir, n) }
	if err := os.WriteFile(filepath.Join(filepath.Dir(dir), "beside"), nil, 0o666); err != nil {
		return err
	}
	f, err := os.OpenFile(name("a"), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o666)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write([]byte("first, ")); err != nil {
		return err
	}
	if _, err := f.Write([]byte("second")); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	for _, step := range []func() error{
		f.Sync,
		func() error { return unix.Syncfs(int(d.Fd())) },
		func() error { return os.Chmod(name("a"), 0o444) },
		func() error { return os.Mkdir(name("d"), 0o777) },
		func() error { return os.Rename(name("a"), name("d/a")) },
		func() error { return os.Link(name("d/a"), name("b")) },
		func() error { return os.Chdir(dir) },
		func() error { return os.Remove("b") },
		func() error { return os.RemoveAll(name("d")) },
		func() error { return exec.Command("touch", name("c")).Run() },
		func() error { _, err := os.ReadFile(name("c")); return err },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// disturbed runs the program, and returns its output and state.
func disturbed(t *testing.T, dir string, decide func(Op) Fault) (string, *os.ProcessState) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), "ABLATE_TEST_PROGRAM="+dir)
	var out bytes.Buffer
	cmd.Stdout = &out
	ended, err := Start(cmd, dir, decide)
	if err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	<-ended
	return out.String(), cmd.ProcessState
}

// TestOperations: the operations below a folder are seen in their order, with the paths, those
// of programs that the program starts among them.
func TestOperations(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "x")
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	var got []string
	out, state := disturbed(t, dir, func(o Op) Fault {
		got = append(got, strings.ReplaceAll(o.String(), dir, "."))
		return Fault{}
	})
	if !state.Success() {
		t.Fatalf("%v: %s", state, out)
	}
	// The tool that is started last sets times in its own way, and RemoveAll may try first.
	want := []string{"1: create ./a", "2: write ./a", "3: write ./a", "4: sync ./a", "5: sync all .", "6: attribute ./a", "7: mkdir ./d",
		"8: rename ./a to ./d/a", "9: link ./d/a to ./b", "10: remove ./b"}
	if d := cmp.Diff(want, got[:min(len(got), len(want))]); d != "" {
		t.Errorf("operations (-want +got):\n%s", d)
	}
	if rest := strings.Join(got[min(len(got), len(want)):], "\n"); !strings.Contains(rest, "remove ./d/a\n") || !strings.Contains(rest, "create ./c") {
		t.Errorf("then:\n%s", rest)
	}
}

// TestFaults: every operation can be made to fail, and then it is not done. A process that is
// killed has done nothing more. The removals after these try in two ways.
func TestFaults(t *testing.T) {
	for number := 1; number <= 9; number++ {
		for _, fault := range []Fault{{Err: syscall.EIO}, {Err: syscall.ENOSPC, Short: true}, {Kill: true}} {
			dir := filepath.Join(t.TempDir(), "x")
			if err := os.Mkdir(dir, 0o777); err != nil {
				t.Fatal(err)
			}
			last := 0
			out, state := disturbed(t, dir, func(o Op) Fault {
				if last = o.Number; last == number {
					return fault
				}
				return Fault{}
			})
			killed := state.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
			if killed != fault.Kill || !killed && !strings.Contains(out, fault.Err.Error()) || last != number {
				t.Errorf("operation %d: %+v: %v after %d: %q", number, fault, state, last, out)
			}
		}
	}
}

// TestShort: of two writes, the second writes half of its bytes.
func TestShort(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "x")
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	var names []string
	out, _ := disturbed(t, dir, func(o Op) Fault {
		names = append(names, o.Name)
		if o.Number == 3 {
			return Fault{Err: syscall.ENOSPC, Short: true}
		}
		return Fault{}
	})
	if data, err := os.ReadFile(filepath.Join(dir, "a")); err != nil || string(data) != "first, sec" {
		t.Errorf("the file has %q, %v", data, err)
	}
	if !strings.Contains(out, "no space left") || !slices.Equal(names, []string{Create, Write, Write}) {
		t.Errorf("%q, %q", names, out)
	}
}

// TestEnter: a process that nobody supervises goes on as ever.
func TestEnter(t *testing.T) {
	if err := Enter(); err != nil {
		t.Error(err)
	}
	t.Setenv(variable, "x")
	if err := Enter(); err == nil {
		t.Error("no error")
	}
}
