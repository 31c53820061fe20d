package hub

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ablate/models/modeltest"
	"ablate/runner/hub/hubtest"
)

// A remote is a server of one model, whose answers a test may spoil.
type remote struct {
	hubtest.Hub
	commit string
	spoil  func(w http.ResponseWriter, r *http.Request) bool // whether it has answered
	asked  []string                                          // paths and ranges
}

func (m *remote) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.asked = append(m.asked, strings.TrimSpace(r.URL.Path+" "+r.Header.Get("Range")))
	if m.spoil == nil || !m.spoil(w, r) {
		m.Hub.ServeHTTP(w, r)
	}
}

var weights = func() []byte {
	out := make([]byte, 3<<20)
	for i := range out {
		out[i] = byte(rand.IntN(256))
	}
	return out
}()

// serve serves the model org/sd with an empty cache.
func serve(t *testing.T) (*remote, Server) {
	t.Helper()
	dir := t.TempDir()
	for name, data := range map[string][]byte{
		"model_index.json": []byte(`{"unet": ["diffusers", "UNet2DConditionModel"]}`),
		"README.md":        []byte("a model"),
		"v1.safetensors":   []byte("the whole pipeline in one file"),
		"unet/config.json": []byte(`{}`),
		"unet/diffusion_pytorch_model.safetensors":           weights,
		"unet/diffusion_pytorch_model.fp16.safetensors":      []byte("half"),
		"unet/diffusion_pytorch_model.non_ema.safetensors":   []byte("other"),
		"unet/diffusion_pytorch_model.bin":                   []byte("pickle"),
		"vae/config.json":                                    []byte(`{}`),
		"vae/diffusion_pytorch_model.fp16.safetensors":       []byte("only half"),
		"text_encoder/model.safetensors.index.json":          []byte(`{"weight_map": {}}`),
		"text_encoder/model-00001-of-00002.safetensors":      []byte("a"),
		"text_encoder/model-00002-of-00002.safetensors":      []byte("b"),
		"text_encoder/model.safetensors.index.fp16.json":     []byte(`{}`),
		"text_encoder/model.fp16-00001-of-00001.safetensors": []byte("c"),
		"tokenizer/vocab.json":                               []byte(`{"a": 0}`),
		"tokenizer/merges.txt":                               []byte("#"),
		"scheduler/scheduler_config.json":                    []byte(`{}`),
		"safety_checker/model.safetensors":                   []byte("not used"),
		"safety_checker/config.json":                         []byte(`{}`),
		"scheduler/odd name+%.json":                          []byte(`{"odd": 1}`),
	} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, data, 0o666)); err != nil {
			t.Fatal(err)
		}
	}
	m := &remote{}
	var err error
	if m.commit, err = m.Add("org/sd", dir); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(m)
	t.Cleanup(server.Close)
	t.Setenv("HF_HUB_CACHE", filepath.Join(t.TempDir(), "hub"))
	return m, Server{URL: server.URL, Stall: 5 * time.Second, Pause: time.Millisecond}
}

// get downloads org/sd.
func get(t *testing.T, s Server) (string, error) {
	t.Helper()
	m, err := s.Model(t.Context(), "org/sd")
	if err != nil {
		return "", err
	}
	return s.Download(t.Context(), m, nil)
}

var used = []string{"model_index.json", "scheduler/odd name+%.json", "scheduler/scheduler_config.json", "text_encoder/model-00001-of-00002.safetensors",
	"text_encoder/model-00002-of-00002.safetensors", "text_encoder/model.safetensors.index.json", "tokenizer/merges.txt", "tokenizer/vocab.json",
	"unet/config.json", "unet/diffusion_pytorch_model.safetensors", "vae/config.json", "vae/diffusion_pytorch_model.fp16.safetensors"}

// TestDownload: the files that are used arrive, with their bytes, where Find finds them; a second download asks
// for the list only.
func TestDownload(t *testing.T) {
	m, s := serve(t)
	dir, err := get(t, s)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(dir, path)
			got = append(got, filepath.ToSlash(rel))
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, used) {
		t.Errorf("files %q, want %q", got, used)
	}
	if data, err := os.ReadFile(filepath.Join(dir, "unet", "diffusion_pytorch_model.safetensors")); err != nil || !bytes.Equal(data, weights) {
		t.Errorf("other weights: %v", err)
	}
	for _, name := range []string{"org/sd", "org/sd@main", "org/sd@" + m.commit} {
		if found, err := Find(name); err != nil || found != dir {
			t.Errorf("%s is found at %s, %v; want %s", name, found, err, dir)
		}
	}
	m.asked = nil
	if _, err := get(t, s); err != nil || len(m.asked) != 1 {
		t.Errorf("again: %v, asked for %q", err, m.asked)
	}
}

