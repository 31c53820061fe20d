package launch

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestServe(t *testing.T) {
	echo := func(_ context.Context, t Task, progress func(Progress)) (json.RawMessage, error) {
		progress(Progress{Step: 1})
		return t.Params, nil
	}
	const hello = `{"hello":{"protocol":4}}` + "\n"
	for name, c := range map[string]struct{ in, out, err string }{
		"nothing": {"", hello, ""},
		"two": {
			`{"action":"a","stage":"s","params":1}` + "\n" + `{"action":"b","stage":"s"}` + "\n",
			hello + `{"progress":{"step":1}}` + "\n" + `{"result":{"values":1}}` + "\n" + `{"progress":{"step":1}}` + "\n" + `{"result":{}}` + "\n", "",
		},
		"garbage":  {"hallo\n", hello, `worker: protocol: "hallo"`},
		"unknown":  {`{"stage":"s","colour":1}` + "\n", hello, "worker: protocol: "},
		"no stage": {`{"action":"a"}` + "\n", hello, "worker: protocol: a task without a stage"},
		"torn":     {`{"action":"a"`, hello, "worker: unexpected EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			in, feed := io.Pipe()
			var out bytes.Buffer
			answers := &lineCounter{w: &out, want: strings.Count(c.out, "\n")}
			go func() { // one task at a time, then the end, as a pool does
				for line := range strings.Lines(c.in) {
					answers.await(1 + 2*strings.Count(c.in[:strings.Index(c.in, line)], "\n"))
					io.WriteString(feed, line)
				}
				answers.await(answers.want)
				feed.Close()
			}()
			err := Serve(t.Context(), in, answers, echo, ServeOptions{})
			if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.HasPrefix(err.Error(), c.err)) {
				t.Errorf("got %v, want %q", err, c.err)
			}
			if d := cmp.Diff(c.out, out.String()); d != "" {
				t.Errorf("output mismatch (-want +got):\n%s", d)
			}
		})
	}
}

// lineCounter lets a test wait until so many lines were written.
type lineCounter struct {
	w     *bytes.Buffer
	want  int
	lines lockedBuffer
}

func (l *lineCounter) Write(p []byte) (int, error) {
	l.lines.Write(p)
	return l.w.Write(p)
}

func (l *lineCounter) await(n int) {
	for strings.Count(l.lines.String(), "\n") < n {
		time.Sleep(time.Millisecond)
	}
}

// TestServeOrphaned: when the pool ends, the context of the handler ends, and Serve
// returns even if the handler ignores it.
func TestServeOrphaned(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	for name, wait := range map[string]func(context.Context){
		"listens": func(ctx context.Context) { <-ctx.Done() },
		"deaf":    func(context.Context) { <-release },
	} {
		in, feed := io.Pipe()
		go io.WriteString(feed, `{"stage":"s"}`+"\n")
		began := time.Now()
		heard := make(chan error, 1)
		err := Serve(t.Context(), in, io.Discard, func(ctx context.Context, _ Task, _ func(Progress)) (json.RawMessage, error) {
			feed.Close()
			wait(ctx)
			heard <- context.Cause(ctx)
			return nil, context.Cause(ctx)
		}, ServeOptions{})
		if !errors.Is(err, errOrphaned) || time.Since(began) > 2*time.Second {
			t.Errorf("%s: got %v after %v", name, err, time.Since(began))
		}
		if name == "listens" {
			select { // before Serve has returned, not by its return
			case err := <-heard:
				if !errors.Is(err, errOrphaned) {
					t.Errorf("the handler was told %v", err)
				}
			default:
				t.Error("the handler was not waited for")
			}
		}
	}
}

func TestServeCancelled(t *testing.T) {
	in, feed := io.Pipe()
	defer feed.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("terminated")
	go io.WriteString(feed, `{"stage":"s"}`+"\n")
	err := Serve(ctx, in, io.Discard, func(ctx context.Context, _ Task, _ func(Progress)) (json.RawMessage, error) {
		cancel(cause)
		<-ctx.Done()
		return nil, ctx.Err()
	}, ServeOptions{})
	if !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
}

