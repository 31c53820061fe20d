package checkpoint

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
)

// WriteComponent writes a component's folder: config.json, and the weights in a file
// with diffusers' name (diffusion_pytorch_model.safetensors for a
// denoiser, model.safetensors for an encoder).
func WriteComponent(dir, file string, config any, weights map[string]Tensor) error {
	if err := WriteJSON(filepath.Join(dir, "config.json"), config); err != nil {
		return err
	}
	return WriteFile(filepath.Join(dir, file), weights)
}

// WriteJSON writes v as indented JSON, atomically.
func WriteJSON(path string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return replace(path, func(w io.Writer) error {
		_, err := w.Write(append(b, '\n'))
		return err
	})
}

// ReadJSON reads a JSON file into v. A field that v does not have is an error
// only where strict is true.
func ReadJSON(path string, v any, strict bool) error {
	b, err := readRegular(path)
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	if strict {
		d.DisallowUnknownFields()
	}
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("%s: unexpected data after the JSON value", path)
	}
	return nil
}
