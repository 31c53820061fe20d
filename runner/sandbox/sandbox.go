// Package sandbox loads a study in a child process. Loading evaluates CUE, which may run
// for ever or take all memory, and which a Go program cannot interrupt. The child process
// gives up and ends when one step takes too long or its memory grows too large.
package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/unix"

	"ablate/experiments/language"
	"ablate/runner/engine"
	"ablate/runner/launch"
	"ablate/runner/stage"
)

// Command is the hidden command of the child process, which calls [Serve]. Its arguments
// are --set PATH=VALUE for each change of the study's base, --, and the path of the
// study.
const Command = "load"

// Load loads the study at a path in a child process. Each of set is a change of the
// study's base, "path=value". Mistakes in the study are a *language.Errors.
func Load(ctx context.Context, path string, set []string) (*language.Study, error) {
	limits, err := readLimits()
	if err != nil {
		return nil, err
	}
	args := []string{Command}
	for _, s := range set {
		args = append(args, "--set", s)
	}
	cmd, err := launch.Again(ctx, append(args, "--", path)...)
	if err != nil {
		return nil, err
	}
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
		return nil, fmt.Errorf("study %s: %w", path, limits.memoryError())
	case waitErr != nil:
		return nil, fmt.Errorf("study %s: cannot be evaluated: %s", path, launch.Reason(errs.String(), waitErr))
	}
	return s, readErr
}

// Serve is the child's side of [Load]: it loads the study and writes the reply to w. When
// a limit is exceeded, it writes the reason as the reply and calls exit with the error of
// writing it. exit must end the process, because the evaluation cannot be stopped
// otherwise.
func Serve(path string, set []string, w io.Writer, exit func(error)) error {
	limits, err := readLimits()
	if err != nil {
		return err
	}
	// The garbage collector runs more often near this limit. Below it, saving time is
	// more important than saving memory.
	debug.SetMemoryLimit(int64(limits.memory / 2))
	debug.SetGCPercent(400)
	// This limit stops a process whose memory grows faster than the watchdog checks it.
	if err := limitData(limits.memory + 1<<30); err != nil {
		return fmt.Errorf("limit of memory: %w", err)
	}
	dog := &watchdog{limits: limits, computed: processTime}
	dog.alive()
	go dog.watch(func(err error) { exit(reply(w, nil, fmt.Errorf("study %s: %w", path, err))) })
	var stages []string
	for _, k := range stage.Kinds() {
		stages = append(stages, string(k))
	}
	s, err := language.Load(path, language.Options{Set: set, Stages: stages, Describe: describe, Alive: dog.alive})
	dog.reply.Lock() // from now on the watchdog cannot write a reply
	return reply(w, s, err)
}

// describe asks an engine of a study what it can do.
func describe(s *language.Study, declared language.Engine) (*language.Program, error) {
	e := engine.Of(s, declared)
	if declared.Container != "" && declared.Sandbox == engine.Declared {
		return nil, errors.New("sandbox: \"declared\" cannot wall in a container, whose processes are not ablate's: leave out sandbox, and let command limit what the container sees")
	}
	err := e.CheckWalls()
	var d *engine.Description
	if err == nil {
		d, err = e.Describe(context.Background(), engine.Cache())
	}
	if err != nil { // the mistake names the engine
		return nil, errors.New(strings.TrimPrefix(err.Error(), "engine "+declared.Name+": "))
	}
	return d.Program(), nil
}

// limitData lowers the limit of this process's data segment to n bytes. It keeps a limit
// that is lower already.
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
