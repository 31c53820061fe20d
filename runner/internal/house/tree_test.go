package house

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// tracked returns the files that git tracks, and new files that it does not ignore.
// Without a checkout, as in an archive, it returns all files except results.
func tracked(t *testing.T) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	cmd.Dir = root
	if out, err := cmd.Output(); err == nil {
		return strings.Split(strings.TrimRight(string(out), "\x00"), "\x00")
	}
	var list []string
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".git" || d.Name() == ".ablate"):
			return fs.SkipDir
		case d.IsDir() || d.Name() == "ablate":
			return nil
		}
		rel, err := filepath.Rel(root, p)
		list = append(list, rel)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestTreeIsSmall: the repository stays small enough to be cloned quickly.
func TestTreeIsSmall(t *testing.T) {
	var sum int64
	for _, f := range tracked(t) {
		info, err := os.Lstat(filepath.Join(root, f))
		if err != nil {
			continue // deleted, and not committed yet
		}
		sum += info.Size()
		if info.Size() > 5e6 {
			t.Errorf("%s has %d bytes", f, info.Size())
		}
	}
	if sum > 20e6 {
		t.Errorf("tracked files have %d bytes together, want fewer than 20 MB", sum)
	}
}

// forbidden returns strings that tie a file to one machine, or name a package registry's
// host. (Programs use registries only through their ordinary clients.) The strings are
// concatenated so that this file does not contain them.
func forbidden() []string {
	list := []string{
		"py" + "pi.org", "python" + "hosted.org", "proxy.golang" + ".org", "sum.golang" + ".org",
		"npm" + "js.org", "crates" + ".io", "deb.debian" + ".org",
	}
	for _, dir := range []string{"work", "root", "home", "Users", "tmp"} {
		list = append(list, "/"+dir+"/")
	}
	return list
}

func TestTreeNamesNoMachine(t *testing.T) {
	for _, f := range tracked(t) {
		b, err := os.ReadFile(filepath.Join(root, f))
		if err != nil || bytes.IndexByte(b[:min(len(b), 8000)], 0) >= 0 {
			continue // deleted, a link to a folder, or not text
		}
		n := 0
		for line := range strings.Lines(string(b)) {
			n++
			for _, bad := range forbidden() {
				at := strings.Index(line, bad)
				if at < 0 || bad[0] == '/' && !starts(line, at) {
					continue
				}
				t.Errorf("%s:%d holds %q", f, n, bad)
			}
		}
	}
}

// starts reports whether a path begins at an index of a line, and is not the continuation
// of a longer path or an address.
func starts(line string, at int) bool {
	return at == 0 || strings.IndexByte(" \t\"'`(=:,[{<>", line[at-1]) >= 0
}
