package sandbox

import (
	"fmt"
	"os"
	"strconv"
	"time"
)

// Environment variables that override the limits.
const (
	envTimeout = "ABLATE_LOAD_TIMEOUT"
	envMemory  = "ABLATE_LOAD_MEMORY"
)

// limits are the limits of loading a study.
type limits struct {
	step   time.Duration // of one step, which is evaluating the package or one point of a sweep
	memory uint64        // bytes
}

func readLimits() (limits, error) {
	l := limits{20 * time.Second, 2 << 30}
	if s := os.Getenv(envTimeout); s != "" {
		d, err := time.ParseDuration(s)
		if err != nil || d <= 0 {
			return l, fmt.Errorf("%s is %q: must be a duration such as 60s", envTimeout, s)
		}
		l.step = d
	}
	if s := os.Getenv(envMemory); s != "" {
		n, err := strconv.ParseUint(s, 10, 40)
		if err != nil || n == 0 {
			return l, fmt.Errorf("%s is %q: must be a number of MiB", envMemory, s)
		}
		l.memory = n << 20
	}
	return l, nil
}

func (l limits) memoryError() error {
	return fmt.Errorf("loading it takes more than %d MiB of memory; simplify it, or raise %s (MiB)", l.memory>>20, envMemory)
}
