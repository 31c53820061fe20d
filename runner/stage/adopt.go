package stage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"ablate/models/checkpoint"
	"ablate/models/nn"
	"ablate/models/pipeline"
)

// Adopt takes the denoiser, and the embedder if it is there, from a checkpoint folder.
const Adopt Kind = "adopt"

var adoptDef = define(runAdopt, Def{
	Kind: Adopt, Revision: 1,
	Files: slices.Concat(required(modelFiles...), optional(required(embedderFiles...)...)),
})

// AdoptParams name a checkpoint folder. What it holds is in the action's key,
// where it lies is not.
type AdoptParams struct {
	Path   string `json:"path" key:"-"`
	Digest string `json:"digest" key:"checkpoint"` // of DigestCheckpoint, when the study was laid out
}

func (AdoptParams) memory() float64 { return 0 }

func (AdoptParams) cost() float64 { return 1 }

// CheckpointFiles are the files of a checkpoint folder that this version
// reads, relative to it; the embedder is optional until a reward needs it.
func CheckpointFiles() (required, embedder []string) {
	return slices.Clone(modelFiles), slices.Clone(embedderFiles)
}

// Limits of a checkpoint folder of somebody else's. They are far beyond any model of
// the shapes world, and bound what a command reads before it knows what it reads.
const (
	maxConfig     = 1 << 20 // bytes of a JSON file
	maxParameters = 1 << 28 // of a component: a gigabyte of float32
)

// A component is a file of weights with the parameters that it must have.
type component struct {
	file   string // relative to the checkpoint folder
	params []nn.Param
}

// checkLayout looks at a checkpoint folder without reading a weight: which files it
// has, that none of them is a link out of it, a pipe or a device, and that
// configurations and the shapes of tensors fit together. So whatever reads or copies
// it afterwards reads as many bytes as its shapes need. It returns the files that
// count and the weights among them.
func checkLayout(dir string) (files []string, parts []component, err error) {
	files, optional := CheckpointFiles()
	root, err := filepath.EvalSymlinks(dir)
	if err != nil && !os.IsNotExist(err) {
		return nil, nil, fmt.Errorf("%w: a checkpoint folder is what 'ablate export' writes", err)
	}
	if _, err := os.Lstat(filepath.Join(dir, filepath.FromSlash(optional[0]))); err == nil {
		files = append(files, optional...)
	}
	for _, f := range files {
		if err := checkFile(dir, root, f); err != nil {
			return nil, nil, err
		}
	}
	c, err := readConfigs(dir)
	if err != nil {
		return nil, nil, err
	}
	net := pipeline.Shapes(c)
	parts = []component{{"transformer/" + denoiserFile, net.Params}, {"text_encoder/" + encoderFile, net.TextParams}}
	if slices.Contains(files, optional[0]) {
		e, err := readEmbedderConfig(dir)
		if err != nil {
			return nil, nil, err
		}
		parts = append(parts, component{optional[1], e.Params()})
	}
	for _, part := range parts {
		path := filepath.Join(dir, filepath.FromSlash(part.file))
		n := 0
		for _, p := range part.params {
			if n += p.Size(); n > maxParameters {
				return nil, nil, fmt.Errorf("%s: the config.json beside it describes more than %d parameters; must be at most that: adopt a smaller model", path, maxParameters)
			}
		}
		f, err := checkWeights(path, part.params)
		if err != nil {
			return nil, nil, err
		}
		if err := f.Close(); err != nil {
			return nil, nil, err
		}
	}
	return files, parts, nil
}

// checkFile looks at one file of a checkpoint folder, of which root is the path
// without links, and opens nothing.
func checkFile(dir, root, name string) error {
	path := filepath.Join(dir, filepath.FromSlash(name))
	real, err := filepath.EvalSymlinks(path)
	if os.IsNotExist(err) {
		required, _ := CheckpointFiles()
		return fmt.Errorf("%s has no %s: a checkpoint folder has %s ('ablate export' writes one)", dir, name, strings.Join(required, ", "))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if rel, err := filepath.Rel(root, real); err != nil || !filepath.IsLocal(rel) {
		return fmt.Errorf("%s is a link that leads out of the folder, to %s: make a copy without links (cp -rL) and name that", path, real)
	}
	info, err := os.Stat(real)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file: put a copy of the file there", path)
	}
	if strings.HasSuffix(name, ".json") && info.Size() > maxConfig {
		return fmt.Errorf("%s has %d bytes; a configuration has at most %d: 'ablate export' writes one", path, info.Size(), maxConfig)
	}
	return nil
}

// DigestCheckpoint names the bytes of a checkpoint folder's files.
func DigestCheckpoint(ctx context.Context, dir string) (string, error) {
	files, _, err := checkLayout(dir)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	for _, name := range files {
		fh := sha256.New()
		if err := copyFile(ctx, fh, filepath.Join(dir, filepath.FromSlash(name))); err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%x %s\n", fh.Sum(nil), name)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// copyFile copies the bytes that a file has when it is opened, until ctx ends.
func copyFile(ctx context.Context, w io.Writer, path string) error {
	f, size, err := checkpoint.OpenRegular(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for r := io.LimitReader(f, size); ; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if _, err := io.CopyN(w, r, 16<<20); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
}

// CheckCheckpoint reads a checkpoint folder as a trial that adopts it would, and
// returns those of its files that count. What is missing, of another kind of
// model, not finite, or does not fit together is an error that names the file.
// embedder says that a reward needs the folder's own.
func CheckCheckpoint(ctx context.Context, dir string, embedder bool) ([]string, error) {
	files, parts, err := checkLayout(dir)
	if err != nil {
		return nil, err
	}
	for _, part := range parts {
		if err := eachWeight(ctx, filepath.Join(dir, filepath.FromSlash(part.file)), part.params, func(nn.Param, []float32) {}); err != nil {
			return nil, err
		}
	}
	if _, optional := CheckpointFiles(); embedder && !slices.Contains(files, optional[0]) {
		return nil, fmt.Errorf("%s has no %s, and the study's reward learns on the embedder of the folder: export it from a trial whose reward learns", dir, optional[0])
	}
	return files, nil
}

// runAdopt copies a checkpoint folder. Its digest was taken when the study was laid
// out, and the copy must have the same: whoever still writes into the folder would
// otherwise have it stored under the name of other bytes.
func runAdopt(ctx context.Context, _ *Env, t Task, p AdoptParams, _ Progress) error {
	fail := func(err error) error { return fmt.Errorf("model.checkpoint.path: %w", err) }
	files, _, err := checkLayout(p.Path)
	if err != nil {
		return fail(err)
	}
	h := sha256.New()
	for _, name := range files {
		to := filepath.Join(t.Out, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil {
			return err
		}
		f, err := os.Create(to)
		if err != nil {
			return err
		}
		fh := sha256.New()
		err = copyFile(ctx, io.MultiWriter(f, fh), filepath.Join(p.Path, filepath.FromSlash(name)))
		if err := errors.Join(err, f.Close()); err != nil {
			return fail(err)
		}
		fmt.Fprintf(h, "%x %s\n", fh.Sum(nil), name)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != p.Digest {
		return fail(fmt.Errorf("%s has changed since this run began (SHA-256 %.12s, now %.12s): is something still writing it? Nothing was kept; run again when it is done", p.Path, p.Digest, got))
	}
	// Of the copy, which nobody changes.
	if _, err := CheckCheckpoint(ctx, t.Out, false); err != nil {
		return fail(err)
	}
	return nil
}
