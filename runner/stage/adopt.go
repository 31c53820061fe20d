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

// Adopt is the stage that copies the denoiser, and the embedder if there is one, from a
// checkpoint folder.
const Adopt Kind = "adopt"

var adoptDef = define(runAdopt, Def{
	Kind: Adopt, Revision: 1,
	Files: slices.Concat(required(modelFiles...), optional(required(embedderFiles...)...)),
})

// AdoptParams name a checkpoint folder. The digest of its content is in the key of the
// action, and its path is not.
type AdoptParams struct {
	Path   string `json:"path" key:"-"`
	Digest string `json:"digest" key:"checkpoint"` // result of DigestCheckpoint when the graph of the study was made
}

func (AdoptParams) memory() float64 { return 0 }

func (AdoptParams) cost() float64 { return 1 }

// CheckpointFiles returns the files of a checkpoint folder that this version reads,
// relative to the folder. The files of the embedder are only needed if a reward uses it.
func CheckpointFiles() (required, embedder []string) {
	return slices.Clone(modelFiles), slices.Clone(embedderFiles)
}

// Limits of a checkpoint folder, far beyond any model of the shapes world. They limit how
// much a command reads from files of unknown origin.
const (
	maxConfig     = 1 << 20 // bytes of a JSON file
	maxParameters = 1 << 28 // parameters of a component: a gigabyte of float32
)

// A component is a file of weights and the parameters that it must have.
type component struct {
	file   string // relative to the checkpoint folder
	params []nn.Param
}

// checkLayout checks a checkpoint folder without reading weights: that it has the
// required files, that none of them is a link out of the folder, a pipe or a device, and
// that configurations and shapes of tensors fit together. Code that reads the folder
// afterwards reads no more bytes than these shapes need. It returns the relevant files
// and the components among them.
func checkLayout(dir string) (files []string, parts []component, err error) {
	files, optional := CheckpointFiles()
	root, err := filepath.EvalSymlinks(dir)
	if err != nil && !os.IsNotExist(err) {
		return nil, nil, fmt.Errorf("%w: give a checkpoint folder that 'ablate export' wrote", err)
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

// checkFile checks one file of a checkpoint folder without opening it. root is the path
// of the folder with links resolved.
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

// DigestCheckpoint returns the SHA-256 of the relevant files of a checkpoint folder.
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

// copyFile copies the bytes that a file has when it is opened. It stops when ctx ends.
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

// CheckCheckpoint checks a checkpoint folder for a trial that adopts it, and returns its
// relevant files. The error names a file that is missing, belongs to another kind of
// model, has values that are not finite, or does not fit the others. embedder says that
// the folder must have an embedder.
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

// runAdopt copies a checkpoint folder. The copy must have the digest that the folder had
// when the graph of the study was made. Otherwise a folder that is still being written
// would be stored under the digest of other bytes.
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
	// This checks the copy, which nobody changes.
	if _, err := CheckCheckpoint(ctx, t.Out, false); err != nil {
		return fail(err)
	}
	return nil
}
