package tokenizer_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"ablate/models/reference"
	"ablate/models/tokenizer"
)

// folder is the folder with the tokenizer of a checkpoint: a part of a pipeline, or the
// checkpoint itself.
func folder(checkpoint string) string {
	dir := filepath.Join(checkpoint, "tokenizer")
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	return checkpoint
}

// TestReferenceTokenizer compares ids with transformers' for every prompt of the set.
func TestReferenceTokenizer(t *testing.T) {
	for _, c := range reference.Cases(t, "tokenizer_ids.json") {
		var want struct {
			Length int     `json:"max_length"`
			Begin  float64 `json:"bos_id"`
			End    float64 `json:"eos_id"`
			Pad    float64 `json:"pad_id"`
			Size   float64 `json:"vocab_size"`
			List   []struct {
				Text   string    `json:"text"`
				IDs    []float64 `json:"ids"`
				Tokens float64   `json:"untruncated_length"`
			} `json:"prompts"`
		}
		c.JSON(t, &want)
		tok, err := tokenizer.OpenCLIP(folder(c.Checkpoint()))
		if err != nil {
			t.Fatal(err)
		}
		c.Expect("max_length", "special ids", "vocab_size")
		c.Near(t, "max_length", []float64{float64(tok.Length)}, []float64{float64(want.Length)}, 0)
		c.Near(t, "special ids", floats([]int32{tok.Begin, tok.End, tok.Pad}), []float64{want.Begin, want.End, want.Pad}, 0)
		c.Near(t, "vocab_size", []float64{float64(tok.Size)}, []float64{want.Size}, 0)
		for i, p := range want.List {
			name := fmt.Sprintf("prompt %d %.40q", i, p.Text)
			c.Expect(name, name+": length", name+": padding")
			ids, n := tok.Encode(p.Text, want.Length)
			short := min(n, want.Length)
			c.Near(t, name, floats(ids[:short]), p.IDs, 0)
			c.Near(t, name+": length", []float64{float64(n), float64(len(ids))}, []float64{p.Tokens, float64(want.Length)}, 0)
			padding := make([]float64, want.Length-short)
			for i := range padding {
				padding[i] = want.Pad
			}
			c.Near(t, name+": padding", floats(ids[short:]), padding, 0)
		}
	}
}

func floats(ids []int32) []float64 {
	x := make([]float64, len(ids))
	for i, id := range ids {
		x[i] = float64(id)
	}
	return x
}
