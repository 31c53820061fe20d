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

	"ablate/models/nn"
	"ablate/models/pipeline"
)

// AdoptParams name a checkpoint folder. What it holds is in the action's key,
// where it lies is not.
type AdoptParams struct {
	Path   string `json:"path" key:"-"`
	Digest string `json:"digest" key:"checkpoint"` // of DigestCheckpoint, when the study was laid out
}

// CheckpointFiles are the files of a checkpoint folder that this version
// reads, relative to it; the embedder is optional until a reward needs it.
func CheckpointFiles() (required, embedder []string) {
	return []string{
			indexFile, schedulerFile,
			"transformer/config.json", "transformer/" + denoiserFile,
			"text_encoder/config.json", "text_encoder/" + encoderFile,
		}, []string{
			"embedder/config.json", "embedder/" + encoderFile,
		}
}

// checkLayout looks at a checkpoint folder without reading a weight: which files it
// has, that none of them is a link out of it or a device, and that configurations
// and the shapes of tensors fit together. So whatever reads or copies it afterwards
// reads as many bytes as its shapes need. It returns the files that count.
func checkLayout(dir string) ([]string, error) {
	files, optional := CheckpointFiles()
	root, err := filepath.EvalSymlinks(dir)
	if err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("%w: a checkpoint folder is what 'ablate export' writes", err)
	}
	if _, err := os.Lstat(filepath.Join(dir, filepath.FromSlash(optional[0]))); err == nil {
		files = append(files, optional...)
	}
	for _, f := range files {
		path := filepath.Join(dir, filepath.FromSlash(f))
		real, err := filepath.EvalSymlinks(path)
		if os.IsNotExist(err) {
			required, _ := CheckpointFiles()
			return nil, fmt.Errorf("%s has no %s: a checkpoint folder has %s ('ablate export' writes one)", dir, f, strings.Join(required, ", "))
		}
		if err != nil {
			return nil, err
		}
		if rel, err := filepath.Rel(root, real); err != nil || !filepath.IsLocal(rel) {
			return nil, fmt.Errorf("%s is a link that leads out of the folder, to %s: make a copy without links (cp -rL) and name that", path, real)
		}
	}
	c, err := readConfigs(dir)
	if err != nil {
		return nil, err
	}
	net := pipeline.Shapes(c)
	check := func(file string, params []nn.Param) error {
		f, err := checkWeights(filepath.Join(dir, filepath.FromSlash(file)), params)
		if err != nil {
			return err
		}
		return f.Close()
	}
	if err := check("transformer/"+denoiserFile, net.Params); err != nil {
		return nil, err
	}
	if err := check("text_encoder/"+encoderFile, net.TextParams); err != nil {
		return nil, err
	}
	if slices.Contains(files, optional[0]) {
		e, err := readEmbedderConfig(dir)
		if err != nil {
			return nil, err
		}
		if err := check(optional[1], e.Params()); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// DigestCheckpoint names the bytes of a checkpoint folder's files.
func DigestCheckpoint(ctx context.Context, dir string) (string, error) {
	files, err := checkLayout(dir)
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

// copyFile copies a file's bytes until ctx ends.
func copyFile(ctx context.Context, w io.Writer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if _, err := io.CopyN(w, f, 16<<20); errors.Is(err, io.EOF) {
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
func CheckCheckpoint(dir string, embedder bool) ([]string, error) {
	files, err := checkLayout(dir)
	if err != nil {
		return nil, err
	}
	if _, _, err := readModel(dir); err != nil {
		return nil, err
	}
	_, optional := CheckpointFiles()
	if slices.Contains(files, optional[0]) {
		if _, _, err := readEmbedder(dir); err != nil {
			return nil, err
		}
	} else if embedder {
		return nil, fmt.Errorf("%s has no %s, and the study's reward learns on the embedder of the folder: export it from a trial whose reward learns, or give the study an embedder", dir, optional[0])
	}
	return files, nil
}

// runAdopt copies a checkpoint folder. Its digest was taken when the study was laid
// out, and the copy must have the same: whoever still writes into the folder would
// otherwise have it stored under the name of other bytes.
func runAdopt(ctx context.Context, _ *Env, t Task, _ Progress) error {
	p, err := params[AdoptParams](t)
	if err != nil {
		return err
	}
	fail := func(err error) error { return fmt.Errorf("model.checkpoint.path: %w", err) }
	files, err := checkLayout(p.Path)
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
	if _, err := CheckCheckpoint(t.Out, false); err != nil {
		return fail(err)
	}
	return nil
}
