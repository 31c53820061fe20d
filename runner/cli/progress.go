package cli

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"ablate/runner/layout"
	"ablate/runner/phrase"
	"ablate/runner/run"
)

// progress shows the progress of a run: on a terminal a status line that is redrawn,
// otherwise a log line for every change, and regular log lines during long work.
type progress struct {
	w     io.Writer // stderr, without escaping of control characters
	width int
	tty   bool
	log   *zerolog.Logger
	start time.Time
	what  string // what is counted; empty for a run

	mu              sync.Mutex
	running         []*layout.Action // in the order of their starts
	step            map[*layout.Action]string
	began           map[*layout.Action]time.Time
	finished, total int
	cost, done      float64 // seconds on one core: of all actions that are not cached, and of those that are done
	shown           time.Time
	drawn           bool
	stop            chan struct{}
}

// quiet is the least time between two log lines about long work.
const quiet = 15 * time.Second

// newProgress starts to show the progress of a run of todo. The caller must call close.
func (g *globals) newProgress(log *zerolog.Logger, todo *layout.Graph) *progress {
	p := &progress{w: g.stderr.raw, log: log, start: time.Now(), step: map[*layout.Action]string{}, began: map[*layout.Action]time.Time{}, total: len(todo.Actions), stop: make(chan struct{})}
	p.width, p.tty = terminal(g.stderr)
	for _, a := range todo.Actions {
		p.cost += a.Cost
	}
	if p.tty {
		g.line = p
		go p.tick()
	}
	return p
}

// tick redraws the line every second, so that its clock advances without events: a
// compilation takes half a minute.
func (p *progress) tick() {
	for t := time.NewTicker(time.Second); ; {
		select {
		case <-p.stop:
			t.Stop()
			return
		case <-t.C:
			p.mu.Lock()
			p.draw()
			p.mu.Unlock()
		}
	}
}

// close removes the status line.
func (p *progress) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.stop)
	p.clear()
	p.tty = false
}

// event shows one event of the run. Several goroutines may call it.
func (p *progress) event(e run.Event) {
	p.mu.Lock()
	if e.Total > 0 {
		p.finished, p.total = e.Finished, e.Total
	}
	now := time.Now()
	began := p.began[e.Action]
	switch e.Kind {
	case run.Started:
		p.running = append(p.running, e.Action)
		p.began[e.Action] = now
	case run.Working:
		text := e.Progress.Text
		if e.Progress.Total > 0 {
			text = strings.TrimSpace(fmt.Sprintf("%d/%d %s", e.Progress.Step, e.Progress.Total, text))
		}
		p.step[e.Action] = text
	case run.Cached, run.Finished, run.Failed, run.Skipped:
		for i, a := range p.running {
			if a == e.Action {
				p.running = append(p.running[:i], p.running[i+1:]...)
				break
			}
		}
		if e.Kind == run.Cached {
			p.cost -= e.Action.Cost
		} else {
			p.done += e.Action.Cost
		}
	}
	at, late := p.step[e.Action], now.Sub(p.shown) >= quiet
	if e.Kind == run.Working && late {
		p.shown = now
	}
	finished, total := p.finished, p.total
	p.mu.Unlock() // the log takes the lock to clear the line while it writes

	about := func(l *zerolog.Event) *zerolog.Event {
		return l.Str("stage", string(e.Action.Kind)).Str("arm", e.Action.Rows()).Str("action", e.Action.Name.Short())
	}
	switch {
	case e.Kind == run.Started && !p.tty:
		about(p.log.Info()).Msg("started")
	case e.Kind == run.Elsewhere:
		about(p.log.Info()).Msg("another process computes it; waiting")
	case e.Kind == run.Working && !p.tty && late:
		about(p.log.Info()).Str("at", at).Int("finished", finished).Int("of", total).Msg("working")
	case e.Kind == run.Cached:
		about(p.log.Debug()).Bool("hit", true).Msg("cached")
	case e.Kind == run.Finished:
		about(p.log.Info()).Str("took", took(now.Sub(began))).Int("finished", finished).Int("of", total).Msg("done")
	case e.Kind == run.Failed:
		about(p.log.Error()).Err(e.Err).Msg("failed")
	case e.Kind == run.Skipped:
		about(p.log.Warn()).Err(e.Err).Msg("skipped: its input failed")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.draw()
}

// draw writes the status line of a terminal. The lock is held.
func (p *progress) draw() {
	if !p.tty || p.total == 0 {
		return
	}
	since := time.Since(p.start)
	head := strings.TrimSpace(fmt.Sprintf("%s %d/%d  %s", p.what, p.finished, p.total, since.Truncate(time.Second)))
	// The estimate is from the cost that is done. It is useless before a tenth of the
	// cost is done.
	if p.done > p.cost/10 && p.done < p.cost {
		head += fmt.Sprintf("  ~%s left", phrase.Seconds(since.Seconds()/p.done*(p.cost-p.done)))
	}
	parts := []string{head}
	for _, a := range p.running {
		parts = append(parts, strings.TrimSpace(fmt.Sprintf("%s %s", a.Label(), p.step[a])))
	}
	line := plainText(strings.Join(parts, "  ·  "))
	if r := []rune(line); len(r) >= p.width {
		line = string(r[:p.width-1])
	}
	fmt.Fprintf(p.w, "\r\x1b[K%s", line)
	p.drawn = true
}

// clear removes the status line. The lock is held.
func (p *progress) clear() {
	if p.tty && p.drawn {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.drawn = false
	}
}

// aboveLine is a writer of log lines, which it puts above the status line.
type aboveLine struct {
	g *globals
	w io.Writer
}

func (a *aboveLine) Write(b []byte) (int, error) {
	if p := a.g.line; p != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.clear()
		defer p.draw()
	}
	return a.w.Write(b)
}

// took formats a duration for people: 3.2s, 1m10s.
func took(d time.Duration) string {
	if d < 10*time.Second {
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// fetchBar returns a function that shows the progress of the plugin's download, in bytes.
func (g *globals) fetchBar() func(done, total int64) {
	const what = "fetching the XLA plugin for the CPU, once"
	_, tty := terminal(g.stderr)
	var shown time.Time
	last := -1
	return func(done, total int64) {
		if total <= 0 {
			return
		}
		percent := int(100 * done / total)
		switch {
		case tty && (time.Since(shown) > 100*time.Millisecond || done == total):
			shown = time.Now()
			filled := percent * 30 / 100
			fmt.Fprintf(g.stderr.raw, "\r\x1b[K%s [%s%s] %3d%% of %d MB", what, strings.Repeat("#", filled), strings.Repeat(".", 30-filled), percent, total>>20)
			if done == total {
				fmt.Fprintln(g.stderr.raw)
			}
		case !tty && percent/25 != last/25:
			fmt.Fprintf(g.stderr, "%s: %d%% of %d MB\n", what, percent, total>>20)
		}
		last = percent
	}
}