// TestDownloadGoesOn: connections that break, servers that are busy and servers without ranges cost no correct byte, and a
// process that is stopped leaves what it has to the next.
func TestDownloadGoesOn(t *testing.T) {
	for name, ranges := range map[string]bool{"ranges": true, "no ranges": false} {
		t.Run(name, func(t *testing.T) {
			m, s := serve(t)
			broken := 0
			m.spoil = func(w http.ResponseWriter, r *http.Request) bool {
				if !ranges {
					r.Header.Del("Range")
				}
				if !strings.HasSuffix(r.URL.Path, "/unet/diffusion_pytorch_model.safetensors") {
					return false
				}
				switch broken++; broken {
				case 1:
					http.Error(w, "busy", http.StatusServiceUnavailable)
					return true
				case 2, 3:
					m.Hub.ServeHTTP(&cut{ResponseWriter: w, left: 1 << 20}, r)
					panic(http.ErrAbortHandler)
				}
				return false
			}
			dir, err := get(t, s)
			if err != nil {
				t.Fatal(err)
			}
			if data, err := os.ReadFile(filepath.Join(dir, "unet", "diffusion_pytorch_model.safetensors")); err != nil || !bytes.Equal(data, weights) {
				t.Errorf("other weights: %v", err)
			}
			if went := slices.ContainsFunc(m.asked, func(x string) bool { return strings.HasSuffix(x, "bytes=1048576-") }); !went {
				t.Errorf("it did not ask for the rest: %q", m.asked)
			}
		})
	}
	t.Run("stopped", func(t *testing.T) {
		m, s := serve(t)
		model, err := s.Model(t.Context(), "org/sd")
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancelCause(t.Context())
		enough := errors.New("enough")
		if _, err := s.Download(ctx, model, func(done, _ int64) {
			if done > 1<<20 {
				stop(enough)
			}
		}); !errors.Is(err, enough) {
			t.Fatalf("a stopped download: %v", err)
		}
		if dir, err := Find("org/sd"); err == nil {
			t.Errorf("half a model is found: %s", dir)
		}
		m.asked = nil
		if _, err := get(t, s); err != nil {
			t.Fatal(err)
		}
		if went := slices.ContainsFunc(m.asked, func(x string) bool { return strings.Contains(x, " bytes=") }); !went {
			t.Errorf("it began again: %q", m.asked)
		}
	})
}

// cut sends only so many bytes.
type cut struct {
	http.ResponseWriter
	left int
}

func (c *cut) Write(b []byte) (int, error) {
	n, err := c.ResponseWriter.Write(b[:min(c.left, len(b))])
	if c.left -= n; err == nil && n < len(b) {
		c.ResponseWriter.(http.Flusher).Flush()
		err = errors.New("cut")
	}
	return n, err
}

// TestDownloadRefuses: what is not what the server promised gets no name, and a server cannot write outside the model's
// folder.
func TestDownloadRefuses(t *testing.T) {
	list := func(files string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			fmt.Fprintf(w, `{"sha": "%040d", "siblings": [%s]}`, 1, files)
			return true
		}
	}
	status := func(code int) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool { http.Error(w, "no", code); return true }
	}
	const ok = `"size": 2, "blobId": "0123456789012345678901234567890123456789"`
	for name, c := range map[string]struct {
		spoil func(http.ResponseWriter, *http.Request) bool
		want  string
	}{
		"other bytes": {func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, "vocab.json") {
				fmt.Fprint(w, `{"a": 1}`)
				return true
			}
			return false
		}, "tokenizer/vocab.json: what arrived has the digest"},
		"leads out":    {list(`{"rfilename": "../x.json", ` + ok + `}`), `the file "../x.json", which leads out`},
		"rooted":       {list(`{"rfilename": "/etc/x.json", ` + ok + `}`), "leads out"},
		"through dots": {list(`{"rfilename": "unet/../../x.json", ` + ok + `}`), "leads out"},
		"digest":       {list(`{"rfilename": "config.json", "size": 2, "blobId": "../../x"}`), "the digest"},
		"size":         {list(`{"rfilename": "config.json", "size": -2, "blobId": "0123456789012345678901234567890123456789"}`), "-2 bytes"},
		"pickle":       {list(`{"rfilename": "config.json", ` + ok + `}, {"rfilename": "model.bin", ` + ok + `}`), "model.bin is a pickle"},
		"no model":     {list(`{"rfilename": "data.json", ` + ok + `}`), "neither model_index.json nor config.json"},
		"no commit":    {func(w http.ResponseWriter, r *http.Request) bool { fmt.Fprint(w, `{"sha": "../.."}`); return true }, "the commit"},
		"no list":      {func(w http.ResponseWriter, r *http.Request) bool { fmt.Fprint(w, `<html>`); return true }, "no list of files"},
		"a login":      {status(http.StatusUnauthorized), "set HF_TOKEN"},
		"missing":      {status(http.StatusNotFound), "there is no such model"},
		"down":         {status(http.StatusBadGateway), "6 attempts failed: the server answered 502"},
	} {
		t.Run(name, func(t *testing.T) {
			m, s := serve(t)
			m.spoil = c.spoil
			if _, err := get(t, s); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v; want %q", err, c.want)
			}
			if _, err := Find("org/sd"); err == nil {
				t.Error("the model is found")
			}
		})
	}
}

