// Package hubtest serves folders as the Hugging Face hub serves models, for tests.
package hubtest

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A Hub is a handler with models.
type Hub struct {
	models map[string]*model // by ORG/NAME
}

type model struct {
	commit string
	files  map[string]file
}

type file struct {
	data   []byte
	digest string
	large  bool // as those are that git does not keep
}

// Add adds a folder as the model ORG/NAME at the revision main, and returns the commit.
func (h *Hub) Add(name, dir string) (commit string, err error) {
	m := &model{files: map[string]file{}}
	sum := sha1.New()
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		f := file{data: data, large: filepath.Ext(path) == ".safetensors"}
		if digest := sha256.Sum256(data); f.large {
			f.digest = hex.EncodeToString(digest[:])
		} else {
			digest := sha1.Sum(append(fmt.Appendf(nil, "blob %d\x00", len(data)), data...))
			f.digest = hex.EncodeToString(digest[:])
		}
		m.files[filepath.ToSlash(rel)] = f
		fmt.Fprintf(sum, "%s %s\n", f.digest, rel)
		return nil
	})
	m.commit = hex.EncodeToString(sum.Sum(nil))
	if h.models == nil {
		h.models = map[string]*model{}
	}
	h.models[name] = m
	return m.commit, err
}

// ServeHTTP answers the requests for a list of files and for a file that huggingface_hub makes, ranges and HEAD among
// them.
func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	missing := func(code string) {
		w.Header().Set("X-Error-Code", code)
		http.Error(w, "{}", http.StatusNotFound)
	}
	if rest, ok := strings.CutPrefix(r.URL.Path, "/api/models/"); ok {
		name, revision, _ := strings.Cut(rest, "/revision/")
		tree := false // huggingface_hub also asks for the files as a tree
		if revision == "" {
			name, revision, tree = strings.Cut(rest, "/tree/")
		}
		m := h.models[name]
		if m == nil {
			missing("RepoNotFound")
			return
		}
		if revision != "main" && revision != m.commit {
			missing("RevisionNotFound")
			return
		}
		var list []map[string]any
		for name, f := range m.files {
			x := map[string]any{"rfilename": name, "size": len(f.data), "blobId": f.digest}
			if tree {
				x = map[string]any{"type": "file", "path": name, "size": len(f.data), "oid": f.digest}
			}
			if f.large && tree {
				x["oid"], x["lfs"] = strings.Repeat("0", 40), map[string]any{"oid": f.digest, "size": len(f.data), "pointerSize": 135}
			} else if f.large {
				x["blobId"], x["lfs"] = strings.Repeat("0", 40), map[string]any{"sha256": f.digest, "size": len(f.data), "pointerSize": 135}
			}
			list = append(list, x)
		}
		w.Header().Set("Content-Type", "application/json")
		if tree {
			_ = json.NewEncoder(w).Encode(list)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"id": name, "modelId": name, "sha": m.commit, "siblings": list, "tags": []string{}})
		return
	}
	name, path, ok := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/resolve/")
	revision, path, _ := strings.Cut(path, "/")
	m := h.models[name]
	if !ok || m == nil || revision != "main" && revision != m.commit {
		missing("RepoNotFound")
		return
	}
	f, ok := m.files[path]
	if !ok {
		missing("EntryNotFound")
		return
	}
	w.Header().Set("X-Repo-Commit", m.commit)
	w.Header().Set("ETag", fmt.Sprintf("%q", f.digest))
	if f.large {
		w.Header().Set("X-Linked-ETag", fmt.Sprintf("%q", f.digest))
		w.Header().Set("X-Linked-Size", fmt.Sprint(len(f.data)))
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.data))
}
