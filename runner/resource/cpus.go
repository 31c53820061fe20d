package resource

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"strconv"
)

// cpus returns how many CPUs this process may use at a time, and which limit decides: its CPU
// affinity, the quotas of its control groups, the allocation of its Slurm job on this node,
// which a cluster without affinity does not enforce, or GOMAXPROCS.
//
// runtime.GOMAXPROCS(0) is not enough: Go reads the quota of the innermost control group only,
// and takes 2 for less than 2.
func cpus(root string, getenv func(string) string) (n int, why string) {
	n, why = runtime.NumCPU(), "CPU affinity"
	limit := func(k int, reason string) {
		if k > 0 && k < n {
			n, why = k, reason
		}
	}
	if q, at := quota(root); at != "" {
		limit(max(1, int(math.Ceil(q))), fmt.Sprintf("the quota of %.3g CPUs of control group %s", q, at))
	}
	if getenv("SLURM_JOB_ID") != "" {
		k, _ := strconv.Atoi(getenv("SLURM_CPUS_ON_NODE"))
		limit(k, "SLURM_CPUS_ON_NODE")
	}
	k, _ := strconv.Atoi(getenv("GOMAXPROCS"))
	limit(k, "GOMAXPROCS")
	return n, why
}

// CPUs returns how many CPUs this process may use at a time.
func CPUs() int {
	n, _ := cpus("/", os.Getenv)
	return n
}
