package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"ablate/experiments/language"
	"ablate/runner/launch"
)

// A study is a program: CUE may compute without end or take all memory, and
// cannot be stopped from within. So a study is loaded in a child process, which
// gives up when a step of the work takes too long or memory grows too large.
const (
	envLoadTimeout = "ABLATE_LOAD_TIMEOUT"
	envLoadMemory  = "ABLATE_LOAD_MEMORY"
)

// loadLimits are the limits of loading a study.
type loadLimits struct {
	step   time.Duration // of one step: evaluating the package, or one point of a sweep
	memory uint64        // bytes
}

func readLoadLimits() (loadLimits, error) {
	l := loadLimits{20 * time.Second, 2 << 30}
	if s := os.Getenv(envLoadTimeout); s != "" {
		d, err := time.ParseDuration(s)
		if err != nil || d <= 0 {
			return l, fmt.Errorf("%s is %q: want a duration such as 60s", envLoadTimeout, s)
		}
		l.step = d
	}
	if s := os.Getenv(envLoadMemory); s != "" {
		n, err := strconv.ParseUint(s, 10, 40)
		if err != nil || n == 0 {
			return l, fmt.Errorf("%s is %q: want a number of MiB", envLoadMemory, s)
		}
		l.memory = n << 20
	}
	return l, nil
}

func (l loadLimits) memoryError() error {
	return fmt.Errorf("loading it takes more than %d MiB of memory; simplify it, or raise %s (MiB)", l.memory>>20, envLoadMemory)
}

// loadStudy reads a study in a child process.
func loadStudy(ctx context.Context, path string, set []string) (*language.Study, error) {
	if _, err := readLoadLimits(); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := []string{"load"}
	for _, s := range set {
		args = append(args, "--set", s)
	}
	cmd := exec.CommandContext(ctx, self, append(args, "--", path)...)
	launch.Tie(cmd)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("study %s: cannot start the process that loads it: %w", path, err)
	}
	s, readErr := language.ReadReply(out)
	if _, err := io.Copy(io.Discard, out); err != nil && readErr == nil {
		readErr = err
	}
	waitErr := cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case waitErr != nil && strings.Contains(errs.String(), "out of memory"):
		limits, _ := readLoadLimits()
		return nil, fmt.Errorf("study %s: %w", path, limits.memoryError())
	case waitErr != nil:
		return nil, fmt.Errorf("study %s: cannot be evaluated: %s", path, reason(errs.String(), waitErr))
	}
	return s, readErr
}

// newLoad is the hidden command of the child that loads a study.
func newLoad(g *globals) *cobra.Command {
	var f studyFlags
	cmd := &cobra.Command{
		Use: "load STUDY", Short: "Load a study (started by ablate itself)", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			limits, err := readLoadLimits()
			if err != nil {
				return err
			}
			// The collector works harder near the limit; away from it, memory is
			// cheaper than time.
			debug.SetMemoryLimit(int64(limits.memory / 2))
			debug.SetGCPercent(400)
			// For what grows faster than the watchdog looks.
			if err := limitData(limits.memory + 1<<30); err != nil {
				return fmt.Errorf("limit of memory: %w", err)
			}
			w := &watchdog{limits: limits}
			w.alive()
			go w.watch(func(err error) {
				// To the writer of the reply, which is nobody else's any more.
				os.Exit(exitCode(context.Background(), reply(g.stdout.raw, nil, fmt.Errorf("study %s: %w", args[0], err))))
			})
			s, err := language.Load(args[0], language.Options{Set: f.set, Alive: w.alive})
			w.done.Lock()
			return reply(g.stdout.raw, s, err)
		},
	}
	f.add(cmd)
	return cmd
}

// limitData lowers the limit of this process's data to n bytes, or leaves it where
// it is lower already.
func limitData(n uint64) error {
	var have unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_DATA, &have); err != nil {
		return err
	}
	want := min(n, have.Cur, have.Max)
	return unix.Setrlimit(unix.RLIMIT_DATA, &unix.Rlimit{Cur: want, Max: want})
}

func reply(w io.Writer, s *language.Study, err error) error {
	var b bytes.Buffer
	if err := language.WriteReply(&b, s, err); err != nil {
		return err
	}
	_, err = w.Write(b.Bytes())
	return err
}

// watchdog gives up on work that takes too long or too much. Its clock is its own:
// while the machine sleeps, or the process is stopped, hardly any time goes by.
type watchdog struct {
	limits loadLimits
	clock  atomic.Int64 // nanoseconds that this process was awake
	last   atomic.Int64 // clock when the work was last known to go on
	done   sync.Mutex   // whoever has it writes the reply
}

func (w *watchdog) alive() { w.last.Store(w.clock.Load()) }

// tick is how often the watchdog looks; a look that comes much later than that was
// kept from coming, and counts as pause at the most.
const tick, pause = 10 * time.Millisecond, time.Second

// awake is how much of the time between two looks the process was awake, at most.
func awake(before, now time.Time) time.Duration { return max(0, min(now.Sub(before), pause)) }

func (w *watchdog) watch(giveUp func(error)) {
	memory := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	before := time.Now()
	for now := range time.Tick(tick) {
		w.clock.Add(int64(awake(before, now)))
		before = now
		metrics.Read(memory)
		used := memory[0].Value.Uint64() - memory[1].Value.Uint64()
		var err error
		switch {
		case used > w.limits.memory:
			err = w.limits.memoryError()
		case time.Duration(w.clock.Load()-w.last.Load()) > w.limits.step:
			err = fmt.Errorf("one step of its evaluation took longer than %s; simplify it (disjunctions that refer to themselves, nested comprehensions, very long lists), or raise %s", w.limits.step, envLoadTimeout)
		}
		if err != nil && w.done.TryLock() {
			giveUp(err)
			return
		}
	}
}
