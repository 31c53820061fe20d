package store

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Names in tmp are MACHINE-PID-START-RANDOM. The machine is a hash of host name,
// boot and process namespace, since on a shared file system, or from two containers,
// equal numbers are not equal processes; the start time tells a process from a later
// one that got its number.

// processName names this process. It is part of every name it makes in tmp.
func processName() string {
	pid := os.Getpid()
	return fmt.Sprintf("%s-%d-%s", machine(), pid, startTime(pid))
}

// machine names the place in which process numbers mean something.
func machine() string {
	host, _ := os.Hostname()                     // an empty name is a name
	space, _ := os.Readlink("/proc/self/ns/pid") // empty where there is none
	// Hosts of one name have the same process namespace number, and not the same boot.
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return machineOf(host, space, string(boot))
}

func machineOf(host, space, boot string) string {
	return fmt.Sprintf("%x", sha256.Sum256([]byte(host+"\n"+space+"\n"+boot)))[:12]
}

// startTime returns when a process began, in ticks since the machine did, or "0"
// where that cannot be known.
func startTime(pid int) string {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "0"
	}
	// The second field is a name in parentheses that may hold anything.
	_, rest, ok := strings.Cut(string(data[max(0, strings.LastIndexByte(string(data), ')')):]), ") ")
	fields := strings.Fields(rest)
	const start = 22 - 3 // proc(5) counts from 1, and two fields are cut off
	if !ok || len(fields) <= start {
		return "0"
	}
	return fields[start]
}

// dead reports whether the process that a name in tmp belongs to is certainly gone.
func dead(name string) bool {
	parts := strings.Split(name, "-")
	if len(parts) != 4 || parts[0] != machine() {
		return false
	}
	pid, err := strconv.Atoi(parts[1])
	if err != nil || pid <= 0 {
		return false
	}
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return true
	}
	now := startTime(pid)
	return now != "0" && parts[2] != "0" && now != parts[2]
}

// tempName returns a path in tmp that nobody else uses.
func (s *Store) tempName() string {
	return filepath.Join(s.dir, "tmp", s.self+"-"+rand.Text())
}

// abandoned is how long what another machine writes may lie untouched until it is
// taken for left over: no computation is silent on its disk for so long.
const abandoned = 7 * 24 * time.Hour

// sweep removes what dead processes left. Whether one of another machine lives
// cannot be known, so only the age of its files counts. Whatever cannot be removed
// is left to a later run: it harms nobody.
func (s *Store) sweep() {
	left, _ := os.ReadDir(filepath.Join(s.dir, "tmp"))
	for _, d := range left {
		path := filepath.Join(s.dir, "tmp", d.Name())
		if dead(d.Name()) || !ours(d.Name()) && time.Since(touched(path)) > abandoned {
			_ = os.RemoveAll(path)
		}
	}
}

// ours reports whether a name in tmp was made on this machine since it started.
func ours(name string) bool { return strings.HasPrefix(name, machine()+"-") }

// touched is when something under path was last changed.
func touched(path string) (last time.Time) {
	_ = filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
		if err == nil {
			if info, err := d.Info(); err == nil && info.ModTime().After(last) {
				last = info.ModTime()
			}
			return nil
		}
		last = time.Now() // what cannot be looked at is not left over
		return nil
	})
	return last
}
