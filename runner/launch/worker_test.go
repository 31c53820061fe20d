package launch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// roleVar is the environment variable that makes the test binary a worker, or the parent
// of a worker.
const roleVar = "ABLATE_LAUNCH_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleVar) {
	case "worker":
		err := ServeStdio(context.Background(), perform, ServeOptions{Build: os.Getenv("BUILD"), Grace: 10 * time.Second})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	case "parent":
		parent()
	case "tied":
		runtime.LockOSThread()
		child := exec.Command("sleep", "60")
		Tie(child)
		if err := child.Start(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(child.Process.Pid)
		child.Wait()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// perform is the handler of the workers of these tests. The stage of a task selects what
// it does.
func perform(ctx context.Context, t Task, progress func(Progress)) (json.RawMessage, error) {
	value := func(v any) (json.RawMessage, error) { return json.Marshal(v) }
	progress(Progress{Text: fmt.Sprint(os.Getpid())})
	switch t.Stage {
	case "echo":
		return value(t)
	case "steps":
		for i := range 5 {
			progress(Progress{Step: i + 1, Total: 5, Text: "loss 0.5"})
		}
		return nil, nil
	case "fail":
		return nil, errors.New("the reward has no labels")
	case "fail-class":
		return nil, fmt.Errorf("step 7: %w", WithClass("memory", errors.New("out of device memory")))
	case "panic":
		panic(fmt.Errorf("shapes differ"))
	case "ticks":
		for i := range 50 {
			progress(Progress{Step: i + 1, Total: 50})
			time.Sleep(50 * time.Millisecond)
		}
	case "mute": // says nothing until it is ended
		fmt.Fprintln(os.Stderr, "waiting for a lock")
		select {}
	case "stack":
		return nil, &panicError{"shapes differ", "goroutine 7:\nmain.build()"}
	case "chatter":
		fmt.Fprintln(os.Stderr, string(t.Params))
		return nil, errors.New("no more")
	case "noise":
		fmt.Println(`{"result":{"values":"false"}}`)
		for range 100 {
			unix.Write(1, []byte("klog I1124 not a message\n"))
		}
		n, _ := os.Stdin.Read(make([]byte, 8)) // empty now, and not ours
		return value(n)
	case "exit":
		fmt.Fprintln(os.Stderr, "cannot open libcuda")
		os.Exit(3)
	case "crash":
		// What the Go runtime prints when it gives up holds the reason in its first line.
		fmt.Fprint(os.Stderr, "fatal error: unexpected signal\n\ngoroutine 1 [running]:\nmain.f()\n\t/x/y.go:3 +0x1\n")
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case "sleep":
		<-ctx.Done()
		return nil, context.Cause(ctx)
	case "saves": // takes a while to save its state when it is asked to stop
		signal.Ignore(syscall.SIGTERM) // its program handles the signal; the end of its input ends ctx
		progress(Progress{Text: "ready"})
		<-ctx.Done()
		time.Sleep(700 * time.Millisecond)
		return nil, errors.Join(os.WriteFile(t.State, []byte("saved"), 0o666), context.Cause(ctx))
	case "deaf":
		signal.Ignore(syscall.SIGTERM)
		progress(Progress{Text: "deaf"})
		time.Sleep(time.Minute)
	case "frozen": // can do nothing, not even end
		progress(Progress{Text: "frozen"})
		syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		select {}
	case "family": // a child that hears nothing
		child := exec.Command("sh", "-c", `trap "" TERM; echo; n=0; while [ $n -lt 60 ]; do sleep 1; n=$((n+1)); done`)
		out, err := child.StdoutPipe()
		if err == nil {
			err = child.Start()
		}
		if err == nil {
			_, err = out.Read(make([]byte, 1))
		}
		if err != nil {
			return nil, err
		}
		progress(Progress{Text: fmt.Sprint(child.Process.Pid)})
		<-ctx.Done()
	case "pinned":
		progress(Progress{Text: fmt.Sprint(allowedCPUs())})
		<-ctx.Done()
	case "cpus":
		return value(allowedCPUs())
	case "grant":
		return value(fmt.Sprintf("threads %s, CPUs %v, GPUs %q, share %s", os.Getenv("NPROC"), allowedCPUs(), os.Getenv("CUDA_VISIBLE_DEVICES"), os.Getenv("ABLATE_WORKER_GPU_SHARE")))
	case "env":
		return value(os.Getenv("NPROC"))
	case "not-json":
		return json.RawMessage("{"), nil
	}
	return nil, nil
}

// parent starts a worker on a task without end, and prints the worker's number.
func parent() {
	o := Options{CPUs: 1, Command: []string{os.Args[0]}, Env: []string{roleVar + "=worker"}}
	if os.Args[1] == "stubborn" { // does not mind that its input has ended
		o.Command = []string{"sh", "-c", `echo '{"hello":{"protocol":4}}'; read x; echo '{"progress":{"step":0,"text":"'$$'"}}'; n=0; while [ $n -lt 60 ]; do sleep 1; n=$((n+1)); done`}
	}
	o.space, o.Pin = os.Getenv("SPACE"), os.Getenv("SPACE") != ""
	o.Silence, _ = time.ParseDuration(os.Getenv("SILENCE"))
	p, err := NewPool(o)
	if err == nil {
		_, err = p.Do(context.Background(), Task{Stage: os.Args[1]}, one, "", func(m Progress) { fmt.Println(m.Text) })
	}
	if err == nil {
		fmt.Println("done")
		os.Exit(0)
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// TestAsked: a worker that somebody asks to stop says that it was killed, and not that its task
// failed.
func TestAsked(t *testing.T) {
	cause := errors.New("interrupted")
	ctx, stop := context.WithCancelCause(t.Context())
	defer stop(nil)
	for _, c := range []struct {
		stop  bool
		err   error
		class string
	}{{false, cause, ClassFailed}, {true, fmt.Errorf("finetune: %w", cause), ClassKilled}, {true, errors.New("no labels"), ClassFailed}} {
		if c.stop {
			stop(cause)
		}
		var out strings.Builder
		s := &server{out: &out, handler: func(context.Context, Task, func(Progress)) (json.RawMessage, error) { return nil, c.err }}
		if err := s.do(ctx, Task{Stage: "finetune"}); err != nil {
			t.Fatal(err)
		}
		var m message
		if err := json.Unmarshal([]byte(out.String()), &m); err != nil || m.Result.Err.Class != c.class {
			t.Errorf("%v: %s, %v, want class %s", c.err, out.String(), err, c.class)
		}
	}
}
