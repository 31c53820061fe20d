package tokenizer

import (
	"path/filepath"

	"github.com/google/renameio/v2"

	"ablate/models/checkpoint"
)

// WriteBytes writes the files of a tokenizer without merges, whose tokens are the 256 bytes, within
// a word and at its end, and the two special ones: for tiny models of random weights. It returns
// the number of tokens.
func WriteBytes(dir string, length int) (int, error) {
	vocab := map[string]int{}
	for _, end := range []string{"", wordEnd} {
		for b := range 256 {
			vocab[string(printable(byte(b)))+end] = len(vocab)
		}
	}
	vocab[begin], vocab[end] = len(vocab), len(vocab)+1
	config := map[string]any{"tokenizer_class": "CLIPTokenizer", "model_max_length": length, "bos_token": begin, "eos_token": end, "pad_token": end, "unk_token": end}
	if err := checkpoint.WriteJSON(filepath.Join(dir, vocabFile), vocab); err != nil {
		return 0, err
	}
	if err := checkpoint.WriteJSON(filepath.Join(dir, configFile), config); err != nil {
		return 0, err
	}
	return len(vocab), renameio.WriteFile(filepath.Join(dir, mergesFile), []byte("#version: 0.2\n"), 0o666)
}
