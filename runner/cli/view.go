package cli

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"ablate/reports/format"
	"ablate/runner/phrase"
	"ablate/runner/status"
	"ablate/runner/store"
)

// A view shows the status of a study in a few lines: how far its stages and arms are, and what
// each process computes. Every command that shows a computation uses it.
type view struct {
	name   string // of the study
	note   string // of a launcher, on its workers
	colour bool
}

// colours reports whether a terminal is written to in colours.
func colours() bool { return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" }

// lines returns the view in at most height lines, each narrower than width.
func (v view) lines(s *status.Status, now time.Time, width, height int) []string {
	var out []string
	for _, l := range v.layout(s, now, width-1, height) {
		out = append(out, l.cut(width-1).format(v.colour))
	}
	return out
}

// layout divides the height: a quarter is left for the log. Of the rest, each part gets one
// line after the other, until there is none left or it needs no more.
func (v view) layout(s *status.Status, now time.Time, width, height int) []line {
	stages, arms, work, bad := stageCells(s), rowCells(s), processes(s, now, width), failures(s)
	need := [...]int{len(flow("", stages, width)), len(flow("", arms, width)), len(bad), len(work)}
	var has [len(need)]int
	for left, more := height-1-min(6, height/4), true; more; {
		more = false
		for _, k := range []int{3, 0, 1, 2} { // the most important first
			if left > 0 && has[k] < need[k] {
				has[k]++
				left--
				more = true
			}
		}
	}
	out := []line{v.head(s, now)}
	out = append(out, fit("stages", stages, width, has[0])...)
	out = append(out, fit("arms", arms, width, has[1])...)
	out = append(out, cutLines(bad, has[2])...)
	return append(out, cutLines(work, has[3])...)
}

// cutLines returns at most n lines. If there are more, the last one has their number.
func cutLines(lines []line, n int) []line {
	if len(lines) <= n || n < 2 {
		return lines[:min(n, len(lines))]
	}
	return append(slices.Clone(lines[:n-1]), line{{fmt.Sprintf("  and %d more", len(lines)-n+1), dimStyle}})
}

// head returns the first line: what is done, and how long the rest takes.
func (v view) head(s *status.Status, now time.Time) line {
	c := s.Actions
	parts := []span{{fmt.Sprintf("%d of %s", c.Done, phrase.Count(c.Total, "stage")), plainStyle}}
	if c.Failed > 0 {
		parts = append(parts, span{fmt.Sprintf("%d failed", c.Failed), badStyle})
	}
	if left := timeLeft(s); left != "" {
		parts = append(parts, span{left, boldStyle})
	}
	if s.PerMinute > 0 {
		parts = append(parts, span{perMinute(s.PerMinute), plainStyle})
	}
	if v.note != "" {
		parts = append(parts, span{v.note, plainStyle})
	}
	var since time.Time
	for _, l := range s.Processes {
		if since.IsZero() || l.Started.Before(since) {
			since = l.Started
		}
	}
	if !since.IsZero() {
		parts = append(parts, span{clock(now.Sub(since)), dimStyle})
	}
	out := line{{v.name, boldStyle}}
	for i, p := range parts {
		out = append(out, span{[]string{"  ", " · "}[min(i, 1)], dimStyle}, p)
	}
	return out
}

// A cell is a name with its counts.
type cell struct {
	line
	rank int // the lower, the more people want to see it
}

// stageCells returns the counts of each stage.
func stageCells(s *status.Status) []cell {
	var cells []cell
	for _, x := range s.Stages {
		cells = append(cells, newCell(x.Stage, x.Actions))
	}
	return cells
}

// rowCells returns the counts of each arm.
func rowCells(s *status.Status) []cell {
	var cells []cell
	for _, r := range s.Rows {
		cells = append(cells, newCell(r.Row, r.Trials))
	}
	return cells
}

// newCell returns a cell. What is done is quiet, what runs stands out.
func newCell(name string, c status.Counts) cell {
	l, rank := append(line{{name, plainStyle}}.cut(mostView), span{fmt.Sprintf(" %d/%d", c.Done, c.Total), plainStyle}), 1
	switch {
	case c.Done+c.Stopped == c.Total:
		l[0].style, l[len(l)-1].style, rank = dimStyle, goodStyle, 2
	case c.Running > 0:
		l[0].style, rank = boldStyle, 0
	}
	if c.Stopped > 0 {
		l = append(l, span{fmt.Sprintf(" %d stopped", c.Stopped), dimStyle})
	}
	if c.Failed > 0 {
		l, rank = append(l, span{fmt.Sprintf(" %d failed", c.Failed), badStyle}), 0
	}
	return cell{l, rank}
}

// labelWidth is the width of the label of a list of cells.
const labelWidth = 10

// flow returns cells one after the other in lines of a width.
func flow(label string, cells []cell, width int) []line {
	var out []line
	for i, c := range cells {
		text := c.line.cut(max(1, width-labelWidth))
		if last := len(out) - 1; i > 0 && out[last].width()+3+text.width() <= width {
			out[last] = append(append(out[last], span{" · ", dimStyle}), text...)
			continue
		}
		begin := line{}
		if i == 0 {
			begin = line{{"  " + label, dimStyle}}
		}
		out = append(out, append(begin.pad(labelWidth), text...))
	}
	return out
}

// fit returns cells in at most n lines of a width. If they do not fit, those that people want
// to see most are shown, in their order, and the number of the others.
func fit(label string, cells []cell, width, n int) []line {
	if n < 1 {
		return nil
	}
	out := flow(label, cells, width)
	order := make([]int, len(cells))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cells[a].rank - cells[b].rank })
	for k := min(len(cells)-1, n*width/4); len(out) > n && k >= 0; k-- { // a cell has more than four columns
		chosen := slices.Clone(order[:k])
		slices.Sort(chosen)
		var shown []cell
		for _, i := range chosen {
			shown = append(shown, cells[i])
		}
		out = flow(label, append(shown, cell{line: line{{fmt.Sprintf("and %d more", len(cells)-k), dimStyle}}}), width)
	}
	return out
}

