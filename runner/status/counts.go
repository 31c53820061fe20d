package status

import (
	"iter"
	"slices"

	"ablate/experiments/language"
	"ablate/runner/layout"
	"ablate/runner/project"
	"ablate/runner/stage"
)

// state is what has become of an action.
type state byte

const (
	waiting state = iota // or running
	finished
	broken
	skipped
	stopped // of a trial: its row was stopped early
)

// counts counts the actions of a graph by what has become of them, and the trials. It keeps
// its sums, so that a change costs as much as the trials of one action, and not of all.
type counts struct {
	graph  *layout.Graph
	state  []state
	kind   []uint8         // of each action, in stages
	first  []int32         // of each action, the first trial that needs it, from 1; 0 if none does
	others map[int][]int32 // the others, which few actions have
	stages []Stage
	rows   []Row

	row    []int   // of each trial
	left   []int   // of each trial, the number of actions that are not done
	failed []int   // of each trial, the number of actions that failed
	ends   []state // of each trial, what it is when all of its actions are done
}

// newCounts returns the counts of a graph of which nothing is done. The rows are those of the
// project's study. A project without its study has the row of the first trial of each action.
func newCounts(p project.Project, g *layout.Graph) *counts {
	n := len(g.Actions)
	c := &counts{graph: g, state: make([]state, n), kind: make([]uint8, n), first: make([]int32, n), others: map[int][]int32{}}
	kinds := map[stage.Kind]int{}
	for _, k := range stage.Kinds() {
		if slices.ContainsFunc(g.Actions, func(a *layout.Action) bool { return a.Kind == k }) {
			kinds[k] = len(c.stages)
			c.stages = append(c.stages, Stage{Stage: string(k)})
		}
	}
	for i, a := range g.Actions {
		c.kind[i] = uint8(kinds[a.Kind])
		c.stages[kinds[a.Kind]].Actions.Total++
	}
	rows := map[string]int{}
	add := func(row string, end state, actions []*layout.Action) {
		r, ok := rows[row]
		if !ok {
			r = len(c.rows)
			rows[row] = r
			c.rows = append(c.rows, Row{Row: row})
		}
		trial := len(c.row)
		c.row, c.failed, c.ends = append(c.row, r), append(c.failed, 0), append(c.ends, end)
		c.rows[r].Trials.Total++
		left := 0
		for _, a := range actions {
			if i := c.graph.Position(a); i >= 0 {
				if c.first[i] == 0 {
					c.first[i] = int32(trial + 1)
				} else {
					c.others[i] = append(c.others[i], int32(trial))
				}
				left++
			}
		}
		c.left = append(c.left, left)
		count(&c.rows[r].Trials, c.trial(trial), 1)
	}
	if p.Study != nil {
		actions := g.Walker()
		for _, v := range p.Study.Views {
			if chain, ok := g.Chains[v.Trial.ID()]; ok {
				add(v.Row(), endOf(v), actions(chain))
			}
		}
		return c
	}
	views, of := []string{}, map[string][]*layout.Action{}
	for _, a := range g.Actions {
		if a.Trial == nil {
			continue
		}
		v := a.View()
		if _, ok := of[v]; !ok {
			views = append(views, v)
		}
		of[v] = append(of[v], a)
	}
	for _, v := range views {
		add(rowOf(v), finished, of[v])
	}
	return c
}

// endOf returns what a trial is when all of its actions are done. One that is cut waits
// until it is decided whether its row stops.
func endOf(v language.View) state {
	switch {
	case v.Stopped:
		return stopped
	case v.Cut:
		return waiting
	}
	return finished
}

// at returns the position of an action by its name in digits, -1 if the graph lacks it.
func (c *counts) at(text string) int {
	var name layout.Name
	if name.UnmarshalText([]byte(text)) != nil {
		return -1
	}
	return c.graph.Find(name)
}

// blocked reports whether an input of an action failed or cannot be computed.
func (c *counts) blocked(a *layout.Action) bool {
	return slices.ContainsFunc(a.Inputs, func(in *layout.Action) bool {
		i := c.graph.Position(in)
		return i >= 0 && (c.state[i] == broken || c.state[i] == skipped)
	})
}

// set sets what has become of an action.
func (c *counts) set(i int, to state) {
	was := c.state[i]
	if was == to {
		return
	}
	c.state[i] = to
	count(&c.stages[c.kind[i]].Actions, was, -1)
	count(&c.stages[c.kind[i]].Actions, to, 1)
	for t := range c.trials(i) {
		trials := &c.rows[c.row[t]].Trials
		count(trials, c.trial(t), -1)
		if was == finished {
			c.left[t]++
		}
		if to == finished {
			c.left[t]--
		}
		if was == broken {
			c.failed[t]--
		}
		if to == broken {
			c.failed[t]++
		}
		count(trials, c.trial(t), 1)
	}
}

// trials returns the trials that need an action.
func (c *counts) trials(i int) iter.Seq[int] {
	return func(yield func(int) bool) {
		if c.first[i] == 0 || !yield(int(c.first[i])-1) {
			return
		}
		for _, t := range c.others[i] {
			if !yield(int(t)) {
				return
			}
		}
	}
}

// open returns the number of actions that are waiting or running.
func (c *counts) open() (n int) {
	for _, s := range c.state {
		if s == waiting {
			n++
		}
	}
	return n
}

// trial returns what has become of a trial.
func (c *counts) trial(t int) state {
	switch {
	case c.left[t] == 0:
		return c.ends[t]
	case c.failed[t] > 0:
		return broken
	}
	return waiting
}

// count adds n to the count of a state.
func count(c *Counts, s state, n int) {
	switch s {
	case finished:
		c.Done += n
	case broken:
		c.Failed += n
	case skipped:
		c.Skipped += n
	case stopped:
		c.Stopped += n
	}
}

// with returns the counts, with those of the actions that run. An action that failed before
// and is tried again counts as running only.
func (c *counts) with(running map[int]bool) (actions Counts, stages []Stage, rows []Row) {
	stages, rows = append([]Stage{}, c.stages...), append([]Row{}, c.rows...)
	seen := map[int]bool{}
	for i := range running {
		s := &stages[c.kind[i]].Actions
		s.Running++
		count(s, c.state[i], -1)
		for t := range c.trials(i) {
			if r := &rows[c.row[t]].Trials; !seen[t] {
				seen[t] = true
				r.Running++
				count(r, c.trial(t), -1)
			}
		}
	}
	for _, s := range stages {
		actions.Total += s.Actions.Total
		actions.Done += s.Actions.Done
		actions.Running += s.Actions.Running
		actions.Failed += s.Actions.Failed
		actions.Skipped += s.Actions.Skipped
	}
	return actions, stages, rows
}

// rowOf returns the row of a view, "ROW@seed".
func rowOf(view string) string {
	for i := len(view) - 1; i >= 0; i-- {
		if view[i] == '@' {
			return view[:i]
		}
	}
	return view
}
