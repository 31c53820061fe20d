package device

import (
	"context"
	"math"
	"os/exec"
	"runtime"
	"strconv"
	"strings"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// HostMemory returns the memory in bytes that this process may use: that of the machine,
// or of its control group if that is less; 0 if neither can be read.
func HostMemory() int64 {
	least := uint64(math.MaxInt64)
	for _, read := range []func() (uint64, error){memlimit.FromSystem, memlimit.FromCgroup} {
		if n, err := read(); err == nil && n > 0 {
			least = min(least, n)
		}
	}
	if least == math.MaxInt64 {
		return 0
	}
	return int64(least)
}

// GPUMemory returns the memory in bytes of the first GPU that nvidia-smi lists; 0 if
// there is none.
func GPUMemory(ctx context.Context) int64 {
	if runtime.GOOS != "linux" {
		return 0
	}
	out, err := exec.CommandContext(ctx, "nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits").Output()
	if err != nil {
		return 0
	}
	return firstMiB(string(out))
}

// firstMiB parses the number of MiB in the first line of out and returns it in bytes.
func firstMiB(out string) int64 {
	first, _, _ := strings.Cut(out, "\n")
	mib, err := strconv.ParseInt(strings.TrimSpace(first), 10, 64)
	if err != nil {
		return 0
	}
	return mib << 20
}
