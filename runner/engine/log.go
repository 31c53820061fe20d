package engine

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	logHead = 1 << 20 // bytes of a log's beginning that are kept
	logTail = 4 << 20 // and of its end
	logLine = 64 << 10
)

// A log keeps the beginning and the end of the output of a process. Of a line that rewrites
// itself with carriage returns, as progress bars do, it keeps the last state.
type log struct {
	mu     sync.Mutex
	file   *os.File // nil: nothing is written
	head   int      // bytes of the beginning
	recent []byte   // the end, at most 2 × logTail
	cut    int      // bytes that were dropped between both
	line   []byte   // the line that has not ended
	rewind bool     // the line ended with a carriage return
	last   time.Time
	closed sync.WaitGroup
	pipes  []io.Closer
	other  *log // also gets what is written: the log of a worker's task
}

// newLog returns a log that writes to a file, which may be nil.
func newLog(file *os.File) *log { return &log{file: file, last: time.Now()} }

// read reads the output of a process until all processes that have it are gone.
func (l *log) read(r io.ReadCloser) {
	l.pipes = append(l.pipes, r)
	l.closed.Go(func() {
		defer r.Close()
		b := make([]byte, 32<<10)
		for {
			n, err := r.Read(b)
			l.write(b[:n])
			if err != nil {
				return
			}
		}
	})
}

// also lets another log have what is written from now on.
func (l *log) also(other *log) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.other = other
}

func (l *log) write(b []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.other != nil {
		l.other.write(b)
	}
	if len(b) > 0 {
		l.last = time.Now()
	}
	for _, c := range b {
		switch {
		case c == '\n':
			l.rewind = false
			l.flush()
		case c == '\r':
			l.rewind = true
		default:
			if l.rewind {
				l.line, l.rewind = l.line[:0], false
			}
			if l.line = append(l.line, c); len(l.line) == logLine {
				l.flush()
			}
		}
	}
}

// flush adds the line to the log. The lock is held.
func (l *log) flush() {
	line := append(l.line, '\n')
	l.line = l.line[:0]
	if l.head < logHead {
		l.head += len(line)
		if l.file != nil {
			_, _ = l.file.Write(line) // a log that cannot be written must not end a training
		}
	}
	l.recent = append(l.recent, line...)
	if over := len(l.recent) - logTail; over > logTail {
		l.recent = append(l.recent[:0], l.recent[over:]...)
		l.cut += over
	}
}

// quiet returns how long nothing was written.
func (l *log) quiet(now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return now.Sub(l.last)
}

// close writes the end of the log. All processes of the attempt must have ended; one that has
// cleared its environment may still hold the pipe, which is not waited for.
func (l *log) close() {
	read := make(chan struct{})
	go func() { l.closed.Wait(); close(read) }()
	select {
	case <-read:
	case <-time.After(time.Second):
		for _, r := range l.pipes {
			r.Close()
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.line) > 0 {
		l.flush()
	}
	if l.file == nil {
		return
	}
	total := l.cut + len(l.recent)
	from := max(l.head, total-logTail, l.cut)
	if from > l.head {
		fmt.Fprintf(l.file, "[%d bytes are left out]\n", from-l.head)
	}
	_, _ = l.file.Write(l.recent[from-l.cut:])
	_ = l.file.Close()
	l.file = nil
}

// end returns the last bytes of the log, at most n.
func (l *log) end(n int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := append(bytes.Clone(l.recent), l.line...)
	return string(bytes.ToValidUTF8(b[max(0, len(b)-n):], []byte("?")))
}

// tail returns the last lines for a message: ": LINE", or several lines below one another;
// empty if there are none.
func (l *log) tail() string {
	time.Sleep(time.Millisecond) // what was just written arrives
	l.mu.Lock()
	defer l.mu.Unlock()
	text := string(bytes.ToValidUTF8(append(bytes.Clone(l.recent), l.line...), []byte("?")))
	lines := strings.Split(strings.TrimSpace(text), "\n")
	const most = 12
	lines = lines[max(0, len(lines)-most):]
	if len(lines) == 1 {
		if lines[0] == "" {
			return ""
		}
		return ": " + lines[0]
	}
	return "; its last lines:\n  " + strings.Join(lines, "\n  ")
}
