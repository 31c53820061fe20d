// Package failure has the classes of failures of actions, and the rule of each: how often
// it is tried, and whether later runs try it again.
package failure

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"ablate/runner/launch"
	"ablate/runner/store"
)

// Class is a kind of failure of an action.
type Class string

// The classes of failures.
const (
	OutOfMemory Class = "out of memory" // of the machine, its control group or the device
	Diverged    Class = "diverged"      // the loss became infinite or NaN: a result, and no fault
	Timeout     Class = "timeout"       // it took longer than --timeout allows
	Hung        Class = "hung"          // the worker sent nothing for too long
	Lost        Class = "lost"          // the worker was killed, or its device was lost
	Crash       Class = "crash"         // the worker ended by a fault of the program or a library
	DiskFull    Class = "disk full"     // or the quota was used up
	Setup       Class = "setup"         // the worker, the backend, a folder or the disk cannot be used
	StageError  Class = "error"         // the stage returned an error
)

// A Rule says how often an action is attempted in one run, and whether the failure is final
// after that. The next run does not try a final failure, until 'ablate retry' asks for it.
type Rule struct {
	Attempts int
	Final    Finality
}

// Finality says whether later runs try an action again.
type Finality int

// The kinds of finality.
const (
	Again  Finality = iota // the next run tries it again: the cause lies outside the action
	Build                  // another build of the program tries it again
	Always                 // only 'ablate retry' lets it be tried again
)

// Rules are the rules of the classes. A preempted or interrupted attempt is no failure: it
// has no rule, and is always repeated.
var Rules = map[Class]Rule{
	OutOfMemory: {1, Always}, // the same action needs the same memory
	Diverged:    {1, Always}, // the same training gives the same numbers
	Timeout:     {1, Always}, // it goes on from its saved state if it is retried
	Hung:        {2, Always},
	Lost:        {3, Again},
	Crash:       {2, Build},
	DiskFull:    {1, Again},
	Setup:       {1, Again},
	StageError:  {1, Build},
}

// Names lists the classes for people.
func Names() string {
	var names []string
	for c := range Rules {
		names = append(names, strconv.Quote(string(c)))
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// Final reports whether a run with a build of the program leaves a recorded failure alone.
func Final(f store.Failure, build string) bool {
	switch Rules[Class(f.Class)].Final {
	case Always:
		return true
	case Build:
		return f.Build == build
	default:
		return false
	}
}

// EarlierError is the error of an action whose failure in an earlier run is final.
type EarlierError struct{ store.Failure }

func (e *EarlierError) Error() string {
	return fmt.Sprintf("%s (%s, on %s; 'ablate retry' tries it again)", e.Failure.Error, e.Class, e.Time.Local().Format("2006-01-02 15:04"))
}

// TimeoutError is the cause of the context of an action that took too long.
type TimeoutError struct{ Limit time.Duration }

func (e TimeoutError) Error() string {
	return fmt.Sprintf("it took longer than %v (--timeout)", e.Limit)
}

// Texts by which libraries report that memory was short, or a device lost.
var (
	outOfMemory = regexp.MustCompile(`RESOURCE_EXHAUSTED|(?i:out of memory|cannot allocate memory|failed to allocate)|std::bad_alloc|CUDA_ERROR_OUT_OF_MEMORY`)
	deviceLost  = regexp.MustCompile(`CUDA_ERROR_|(?i:device (is |was )?lost|\bXid\b|fell off the bus|uncorrectable ECC)`)
)

// Of returns the class of the error of an attempt.
func Of(err error) Class {
	var earlier *EarlierError
	if errors.As(err, &earlier) {
		return Class(earlier.Class)
	}
	if errors.As(err, new(TimeoutError)) {
		return Timeout
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return DiskFull
	}
	if slices.ContainsFunc([]syscall.Errno{syscall.EROFS, syscall.EACCES, syscall.EIO, syscall.ESTALE}, func(e syscall.Errno) bool { return errors.Is(err, e) }) {
		return Setup
	}
	class := launch.Class(err)
	switch class {
	case launch.ClassMemory:
		return OutOfMemory
	case string(Diverged), string(Setup):
		return Class(class)
	case launch.ClassSilent:
		return Hung
	case launch.ClassStart:
		return Setup
	}
	text := err.Error() + "\n" + launch.Diagnostics(err).Stderr
	switch {
	case outOfMemory.MatchString(text):
		return OutOfMemory
	case class == launch.ClassKilled, deviceLost.MatchString(text):
		return Lost
	case class == launch.ClassCrash, class == launch.ClassPanic, class == launch.ClassProtocol:
		return Crash
	}
	if errors.As(err, new(*launch.RemoteError)) {
		return StageError
	}
	return Setup // an error of the store
}
