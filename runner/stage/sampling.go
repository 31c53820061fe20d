package stage

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Sampling returns the parameters with which the same sampler draws n other images: with the model
// after a step of its fine-tuning, 0 for the end. It returns false if p are the parameters of a
// stage that draws nothing.
func Sampling(p Params, n, step int) (Params, bool) {
	switch p := p.(type) {
	case DrawParams:
		return DrawParams{Step: step, Sampler: p.Sampler, Images: n, Models: 1}, true
	case EngineSampleParams:
		return EngineSampleParams{Call: p.Call, Loaded: p.Loaded, Step: step, Images: n, Models: 1}, true
	}
	return nil, false
}

// CheckpointSteps returns the steps of the checkpoints that the artifact of a fine-tuning has, for
// [DrawParams] and [EngineSampleParams].
func CheckpointSteps(dir string) ([]int, error) {
	if _, err := os.Lstat(filepath.Join(dir, tunedFile)); err == nil {
		return checkpointSteps(dir)
	}
	steps, err := engineSteps(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // the training kept none
	}
	return steps, err
}
