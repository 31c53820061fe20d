package cluster

import (
	"fmt"
	"slices"
	"time"

	"ablate/runner/resource"
)

// classes groups needs: each class is what the jobs of an array have. Actions that need
// different numbers of GPUs are in different classes, so that no GPU waits beside a CPU. Those
// that need nothing but one CPU are computed by the jobs with GPUs, if there are such. The class
// with most GPUs is the first.
func classes(needs []resource.Need) (list []resource.Need) {
	for _, n := range needs {
		i := slices.IndexFunc(list, func(c resource.Need) bool { return c.GPUs == n.GPUs })
		if i < 0 {
			list = append(list, n)
			continue
		}
		list[i] = list[i].Max(n)
	}
	slices.SortFunc(list, func(a, b resource.Need) int { return b.GPUs - a.GPUs })
	if last := len(list) - 1; last > 0 && list[last].Max(resource.Need{CPUs: 1}) == (resource.Need{CPUs: 1}) {
		list = list[:last]
	}
	if len(list) == 0 {
		list = []resource.Need{{}}
	}
	return list
}

// A request is an option of sbatch that asks for a part of a class, with the options of the
// site in whose presence it is left out.
type request struct {
	names []string
	line  func(resource.Need) string // empty if the class needs nothing of it
}

// gpus is the index of the request for GPUs.
const gpus = 1

var requests = []request{
	{[]string{"cpus-per-task", "c", "cpus-per-gpu", "exclusive"}, func(n resource.Need) string {
		return positive("--cpus-per-task=%d", int64(n.CPUs), 1)
	}},
	{[]string{"gres", "gpus", "G", "gpus-per-node", "gpus-per-task", "gpus-per-socket"}, func(n resource.Need) string {
		return positive("--gres=gpu:%d", int64(n.GPUs), 0)
	}},
	{[]string{"mem", "mem-per-cpu", "mem-per-gpu"}, func(n resource.Need) string {
		return positive("--mem=%dM", (n.Memory+1<<20-1)>>20, 0)
	}},
	{[]string{"time", "t"}, func(n resource.Need) string {
		return positive("--time=%d", int64((n.Time+time.Minute-1)/time.Minute), 0)
	}},
}

// positive formats a number that is larger than another; otherwise it returns "".
func positive(format string, n, than int64) string {
	if n <= than {
		return ""
	}
	return fmt.Sprintf(format, n)
}

// given reports whether the options of the site ask for it.
func (r request) given(site []string) bool {
	return slices.ContainsFunc(r.names, func(name string) bool { return slices.Contains(site, name) })
}

// resources returns the lines of a batch script that ask for what a class needs. site are the
// names of the options that the site sets.
func resources(n resource.Need, site []string) (lines string) {
	for _, r := range requests {
		if line := r.line(n); line != "" && !r.given(site) {
			lines += "#SBATCH " + line + "\n"
		}
	}
	return lines
}
