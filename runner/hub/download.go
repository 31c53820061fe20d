package hub

import (
	"cmp"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"ablate/runner/phrase"
)

// A Server has models: the Hugging Face hub, or a mirror of it.
type Server struct {
	URL   string        // without a slash at its end
	Token string        // of a user, for models that need one; empty: none
	Stall time.Duration // without data, after which a connection is given up
	Pause time.Duration // before the second attempt; each further one waits twice as long
}

// Default returns the server that huggingface_hub would ask: that of $HF_ENDPOINT, with the token of $HF_TOKEN or of
// a login.
func Default() (Server, error) {
	if v := strings.ToUpper(os.Getenv("HF_HUB_OFFLINE")); v == "1" || v == "TRUE" || v == "YES" || v == "ON" {
		return Server{}, errors.New("HF_HUB_OFFLINE is set: unset it to download")
	}
	s := Server{strings.TrimRight(cmp.Or(os.Getenv("HF_ENDPOINT"), "https://huggingface.co"), "/"), os.Getenv("HF_TOKEN"), time.Minute, time.Second}
	if u, err := url.Parse(s.URL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return s, fmt.Errorf("HF_ENDPOINT is %q; must be the address of a server, such as https://HOST", s.URL)
	}
	if s.Token == "" {
		home, err := home()
		if err != nil {
			return s, err
		}
		file := cmp.Or(os.Getenv("HF_TOKEN_PATH"), filepath.Join(home, "token"))
		token, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return s, err
		}
		s.Token = strings.TrimSpace(string(token))
	}
	return s, nil
}

// A Model is a model of a server, at a commit.
type Model struct {
	Name, Revision, Commit string
	Files                  []File // those to download
}

// A File is one of a model.
type File struct {
	Name   string // slash-separated
	Size   int64
	Digest string // SHA-256 of the contents of a large file, and the name that git gives a small one
}

// Size is the number of bytes of all files.
func (m *Model) Size() (n int64) {
	for _, f := range m.Files {
		n += f.Size
	}
	return n
}

const (
	mostList  = 64 << 20 // bytes of a list of files
	mostFiles = 100_000
	attempts  = 6 // in a row without any data
)

// Model asks for a model, ORG/NAME or ORG/NAME@REVISION.
func (s Server) Model(ctx context.Context, name string) (*Model, error) {
	m := hubName.FindStringSubmatch(name)
	if m == nil {
		return nil, fmt.Errorf("%q is not the name of a model: write ORG/NAME or ORG/NAME@REVISION", name)
	}
	model := &Model{Name: m[1], Revision: cmp.Or(m[2], "main")}
	var data []byte
	err := s.again(ctx, func() (moved bool, err error) {
		resp, err := s.get(ctx, s.URL+"/api/models/"+model.Name+"/revision/"+url.PathEscape(model.Revision)+"?blobs=true", 0)
		if err != nil {
			return false, err
		}
		defer resp.Body.Close()
		if data, err = io.ReadAll(io.LimitReader(resp.Body, mostList+1)); len(data) > mostList {
			err = final{fmt.Errorf("its list of files has more than %d bytes", mostList)}
		}
		return false, err
	})
	if err == nil {
		err = model.decode(data)
	}
	if err != nil {
		return nil, fmt.Errorf("model %s: %w", name, err)
	}
	return model, nil
}