// leastView and mostView are the widths of the column with the arm and seed of an action.
const (
	leastView = 12
	mostView  = 40
	leastWork = 34 // of the column with what an action has reached
)

// processes returns a line for each action that is computed, with the process if it is not
// this one alone.
func processes(s *status.Status, now time.Time, width int) []line {
	alone := len(s.Processes) == 1 && s.Processes[0].Process == ""
	var rows [][]line
	var idle []bool
	for _, l := range s.Processes {
		host, _, _ := strings.Cut(l.Host, ".")
		where := fmt.Sprintf("%s:%d", host, l.PID)
		if l.Job != "" {
			where = host + " " + l.Job
		}
		at := line{{where, dimStyle}}
		if alone {
			at = line{}
		}
		for _, a := range l.Actions {
			rows = append(rows, []line{at, {{a.Stage, boldStyle}}, {{a.View, plainStyle}}, {{clock(now.Sub(a.Since)), dimStyle}}, {{reached(a), plainStyle}}})
			idle = append(idle, false)
		}
		if len(l.Actions) == 0 && !alone {
			rows = append(rows, []line{at, {{"waits for other stages", dimStyle}}, {}, {}, {}})
			idle = append(idle, true)
		}
	}
	var widths [4]int
	for i, r := range rows {
		for k := range widths {
			if k == 0 || !idle[i] {
				widths[k] = max(widths[k], r[k].width())
			}
		}
	}
	others := widths[0] + widths[1] + widths[3] + 10
	if alone {
		others -= 2
	}
	widths[2] = min(widths[2], mostView, max(leastView, width-others-leastWork))
	var out []line
	for i, r := range rows {
		l := line{{"  ", plainStyle}}
		for k, c := range r {
			switch {
			case k == 0 && alone:
				continue
			case k == 2:
				c = cutView(c, widths[k]).pad(widths[k] + 2)
			case k < len(widths) && !(idle[i] && k > 0):
				c = c.cut(widths[k]).pad(widths[k] + 2)
			}
			l = append(l, c...)
		}
		out = append(out, l)
	}
	return out
}

