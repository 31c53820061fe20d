package stage

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
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
			"model_index.json", "scheduler/scheduler_config.json",
			"transformer/config.json", "transformer/" + denoiserFile,
			"text_encoder/config.json", "text_encoder/" + encoderFile,
		}, []string{
			"embedder/config.json", "embedder/" + encoderFile,
		}
}

// CheckCheckpoint reads a checkpoint folder as a trial that adopts it would, and
// returns those of its files that count. What is missing, of another kind of
// model, or does not fit together is an error that names the file.
func CheckCheckpoint(dir string) ([]string, error) {
	if _, _, err := readModel(dir); err != nil {
		return nil, err
	}
	files, optional := CheckpointFiles()
	if _, err := os.Stat(filepath.Join(dir, optional[0])); err == nil {
		if _, _, err := readEmbedder(dir); err != nil {
			return nil, err
		}
		files = append(files, optional...)
	}
	return files, nil
}

func runAdopt(_ context.Context, _ *Env, t Task, _ Progress) error {
	p, err := params[AdoptParams](t)
	if err != nil {
		return err
	}
	files, err := CheckCheckpoint(p.Path)
	if err != nil {
		return fmt.Errorf("model.checkpoint.path: %w", err)
	}
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(p.Path, f))
		if err != nil {
			return fmt.Errorf("model.checkpoint.path: %w", err)
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(t.Out, f)), 0o777); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(t.Out, f), b, 0o666); err != nil {
			return err
		}
	}
	return nil
}
