package leftover_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"ablate/analysis/leftover"
)

// TestSweep checks that old files with the prefix are removed, and neither recent ones nor
// those with another name.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	for name, age := range map[string]time.Duration{".x-killed": 25 * time.Hour, ".x-busy": time.Hour, ".y": 25 * time.Hour, "x": 25 * time.Hour} {
		if err := os.MkdirAll(filepath.Join(dir, name, "images"), 0o777); err != nil {
			t.Fatal(err)
		}
		then := time.Now().Add(-age)
		if err := os.Chtimes(filepath.Join(dir, name), then, then); err != nil {
			t.Fatal(err)
		}
	}
	if err := leftover.Sweep(dir, ".x-"); err != nil {
		t.Fatal(err)
	}
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, e := range list {
		left = append(left, e.Name())
	}
	if want := []string{".x-busy", ".y", "x"}; !slices.Equal(left, want) {
		t.Errorf("left are %q, want %q", left, want)
	}
}
