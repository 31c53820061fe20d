package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// meter begins to measure how much of the machine other programs use. The function that it
// returns describes the machine and that share since then.
func meter() (func() string, error) {
	all, err := busy()
	if err != nil {
		return nil, err
	}
	own, start := spent(), time.Now()
	return func() string {
		now, _ := busy()
		cores := float64(runtime.NumCPU())
		others := max(0, (now-all)-(spent()-own)) / time.Since(start).Seconds()
		return fmt.Sprintf("%s, %.0f cores, of which other programs used %.2f on average", model(), cores, others)
	}, nil
}

// busy returns the seconds of all processors that were not idle since the machine began
// (proc(5): the first line of /proc/stat, in hundredths of a second).
func busy() (float64, error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	var user, nice, system, idle, wait, irq, soft, steal float64
	if _, err := fmt.Sscanf(string(b), "cpu %f %f %f %f %f %f %f %f", &user, &nice, &system, &idle, &wait, &irq, &soft, &steal); err != nil {
		return 0, errors.New("/proc/stat: its first line is not that of proc(5)")
	}
	return (user + nice + system + irq + soft + steal) / 100, nil
}

// spent returns the seconds of a processor that this process and its ended children used.
func spent() (sum float64) {
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if syscall.Getrusage(who, &u) == nil {
			sum += float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
		}
	}
	return sum
}

// model returns the name of the processor.
func model() string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(b)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// inMemory reports whether a folder is in a file system without a disk.
func inMemory(dir string) bool {
	const tmpfs = 0x01021994
	var s syscall.Statfs_t
	return syscall.Statfs(dir, &s) == nil && s.Type == tmpfs
}
