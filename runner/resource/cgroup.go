package resource

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// quota returns the smallest CPU quota, in CPUs, of this process's control groups and of all
// groups above them that can be seen, and the name of the group that has it; "" if there is no
// quota. It reads both versions of control groups. root is the root of the file system, which
// tests replace.
func quota(root string) (least float64, group string) {
	groups, err := os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
	if err != nil {
		return 0, ""
	}
	mounts, err := os.ReadFile(filepath.Join(root, "proc/self/mountinfo"))
	if err != nil {
		return 0, ""
	}
	least = math.Inf(1)
	for line := range strings.Lines(string(groups)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3) // ID:CONTROLLERS:PATH
		if len(f) < 3 {
			continue
		}
		kind, read := "cgroup2", quota2
		switch {
		case f[0] == "0" && f[1] == "":
		case slices.Contains(strings.Split(f[1], ","), "cpu"):
			kind, read = "cgroup", quota1
		default:
			continue
		}
		for _, m := range mountsOf(string(mounts), kind) {
			top := filepath.Join(root, m.point)
			dir := top
			// A path outside of the mount is that of a process in a container, which sees its
			// own group as the top.
			if rel, err := filepath.Rel(m.root, f[2]); err == nil && filepath.IsLocal(rel) {
				dir = filepath.Join(top, rel)
			}
			for {
				if q, ok := read(dir); ok && q < least {
					rel, _ := filepath.Rel(top, dir)
					least, group = q, filepath.Join("/", rel)
				}
				if dir == top {
					break
				}
				dir = filepath.Dir(dir)
			}
		}
	}
	return least, group
}

// A mount is a mounted hierarchy of control groups.
type mount struct{ root, point string }

// mountsOf returns the mounts of a kind in the text of mountinfo; of version 1, those of the
// controller of CPUs.
func mountsOf(text, kind string) (list []mount) {
	for line := range strings.Lines(text) {
		left, right, ok := strings.Cut(strings.TrimSpace(line), " - ")
		f, g := strings.Fields(left), strings.Fields(right)
		if !ok || len(f) < 5 || len(g) < 3 || g[0] != kind {
			continue
		}
		if kind == "cgroup" && !slices.Contains(strings.Split(g[2], ","), "cpu") {
			continue
		}
		unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace
		list = append(list, mount{unescape(f[3]), unescape(f[4])})
	}
	return list
}

// quota2 reads the quota of a group of version 2: "max 100000", or "150000 100000".
func quota2(dir string) (float64, bool) {
	f := strings.Fields(read(dir, "cpu.max"))
	if len(f) != 2 {
		return 0, false
	}
	return ratio(f[0], f[1])
}

// quota1 reads the quota of a group of version 1, which is -1 if there is none.
func quota1(dir string) (float64, bool) {
	return ratio(read(dir, "cpu.cfs_quota_us"), read(dir, "cpu.cfs_period_us"))
}

func ratio(quota, period string) (float64, bool) {
	q, err1 := strconv.ParseFloat(quota, 64)
	p, err2 := strconv.ParseFloat(period, 64)
	return q / p, err1 == nil && err2 == nil && q > 0 && p > 0
}

func read(dir, name string) string {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
