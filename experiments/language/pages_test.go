package language_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ablate/experiments/language"
)

// TestPages checks that the CUE in README.md and docs loads. A block that is not a whole study
// is put into one whose arms have the names that the pages use.
func TestPages(t *testing.T) {
	const arms = `seeds: [1, 2, 3, 4, 5, 6], arms: {"all data": set: {}, "awm": set: finetune: method: "awm", "kto": set: finetune: method: "kto"`
	for page, want := range map[string]int{"README.md": 1, "docs/studies.md": 3, "docs/ci.md": 1} {
		b, err := os.ReadFile(filepath.Join("../..", page))
		if err != nil {
			t.Fatal(err)
		}
		blocks := strings.Split(string(b), "```cue\n")[1:]
		if len(blocks) != want {
			t.Errorf("%s has %d blocks of CUE, want %d", page, len(blocks), want)
		}
		for _, block := range blocks {
			text, _, _ := strings.Cut(block, "```")
			switch {
			case strings.HasPrefix(text, `"`): // an arm
				text = head + arms + "\n" + text + "}\n}\n"
			case !strings.HasPrefix(text, "package "):
				text = head + arms + "}\n" + text + "}\n"
			}
			if _, err := language.Load(filepath.Join(module(t, map[string]string{"s/study.cue": text}), "s"), language.Options{}); err != nil {
				t.Errorf("%s: %v\n%s", page, err, text)
			}
		}
	}
}
