package cli

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"ablate/runner/internal/byhand"
	"ablate/runner/internal/vt"
	"ablate/runner/launch"
	"ablate/runner/layout"
	"ablate/runner/project"
	"ablate/runner/run"
	"ablate/runner/stage"
	"ablate/runner/status"
)

// shown is a progress on a terminal of a test, with a log above it.
type shown struct {
	*progress
	t      *testing.T
	screen *vt.Screen
	log    zerolog.Logger
}

// show begins to show the progress of the actions of a graph. It must run in a bubble of
// testing/synctest.
func show(t *testing.T, width, height int, g *layout.Graph) *shown {
	x := &shown{t: t, screen: vt.New(width, height)}
	globals := &globals{stderr: newOutput(x.screen)}
	x.log = zerolog.New(zerolog.ConsoleWriter{Out: &aboveScreen{g: globals, w: x.screen}, NoColor: true, PartsExclude: []string{"time", "level"}})
	ctx, tracker := x.log.WithContext(t.Context()), status.NewTracker(project.Project{Dir: "quickstart"}, g, "xla:cpu", "")
	tracker.Computes(2, time.Now())
	x.progress = globals.newProgress(ctx, tracker, "quickstart")
	x.progress.screen = &screen{w: x.screen, size: func() (int, int) { return x.screen.Width, x.screen.Height }, render: x.lines}
	globals.show(x.progress.screen)
	x.watch(ctx)
	return x
}

// sees compares what the terminal shows after a time.
func (x *shown) sees(after time.Duration, want string) {
	x.t.Helper()
	time.Sleep(after)
	synctest.Wait()
	x.progress.screen.mu.Lock()
	defer x.progress.screen.mu.Unlock()
	if d := cmp.Diff(strings.TrimPrefix(want, "\n"), x.screen.String()+"\n"); d != "" {
		x.t.Errorf("the terminal shows (-want +got):\n%s", d)
	}
	if x.screen.Err != nil {
		x.t.Error(x.screen.Err)
	}
}

// action returns an action of a test.
func action(name string, kind stage.Kind, cost float64, view string, others int32) *layout.Action {
	a := byhand.Action(name, view, layout.Spec{Kind: kind, Cost: cost})
	a.Others = others
	return a
}

// TestView: the clocks advance while nothing happens, the view names what is computed and
// how far it is, complete log lines are written above it, and nothing of it is left.
func TestView(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tune := action("a", stage.Finetune, 30, "beta[finetune.beta=0.5]@1", 1)
		look := action("b", stage.Distance, 60, "all data@1", 0)
		x := show(t, 80, 24, layout.Of(tune, look))
		x.event(run.Event{Action: tune, Kind: run.Started, Total: 2})
		x.event(run.Event{Action: tune, Kind: run.Working, Progress: launch.Progress{Total: 400, Compiling: true}})
		x.sees(2500*time.Millisecond, `
quickstart  0 of 2 stages · 0:02
  stages  finetune 0/1 · distance 0/1
  arms    beta[finetune.beta=0.5] 0/1 · all data 0/1
  finetune  beta[finetune.beta=0.5]@1  0:02  step 0/400 · compiling
`)
		loss := 0.03123
		x.event(run.Event{Action: tune, Kind: run.Working, Progress: launch.Progress{Step: 1, Total: 400}})
		time.Sleep(10 * time.Second)
		x.event(run.Event{Action: tune, Kind: run.Working, Progress: launch.Progress{Step: 52, Total: 400, Metrics: []launch.Metric{{Name: "loss", Value: &loss}}}})
		x.log.Warn().Msg("another warns")
		x.sees(time.Second, `
another warns
quickstart  0 of 2 stages · perhaps 70 s left · 0:13
  stages  finetune 0/1 · distance 0/1
  arms    beta[finetune.beta=0.5] 0/1 · all data 0/1
  finetune  beta[finetune.beta=0.5]@1  0:13  step 52/400 · loss 0.0312 · 5.1/s
`)
		x.event(run.Event{Action: tune, Kind: run.Finished, Finished: 1, Total: 2})
		x.event(run.Event{Action: look, Kind: run.Started})
		x.sees(time.Second, `
another warns
done action=610000000000 arm="beta[finetune.beta=0.5]@1 and 1 more" finished=1 o
f=2 stage=finetune took=14s
quickstart  1 of 2 stages · 4.3 stages/min · 0:14
  stages  finetune 1/1 · distance 0/1
  arms    beta[finetune.beta=0.5] 1/1 · all data 0/1
  distance  all data@1  0:00
`)
		x.event(run.Event{Action: look, Kind: run.Failed, Err: errors.New("no memory"), Finished: 2, Total: 2})
		x.sees(time.Second, `
another warns
done action=610000000000 arm="beta[finetune.beta=0.5]@1 and 1 more" finished=1 o
f=2 stage=finetune took=14s
failed error="no memory" action=620000000000 arm="all data@1" stage=distance
quickstart  1 of 2 stages · 1 failed · 4.0 stages/min · 0:15
  stages  finetune 1/1 · distance 0/1 1 failed
  arms    beta[finetune.beta=0.5] 1/1 · all data 0/1 1 failed
`)
		x.close()
		x.log.Info().Msg("after it")
		x.sees(0, `
another warns
done action=610000000000 arm="beta[finetune.beta=0.5]@1 and 1 more" finished=1 o
f=2 stage=finetune took=14s
failed error="no memory" action=620000000000 arm="all data@1" stage=distance
after it
`)
	})
}

