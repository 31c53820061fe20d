package diskfault

import "golang.org/x/sys/unix"

const arch = unix.AUDIT_ARCH_AARCH64

// older are calls that newer architectures do not have.
var older = map[uint32]call{}
