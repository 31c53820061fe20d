package hub

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFind: a folder, and models of a cache by branch, tag and commit.
func TestFind(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HF_HUB_CACHE", "")
	t.Setenv("HF_HOME", home)
	model := filepath.Join(home, "hub", "models--org--sd-1.5")
	if err := errors.Join(os.MkdirAll(filepath.Join(model, "snapshots", "abc1"), 0o777), os.MkdirAll(filepath.Join(model, "snapshots", "abc2"), 0o777),
		os.MkdirAll(filepath.Join(model, "refs", "pr"), 0o777), os.WriteFile(filepath.Join(model, "refs", "main"), []byte("abc1\n"), 0o666),
		os.WriteFile(filepath.Join(model, "refs", "pr", "1"), []byte("abc2"), 0o666), os.WriteFile(filepath.Join(model, "refs", "bad"), []byte("../.."), 0o666)); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{home: home, "org/sd-1.5": "abc1", "org/sd-1.5@main": "abc1", "org/sd-1.5@pr/1": "abc2", "org/sd-1.5@abc2": "abc2"} {
		if want != home {
			want = filepath.Join(model, "snapshots", want)
		}
		if dir, err := Find(name); err != nil || dir != want {
			t.Errorf("%s: %s, %v; want %s", name, dir, err, want)
		}
	}
	file := filepath.Join(home, "model.safetensors")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"org/other":          "has no model org/other: fetch it once where there is a network, as with 'ablate download org/other@main'",
		"org/sd-1.5@v2":      "has no revision v2 of it",
		"org/sd-1.5@bad":     "has no revision bad of it",
		"org/sd-1.5@x/../..": "has no revision",
		"./nothing/here":     "there is no folder ./nothing/here",
		file:                 "is a file: a checkpoint is a folder",
	} {
		if dir, err := Find(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %s, %v; want %q", name, dir, err, want)
		}
	}
	t.Setenv("HF_HUB_CACHE", filepath.Join(home, "elsewhere"))
	if _, err := Find("org/sd-1.5"); err == nil || !strings.Contains(err.Error(), "elsewhere") {
		t.Errorf("another cache: %v", err)
	}
}
