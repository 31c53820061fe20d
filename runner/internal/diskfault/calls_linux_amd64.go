package diskfault

import "golang.org/x/sys/unix"

const arch = unix.AUDIT_ARCH_X86_64

// older are calls that newer architectures do not have.
var older = map[uint32]call{
	unix.SYS_MKDIR:  {name: Mkdir, path: 1},
	unix.SYS_RMDIR:  {name: Remove, path: 1},
	unix.SYS_UNLINK: {name: Remove, path: 1},
	unix.SYS_RENAME: {name: Rename, path: 1, to: 2},
	unix.SYS_LINK:   {name: Link, path: 1, to: 2},
	unix.SYS_CHMOD:  {name: Attribute, path: 1},
}
