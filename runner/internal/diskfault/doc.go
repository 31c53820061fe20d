// Package diskfault runs a program whose operations on files fail, as on a disk that is full or
// breaks. The faults are injected at its system calls, so below everything that the program is
// made of. It serves tests, and works on Linux only:
//
//	the test                                  the program, and all that it starts
//	Start(cmd, root, decide)                  Enter()
//	decide(Op) ◀── each call that changes a file below root, before it is made
//	Fault ──────▶ the call is made, fails, writes half, or kills the process
//
// The kernel hands the calls over by a seccomp filter with a listener (seccomp_unotify(2)),
// for which no privilege is needed.
package diskfault
