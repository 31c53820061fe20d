package cli

import (
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// counting shows the progress of work on many things of one kind: on a terminal a line,
// otherwise a log line every quiet.
type counting struct {
	log    *zerolog.Logger
	what   string
	screen *screen
	start  time.Time

	mu          sync.Mutex
	done, total int
	shown       time.Time
}

// newCounting starts to show the progress of what is described. The caller must call close.
func (g *globals) newCounting(log *zerolog.Logger, what string) *counting {
	c := &counting{log: log, what: what, start: time.Now(), shown: time.Now()}
	c.screen = g.newScreen(g.stderr, c.lines)
	return c
}

// lines returns the line of a terminal.
func (c *counting) lines(now time.Time, width, _ int) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.total == 0 {
		return nil
	}
	l := line{{c.what, boldStyle}, {fmt.Sprintf("  %d of %d · %s", c.done, c.total, clock(now.Sub(c.start))), plainStyle}}
	return []string{l.cut(width - 1).format(colours())}
}

// at shows that so many things are done. Several goroutines may call it.
func (c *counting) at(done, total int) {
	c.mu.Lock()
	c.done, c.total = done, total
	late := c.screen == nil && time.Since(c.shown) >= quiet
	if late {
		c.shown = time.Now()
	}
	c.mu.Unlock()
	if late {
		c.log.Info().Int("finished", done).Int("of", total).Msg(c.what)
	}
	c.screen.draw()
}

func (c *counting) close() { c.screen.close() }
