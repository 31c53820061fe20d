package launch

import (
	"context"
	"os"
	"os/exec"
	"strings"
)

// Again returns a command that runs this program with other arguments. The child is tied
// to the calling thread, which the caller must lock (runtime.LockOSThread) until the
// child has ended; see [Tie].
func Again(ctx context.Context, args ...string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, args...)
	Tie(cmd)
	return cmd, nil
}

// Reason returns the line of a dead child's standard error that best explains why it
// died: its own message, or else the first line of a crash, or else its exit status.
func Reason(stderr string, ended error) string {
	for line := range strings.Lines(stderr) {
		if m, ok := strings.CutPrefix(strings.TrimSpace(line), "ablate: "); ok {
			return m
		}
	}
	for line := range strings.Lines(stderr) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "panic:") || strings.HasPrefix(line, "fatal error:") || strings.HasPrefix(line, "SIG") {
			return "the process that tried it died: " + line
		}
	}
	return "the process that tried it died: " + ended.Error()
}