var (
	commitHash = regexp.MustCompile(`^[0-9a-f]{40}$`)
	gitName    = commitHash
	contents   = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// decode reads a server's answer, and chooses the files to download.
func (m *Model) decode(data []byte) error {
	var answer struct {
		SHA      string
		Siblings []struct {
			Name   string `json:"rfilename"`
			Size   int64
			BlobID string
			LFS    *struct{ SHA256 string }
		}
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return fmt.Errorf("the server's answer is no list of files: %w", err)
	}
	if m.Commit = answer.SHA; !commitHash.MatchString(m.Commit) {
		return fmt.Errorf("the server's answer names the commit %q", m.Commit)
	}
	if len(answer.Siblings) > mostFiles {
		return fmt.Errorf("it has %d files; at most %d are allowed", len(answer.Siblings), mostFiles)
	}
	files := map[string]File{}
	var names []string
	for _, x := range answer.Siblings {
		f := File{x.Name, x.Size, x.BlobID}
		if x.LFS != nil {
			f.Digest = x.LFS.SHA256
		}
		if !filepath.IsLocal(filepath.FromSlash(f.Name)) || path.Clean(f.Name) != f.Name || strings.ContainsAny(f.Name, "\\\x00") {
			return fmt.Errorf("the server names the file %q, which leads out of the model's folder", f.Name)
		}
		if files[f.Name] = f; f.Size < 0 || !gitName.MatchString(f.Digest) && !contents.MatchString(f.Digest) {
			return fmt.Errorf("the server gives %s %d bytes and the digest %q", f.Name, f.Size, f.Digest)
		}
		names = append(names, f.Name)
	}
	used, err := needed(names)
	for _, name := range used {
		m.Files = append(m.Files, files[name])
	}
	return err
}

// unused are parts of a pipeline that this program does not use.
var unused = []string{"safety_checker", "feature_extractor", "image_encoder"}

// weightsFile are the names of files of weights and of their indices that checkpoint.OpenWeights reads.
var weightsFile = regexp.MustCompile(`^(diffusion_pytorch_model|model)[.-].*(safetensors|index(\.\w+)?\.json)$`)

// variant is the variant of a file of weights, in its name or in that of its index.
var variant = regexp.MustCompile(`\.(non_ema|fp16|bf16|fp32)(\.|-|$)`)

// needed returns which of a model's files this program reads, sorted: configurations, tokenizers, and weights as
// safetensors, in 32 bits where there are such. Of a pipeline these are in the folders of its parts, and otherwise
// beside config.json.
func needed(names []string) (out []string, err error) {
	pipeline := slices.Contains(names, "model_index.json")
	if !pipeline && !slices.Contains(names, "config.json") {
		return nil, errors.New("it has neither model_index.json nor config.json: it is no model in the layout of diffusers or transformers")
	}
	weights, pickles := map[string][]string{}, map[string]string{} // by folder
	for _, name := range names {
		dir, file := path.Split(name)
		dir = strings.TrimSuffix(dir, "/")
		if pipeline && (dir == "" && name != "model_index.json" || slices.Contains(unused, dir)) || !pipeline && dir != "" || strings.Contains(dir, "/") {
			continue
		}
		switch ext := path.Ext(file); {
		case weightsFile.MatchString(file):
			weights[dir] = append(weights[dir], name)
		case ext == ".bin" || ext == ".ckpt" || ext == ".pt" || ext == ".pth":
			pickles[dir] = name
		case (ext == ".json" || ext == ".txt") && !strings.HasSuffix(file, ".index.json"):
			out = append(out, name)
		}
	}
	for dir, list := range weights {
		delete(pickles, dir)
		kind := "none"
		for _, of := range []string{"", "fp16", "bf16"} {
			if kind == "none" && slices.ContainsFunc(list, func(name string) bool { return variantOf(name) == of }) {
				kind = of
			}
		}
		if kind == "none" {
			return nil, fmt.Errorf("%s is of a kind of numbers that is not read here; 32 bits, fp16 and bf16 are", list[0])
		}
		for _, name := range list {
			if variantOf(name) == kind {
				out = append(out, name)
			}
		}
	}
	for _, name := range pickles {
		return nil, fmt.Errorf("%s is a pickle, and no safetensors file is beside it: reading a pickle may run any program; take another revision or model, or convert it where you trust it, by save_pretrained(DIR, safe_serialization=True) in Python", name)
	}
	slices.Sort(out)
	return out, nil
}

func variantOf(name string) string {
	if m := variant.FindStringSubmatch(path.Base(name)); m != nil {
		return m[1]
	}
	return ""
}

// Lacks returns the files that the cache does not have yet.
func (m *Model) Lacks() ([]File, error) {
	cache, err := hubCache()
	if err != nil {
		return nil, err
	}
	var out []File
	for _, f := range m.Files {
		info, err := os.Stat(filepath.Join(cache, folder(m.Name), "blobs", f.Digest))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if err != nil || info.Size() != f.Size {
			out = append(out, f)
		}
	}
	return out, nil
}

// Download puts a model's files into the cache and returns its folder there. A file that was downloaded in part is
// continued, and each is compared with its digest before it has its name. progress, which may be nil, is
// called with the bytes of all files that the cache lacked.
func (s Server) Download(ctx context.Context, m *Model, progress func(done, total int64)) (dir string, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("model %s: %w", m.Name, err)
		}
	}()
	cache, err := hubCache()
	if err != nil {
		return "", err
	}
	lacks, err := m.Lacks()
	if err != nil {
		return "", err
	}
	var done, total int64
	for _, f := range lacks {
		total += f.Size
	}
	base := filepath.Join(cache, folder(m.Name))
	if err := os.MkdirAll(base, 0o777); err != nil {
		return "", err
	}
	var disk unix.Statfs_t
	if err := unix.Statfs(base, &disk); err == nil && int64(disk.Bavail)*disk.Bsize < total {
		return "", fmt.Errorf("it needs %s, and the disk of %s has %s left", phrase.Bytes(total), base, phrase.Bytes(int64(disk.Bavail)*disk.Bsize))
	}
	for _, f := range lacks {
		if err := s.file(ctx, cache, m, f, func(n int64) {
			if progress != nil {
				progress(done+n, total)
			}
		}); err != nil {
			return "", fmt.Errorf("%s: %w", f.Name, err)
		}
		done += f.Size
	}
	dir = filepath.Join(base, "snapshots", m.Commit)
	for _, f := range m.Files {
		if err := link(dir, f); err != nil {
			return "", err
		}
	}
	if m.Revision != m.Commit {
		ref := filepath.Join(base, "refs", filepath.FromSlash(m.Revision))
		if err := os.MkdirAll(filepath.Dir(ref), 0o777); err != nil {
			return "", err
		}
		return dir, os.WriteFile(ref, []byte(m.Commit), 0o666)
	}
	return dir, nil
}

