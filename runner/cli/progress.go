package cli

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"ablate/runner/study"
)

// progress shows a run's course: one line at the foot of a terminal that is
// written over, or a log line for every change and every now and then.
type progress struct {
	w     io.Writer
	width int
	tty   bool
	log   *zerolog.Logger
	start time.Time

	mu              sync.Mutex
	running         []*study.Action // in the order of their starts
	step            map[*study.Action]string
	began           map[*study.Action]time.Time
	finished, total int
	shown           time.Time
}

// took is a duration for people: 3.2s, 1m10s.
func took(d time.Duration) string {
	if d < 10*time.Second {
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// quiet is how often a log that is no terminal hears of long work.
const quiet = 15 * time.Second

func newProgress(w io.Writer, log *zerolog.Logger) *progress {
	p := &progress{w: w, log: log, start: time.Now(), step: map[*study.Action]string{}, began: map[*study.Action]time.Time{}}
	p.width, p.tty = terminal(w)
	return p
}

// event takes one event of the run. It may be called from several goroutines.
func (p *progress) event(e study.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e.Total > 0 {
		p.finished, p.total = e.Finished, e.Total
	}
	now := time.Now()
	stage := func(l *zerolog.Event) *zerolog.Event {
		l = l.Str("stage", string(e.Action.Kind)).Str("action", e.Action.Name[:12])
		if len(e.Action.Trials) == 1 {
			return l.Str("trial", e.Action.Trials[0])
		}
		return l.Int("trials", len(e.Action.Trials))
	}
	switch e.Kind {
	case study.Started:
		p.running = append(p.running, e.Action)
		p.began[e.Action] = now
		if !p.tty {
			stage(p.log.Info()).Msg("started")
		}
	case study.Working:
		text := e.Progress.Text
		if e.Progress.Total > 0 {
			text = strings.TrimSpace(fmt.Sprintf("%d/%d %s", e.Progress.Step, e.Progress.Total, text))
		}
		p.step[e.Action] = text
		if !p.tty && now.Sub(p.shown) >= quiet {
			p.shown = now
			stage(p.log.Info()).Str("at", text).Int("finished", p.finished).Int("of", p.total).Msg("working")
		}
	case study.Cached, study.Finished, study.Failed, study.Skipped:
		for i, a := range p.running {
			if a == e.Action {
				p.running = append(p.running[:i], p.running[i+1:]...)
				break
			}
		}
		p.clear()
		switch e.Kind {
		case study.Cached:
			stage(p.log.Debug()).Bool("hit", true).Msg("cached")
		case study.Finished:
			stage(p.log.Info()).Float64("dur", now.Sub(p.began[e.Action]).Round(time.Millisecond).Seconds()).Int("finished", p.finished).Int("of", p.total).Msg("done")
		case study.Failed:
			stage(p.log.Error()).Err(e.Err).Msg("failed")
		case study.Skipped:
			stage(p.log.Warn()).Msg("skipped, for what it needs failed")
		}
	}
	p.draw()
}

// draw writes the status line of a terminal.
func (p *progress) draw() {
	if !p.tty || p.total == 0 {
		return
	}
	parts := []string{fmt.Sprintf("%d/%d  %s", p.finished, p.total, time.Since(p.start).Round(time.Second))}
	for _, a := range p.running {
		parts = append(parts, strings.TrimSpace(fmt.Sprintf("%s %s", a.Kind, p.step[a])))
	}
	line := strings.Join(parts, "  ·  ")
	if r := []rune(line); len(r) >= p.width {
		line = string(r[:p.width-1])
	}
	fmt.Fprintf(p.w, "\r\x1b[K%s", line)
}

// clear removes the status line.
func (p *progress) clear() {
	if p.tty {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

// bar shows a download; it returns the function that is told of bytes.
func (g *globals) bar(what string) func(done, total int64) {
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
			fmt.Fprintf(g.stderr, "\r\x1b[K%s [%s%s] %3d%% of %d MB", what, strings.Repeat("#", filled), strings.Repeat(".", 30-filled), percent, total>>20)
			if done == total {
				fmt.Fprintln(g.stderr)
			}
		case !tty && percent/25 != last/25:
			fmt.Fprintf(g.stderr, "%s: %d%% of %d MB\n", what, percent, total>>20)
		}
		last = percent
	}
}
