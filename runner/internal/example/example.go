// Package example loads small studies of the shapes world for tests.
package example

import (
	"os"
	"path/filepath"
	"testing"

	"ablate/experiments/language"
)

// Study loads a study whose CUE fields are body. The study is the folder mine in a new
// module in a temporary folder.
func Study(t testing.TB, body string) *language.Study {
	t.Helper()
	root := t.TempDir()
	dir := filepath.Join(root, "mine")
	for name, text := range map[string]string{
		filepath.Join(root, "cue.mod", "module.cue"): "module: \"example.com/studies@v0\"\nlanguage: version: \"v0.17.0\"\n",
		filepath.Join(dir, "study.cue"):              "package mine\n\nimport \"ablate.internal/schema\"\n\nschema.#Study & {\n" + body + "\n}\n",
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	s, err := language.Load(dir, language.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}
