package cli_test

import (
	"context"
	"os"
	"path/filepath"

	"github.com/rogpeppe/go-internal/testscript"

	"ablate/runner/store"
)

// drift replaces the results of a stage by intact ones with other bytes, as if another
// program had computed them.
func drift(ts *testscript.TestScript, _ bool, args []string) {
	s, err := store.Open(ts.MkAbs(args[0]))
	ts.Check(err)
	entries, err := s.Entries()
	ts.Check(err)
	n := 0
	for _, e := range entries {
		if e.Stage() != args[1] {
			continue
		}
		n++
		key, err := store.ParseKey(e.Key)
		ts.Check(err)
		w, err := s.Begin(key)
		ts.Check(err)
		ts.Check(os.CopyFS(w.Dir(), os.DirFS(s.Path(e.Output))))
		files, err := filepath.Glob(filepath.Join(w.Dir(), "*"))
		ts.Check(err)
		ts.Check(os.Chmod(files[0], 0o666))
		f, err := os.OpenFile(files[0], os.O_WRONLY|os.O_APPEND, 0)
		ts.Check(err)
		_, err = f.WriteString("\n")
		ts.Check(err)
		ts.Check(f.Close())
		ts.Check(os.Remove(filepath.Join(s.Dir(), "actions", e.Action.String()[:2], e.Action.String())))
		_, err = w.Commit(context.Background(), store.Commit{Made: e.Made, Build: e.Build})
		ts.Check(err)
	}
	if n == 0 {
		ts.Fatalf("%s has no result of %s", args[0], args[1])
	}
}