// TestFloods: on a small terminal that scrolls, log lines of all lengths stay complete, and the view
// leaves no traces.
func TestFloods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var actions []*layout.Action
		for i := range 8 {
			actions = append(actions, action(string(rune('a'+i)), stage.Distance, 1, fmt.Sprintf("arm %d@1", i), 0))
		}
		g := layout.Of(actions...)
		x := show(t, 60, 12, g)
		var want []string
		for i, a := range g.Actions {
			x.event(run.Event{Action: a, Kind: run.Started, Total: 8})
			for k := range 5 {
				text := strings.Repeat(fmt.Sprintf("line %d.%d ", i, k), 1+(i*5+k)%9)
				x.log.Info().Msg(strings.TrimSpace(text))
				want = append(want, strings.TrimSpace(text))
				time.Sleep(700 * time.Millisecond)
			}
		}
		synctest.Wait()
		x.close()
		got := strings.ReplaceAll(x.screen.All(), "\n", "")
		if flat := strings.Join(want, ""); strings.ReplaceAll(got, " ", "") != strings.ReplaceAll(flat, " ", "") {
			t.Errorf("the terminal has\n%s", x.screen.All())
		}
		if x.screen.Err != nil {
			t.Error(x.screen.Err)
		}
	})
}

// TestNarrower: where a terminal becomes narrower than the view, no line above the view is lost, whether
// the terminal wraps longer lines or cuts them off. A view that still fits leaves no traces.
func TestNarrower(t *testing.T) {
	for _, c := range []struct {
		width int
		wraps bool
		want  string
	}{
		{8, true, "before\n01234567\n89abcd\nsecond"},
		{8, false, "before\n01234567\nsecond"},
		{14, false, "before"},
	} {
		term, width := vt.New(20, 10), 20
		s := &screen{w: term, size: func() (int, int) { return width, 10 }, render: func(time.Time, int, int) []string { return []string{"0123456789abcd", "second"} }}
		fmt.Fprint(term, "before\r\n")
		s.redraw()
		if width = c.width; c.wraps {
			term = vt.New(width, 10)
			fmt.Fprint(term, "before\r\n0123456789abcd\r\nsecond\r\n")
			s.w = term
		} else {
			term.Resize(width)
		}
		s.clear()
		fmt.Fprint(term, "after")
		if got := term.All(); got != c.want+"\nafter" || term.Err != nil {
			t.Errorf("%+v: the terminal shows %q, %v", c, got, term.Err)
		}
	}
}
