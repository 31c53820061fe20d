// Package hub finds models in the cache of the Hugging Face hub on this machine, and downloads them into it.
// Python's huggingface_hub has the same cache: either finds what the other has downloaded.
package hub

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Find returns the folder of a checkpoint: name is a folder, or ORG/NAME or ORG/NAME@REVISION of
// the Hugging Face hub, whose cache on this machine may have it. A revision is a branch, a tag or
// the hash of a commit, and main where there is none. Nothing is downloaded. The folder of a model
// of the cache is that of a commit, so that it names the same files for ever.
//
// The cache is that of huggingface_hub: $HF_HUB_CACHE, or hub in $HF_HOME, or in
// ~/.cache/huggingface. The layout is models--ORG--NAME with refs/REVISION, a file with a hash, and
// snapshots/HASH.
func Find(name string) (string, error) {
	info, err := os.Stat(name)
	if err == nil && info.IsDir() {
		return name, nil
	}
	if err == nil {
		return "", fmt.Errorf("%s is a file: a checkpoint is a folder in the layout of diffusers, with model_index.json; a single file is converted by diffusers' StableDiffusionPipeline.from_single_file(FILE).save_pretrained(DIR)", name)
	}
	m := hubName.FindStringSubmatch(name)
	if m == nil {
		return "", fmt.Errorf("there is no folder %s", name)
	}
	cache, err := hubCache()
	if err != nil {
		return "", err
	}
	model, revision := m[1], cmp.Or(m[2], "main")
	missing := func(what string) (string, error) {
		return "", fmt.Errorf("there is no folder %s, and the cache %s has %s: fetch it once where there is a network, as with 'ablate download %s@%s'", name, cache, what, model, revision)
	}
	dir := filepath.Join(cache, folder(model))
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return missing("no model " + model)
	}
	hash := revision
	if !filepath.IsLocal(revision) {
		return missing("no revision " + revision + " of it")
	}
	if ref, err := os.ReadFile(filepath.Join(dir, "refs", revision)); err == nil {
		hash = strings.TrimSpace(string(ref))
	}
	snapshot := filepath.Join(dir, "snapshots", hash)
	if info, err := os.Stat(snapshot); !filepath.IsLocal(hash) || err != nil || !info.IsDir() {
		return missing("no revision " + revision + " of it")
	}
	return snapshot, nil
}

// folder is the name of a model's folder in the cache.
func folder(model string) string { return "models--" + strings.ReplaceAll(model, "/", "--") }

// hubName is a name of the hub, with or without a revision.
var hubName = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*)(?:@([A-Za-z0-9][A-Za-z0-9._/-]*))?$`)

// hubCache returns the folder of the cache.
func hubCache() (string, error) {
	if dir := os.Getenv("HF_HUB_CACHE"); dir != "" {
		return dir, nil
	}
	dir, err := home()
	return filepath.Join(dir, "hub"), err
}

// home returns the folder of what the hub's programs keep.
func home() (string, error) {
	if dir := os.Getenv("HF_HOME"); dir != "" {
		return dir, nil
	}
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", err
		}
		cache = filepath.Join(home, ".cache")
	}
	return filepath.Join(cache, "huggingface"), nil
}
