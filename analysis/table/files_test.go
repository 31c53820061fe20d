//go:build unix

package table_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"ablate/analysis/table"
)

// TestSpecialFiles checks that special files give an error at once: they are not waited for,
// nor read without end.
func TestSpecialFiles(t *testing.T) {
	dir := t.TempDir()
	pipe, zero, folder := filepath.Join(dir, "pipe"), filepath.Join(dir, "zero"), filepath.Join(dir, "folder")
	if err := errors.Join(syscall.Mkfifo(pipe, 0o666), os.Symlink("/dev/zero", zero), os.Mkdir(folder, 0o777)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, zero, folder} {
		if _, err := table.ReadFile(path); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "regular file") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestWriteFile checks that a table has the permissions of the umask, and that the temporary
// file of a killed writer is removed.
func TestWriteFile(t *testing.T) {
	old := syscall.Umask(0o027)
	defer syscall.Umask(old)
	path := filepath.Join(t.TempDir(), "trials.arrow")
	left := filepath.Join(filepath.Dir(path), ".trials.arrow123")
	then := time.Now().Add(-25 * time.Hour)
	if err := errors.Join(os.WriteFile(left, nil, 0o666), os.Chtimes(left, then, then)); err != nil {
		t.Fatal(err)
	}
	if err := table.WriteFile(path, sample()); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("its mode is %v, %v, want 640", info.Mode(), err)
	}
	if _, err := os.Stat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what a killed writer left is there still: %v", err)
	}
}
