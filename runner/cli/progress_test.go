package cli

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"ablate/runner/internal/byhand"
	"ablate/runner/launch"
	"ablate/runner/layout"
	"ablate/runner/run"
	"ablate/runner/stage"
)

// TestStatusLine: the clock of the line advances while nothing happens; the line names
// running stages and arms; and complete log lines are written above it.
func TestStatusLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var screen strings.Builder
		g := &globals{stderr: newOutput(&screen)}
		log := zerolog.New(zerolog.ConsoleWriter{Out: &aboveLine{g: g, w: &screen}, NoColor: true, PartsExclude: []string{"time", "level"}})
		tune := byhand.Action("a", "beta[finetune.beta=0.5]@1", layout.Spec{Kind: stage.Finetune, Cost: 30})
		tune.Others = 1
		look := byhand.Action("b", "all data@1", layout.Spec{Kind: stage.Distance, Cost: 60})
		p := g.newProgress(&log, layout.Of(tune, look))
		p.tty, g.line = true, p
		go p.tick()
		defer p.close()
		// since returns the text written since its last call.
		since := func() string {
			synctest.Wait()
			p.mu.Lock()
			defer p.mu.Unlock()
			s := screen.String()
			screen.Reset()
			return s
		}
		const clear = "\r\x1b[K"

		p.event(run.Event{Action: tune, Kind: run.Started, Total: 2})
		p.event(run.Event{Action: tune, Kind: run.Working, Progress: launch.Progress{Step: 1, Total: 4, Text: "loss 0.31"}})
		want := clear + "0/2  0s  ·  finetune beta[finetune.beta=0.5]@1 and 1 more 1/4 loss 0.31"
		if got := since(); !strings.HasSuffix(got, want) {
			t.Errorf("the line is %q, want it to end in %q", got, want)
		}
		time.Sleep(2500 * time.Millisecond)
		lines := strings.Split(since(), clear)
		if len(lines) != 3 || !strings.HasPrefix(lines[1], "0/2  1s") || !strings.HasPrefix(lines[2], "0/2  2s") {
			t.Errorf("after 2.5 s without an event the line was %q, want it drawn at 1 s and 2 s", lines)
		}
		log.Warn().Msg("another warns")
		if got, want := since(), clear+"another warns\n"+clear+lines[2]; got != want {
			t.Errorf("a log line came as %q, want %q", got, want)
		}
		time.Sleep(27500 * time.Millisecond)
		since()
		p.event(run.Event{Action: tune, Kind: run.Finished, Finished: 1, Total: 2})
		p.event(run.Event{Action: look, Kind: run.Started})
		got := since()
		if want := `done action=610000000000 arm="beta[finetune.beta=0.5]@1 and 1 more" finished=1 of=2 stage=finetune took=30s` + "\n"; !strings.Contains(got, clear+want+clear) {
			t.Errorf("the log has %q, want the line %q", got, want)
		}
		if want := clear + "1/2  30s  ~1.0 min left  ·  distance all data@1"; !strings.HasSuffix(got, want) {
			t.Errorf("the line is %q, want it to end in %q", got, want)
		}
		p.event(run.Event{Action: look, Kind: run.Failed, Err: errors.New("no memory"), Finished: 2, Total: 2})
		if got := since(); !strings.Contains(got, "distance") || !strings.Contains(got, "no memory") {
			t.Errorf("a failure came as %q", got)
		}
	})
}
