package launch

import (
	"errors"
	"testing"
)

func TestReason(t *testing.T) {
	for stderr, want := range map[string]string{
		"":                                   "the process that tried it died: exit status 2",
		"W0000 a library warns\n":            "the process that tried it died: exit status 2",
		"panic: first\nablate: no memory\n":  "no memory",
		"noise\nSIGILL: illegal\ngoroutine ": "the process that tried it died: SIGILL: illegal",
	} {
		if got := Reason(stderr, errors.New("exit status 2")); got != want {
			t.Errorf("%q: got %q, want %q", stderr, got, want)
		}
	}
}