// cutView returns a line with a row and a seed, "ROW@SEED", in at most n columns. The seed
// stays.
func cutView(l line, n int) line {
	view := l.String()
	i := strings.LastIndexByte(view, '@')
	if i < 0 || columns(view[i:]) > n/2 {
		return l.cut(n)
	}
	return append(line{{view[:i], plainStyle}}.cut(n-columns(view[i:])), span{view[i:], plainStyle})
}

// reached returns how far an action is.
func reached(a store.LiveAction) string {
	var parts []string
	switch {
	case a.Total > 0 && a.Unit == "":
		parts = append(parts, fmt.Sprintf("step %d/%d", a.Step, a.Total))
	case a.Total > 0:
		parts = append(parts, fmt.Sprintf("%d/%d %s", a.Step, a.Total, a.Unit))
	}
	if a.Compiling {
		parts = append(parts, "compiling")
	}
	if m := lastMetric(a.Reached); m != "" {
		parts = append(parts, m)
	}
	if a.Rate > 0 {
		parts = append(parts, perSecond(a.Rate))
	}
	return strings.Join(parts, " · ")
}

// lastMetric returns the first metric of a training, which is its loss.
func lastMetric(r store.Reached) string {
	switch {
	case len(r.Metrics) == 0:
		return ""
	case r.Metrics[0].Value == nil:
		return r.Metrics[0].Name + " not finite"
	}
	return r.Metrics[0].Name + " " + significant(*r.Metrics[0].Value)
}

// failures returns a line for each recorded failure.
func failures(s *status.Status) []line {
	var out []line
	for _, f := range s.Failures {
		first, _, _ := strings.Cut(f.Error, "\n")
		out = append(out, line{{"  failed  ", badStyle}, {fmt.Sprintf("%s %s (%s): %s", f.Stage, f.View, f.Class, first), plainStyle}})
	}
	return out
}

// timeLeft returns the estimate of the time left, "" if there is none.
func timeLeft(s *status.Status) string {
	switch {
	case s.Wall == 0 || s.Actions.Left() == 0:
		return ""
	case s.Unknown > 0:
		return "at least " + remaining(s.Wall) + " left"
	case s.Guess:
		return "perhaps " + remaining(s.Wall) + " left"
	}
	return "about " + remaining(s.Wall) + " left"
}

// remaining formats an estimate in seconds, with as many digits as it deserves.
func remaining(s float64) string {
	switch {
	case s < 20:
		return fmt.Sprintf("%.0f s", math.Max(1, s))
	case s < 90:
		return fmt.Sprintf("%.0f s", 5*math.Round(s/5))
	case s < 3600:
		return fmt.Sprintf("%.0f min", s/60)
	}
	return phrase.Seconds(s)
}

// clock formats a duration as m:ss or h:mm:ss. The clocks of two machines may differ.
func clock(d time.Duration) string {
	s := max(0, int(d.Seconds()))
	if s < 3600 {
		return fmt.Sprintf("%d:%02d", s/60, s%60)
	}
	return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
}

// perMinute formats a number of stages a minute.
func perMinute(n float64) string {
	if n < 1 {
		return significant2(60*n) + " stages/h"
	}
	return significant2(n) + " stages/min"
}

// perSecond formats a number of steps or things a second.
func perSecond(n float64) string {
	if n < 1 {
		return significant2(60*n) + "/min"
	}
	return significant2(n) + "/s"
}

// significant2 formats a positive number with two significant digits or, above 10, as a whole
// number.
func significant2(v float64) string {
	if v < 9.95 {
		return format.Fixed(v, 1)
	}
	return format.Fixed(v, 0)
}

// significant formats a number with three significant digits.
func significant(v float64) string {
	if v == 0 {
		return "0"
	}
	digits := 2 - int(math.Floor(math.Log10(math.Abs(v))))
	if digits > 6 || digits < -6 {
		return strings.ReplaceAll(fmt.Sprintf("%.2e", v), "-", "\u2212")
	}
	return format.Fixed(v, max(0, digits))
}
