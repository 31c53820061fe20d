package cli

import (
	"time"

	"github.com/rs/zerolog"

	"ablate/runner/layout"
)

// counting shows the progress of work on many things of one kind: on a terminal a status
// line, otherwise a log line every quiet.
type counting struct{ *progress }

// newCounting starts to show the progress of what is described. The caller must call close.
func (g *globals) newCounting(log *zerolog.Logger, what string) counting {
	p := g.newProgress(log, layout.Empty())
	p.mu.Lock()
	defer p.mu.Unlock()
	p.what, p.shown = what, p.start
	return counting{p}
}

// at shows that so many things are done. Several goroutines may call it.
func (c counting) at(done, total int) {
	c.mu.Lock()
	c.finished, c.total = done, total
	late := time.Since(c.shown) >= quiet
	if late {
		c.shown = time.Now()
	}
	c.mu.Unlock() // the log takes the lock to clear the line while it writes
	if late && !c.tty {
		c.log.Info().Int("finished", done).Int("of", total).Msg(c.what)
	}
}
