package resource

import (
	"math"
	"strconv"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// HostMemory returns the memory in bytes that this process may use: that of the machine,
// or of its control groups if that is less; 0 if neither can be read.
func HostMemory() int64 {
	n, _ := hostMemory()
	return n
}

func hostMemory() (n int64, why string) {
	least := uint64(math.MaxInt64)
	for _, x := range []struct {
		read func() (uint64, error)
		why  string
	}{{memlimit.FromSystem, "the machine"}, {memlimit.FromCgroup, "its control group"}} {
		if n, err := x.read(); err == nil && n > 0 && n < least {
			least, why = n, x.why
		}
	}
	if why == "" {
		return 0, ""
	}
	return int64(least), why
}

// slurmMemory returns the memory of the Slurm job on this node in bytes; 0 if it is not known,
// or if the job has all of the node's.
func slurmMemory(getenv func(string) string) (n int64, why string) {
	if getenv("SLURM_JOB_ID") == "" {
		return 0, ""
	}
	mib := func(name string) int64 {
		n, err := strconv.ParseInt(getenv(name), 10, 32) // so that bytes do not overflow
		if err != nil {
			return 0
		}
		return max(0, n)
	}
	if n := mib("SLURM_MEM_PER_NODE"); n > 0 {
		return n << 20, "SLURM_MEM_PER_NODE"
	}
	return mib("SLURM_MEM_PER_CPU") * mib("SLURM_CPUS_ON_NODE") << 20, "SLURM_MEM_PER_CPU"
}
