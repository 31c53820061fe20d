package plan

import (
	"bufio"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"ablate/runner/stage"
	"ablate/runner/store"
	"ablate/runner/study"
)

// A feature of an action is a line of its own key or of that of an action that
// it reads, directly or not: the part of the trial that it belongs to ("reward")
// and its name there, or the stage and what only that says. Seeds and the backend
// belong to all and have no part.
type feature struct{ part, name string }

// Difference is a feature in which two actions differ.
type Difference struct {
	Part string `json:"part"` // of the trial, "reward", or a stage; "" for seeds and the backend
	Name string `json:"name"` // "lambda"
	Old  string `json:"old"`  // "" where the earlier action lacks it
	New  string `json:"new"`  // "" where the planned one lacks it
}

// history is what ran before.
type history struct {
	byStage  map[string][]store.Entry
	byOutput map[store.OutputID]store.Entry
	features map[store.ActionID]map[feature]string
	planned  map[*study.Action]map[feature]string
}

func newHistory(entries []store.Entry) *history {
	h := &history{map[string][]store.Entry{}, map[store.OutputID]store.Entry{}, map[store.ActionID]map[feature]string{}, map[*study.Action]map[feature]string{}}
	for _, e := range entries {
		s := e.Stage()
		h.byStage[s] = append(h.byStage[s], e)
		h.byOutput[e.Output] = e
	}
	return h
}

// nearest finds the earlier action of the same stage with the fewest differences.
func (h *history) nearest(a *study.Action, backend string) (store.Entry, []Difference) {
	want := h.ofPlanned(a, backend)
	var best store.Entry
	bestCount := -1
	for _, e := range h.byStage[string(a.Kind)] {
		n := count(h.ofEntry(e, 0), want, bestCount)
		if bestCount < 0 || n < bestCount {
			best, bestCount = e, n
		}
	}
	return best, differences(h.ofEntry(best, 0), want)
}

// count is in how many features two differ, counted no further than to limit
// where that is not negative.
func count(old, now map[feature]string, limit int) int {
	n := 0
	for f, v := range now {
		if old[f] != v {
			if n++; limit >= 0 && n >= limit {
				return n
			}
		}
	}
	for f := range old {
		if _, ok := now[f]; !ok {
			n++
		}
	}
	return n
}

func differences(old, now map[feature]string) []Difference {
	all := maps.Clone(old)
	maps.Copy(all, now)
	var out []Difference
	for f := range all {
		if old[f] != now[f] {
			out = append(out, Difference{f.part, f.name, old[f], now[f]})
		}
	}
	slices.SortFunc(out, func(a, b Difference) int { return cmp.Or(cmp.Compare(a.Part, b.Part), cmp.Compare(a.Name, b.Name)) })
	return out
}

// saying names the stage that says an action's lines; samples are told apart by
// what they are for.
func saying(kind string, lines []string) string {
	for _, l := range lines {
		if split, ok := strings.CutPrefix(l, "split "); ok {
			return kind + " of " + split
		}
	}
	return kind
}

// own adds an action's own lines.
func own(to map[feature]string, kind string, lines []string, revision int, backend string) {
	who := saying(kind, lines)
	for _, l := range lines {
		name, value, _ := strings.Cut(l, " ")
		part, rest, dotted := strings.Cut(name, ".")
		switch {
		case part == "seed":
			to[feature{"", name}] = value
		case dotted:
			to[feature{part, rest}] = value
		case name != "split":
			to[feature{who, name}] = value
		}
	}
	to[feature{who, "revision"}] = fmt.Sprint(revision)
	if backend != "" {
		to[feature{"", "backend"}] = backend
	}
}

// inherit adds the features of what an action of some kind reads under a role.
// The proxy reads another trial's reward: that of the base.
func inherit(to, from map[feature]string, kind, role string) {
	for f, v := range from {
		if kind == string(stage.Proxy) && role != "evaluate" && f.part != "" {
			f.part = "base " + f.part
		}
		to[f] = v
	}
}

func (h *history) ofPlanned(a *study.Action, backend string) map[feature]string {
	if f, ok := h.planned[a]; ok {
		return f
	}
	f := map[feature]string{}
	for _, in := range a.Inputs {
		inherit(f, h.ofPlanned(in.Action, backend), string(a.Kind), in.Role)
	}
	if !a.Kind.Computes() {
		backend = ""
	}
	own(f, string(a.Kind), a.Lines, stage.Revision[a.Kind], backend)
	h.planned[a] = f
	return f
}

// ofEntry reads the features of what ran from its key, and from those of what it
// read, as far as the store still knows them.
func (h *history) ofEntry(e store.Entry, depth int) map[feature]string {
	if f, ok := h.features[e.Action]; ok || depth > 32 {
		return f
	}
	f := map[feature]string{}
	var lines []string
	revision, backend := 0, ""
	for in := bufio.NewScanner(strings.NewReader(e.Key)); in.Scan(); {
		word, rest, _ := strings.Cut(in.Text(), " ")
		switch word {
		case "set":
			lines = append(lines, rest)
		case "revision":
			_, _ = fmt.Sscan(rest, &revision)
		case "backend":
			backend = rest
		case "input":
			hex, role, _ := strings.Cut(rest, " ")
			if id, err := store.ParseOutputID(hex); err == nil {
				if from, ok := h.byOutput[id]; ok {
					inherit(f, h.ofEntry(from, depth+1), e.Stage(), role)
				}
			}
		}
	}
	own(f, e.Stage(), lines, revision, backend)
	h.features[e.Action] = f
	return f
}

// shown is how many differences a reason names.
const shown = 3

// Words says in a line why an action of a stage is not an earlier one: what
// differs in its own part, then in what it reads.
func Words(kind string, diffs []Difference) string {
	if len(diffs) == 0 {
		return "what it reads has other bytes than before, or is no longer in the store"
	}
	diffs = slices.Clone(diffs)
	rank := func(d Difference) int {
		switch {
		case d.Part == kind, strings.HasPrefix(d.Part, kind+" of "):
			return 0
		case d.Part == "":
			return 1
		}
		return 2
	}
	slices.SortStableFunc(diffs, func(a, b Difference) int { return rank(a) - rank(b) })
	var parts []string
	rest := len(diffs)
	for i := 0; i < len(diffs) && i < shown; {
		first := diffs[i]
		var list []string
		for ; i < len(diffs) && i < shown && diffs[i].Part == first.Part; i++ {
			list = append(list, diffs[i].String())
			rest--
		}
		text := strings.Join(list, ", ")
		switch rank(first) {
		case 0:
			text = "its " + text
		case 2:
			text = fmt.Sprintf("`%s` changed: its %s", first.Part, text)
		}
		parts = append(parts, text)
	}
	s := strings.Join(parts, "; ")
	if rest > 0 {
		s += fmt.Sprintf("; and %d more", rest)
	}
	return s
}
