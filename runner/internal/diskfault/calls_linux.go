//go:build amd64 || arm64

package diskfault

import (
	"maps"
	"slices"

	"golang.org/x/sys/unix"
)

// A call is a system call that changes files. Its arguments are counted from 1; 0 is none.
type call struct {
	name     string
	fd       int // open file
	dir      int // folder to which the path is relative
	path     int
	toDir    int
	to       int
	creating int // flags of which O_CREAT or O_TRUNC must be set
}

// calls returns the system calls by number.
func calls() map[uint32]call {
	all := map[uint32]call{
		unix.SYS_OPENAT:          {name: Create, dir: 1, path: 2, creating: 3},
		unix.SYS_WRITE:           {name: Write, fd: 1},
		unix.SYS_PWRITE64:        {name: Write, fd: 1},
		unix.SYS_WRITEV:          {name: Write, fd: 1},
		unix.SYS_SENDFILE:        {name: Write, fd: 1},
		unix.SYS_COPY_FILE_RANGE: {name: Write, fd: 3},
		unix.SYS_FTRUNCATE:       {name: Write, fd: 1},
		unix.SYS_FALLOCATE:       {name: Write, fd: 1},
		unix.SYS_FSYNC:           {name: Sync, fd: 1},
		unix.SYS_FDATASYNC:       {name: Sync, fd: 1},
		unix.SYS_SYNCFS:          {name: SyncAll, fd: 1},
		unix.SYS_MKDIRAT:         {name: Mkdir, dir: 1, path: 2},
		unix.SYS_UNLINKAT:        {name: Remove, dir: 1, path: 2},
		unix.SYS_RENAMEAT:        {name: Rename, dir: 1, path: 2, toDir: 3, to: 4},
		unix.SYS_RENAMEAT2:       {name: Rename, dir: 1, path: 2, toDir: 3, to: 4},
		unix.SYS_LINKAT:          {name: Link, dir: 1, path: 2, toDir: 3, to: 4},
		unix.SYS_FCHMOD:          {name: Attribute, fd: 1},
		unix.SYS_FCHMODAT:        {name: Attribute, dir: 1, path: 2},
		unix.SYS_UTIMENSAT:       {name: Attribute, dir: 1, path: 2},
	}
	maps.Copy(all, older)
	return all
}

// Positions in struct seccomp_data of the call's number, the architecture, and the low half of
// the first argument on a machine with the low bytes first.
const (
	atNumber = 0
	atArch   = 4
	atFirst  = 16
)

// filter returns the program that hands the calls to the listener and lets all others pass.
func filter(calls map[uint32]call) []unix.SockFilter {
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	jump := func(code uint16, k uint32, yes, no uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_K | code, K: k, Jt: yes, Jf: no}
	}
	ret := func(k uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: k} }
	pass, hand := ret(unix.SECCOMP_RET_ALLOW), ret(unix.SECCOMP_RET_USER_NOTIF)
	p := []unix.SockFilter{load(atArch), jump(unix.BPF_JEQ, arch, 1, 0), pass, load(atNumber)}
	for _, nr := range slices.Sorted(maps.Keys(calls)) {
		c := calls[nr]
		if c.creating == 0 {
			p = append(p, jump(unix.BPF_JEQ, nr, 0, 1), hand)
			continue
		}
		p = append(p, jump(unix.BPF_JEQ, nr, 0, 4), load(atFirst+8*uint32(c.creating-1)),
			jump(unix.BPF_JSET, unix.O_CREAT|unix.O_TRUNC, 0, 1), hand, pass)
	}
	return append(p, pass)
}
