package cli

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// A screen keeps a block of lines at the end of what a terminal shows, and draws it again
// every second, so that its clocks advance without events: a compilation takes minutes. Other
// output goes above the block, through above.
//
// The cursor stays visible, in the first column below the block. So nothing has to be restored
// when the program is killed, and what a shell prints then begins on a line of its own.
type screen struct {
	w       io.Writer                                               // the terminal, without escaping of control characters
	size    func() (width, height int)                              // 0 if nothing may be drawn now
	render  func(now time.Time, width, height int) (lines []string) // at most height lines, narrower than width
	resumed chan os.Signal                                          // SIGCONT
	stop    chan struct{}
	done    sync.WaitGroup

	mu       sync.Mutex
	lines    []string  // of the block
	rendered time.Time // when they were
	fresh    time.Duration
	drawn    []int // columns of the lines that the terminal shows
	closed   bool
}

// newScreen shows a block on a stream if it is a terminal that can, and nil otherwise. A nil
// screen shows nothing. The caller must call close.
func (g *globals) newScreen(o *output, render func(now time.Time, width, height int) []string) *screen {
	size, ok := canvas(o)
	if !ok {
		return nil
	}
	resumed := make(chan os.Signal, 1)
	signal.Notify(resumed, syscall.SIGCONT)
	s := &screen{w: o.raw, size: size, render: render, resumed: resumed}
	g.show(s)
	return s
}

// show begins to show a block, above which the log is written from now on.
func (g *globals) show(s *screen) {
	g.screen, s.stop = s, make(chan struct{})
	s.done.Go(s.tick)
}

// tick draws the block every second. After the program was suspended, the terminal shows
// what the shell has written meanwhile, so a new block begins below that.
func (s *screen) tick() {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-s.resumed:
			s.mu.Lock()
			s.drawn, s.rendered = nil, time.Time{}
			s.mu.Unlock()
		case <-t.C:
		}
		s.draw()
	}
}

// A block is drawn again after leastFresh or, if it takes long, after mostPart times as long:
// large studies have thousands of events a second when they begin.
const (
	leastFresh = 100 * time.Millisecond
	mostPart   = 10
)

// draw draws the block if it is not fresh.
func (s *screen) draw() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.rendered) >= s.fresh {
		s.redraw()
	}
}

// redraw draws the block over the one that is there, in one write. The lock is held.
func (s *screen) redraw() {
	width, height := s.size()
	if s.closed || width == 0 {
		s.drawn = nil
		return
	}
	if began := time.Now(); began.Sub(s.rendered) >= s.fresh {
		s.lines, s.rendered = s.render(began, width, height-1), time.Now() // the cursor has the last line
		s.fresh = max(leastFresh, mostPart*s.rendered.Sub(began))
	}
	var b bytes.Buffer
	s.up(&b, width)
	s.drawn = s.drawn[:0]
	for _, l := range s.lines[:max(0, min(len(s.lines), height-1))] {
		fmt.Fprintf(&b, "%s\x1b[K\r\n", l)
		s.drawn = append(s.drawn, columns(l))
	}
	b.WriteString("\x1b[J")
	_, _ = s.w.Write(b.Bytes()) // a terminal that is gone shows nothing
}

// up moves the cursor to the beginning of the block. Some terminals that become narrower than a line
// wrap it, and some cut it off. So the height of such a block is not known: it stays, for lines of
// the log above it would be lost otherwise. The lock is held.
func (s *screen) up(b *bytes.Buffer, width int) {
	b.WriteByte('\r')
	if n := len(s.drawn); n > 0 && slices.Max(s.drawn) <= width {
		fmt.Fprintf(b, "\x1b[%dA", n)
	}
}

// clear removes the block. The lock is held.
func (s *screen) clear() {
	if len(s.drawn) == 0 {
		return
	}
	var b bytes.Buffer
	if width, _ := s.size(); width > 0 {
		s.up(&b, width)
		b.WriteString("\x1b[J")
	}
	_, _ = s.w.Write(b.Bytes())
	s.drawn = nil
}

// close removes the block and ends the drawing.
func (s *screen) close() {
	if s == nil {
		return
	}
	close(s.stop)
	s.done.Wait()
	if s.resumed != nil {
		signal.Stop(s.resumed)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clear()
	s.closed = true
}

// aboveScreen is a writer of whole lines, which it puts above the block of the screen.
type aboveScreen struct {
	g *globals
	w io.Writer
}

func (a *aboveScreen) Write(b []byte) (int, error) {
	if s := a.g.screen; s != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.clear()
		defer s.redraw()
	}
	return a.w.Write(b)
}

// canvas returns the size of a terminal on which a block can be drawn, as a function, because
// windows change. It is 0 while the program is in the background and the terminal belongs to
// another one. In CI and on TERM=dumb nothing is drawn.
func canvas(o *output) (size func() (width, height int), ok bool) {
	f, is := o.raw.(*os.File)
	if ci := os.Getenv("CI"); !is || !term.IsTerminal(int(f.Fd())) || os.Getenv("TERM") == "dumb" || ci != "" && ci != "false" {
		return nil, false
	}
	return func() (int, int) {
		if group, err := unix.IoctlGetInt(int(f.Fd()), unix.TIOCGPGRP); err == nil && group != unix.Getpgrp() {
			return 0, 0
		}
		width, height, err := term.GetSize(int(f.Fd()))
		if err != nil || width < 1 || height < 1 {
			return 80, 24
		}
		return width, height
	}, true
}
