package page

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// TestReplaceFolder: many processes may write one folder at the same time. None fails,
// and readers always see one complete version.
func TestReplaceFolder(t *testing.T) {
	for name, swap := range map[string]func(a, b string) error{"at once": exchange, "slowly": exchangeSlowly} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "report")
			var group sync.WaitGroup
			for w := range 8 {
				group.Go(func() {
					for i := range 20 {
						err := replaceFolderBy(swap, dir, func(fresh string) error {
							for _, f := range []string{"a", "b", "c"} {
								if err := os.WriteFile(filepath.Join(fresh, f), fmt.Append(nil, w, i), 0o666); err != nil {
									return err
								}
							}
							return nil
						})
						if err != nil {
							t.Errorf("writer %d: %v", w, err)
						}
					}
				})
			}
			group.Wait()
			var seen []string
			for _, f := range []string{"a", "b", "c"} {
				b, err := os.ReadFile(filepath.Join(dir, f))
				if err != nil {
					t.Fatal(err)
				}
				seen = append(seen, string(b))
			}
			if seen[0] != seen[1] || seen[1] != seen[2] {
				t.Errorf("a mixture of versions: %q", seen)
			}
			if left, _ := os.ReadDir(filepath.Dir(dir)); len(left) != 1 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// TestReplaceFolderFails: a writer that fails leaves the old folder, and no other files.
func TestReplaceFolderFails(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "report")
	if err := replaceFolder(dir, func(fresh string) error {
		return os.WriteFile(filepath.Join(fresh, "index.html"), []byte("old"), 0o666)
	}); err != nil {
		t.Fatal(err)
	}
	no := errors.New("no")
	if err := replaceFolder(dir, func(string) error { return no }); !errors.Is(err, no) {
		t.Errorf("got %v", err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "index.html")); err != nil || string(b) != "old" {
		t.Errorf("got %q, %v", b, err)
	}
	if left, _ := os.ReadDir(filepath.Dir(dir)); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

// TestReplaceLink: a link in the place of the report is replaced. Its target may belong
// to somebody else, and keeps all files.
func TestReplaceLink(t *testing.T) {
	victim := t.TempDir()
	for _, f := range []string{"images/mine.png", "index.html"} {
		path := filepath.Join(victim, f)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, []byte("mine"), 0o666)); err != nil {
			t.Fatal(err)
		}
	}
	dir := filepath.Join(t.TempDir(), "report")
	if err := os.Symlink(victim, dir); err != nil {
		t.Fatal(err)
	}
	if err := replaceFolder(dir, func(fresh string) error {
		return os.WriteFile(filepath.Join(fresh, "index.html"), []byte("report"), 0o666)
	}); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"images/mine.png", "index.html"} {
		if b, err := os.ReadFile(filepath.Join(victim, f)); err != nil || string(b) != "mine" {
			t.Errorf("%s: %q, %v", f, b, err)
		}
	}
	if b, err := os.ReadFile(filepath.Join(dir, "index.html")); err != nil || string(b) != "report" {
		t.Errorf("got %q, %v", b, err)
	}
}

// TestLeftovers: writing a report removes the files of a writer that was killed.
func TestLeftovers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "report")
	left := filepath.Join(filepath.Dir(dir), ".report-KILLED")
	then := time.Now().Add(-25 * time.Hour)
	if err := errors.Join(os.MkdirAll(filepath.Join(left, "images"), 0o777), os.Chtimes(left, then, then)); err != nil {
		t.Fatal(err)
	}
	if err := replaceFolder(dir, func(string) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is there still: %v", err)
	}
}
