package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// A Spec is an engine with its description, as a run hands it to the processes that compute
// its tasks.
type Spec struct {
	Engine      Engine       `json:"engine"`
	Description *Description `json:"description"`
}

const mostSpec = 4 << 20 // bytes

// ID returns the name of the spec, a digest of its content.
func (s *Spec) ID() (string, error) {
	_, id, err := s.encode()
	return id, err
}

func (s *Spec) encode() (data []byte, id string, err error) {
	data, err = json.MarshalIndent(s, "", " ")
	sum := sha256.Sum256(data)
	return data, hex.EncodeToString(sum[:16]), err
}

// Save writes the spec into a folder, if it is not there.
func (s *Spec) Save(dir string) error {
	data, id, err := s.encode()
	if err != nil {
		return err
	}
	name := filepath.Join(dir, id+".json")
	if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return writeWhole(name, data, 0o600) // the environment of machine.cue may have secrets
}

// writeWhole writes a file beside its place and renames it, and makes its folder if needed.
func writeWhole(name string, data []byte, mode fs.FileMode) error {
	dir := filepath.Dir(name)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	return renameio.WriteFile(name, data, mode, renameio.WithTempDir(dir))
}

// ReadSpec reads the spec of an id.
func ReadSpec(dir, id string) (*Spec, error) {
	if !nameable(id) {
		return nil, fmt.Errorf("%q is not the id of an engine", id)
	}
	data, err := readSmall(filepath.Join(dir, id+".json"), mostSpec)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the store has no engine %s: run the study again, which writes it", id)
	} else if err != nil {
		return nil, err
	}
	s := &Spec{}
	if err := json.Unmarshal(data, s); err != nil {
		return nil, fmt.Errorf("engine %s: %w", id, err)
	}
	if s.Description == nil {
		return nil, fmt.Errorf("engine %s: it has no description", id)
	}
	return s, s.Description.check()
}
