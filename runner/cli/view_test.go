package cli

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ablate/runner/status"
	"ablate/runner/store"
)

// large is the status of a study of 30 arms that five processes compute.
func large(now time.Time) *status.Status {
	loss, more := 0.031234, 1.5
	s := &status.Status{PerMinute: 3.2, Wall: 340, Actions: status.Counts{Total: 1280, Done: 410, Running: 6, Failed: 2}}
	for i, name := range []string{"prompts", "pretrain", "embedder", "draw", "judge", "label", "reward", "score", "finetune", "diversity", "distance", "fidelity"} {
		c := status.Counts{Total: 12 * (i + 1), Done: 12}
		if i == 8 {
			c.Running, c.Failed = 2, 2
		}
		s.Stages = append(s.Stages, status.Stage{Stage: name, Actions: c})
	}
	for i := range 30 {
		c := status.Counts{Total: 12}
		switch {
		case i < 8:
			c.Done = 12
		case i < 12:
			c.Done, c.Running = 4, 2
		case i == 20:
			c.Failed = 2
		}
		s.Rows = append(s.Rows, status.Row{Row: []string{"pretrained", "learned reward", "beta[finetune.beta=0.25]"}[i%3] + fmt.Sprintf(" %d", i), Trials: c})
	}
	action := func(stage, view string, since time.Duration, r store.Reached, rate float64) store.LiveAction {
		return store.LiveAction{Stage: stage, View: view, Since: now.Add(-since), Reached: r, Rate: rate}
	}
	s.Processes = []store.Live{
		{Process: "a", Host: "node1", PID: 812, Started: now.Add(-252 * time.Second), Actions: []store.LiveAction{
			action("finetune", "oracle@2", 72*time.Second, store.Reached{Step: 240, Total: 400, Metrics: []store.Metric{{Name: "loss", Value: &loss}}}, 5.12),
			action("finetune", "beta[finetune.beta=0.25] 11@{pretraining: 1, feedback: 2}", 4000*time.Second, store.Reached{Step: 3, Total: 4000, Metrics: []store.Metric{{Name: "loss"}}}, .2)}},
		{Process: "b", Host: "node1", PID: 813, Started: now.Add(-250 * time.Second), Actions: []store.LiveAction{
			action("draw", "learned reward 10@1", 8*time.Second, store.Reached{Total: 256, Unit: "images", Compiling: true}, 0)}},
		{Process: "c", Host: "node2", PID: 71, Job: "slurm 12_3", Started: now.Add(-20 * time.Second), Actions: []store.LiveAction{
			action("draw", "pretrained 9@1", 18*time.Second, store.Reached{Step: 128, Total: 256, Unit: "images"}, 31.4)}},
		{Process: "d", Host: "node2", PID: 72, Job: "slurm 12_4", Started: now.Add(-20 * time.Second)},
		{Process: "e", Host: "node3", PID: 90, Started: now.Add(-20 * time.Second), Actions: []store.LiveAction{
			action("pretrain", "pretrained 9@3", 18*time.Second, store.Reached{Step: 1, Total: 256, Metrics: []store.Metric{{Name: "loss", Value: &more}}}, 0)}},
	}
	s.Failures = []status.Failure{
		{Failure: store.Failure{Stage: "finetune", View: "learned reward 20@1", Class: "crash", Error: "worker 1 ended: signal: killed\nsecond line"}},
		{Failure: store.Failure{Stage: "finetune", View: "learned reward 20@2", Class: "crash", Error: "worker 0 ended: signal: killed"}},
	}
	return s
}

// TestSizes: the view fits terminals of all sizes, and shows what matters on each.
func TestSizes(t *testing.T) {
	now := time.Unix(5000, 0)
	for _, size := range [][2]int{{80, 24}, {120, 40}, {80, 8}, {40, 12}, {20, 3}, {5, 2}, {1, 1}} {
		width, height := size[0], size[1]
		lines := view{name: "quickstart", note: "5 slurm workers"}.lines(large(now), now, width, height-1)
		if len(lines) > max(1, height-1) {
			t.Errorf("%d×%d: %d lines", width, height, len(lines))
		}
		for _, l := range lines {
			if columns(l) >= width {
				t.Errorf("%d×%d: a line of %d columns: %q", width, height, columns(l), l)
			}
		}
		if height < 3 {
			continue
		}
		file := filepath.Join("testdata", "view", fmt.Sprintf("%dx%d.txt", width, height))
		got := strings.Join(lines, "\n") + "\n"
		if os.Getenv("UPDATE") != "" {
			if err := os.WriteFile(file, []byte(got), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if d := cmp.Diff(string(want), got); err != nil || d != "" {
			t.Errorf("%s (-want +got): %v\n%s", file, err, d)
		}
	}
}

// TestColours: with colours, a line has the same text and width.
func TestColours(t *testing.T) {
	now := time.Unix(5000, 0)
	without, with := view{name: "s"}.lines(large(now), now, 80, 24), view{name: "s", colour: true}.lines(large(now), now, 80, 24)
	for i, l := range with {
		if columns(l) != columns(without[i]) {
			t.Errorf("line %q has %d columns, and %q %d", l, columns(l), without[i], columns(without[i]))
		}
	}
	if !strings.Contains(with[0], "\x1b[31m2 failed\x1b[0m") {
		t.Errorf("the head is %q", with[0])
	}
}

// TestLineText: names from a study cannot garble the terminal, and wide characters count twice.
func TestLineText(t *testing.T) {
	l := line{{"a\x1b[2J\tb\nc", plainStyle}, {"日本語", boldStyle}, {"é", plainStyle}}
	if got := l.format(false); got != `a\u001b[2J b c日本語é` {
		t.Errorf("%q", got)
	}
	for n, want := range map[int]string{0: "", 1: "…", 6: "日本…", 7: "日本語x", 5: "日本…", 4: "日…"} {
		if got := (line{{"日本語", boldStyle}, {"x", plainStyle}}).cut(n).String(); got != want {
			t.Errorf("cut to %d: %q, want %q", n, got, want)
		}
	}
}

// TestNumbers: rates, times and metrics have few digits.
func TestNumbers(t *testing.T) {
	for want, got := range map[string]string{
		"3.2 stages/min": perMinute(3.21), "120 stages/min": perMinute(119.7), "12 stages/h": perMinute(.2), "0.3 stages/h": perMinute(.005),
		"5.1/s": perSecond(5.12), "15/min": perSecond(.25),
		"1 s": remaining(.2), "19 s": remaining(19.4), "45 s": remaining(44), "6 min": remaining(340), "3.5 h": remaining(12600),
		"0:00": clock(-time.Second), "1:02": clock(62 * time.Second), "1:01:01": clock(3661 * time.Second),
		"0.0312": significant(.031234), "−12.3": significant(-12.34), "1235": significant(1234.6), "1.00e−09": significant(1e-9), "0": significant(0), "2.00e+12": significant(2e12),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got := significant(math.Pi); got != "3.14" {
		t.Error(got)
	}
}
