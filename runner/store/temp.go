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

// Names in tmp are MACHINE-PID-START-RANDOM. MACHINE is a hash of host name, boot and
// process namespace, because processes of two machines or containers may have the same
// number. START is the start time of the process, because a later process may get the
// number of an earlier one.

// processName returns the name of this process, MACHINE-PID-START. All its names in tmp
// begin with it.
func processName() string {
	pid := os.Getpid()
	return fmt.Sprintf("%s-%d-%s", machine(), pid, startTime(pid))
}

// machine identifies the process namespace, in which process numbers are unique.
func machine() string {
	host, _ := os.Hostname()                     // an empty name does no harm
	space, _ := os.Readlink("/proc/self/ns/pid") // empty if there is none
	// Two hosts of one name may have namespaces of the same number, but not the same boot
	// id.
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return machineOf(host, space, string(boot))
}

func machineOf(host, space, boot string) string {
	return fmt.Sprintf("%x", sha256.Sum256([]byte(host+"\n"+space+"\n"+boot)))[:12]
}

// startTime returns the start time of a process in clock ticks since boot, or "0" if it
// is not known.
func startTime(pid int) string {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "0"
	}
	// The second field is a name in parentheses, which may contain any character.
	_, rest, ok := strings.Cut(string(data[max(0, strings.LastIndexByte(string(data), ')')):]), ") ")
	fields := strings.Fields(rest)
	const start = 22 - 3 // field 22 of proc(5), which counts from 1; two fields are cut off
	if !ok || len(fields) <= start {
		return "0"
	}
	return fields[start]
}

// dead reports whether the process of a name in tmp has certainly ended.
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

// tempName returns an unused path in tmp.
func (s *Store) tempName() string {
	return filepath.Join(s.dir, "tmp", s.self+"-"+rand.Text())
}

// abandoned is the age at which files that another machine wrote into tmp are taken for
// left over. No computation writes nothing for so long.
const abandoned = 7 * 24 * time.Hour

// sweep removes files that dead processes left in tmp. Whether a process of another
// machine is alive is not known, so only the age of its files counts. Files that cannot
// be removed do no harm, and are left to a later run.
func (s *Store) sweep() {
	left, _ := os.ReadDir(filepath.Join(s.dir, "tmp"))
	for _, d := range left {
		path := filepath.Join(s.dir, "tmp", d.Name())
		if dead(d.Name()) || !ours(d.Name()) && time.Since(touched(path)) > abandoned {
			_ = os.RemoveAll(path)
		}
	}
}

// ours reports whether a name in tmp was made on this machine since its last boot.
func ours(name string) bool { return strings.HasPrefix(name, machine()+"-") }

// touched returns the time of the last change under path.
func touched(path string) (last time.Time) {
	_ = filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
		if err == nil {
			if info, err := d.Info(); err == nil && info.ModTime().After(last) {
				last = info.ModTime()
			}
			return nil
		}
		last = time.Now() // a file that cannot be inspected is not taken for left over
		return nil
	})
	return last
}
