//go:build amd64 || arm64

package diskfault

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// notice is struct seccomp_notif of the kernel: a thread is about to make a system call.
type notice struct {
	id     uint64
	pid    uint32 // of the thread
	flags  uint32
	number uint32
	arch   uint32
	ip     uint64
	args   [6]uint64
}

// answer is struct seccomp_notif_resp of the kernel.
type answer struct {
	id    uint64
	value int64
	err   int32 // a negative errno
	flags uint32
}

type supervisor struct {
	listener int
	root     string
	decide   func(Op) Fault
	calls    map[uint32]call
	number   int
	rest     map[string]syscall.Errno // with which the next write to a file fails, by its path
}

// serve answers until no process has the filter any more.
func (s *supervisor) serve() {
	for {
		poll := []unix.PollFd{{Fd: int32(s.listener), Events: unix.POLLIN}}
		if _, err := unix.Poll(poll, -1); errors.Is(err, unix.EINTR) {
			continue
		}
		if poll[0].Revents&unix.POLLIN == 0 {
			return
		}
		var n notice
		if !s.control(unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&n)) {
			continue // the thread has been killed meanwhile
		}
		if a := s.answer(&n); a != nil {
			a.id = n.id
			s.control(unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(a))
		}
	}
}

func (s *supervisor) control(request uint, arg unsafe.Pointer) bool {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(s.listener), uintptr(request), uintptr(arg))
	return errno == 0
}

// answer decides about a call. It returns nil if the process has been killed.
func (s *supervisor) answer(n *notice) *answer {
	do := &answer{flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
	op, ok := s.op(n)
	if !ok {
		return do
	}
	fail := func(err syscall.Errno) *answer { return &answer{err: -int32(err)} }
	if err, ok := s.rest[op.Path]; ok && op.Name == Write {
		delete(s.rest, op.Path)
		return fail(err)
	}
	s.number++
	op.Number = s.number
	switch f := s.decide(op); {
	case f.Kill:
		_ = unix.Kill(int(n.pid), unix.SIGKILL)
		return nil
	case f.Err == 0:
		return do
	case f.Short:
		if written := s.half(n); written > 0 {
			s.rest[op.Path] = f.Err
			return &answer{value: int64(written)}
		}
		return fail(f.Err)
	default:
		return fail(f.Err)
	}
}

// op returns the operation of a call, if it changes a file below the root.
func (s *supervisor) op(n *notice) (Op, bool) {
	c := s.calls[n.number]
	arg := func(i int) uint64 { return n.args[i-1] }
	o := Op{Name: c.name}
	if c.fd > 0 {
		o.Path = opened(n.pid, arg(c.fd))
	} else {
		o.Path = s.path(n, c.dir, c.path)
	}
	if c.to > 0 {
		o.To = s.path(n, c.toDir, c.to)
	}
	return o, below(s.root, o.Path) || o.To != "" && below(s.root, o.To)
}

func below(root, path string) bool { return path == root || strings.HasPrefix(path, root+"/") }

// opened returns the path of an open file.
func opened(pid uint32, fd uint64) string {
	path, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, int32(fd)))
	return strings.TrimSuffix(path, " (deleted)")
}

// path returns the path that is an argument, and that may be relative to a folder, which is
// another one.
func (s *supervisor) path(n *notice, dir, arg int) string {
	path := text(n.pid, n.args[arg-1])
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	if dir > 0 && int32(n.args[dir-1]) != unix.AT_FDCWD {
		return filepath.Join(opened(n.pid, n.args[dir-1]), path)
	}
	cwd, _ := os.Readlink(fmt.Sprintf("/proc/%d/cwd", n.pid))
	return filepath.Join(cwd, path)
}

// memory reads up to so many bytes of the memory of a thread.
func memory(pid uint32, at uint64, size int) []byte {
	f, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return nil
	}
	defer f.Close()
	data := make([]byte, size)
	got, _ := f.ReadAt(data, int64(at)) // it ends where the memory does
	return data[:got]
}

// text reads a text that ends with a zero byte.
func text(pid uint32, at uint64) string {
	data, _, _ := bytes.Cut(memory(pid, at, unix.PathMax), []byte{0})
	return string(data)
}

// half writes half of the bytes of a write, and returns how many these are.
func (s *supervisor) half(n *notice) int {
	if n.number != unix.SYS_WRITE && n.number != unix.SYS_PWRITE64 || n.args[2] < 2 {
		return 0
	}
	data := memory(n.pid, n.args[1], int(n.args[2]/2))
	process, err := unix.PidfdOpen(group(n.pid), 0)
	if err != nil {
		return 0
	}
	defer unix.Close(process)
	fd, err := unix.PidfdGetfd(process, int(n.args[0]), 0)
	if err != nil {
		return 0
	}
	defer unix.Close(fd)
	if n.number == unix.SYS_PWRITE64 {
		written, _ := unix.Pwrite(fd, data, int64(n.args[3]))
		return max(written, 0)
	}
	written, _ := unix.Write(fd, data)
	return max(written, 0)
}

// group returns the process of a thread.
func group(thread uint32) int {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", thread))
	_, rest, _ := strings.Cut(string(status), "\nTgid:")
	line, _, _ := strings.Cut(rest, "\n")
	pid, _ := strconv.Atoi(strings.TrimSpace(line))
	return pid
}
