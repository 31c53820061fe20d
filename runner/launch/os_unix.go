//go:build unix && !linux

package launch

import (
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// dup2 makes the descriptor to a copy of from.
func dup2(from, to int) error { return unix.Dup2(from, to) }

// attributes puts a worker into a new process group. When its parent dies, its standard
// input ends.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// Tie puts a child into a new process group. Only Linux can also end the child together
// with its parent.
func Tie(cmd *exec.Cmd) { cmd.SysProcAttr = attributes() }

// allowedCPUs returns nil because the CPUs are not known on this system. Nothing is bound
// then.
func allowedCPUs() []int { return nil }

// pinThread does nothing; it is not called when allowedCPUs is nil.
func pinThread([]int) error { return nil }

// peakRSS returns 0 because the memory is not known on this system.
func peakRSS(int) int64 { return 0 }

func oomKills() int { return 0 }
