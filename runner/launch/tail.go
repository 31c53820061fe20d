package launch

import (
	"regexp"
	"strings"
	"sync"
)

// tailSize is how many bytes of a worker's standard error are kept.
const tailSize = 256 << 10

// tail is a writer that keeps the last tailSize bytes.
type tail struct {
	mu   sync.Mutex
	kept []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, p...)
	if over := len(t.kept) - tailSize; over > 0 {
		t.kept = append(t.kept[:0], t.kept[over:]...)
	}
	return len(p), nil
}

// reset discards everything written so far, which belongs to another task.
func (t *tail) reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = t.kept[:0]
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.kept)
}

// telling matches the lines in which a dying process gives the reason: those of Go, of
// the C++ runtime, and of the logs of XLA, whose fatal lines begin with F and the date.
var telling = regexp.MustCompile(`^(panic: |fatal error: |SIG[A-Z]+: |runtime: out of memory|terminate called|F\d{4} |Check failed)`)

// lastWords returns the line of a standard error to show: the one that gives the reason,
// or else the last one before a stack trace.
func lastWords(stderr string) string {
	last := ""
	for line := range strings.Lines(stderr) {
		line = strings.TrimSpace(line)
		switch {
		case telling.MatchString(line):
			return clip(line)
		case strings.HasPrefix(line, "goroutine "):
			return clip(last)
		case line != "":
			last = line
		}
	}
	return clip(last)
}

// clip shortens a long line for a message.
func clip(s string) string {
	r := []rune(strings.ToValidUTF8(s, "?"))
	if len(r) > 300 {
		return string(r[:300]) + "…"
	}
	return string(r)
}