// TestLateProgress: progress of a goroutine that outlives its task is not sent.
func TestLateProgress(t *testing.T) {
	var out lockedBuffer
	s := &server{out: &out}
	var late func(Progress)
	s.handler = func(_ context.Context, _ Task, progress func(Progress)) (json.RawMessage, error) {
		late = progress
		return nil, nil
	}
	if err := s.do(t.Context(), Task{Stage: "s"}); err != nil {
		t.Fatal(err)
	}
	late(Progress{Step: 9})
	if got := out.String(); got != `{"result":{}}`+"\n" {
		t.Errorf("got %q", got)
	}
}

func TestLastWords(t *testing.T) {
	for in, want := range map[string]string{
		"":         "",
		"a\nb\n\n": "b",
		"I1 noise\npanic: nil\n\ngoroutine 1 [running]:\nmain.main()\n\t/x.go:1\n":                     "panic: nil",
		"terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc\n": "terminate called after throwing an instance of 'std::bad_alloc'",
		"I1 noise\nF1126 10:00:00.1 77 pjrt.cc:9] Check failed: ok\nSIGABRT: abort\nPC=0x1\n":          "F1126 10:00:00.1 77 pjrt.cc:9] Check failed: ok",
		"SIGABRT: abort\nPC=0x1 m=0\n\ngoroutine 0 gp=0x1 m=0:\n\t/x.c:1\n\nrax    0x0\n":              "SIGABRT: abort",
		"no device\ngoroutine 7 [running]:\nmain.main()\n\t/x.go:1 +0x1\n":                             "no device",
		"bad \xff byte":          "bad ? byte",
		strings.Repeat("é", 400): strings.Repeat("é", 300) + "…",
	} {
		if got := lastWords(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
	tl := &tail{}
	tl.Write(bytes.Repeat([]byte("x"), tailSize))
	tl.Write([]byte("end"))
	if s := tl.String(); len(s) != tailSize || !strings.HasSuffix(s, "xend") {
		t.Errorf("kept %d bytes ending in %q", len(s), s[len(s)-8:])
	}
}

// FuzzReadMessage: any output of a worker is a message, an error, or the end of the
// stream. A message that is read and written is read again as the same.
func FuzzReadMessage(f *testing.F) {
	for _, s := range []string{
		`{"hello":{"protocol":4}}`, `{"progress":{"step":1,"total":2,"text":"x"}}`, `{"result":{"values":[1,2]}}`,
		`{"result":{"error":{"class":"crash","msg":"x"}}}`, `{"result":{},"hello":{}}`, `{}`, `null`, `{"result":{}} {}`, "", "\n\n",
	} {
		f.Add([]byte(s + "\n"))
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bufio.NewReader(bytes.NewReader(data))
		for range bytes.Count(data, []byte("\n")) + 1 {
			m, err := readMessage(r)
			if err != nil {
				if errors.Is(err, io.EOF) {
					return
				}
				continue
			}
			var line bytes.Buffer
			if err := writeLine(&line, m); err != nil {
				t.Fatalf("%+v cannot be written: %v", m, err)
			}
			again, err := readMessage(bufio.NewReader(&line))
			if err != nil {
				t.Fatalf("%+v cannot be read again: %v", m, err)
			}
			var one, two bytes.Buffer
			writeLine(&one, m)
			writeLine(&two, again)
			if d := cmp.Diff(one.String(), two.String()); d != "" {
				t.Errorf("message mismatch (-want +got):\n%s", d)
			}
		}
	})
}

// FuzzReadTask: any input of a worker is a task with a stage, an error, or the end of the
// stream.
func FuzzReadTask(f *testing.F) {
	f.Add([]byte(`{"action":"a","stage":"s","params":{"x":1},"inputs":{"a":"b"},"out":"/x"}` + "\n"))
	f.Add([]byte(`{"stage":""}` + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		task, err := readTask(bufio.NewReader(bytes.NewReader(data)))
		if err == nil && task.Stage == "" {
			t.Error("a task without a stage")
		}
	})
}
