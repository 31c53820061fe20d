package cli

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"ablate/runner/layout"
	"ablate/runner/program"
	"ablate/runner/project"
	"ablate/runner/run"
	"ablate/runner/status"
)

// progress shows the progress of a computation: on a terminal a view, otherwise a log line
// for every change, and regular log lines during long work.
type progress struct {
	log     *zerolog.Logger
	tracker *status.Tracker // nil if only events are logged
	screen  *screen         // nil if stderr is no terminal
	stop    context.CancelFunc
	done    sync.WaitGroup

	mu              sync.Mutex
	view            view
	began           map[*layout.Action]time.Time
	finished, total int
	shown           time.Time // when long work was logged last
}

// quiet is the least time between two log lines about long work.
const quiet = 15 * time.Second

// newProgress starts to show what a tracker follows. The caller must call close.
func (g *globals) newProgress(ctx context.Context, t *status.Tracker, name string) *progress {
	x := &progress{log: zerolog.Ctx(ctx), tracker: t, view: view{name: name, colour: colours()}, began: map[*layout.Action]time.Time{}}
	if t != nil {
		x.screen = g.newScreen(g.stderr, x.lines)
	}
	x.watch(ctx)
	return x
}

// computing starts to show the progress of the actions of a graph, which this process computes
// with a number of workers. The caller must call close.
func (g *globals) computing(ctx context.Context, p project.Project, todo *layout.Graph, class, name string, workers int) *progress {
	var t *status.Tracker
	if _, ok := canvas(g.stderr); ok { // otherwise a large study would need memory for nothing
		t = status.NewTracker(p, todo, class, program.Identity())
		t.Computes(workers, time.Now())
	}
	return g.newProgress(ctx, t, name)
}

// watch lets the view follow the store.
func (p *progress) watch(ctx context.Context) {
	ctx, p.stop = context.WithCancel(context.WithoutCancel(ctx)) // a stopping run still shows what it saves
	if p.screen != nil {
		p.done.Go(func() { p.tracker.Watch(ctx) })
	}
}

// lines returns the lines of the view.
func (p *progress) lines(now time.Time, width, height int) []string {
	p.mu.Lock()
	v := p.view
	p.mu.Unlock()
	return v.lines(p.tracker.Status(now), now, width, height)
}

// note sets the note of the view.
func (p *progress) note(text string) {
	p.mu.Lock()
	p.view.note = text
	p.mu.Unlock()
	p.screen.draw()
}

// close removes the view.
func (p *progress) close() {
	p.screen.close()
	p.stop()
	p.done.Wait()
}

// event shows one event of the run. Several goroutines may call it.
func (p *progress) event(e run.Event) {
	now := time.Now()
	if p.tracker != nil {
		p.tracker.Event(e, now)
	}
	p.mu.Lock()
	if e.Total > 0 {
		p.finished, p.total = e.Finished, e.Total
	}
	finished, total, began := p.finished, p.total, p.began[e.Action]
	switch e.Kind {
	case run.Started:
		p.began[e.Action] = now
	case run.Cached, run.Finished, run.Failed, run.Skipped:
		delete(p.began, e.Action)
	}
	late := e.Kind == run.Working && now.Sub(p.shown) >= quiet
	if late {
		p.shown = now
	}
	p.mu.Unlock()

	tty := p.screen != nil
	about := func(l *zerolog.Event) *zerolog.Event {
		return l.Str("stage", string(e.Action.Kind)).Str("arm", e.Action.Rows()).Str("action", e.Action.Name.Short())
	}
	switch {
	case e.Kind == run.Started && !tty:
		about(p.log.Info()).Msg("started")
	case e.Kind == run.Elsewhere:
		about(p.log.Info()).Msg("another process computes it; waiting")
	case e.Kind == run.Working && !tty && late:
		about(p.log.Info()).Str("at", at(e)).Int("finished", finished).Int("of", total).Msg("working")
	case e.Kind == run.Cached:
		about(p.log.Debug()).Bool("hit", true).Msg("cached")
	case e.Kind == run.Finished:
		about(p.log.Info()).Str("took", took(now.Sub(began))).Int("finished", finished).Int("of", total).Msg("done")
	case e.Kind == run.Failed:
		about(p.log.Error()).Err(e.Err).Msg("failed")
	case e.Kind == run.Skipped:
		about(p.log.Warn()).Err(e.Err).Msg("skipped: its input failed")
	}
	p.screen.draw()
}

// at returns how far a running action is, in a few words.
func at(e run.Event) string {
	r := run.Reached(e.Progress)
	var words []string
	if r.Total > 0 {
		words = append(words, fmt.Sprintf("%d/%d", r.Step, r.Total))
	}
	words = append(words, r.Unit)
	if r.Compiling {
		words = append(words, "compiling")
	}
	return strings.TrimSpace(strings.Join(append(words, lastMetric(r)), " "))
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
	return g.bar("fetching the XLA plugin for the CPU, once")
}

// bar returns a function that shows the progress of a download, in bytes.
func (g *globals) bar(what string) func(done, total int64) {
	size, tty := canvas(g.stderr)
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
			bar := line{{fmt.Sprintf("%s [%s%s] %3d%% of %d MB", what, strings.Repeat("#", filled), strings.Repeat(".", 30-filled), percent, total>>20), plainStyle}}
			width, _ := size()
			fmt.Fprintf(g.stderr.raw, "\r\x1b[K%s", bar.cut(max(1, width-1)))
			if done == total {
				fmt.Fprintln(g.stderr.raw)
			}
		case !tty && percent/25 != last/25:
			fmt.Fprintf(g.stderr, "%s: %d%% of %d MB\n", what, percent, total>>20)
		}
		last = percent
	}
}
