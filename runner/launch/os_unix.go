//go:build unix && !linux

package launch

import (
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// dup2 makes descriptor to mean what from means.
func dup2(from, to int) error { return unix.Dup2(from, to) }

// attributes put a worker into a process group of its own. When its parent dies it
// learns so from the end of its standard input.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// Tie puts a child into a process group of its own; more is not to be had here.
func Tie(cmd *exec.Cmd) { cmd.SysProcAttr = attributes() }

// allowedCPUs: unknown here, so nothing is pinned.
func allowedCPUs() []int { return nil }

// pinThread is never called without CPUs to pin to.
func pinThread([]int) error { return nil }

// peakRSS: unknown here.
func peakRSS(int) int64 { return 0 }