// link gives a file its name in a snapshot.
func link(snapshot string, f File) error {
	name := filepath.Join(snapshot, filepath.FromSlash(f.Name))
	to := filepath.Join(strings.Repeat("../", 2+strings.Count(f.Name, "/")), "blobs", f.Digest)
	if got, err := os.Readlink(name); err == nil && got == to {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		return err
	}
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Symlink(to, name)
}

// file downloads a file. Only one process does at a time, by the lock that huggingface_hub has for it.
func (s Server) file(ctx context.Context, cache string, m *Model, f File, progress func(n int64)) error {
	blob := filepath.Join(cache, folder(m.Name), "blobs", f.Digest)
	lock := filepath.Join(cache, ".locks", folder(m.Name), f.Digest+".lock")
	if err := errors.Join(os.MkdirAll(filepath.Dir(blob), 0o777), os.MkdirAll(filepath.Dir(lock), 0o777)); err != nil {
		return err
	}
	held, err := os.OpenFile(lock, os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		return err
	}
	defer held.Close()
	for unix.Flock(int(held.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		if err := pause(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
	if info, err := os.Stat(blob); err == nil && info.Size() == f.Size {
		progress(f.Size)
		return nil // another process has downloaded it meanwhile
	}
	part, err := os.OpenFile(blob+".incomplete", os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		return err
	}
	defer part.Close()
	h := digest(f)
	have, err := io.Copy(h, part)
	if err != nil {
		return err
	}
	restart := func() error {
		have, h = 0, digest(f)
		_, err := part.Seek(0, io.SeekStart)
		return errors.Join(err, part.Truncate(0))
	}
	if have > f.Size {
		if err := restart(); err != nil {
			return err
		}
	}
	if err := s.again(ctx, func() (moved bool, err error) {
		if have == f.Size {
			return false, nil
		}
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		watch := time.AfterFunc(s.Stall, func() { cancel(fmt.Errorf("no data arrived for %s", s.Stall)) })
		defer watch.Stop()
		resp, err := s.get(ctx, s.URL+"/"+m.Name+"/resolve/"+m.Commit+"/"+(&url.URL{Path: f.Name}).EscapedPath(), have)
		if err != nil {
			return false, because(ctx, err)
		}
		defer resp.Body.Close()
		if have > 0 && resp.StatusCode != http.StatusPartialContent { // the server sends all of it
			if err := restart(); err != nil {
				return false, final{err}
			}
		}
		before := have
		for buffer := make([]byte, 256<<10); have < f.Size; {
			n, err := resp.Body.Read(buffer[:min(int64(len(buffer)), f.Size-have)])
			if n > 0 {
				watch.Reset(s.Stall)
				h.Write(buffer[:n])
				if _, err := part.Write(buffer[:n]); err != nil {
					return false, final{err} // a full disk does not get better by asking again
				}
				have += int64(n)
				progress(have)
			}
			if err != nil && have < f.Size {
				if err == io.EOF {
					err = io.ErrUnexpectedEOF
				}
				return have > before, because(ctx, err)
			}
		}
		return true, nil
	}); err != nil {
		return err
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != f.Digest {
		return errors.Join(fmt.Errorf("what arrived has the digest %s, and the server promised %s: it was discarded; try again", got, f.Digest), os.Remove(part.Name()))
	}
	if err := part.Sync(); err != nil {
		return err
	}
	return os.Rename(part.Name(), blob)
}

// digest returns the hash that gives a file's digest of its contents.
func digest(f File) hash.Hash {
	if contents.MatchString(f.Digest) {
		return sha256.New()
	}
	h := sha1.New()
	fmt.Fprintf(h, "blob %d\x00", f.Size) // as git names a file
	return h
}

// A final error is one that another attempt does not mend.
type final struct{ error }

func (f final) Unwrap() error { return f.error }

// again calls try until it succeeds, its error is final, or it has failed several times in a row without moving on.
func (s Server) again(ctx context.Context, try func() (moved bool, err error)) error {
	for failed := 0; ; {
		moved, err := try()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if failed++; moved {
			failed = 1
		}
		var end final
		if errors.As(err, &end) {
			return end.error
		}
		if failed == attempts {
			return fmt.Errorf("%d attempts failed: %w", attempts, err)
		}
		if err := pause(ctx, s.Pause<<(failed-1)); err != nil {
			return err
		}
	}
}

// because returns why a context ended, or else the error.
func because(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// get asks for a file from a byte on. Other statuses than success are errors.
func (s Server) get(ctx context.Context, address string, from int64) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, final{err}
	}
	req.Header.Set("User-Agent", "ablate")
	req.Header.Set("Accept-Encoding", "identity") // the digest is of the bytes as they are
	if s.Token != "" {
		req.Header.Set("Authorization", "Bearer "+s.Token) // http.Client drops it where another host takes over
	}
	if from > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	switch {
	case resp.StatusCode == http.StatusOK, resp.StatusCode == http.StatusPartialContent && from > 0:
		return resp, nil
	}
	err = fmt.Errorf("the server answered %s", resp.Status)
	if why := resp.Header.Get("X-Error-Message"); why != "" {
		err = fmt.Errorf("%w: %s", err, why)
	}
	resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusUnauthorized, resp.StatusCode == http.StatusForbidden:
		err = final{fmt.Errorf("%w: there is no such model, or it needs a login: accept its terms on its page, and set HF_TOKEN to a token of yours", err)}
	case resp.StatusCode == http.StatusNotFound:
		err = final{fmt.Errorf("%w: there is no such model, revision or file", err)}
	case resp.StatusCode < 500 && resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode != http.StatusRequestTimeout:
		err = final{err}
	}
	return nil, err
}
