//go:build unix

package page_test

import (
	"io/fs"
	"path/filepath"
	"syscall"
	"testing"

	"ablate/reports/page"
)

// TestModes: the files of a report are as readable as the user's umask has it.
func TestModes(t *testing.T) {
	old := syscall.Umask(0o027)
	defer syscall.Umask(old)
	dir, _ := write(t)
	figures := filepath.Join(t.TempDir(), "figures")
	if _, err := page.Figures(figures, report()); err != nil {
		t.Fatal(err)
	}
	for _, root := range []string{dir, figures} {
		err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := e.Info()
			want := fs.FileMode(0o640)
			if e.IsDir() {
				want = 0o750
			}
			if err == nil && info.Mode().Perm() != want {
				t.Errorf("%s has mode %o, want %o", path, info.Mode().Perm(), want)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
