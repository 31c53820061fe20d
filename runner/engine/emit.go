package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"ablate/models/checkpoint"
)

// noiseOf returns digests of the noise that a task emitted, by seed.
func noiseOf(dir string) (map[int64]string, error) {
	var rows []Row
	err := lines(filepath.Join(dir, inFolder, PromptsRole, rowsFile), func(_ int, line []byte) error {
		var r Row
		err := json.Unmarshal(line, &r)
		rows = append(rows, r)
		return err
	})
	if err != nil {
		return nil, err
	}
	tensors, err := checkpoint.ReadFile(filepath.Join(dir, emitFolder, "noise.safetensors"))
	if err != nil {
		return nil, fmt.Errorf("emit/noise.safetensors: %w", err)
	}
	x, ok := tensors["noise"]
	if !ok || x.DType != "F32" || len(x.Shape) < 2 || x.Shape[0] != len(rows) {
		return nil, fmt.Errorf("emit/noise.safetensors has no tensor \"noise\", float32[%d, …]", len(rows))
	}
	out := map[int64]string{}
	n := len(x.Data) / len(rows)
	for i, r := range rows {
		sum := sha256.Sum256(x.Data[i*n : (i+1)*n])
		out[r.Seed] = hex.EncodeToString(sum[:])
	}
	return out, nil
}

// emittedImages returns the digests of the images emit/samples/INDEX.png, by index.
func emittedImages(dir string) (map[int]string, error) {
	names, err := filepath.Glob(filepath.Join(dir, emitFolder, "samples", "*.png"))
	if err != nil {
		return nil, err
	}
	out := map[int]string{}
	for _, name := range names {
		index, err := strconv.Atoi(strings.TrimSuffix(filepath.Base(name), ".png"))
		if err != nil {
			return nil, fmt.Errorf("emit/samples/%s is not named by the index of its row", filepath.Base(name))
		}
		if out[index], _, err = digestOf(name); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// drawPicture writes a small picture that depends on a number.
func drawPicture(name string, n int) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		return err
	}
	img := image.NewNRGBA(image.Rect(0, 0, 64, 64))
	for y := range 64 {
		for x := range 64 {
			img.SetNRGBA(x, y, color.NRGBA{uint8(x*4 ^ n*37), uint8(y*4 + n*71), uint8(x*y + n*13), 255})
		}
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(png.Encode(f, img), f.Close())
}
