package diskfault

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestTwice: an action has run twice if it was started after any process had finished it.
func TestTwice(t *testing.T) {
	s := NewStore(nil, t.TempDir())
	s.Damaged["lost"], s.Damaged["bytes"], s.Damaged["d.jsonl"] = true, true, true
	for name, lines := range map[string][]string{
		"a.jsonl": {
			`started once 10`, `finished once 11`,
			`started both 10`, `started both 11`, `finished both 12`, // by two processes at once
			`started twice 10`, `finished twice 11`,
			`started lost 10`, `finished lost 11`,
			`started other 10`, `finished other 11 bytes`,
		},
		"b.jsonl": {`started twice 12`, `finished twice 13`, `torn`, `started lost 12`, `started other 12`},
		"d.jsonl": {`started once 12`},
	} {
		var b strings.Builder
		for _, line := range lines {
			w := append(strings.Fields(line), "", "", "", "")
			b.WriteString(`{"kind":"` + w[0] + `","action":"` + w[1] + `","time":"2026-01-02T03:04:` + w[2] + `Z","output":"` + w[3] + "\"}\n")
		}
		dir := filepath.Join(s.Dir, "studies", "x", "events")
		if err := os.MkdirAll(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(b.String()), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := s.Twice(); err != nil || !slices.Equal(got, []string{"twice"}) {
		t.Errorf("%q, %v", got, err)
	}
}