// TestToken: the token goes to the server, and not to another to which it sends on.
func TestToken(t *testing.T) {
	m, s := serve(t)
	var elsewhere []string
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		elsewhere = append(elsewhere, r.Header.Get("Authorization"))
		m.Hub.ServeHTTP(w, r)
	}))
	defer other.Close()
	away := strings.Replace(other.URL, "127.0.0.1", "localhost", 1) // another host
	bad := 0
	m.spoil = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") != "Bearer secret" {
			bad++
		}
		if strings.HasSuffix(r.URL.Path, ".safetensors") {
			http.Redirect(w, r, away+r.URL.Path, http.StatusFound)
			return true
		}
		return false
	}
	s.Token = "secret"
	if _, err := get(t, s); err != nil {
		t.Fatal(err)
	}
	if bad > 0 || len(elsewhere) == 0 || slices.ContainsFunc(elsewhere, func(x string) bool { return x != "" }) {
		t.Errorf("%d requests without the token; elsewhere the tokens %q", bad, elsewhere)
	}
}

// TestStall: a server that sends nothing is given up.
func TestStall(t *testing.T) {
	m, s := serve(t)
	s.Stall = 50 * time.Millisecond
	m.spoil = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "vocab.json") {
			return false
		}
		<-r.Context().Done()
		return true
	}
	if _, err := get(t, s); err == nil || !strings.Contains(err.Error(), "no data arrived for 50ms") {
		t.Errorf("a silent server: %v", err)
	}
}

// TestHuggingFaceHub: Python's huggingface_hub finds what was downloaded here, and its own download of the same files makes the
// same cache. ABLATE_TEST_TORCH names a Python that has it.
func TestHuggingFaceHub(t *testing.T) {
	python := modeltest.Torch(t)
	m, s := serve(t)
	dir, err := get(t, s)
	if err != nil {
		t.Fatal(err)
	}
	snapshot := func(cache string, local bool) string {
		t.Helper()
		script := `import sys; from huggingface_hub import snapshot_download as d; print(d("org/sd", local_files_only=sys.argv[1] == "1", allow_patterns=sys.argv[2:]))`
		cmd := exec.Command(python, append([]string{"-c", script, map[bool]string{true: "1", false: "0"}[local]}, used...)...)
		cmd.Env = append(os.Environ(), "HF_HUB_CACHE="+cache, "HF_ENDPOINT="+s.URL, "HF_HUB_DISABLE_XET=1", "HF_HOME="+t.TempDir())
		out, err := cmd.Output()
		if err != nil {
			if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
				t.Fatalf("%v\n%s", err, exit.Stderr)
			}
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	ours := os.Getenv("HF_HUB_CACHE")
	if got := snapshot(ours, true); got != dir {
		t.Errorf("huggingface_hub finds %s, want %s", got, dir)
	}
	theirs := filepath.Join(t.TempDir(), "hub")
	snapshot(theirs, false)
	tree := func(root string) (out []string) {
		if err := filepath.WalkDir(filepath.Join(root, "models--org--sd"), func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() && d.Name() == "trees" {
				return fs.SkipDir // a list that huggingface_hub keeps for itself
			}
			if err != nil || d.IsDir() {
				return err
			}
			rel, _ := filepath.Rel(root, path)
			to, _ := os.Readlink(path)
			data, err := os.ReadFile(path)
			out = append(out, fmt.Sprintf("%s -> %s, %d bytes", rel, to, len(data)))
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return out
	}
	if a, b := tree(ours), tree(theirs); !slices.Equal(a, b) {
		t.Errorf("caches differ\nours:\n%s\nhuggingface_hub's:\n%s", strings.Join(a, "\n"), strings.Join(b, "\n"))
	}
	m.asked = nil
	t.Setenv("HF_HUB_CACHE", theirs)
	if found, err := Find("org/sd"); err != nil || filepath.Base(found) != m.commit {
		t.Errorf("what huggingface_hub has downloaded is found at %s, %v", found, err)
	}
	if _, err := get(t, s); err != nil || len(m.asked) != 1 {
		t.Errorf("what huggingface_hub has downloaded was downloaded again: %v, %q", err, m.asked)
	}
}
