package resource

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// tree writes files below a new folder.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// TestQuota: the smallest quota of the group and of all groups above it counts, in both
// versions of control groups, and in a container that sees only a part of the tree.
func TestQuota(t *testing.T) {
	const (
		two = "23 1 0:1 / / rw - ext4 x rw\n30 23 0:26 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw\n"
		one = "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n33 31 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
	)
	for name, c := range map[string]struct {
		files map[string]string
		want  float64
		group string
	}{
		"none":    {map[string]string{"proc/self/cgroup": "0::/a\n", "proc/self/mountinfo": two, "sys/fs/cgroup/a/cpu.max": "max 100000\n"}, 0, ""},
		"nothing": {nil, 0, ""},
		"own":     {map[string]string{"proc/self/cgroup": "0::/a/b\n", "proc/self/mountinfo": two, "sys/fs/cgroup/a/b/cpu.max": "150000 100000\n", "sys/fs/cgroup/a/cpu.max": "max 100000\n"}, 1.5, "/a/b"},
		"above": {map[string]string{"proc/self/cgroup": "0::/a/b/c\n", "proc/self/mountinfo": two, "sys/fs/cgroup/a/b/c/cpu.max": "800000 100000\n",
			"sys/fs/cgroup/a/cpu.max": "300000 100000\n"}, 3, "/a"},
		"version 1": {map[string]string{"proc/self/cgroup": "4:memory:/m\n3:cpu,cpuacct:/a/b\n0::/\n", "proc/self/mountinfo": one,
			"sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_quota_us": "-1\n", "sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_period_us": "100000\n",
			"sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us": "50000\n", "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us": "100000\n"}, .5, "/a"},
		"container": {map[string]string{"proc/self/cgroup": "0::/docker/1234\n", "proc/self/mountinfo": strings.Replace(two, "0:26 /", "0:26 /docker/1234", 1),
			"sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2, "/"},
		"outside":  {map[string]string{"proc/self/cgroup": "0::/../../x\n", "proc/self/mountinfo": two, "sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2, "/"},
		"nonsense": {map[string]string{"proc/self/cgroup": "what\n0::/a\n", "proc/self/mountinfo": "what\n" + two, "sys/fs/cgroup/a/cpu.max": "many 0\n"}, 0, ""},
	} {
		got, group := quota(tree(t, c.files))
		if group != c.group || group != "" && got != c.want {
			t.Errorf("%s: %v of %q, want %v of %q", name, got, group, c.want, c.group)
		}
	}
}

// TestCPUs: the smallest of all limits counts, and what is not a number is ignored.
func TestCPUs(t *testing.T) {
	all := runtime.NumCPU()
	half := tree(t, map[string]string{"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "sys/fs/cgroup/cpu.max": "50000 100000\n"})
	for _, c := range []struct {
		root string
		env  map[string]string
		want int
		why  string
	}{
		{"", nil, all, "CPU affinity"},
		{half, nil, 1, "the quota of 0.5 CPUs of control group /"},
		{"", map[string]string{"SLURM_JOB_ID": "12", "SLURM_CPUS_ON_NODE": "1"}, 1, "SLURM_CPUS_ON_NODE"},
		{"", map[string]string{"SLURM_JOB_ID": "12", "SLURM_CPUS_ON_NODE": "100000"}, all, "CPU affinity"},
		{"", map[string]string{"SLURM_JOB_ID": "12", "SLURM_CPUS_ON_NODE": "2(x3)"}, all, "CPU affinity"},
		{"", map[string]string{"SLURM_JOB_ID": "12", "SLURM_CPUS_ON_NODE": "-1"}, all, "CPU affinity"},
		{"", map[string]string{"SLURM_CPUS_ON_NODE": "1"}, all, "CPU affinity"}, // outside of a job
		{"", map[string]string{"GOMAXPROCS": "1"}, 1, "GOMAXPROCS"},
	} {
		root := c.root
		if root == "" {
			root = t.TempDir()
		}
		got, why := cpus(root, func(name string) string { return c.env[name] })
		if got != c.want || all > 1 && why != c.why {
			t.Errorf("%v: %d by %q, want %d by %q", c.env, got, why, c.want, c.why)
		}
	}
}

// TestGPUs: GPUs are those of nvidia-smi, or of CUDA_VISIBLE_DEVICES. Numbers there need not be
// those of nvidia-smi, so that the memory of the smallest GPU counts.
func TestGPUs(t *testing.T) {
	const smi = "0, GPU-aa, 81559\n1, GPU-bb, 40960\n2, GPU-cc, [N/A]\n"
	const a, b = 81559 << 20, 40960 << 20
	for _, c := range []struct {
		name, smi string
		env       map[string]string
		want      []GPU
	}{
		{"all", smi, nil, []GPU{{"GPU-aa", a}, {"GPU-bb", b}, {"GPU-cc", 0}}},
		{"no program", "", nil, nil},
		{"by id", smi, map[string]string{visible: "GPU-bb, MIG-7"}, []GPU{{"GPU-bb", b}, {"MIG-7", 0}}},
		{"by number", smi[:len("0, GPU-aa, 81559\n1, GPU-bb, 40960\n")], map[string]string{visible: "1,0"}, []GPU{{"1", b}, {"0", b}}},
		{"by number of the bus", smi, map[string]string{visible: "0,1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, []GPU{{"0", a}, {"1", b}}},
		{"hidden", smi, map[string]string{visible: ""}, nil},
		{"the rest hidden", smi, map[string]string{visible: "GPU-aa,-1,GPU-bb"}, []GPU{{"GPU-aa", a}}},
	} {
		got, _ := gpusOf(func(name string) (string, bool) { v, ok := c.env[name]; return v, ok }, c.smi)
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, d)
		}
	}
}

// fakeSMI puts a program nvidia-smi with two GPUs on the PATH.
func fakeSMI(t *testing.T) {
	t.Helper()
	dir := tree(t, map[string]string{"nvidia-smi": "#!/bin/sh\necho '0, GPU-aa, 1000'\necho '1, GPU-bb, 1000'\n"})
	if err := os.Chmod(filepath.Join(dir, "nvidia-smi"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	for _, name := range []string{"SLURM_JOB_ID", "SLURM_JOB_GPUS", "SLURM_GPUS_ON_NODE", visible} {
		t.Setenv(name, "")
		os.Unsetenv(name)
	}
}

// TestHere: without CUDA there are no GPUs unless they are named; flags and Slurm limit them;
// a number that is not there is an error.
func TestHere(t *testing.T) {
	fakeSMI(t)
	ids := func(cuda bool, l Limits) string {
		t.Helper()
		c, err := Here(t.Context(), cuda, l)
		if err != nil {
			return err.Error()
		}
		var list []string
		for _, g := range c.GPUs {
			list = append(list, g.ID)
		}
		return strings.Join(list, " ") + " by " + c.Why.GPUs
	}
	for _, c := range []struct {
		cuda bool
		l    Limits
		env  map[string]string
		want string
	}{
		{false, Limits{}, nil, " by "},
		{true, Limits{}, nil, "GPU-aa GPU-bb by nvidia-smi"},
		{true, Limits{GPUs: 1, GPUsSet: true}, nil, "GPU-aa by --gpus"},
		{true, Limits{GPUs: 0, GPUsSet: true}, nil, " by --gpus"},
		{false, Limits{GPUs: 2, GPUsSet: true}, nil, "GPU-aa GPU-bb by --gpus"},
		{true, Limits{GPUs: 3, GPUsSet: true}, nil, "--gpus is 3, and this process may use 2 GPUs (nvidia-smi): name a smaller number"},
		{true, Limits{}, map[string]string{"SLURM_JOB_ID": "1", "SLURM_JOB_GPUS": "3"}, "GPU-aa by SLURM_JOB_GPUS"},
		{true, Limits{}, map[string]string{"SLURM_JOB_ID": "1", "SLURM_GPUS_ON_NODE": "1"}, "GPU-aa by SLURM_GPUS_ON_NODE"},
		{true, Limits{}, map[string]string{visible: "GPU-bb"}, "GPU-bb by CUDA_VISIBLE_DEVICES"},
	} {
		for name, v := range c.env {
			t.Setenv(name, v)
		}
		if got := ids(c.cuda, c.l); got != c.want {
			t.Errorf("%+v %v: %q, want %q", c.l, c.env, got, c.want)
		}
		for name := range c.env {
			os.Unsetenv(name)
		}
	}
	t.Setenv("PATH", "")
	if got := ids(true, Limits{}); got != " by the backend" {
		t.Errorf("GPUs that cannot be listed: %q", got)
	}
	if got := ids(false, Limits{GPUs: 2, GPUsSet: true}); got != "0 1 by --gpus" {
		t.Errorf("GPUs that cannot be listed and are named: %q", got)
	}
	if c, err := Here(t.Context(), false, Limits{CPUs: 7, Memory: 5}); err != nil || c.CPUs != 7 || c.Memory != 5 {
		t.Errorf("%+v, %v", c, err)
	}
}

// TestSlurmMemory: a job has its memory of this node, by node or by CPU.
func TestSlurmMemory(t *testing.T) {
	for _, c := range []struct {
		env  map[string]string
		want int64
	}{
		{map[string]string{"SLURM_MEM_PER_NODE": "2048"}, 0},
		{map[string]string{"SLURM_JOB_ID": "1", "SLURM_MEM_PER_NODE": "2048"}, 2048 << 20},
		{map[string]string{"SLURM_JOB_ID": "1", "SLURM_MEM_PER_NODE": "0"}, 0}, // all of the node's
		{map[string]string{"SLURM_JOB_ID": "1", "SLURM_MEM_PER_CPU": "512", "SLURM_CPUS_ON_NODE": "4"}, 2048 << 20},
		{map[string]string{"SLURM_JOB_ID": "1", "SLURM_MEM_PER_NODE": "much"}, 0},
	} {
		if got, _ := slurmMemory(func(name string) string { return c.env[name] }); got != c.want {
			t.Errorf("%v: %d, want %d", c.env, got, c.want)
		}
	}
}

func TestParseBytes(t *testing.T) {
	for text, want := range map[string]int64{"8GiB": 8 << 30, "500MB": 500e6, "1.5 GiB": 3 << 29, "1073741824": 1 << 30, "1B": 1} {
		if got, err := ParseBytes(text); err != nil || got != want {
			t.Errorf("%s: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "GiB", "-1GiB", "8GB/s", "8gb", "1e99", "0"} {
		if _, err := ParseBytes(text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}
