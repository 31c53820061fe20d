package plan

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"ablate/runner/layout"
	"ablate/runner/stage"
	"ablate/runner/store"
)

// A feature names a line of the key of an action, or of an action that it depends on. A
// parameter of the trial has the part of the trial ("reward") and its name in that part.
// A line that only a stage has is named by the stage. Seeds and the backend concern all
// stages and have no part.
type feature struct{ part, name string }

// Difference is a feature in which two actions differ.
type Difference struct {
	Part string `json:"part"` // part of the trial, such as "reward", or a stage; "" for seeds and the backend
	Name string `json:"name"` // such as "lambda"
	Old  string `json:"old"`  // value of the earlier action, "" if it has none
	New  string `json:"new"`  // value of the planned action, "" if it has none
}

// Path returns the dotted path of the parameter in a trial, or a description if it has
// none.
func (d Difference) Path() string {
	_, list, _ := strings.Cut(d.Part, " of ")
	switch part, ofBase := strings.CutPrefix(d.Part, "base "); {
	case ofBase:
		return Difference{Part: part, Name: d.Name}.Path() + " of the base"
	case d.Name == "revision":
		return "the code of " + d.Part
	case d.Name == "method revision":
		return "the code of the method"
	case d.Name == "rows" && stage.ListOf(list).Path != "":
		return stage.ListOf(list).Path
	case d.Part == "":
		return d.Name
	case strings.Contains(d.Part, " "):
		return d.Name + " of " + d.Part
	}
	return d.Part + "." + d.Name
}

// earlier is an action that the store has.
type earlier struct {
	store.Entry
	key store.Key
}

// history is all actions that the store has, and their features.
type history struct {
	stages   map[string]bool      // those of byStage
	byStage  map[string][]earlier // by the names of the function compared
	byOutput map[store.OutputID]earlier
	features map[store.ActionID]map[feature]string
	planned  map[*layout.Action]map[feature]string
}

func newHistory(entries []store.Entry) *history {
	h := &history{map[string]bool{}, map[string][]earlier{}, map[store.OutputID]earlier{}, map[store.ActionID]map[feature]string{}, map[*layout.Action]map[feature]string{}}
	var all []earlier
	for _, e := range entries {
		key, err := store.ParseKey(e.Key)
		if err != nil {
			continue // the key of another version cannot be compared
		}
		ran := earlier{e, key}
		all = append(all, ran)
		// Two actions may have the same output: scores by a trial's own reward, and
		// scores by the base trial's reward if both rewards are the same.
		if _, ok := h.byOutput[e.Output]; !ok || !ran.readsBase() {
			h.byOutput[e.Output] = ran
		}
	}
	for _, ran := range all {
		g := compared(ran.key.Stage, h.listOfEntry(ran, 0), ran.key.Lines)
		h.byStage[g] = append(h.byStage[g], ran)
		h.stages[ran.key.Stage] = true
	}
	return h
}

// readsBase reports whether an action reads an artifact of the base trial. No other
// action reads the results of such an action.
func (e earlier) readsBase() bool {
	d := stage.Kind(e.key.Stage).Def()
	return slices.ContainsFunc(e.key.Inputs, func(i store.Input) bool { in, _ := d.Input(i.Name); return in.OfBase })
}

// like returns the earlier actions with which a planned action is compared.
func (h *history) like(a *layout.Action) []earlier {
	if !h.stages[string(a.Kind)] { // saves time in a study of many actions
		return nil
	}
	return h.byStage[compared(string(a.Kind), listOf(a), a.Lines())]
}

// compared returns a name for the actions that are compared with each other: they have
// the same stage and list of prompts, and the same candidate of best of n or both are of
// the checkpoints of a fine-tuning. Images for feedback, for example, are never compared
// with images for the assessment of a reward, even if their parameters are similar.
func compared(kind, list string, lines []string) string {
	name := group(kind, list)
	for _, l := range lines {
		if strings.HasPrefix(l, "candidate ") || strings.HasPrefix(l, "steps ") {
			name += ", " + l
		}
	}
	return name
}

// group returns a name for the actions of a stage, or for those of one list of prompts.
func group(kind, list string) string {
	if list == "" {
		return kind
	}
	return kind + " of " + list
}

// listInputs are the inputs that belong to a list of prompts. A stage that reads one
// belongs to the same list.
var listInputs = []string{stage.PromptsInput, stage.ImagesInput, stage.VerdictsInput, stage.Numbered(stage.ImagesInput, 0)}

// readsList reports whether every action of a stage reads an input. A fine-tuning may
// read inputs of several lists, which are optional, and belongs to none.
func readsList(kind stage.Kind, input string) bool {
	in, ok := kind.Def().Input(input)
	return ok && !in.Optional
}

// listOf returns the list of prompts to which an action belongs, "" if there is none.
func listOf(a *layout.Action) string {
	if list := ownList(a.Lines()); list != "" {
		return list
	}
	for _, name := range listInputs {
		if i := slices.Index(a.Reads, name); i >= 0 && readsList(a.Kind, name) {
			return listOf(a.Inputs[i])
		}
	}
	return ""
}

// listOfEntry is listOf for an action in the store. It follows inputs as far as the store
// still has them.
func (h *history) listOfEntry(e earlier, depth int) string {
	if list := ownList(e.key.Lines); list != "" || depth > deepest {
		return list
	}
	for _, name := range listInputs {
		for _, in := range e.key.Inputs {
			if from, ok := h.byOutput[in.Output]; ok && in.Name == name && readsList(stage.Kind(e.key.Stage), name) {
				return h.listOfEntry(from, depth+1)
			}
		}
	}
	return ""
}

// deepest is how far the inputs of an action in the store are followed.
const deepest = 32

// nearest finds the earlier action with the fewest differences.
func (h *history) nearest(a *layout.Action, backend string) (earlier, []Difference) {
	want := h.ofPlanned(a, backend)
	entries := h.like(a)
	old := make([]map[feature]string, len(entries))
	for i, e := range entries {
		old[i] = h.ofEntry(e, 0)
	}
	best := closest(old, want)
	return entries[best], differences(old[best], want)
}

// closest returns the index of the element of old that differs least from want.
func closest(old []map[feature]string, want map[feature]string) int {
	best, least := 0, -1
	for i, o := range old {
		if n := count(o, want, least); least < 0 || n < least {
			best, least = i, n
		}
	}
	return best
}

// count returns in how many features old and now differ. If limit is not negative, it may
// stop counting there.
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

// Between returns the differences between the keys of two actions of a stage, without
// seeds and inputs.
func Between(old, now *layout.Action) []Difference {
	before, after := map[feature]string{}, map[feature]string{}
	own(before, string(old.Kind), old.Lines(), old.Kind.Def().Revision, "")
	own(after, string(now.Kind), now.Lines(), now.Kind.Def().Revision, "")
	return slices.DeleteFunc(differences(before, after), Difference.seed)
}

// seed reports whether a difference is in a seed.
func (d Difference) seed() bool { return d.Part == "" && strings.HasPrefix(d.Name, "seed.") }

// ownList returns the list of prompts that an action's own lines name, "" if there is
// none.
func ownList(lines []string) string {
	for _, l := range lines {
		if quoted, ok := strings.CutPrefix(l, "list "); ok {
			if list, err := strconv.Unquote(quoted); err == nil {
				return list
			}
		}
	}
	return ""
}

// owner returns the name of a stage, followed by the list of prompts if the lines name
// one.
func owner(kind string, lines []string) string { return group(kind, ownList(lines)) }

// own adds the features of an action's own lines, revision and backend.
func own(to map[feature]string, kind string, lines []string, revision int, backend string) {
	who := owner(kind, lines)
	for _, l := range lines {
		name, value := pathValue(l)
		part, rest, dotted := strings.Cut(name, ".")
		switch {
		case part == "seed":
			to[feature{"", name}] = value
		case dotted:
			to[feature{part, rest}] = value
		case name != "list":
			to[feature{who, name}] = value
		}
	}
	to[feature{who, "revision"}] = fmt.Sprint(revision)
	if backend != "" {
		to[feature{"", "backend"}] = backend
	}
}

// pathValue splits a line of stage.Lines. A path may contain a space ("method revision
// 2"); a text value may too, and is quoted.
func pathValue(line string) (path, value string) {
	i := strings.Index(line, ` "`)
	if i < 0 {
		i = strings.LastIndexByte(line, ' ')
	}
	if i < 0 {
		return line, ""
	}
	return line[:i], line[i+1:]
}

// alone returns the differences in an action's own parameters and code, without those of
// its inputs.
func alone(diffs []Difference, kind string, now, before []string) []Difference {
	mine := map[feature]string{}
	own(mine, kind, now, 0, "class")
	own(mine, kind, before, 0, "class")
	var out []Difference
	for _, d := range diffs {
		if _, ok := mine[feature{d.Part, d.Name}]; ok {
			out = append(out, d)
		}
	}
	return out
}

// inherit adds the features of an input to those of the action that reads it. If the
// input belongs to the base trial, their part begins with "base".
func inherit(to, from map[feature]string, kind stage.Kind, input string) {
	in, _ := kind.Def().Input(input)
	for f, v := range from {
		if in.OfBase && f.part != "" {
			f.part = "base " + f.part
		}
		to[f] = v
	}
}

func (h *history) ofPlanned(a *layout.Action, backend string) map[feature]string {
	if f, ok := h.planned[a]; ok {
		return f
	}
	f := map[feature]string{}
	for i, in := range a.Inputs {
		inherit(f, h.ofPlanned(in, backend), a.Kind, a.Reads[i])
	}
	d := a.Kind.Def()
	if !d.Backend {
		backend = ""
	}
	own(f, string(a.Kind), a.Lines(), d.Revision, backend)
	h.planned[a] = f
	return f
}

// ofEntry returns the features of an action in the store: those of its own key, and of
// its inputs as far as the store still has them.
func (h *history) ofEntry(e earlier, depth int) map[feature]string {
	if f, ok := h.features[e.Action]; ok || depth > deepest {
		return f
	}
	f := map[feature]string{}
	for _, in := range e.key.Inputs {
		if from, ok := h.byOutput[in.Output]; ok {
			inherit(f, h.ofEntry(from, depth+1), stage.Kind(e.key.Stage), in.Name)
		}
	}
	own(f, e.key.Stage, e.key.Lines, e.key.Revision, e.key.Backend)
	h.features[e.Action] = f
	return f
}

// shown is the largest number of differences that a reason names.
const shown = 3

// Words describes on one line how an action of a stage differs from an earlier one: first
// its own parameters, then those of its inputs.
func Words(kind string, diffs []Difference) string {
	if len(diffs) == 0 {
		return "its inputs have other bytes than before, or are no longer in the store"
	}
	diffs = slices.Clone(diffs)
	if !slices.ContainsFunc(diffs, func(d Difference) bool { return !d.seed() }) {
		return NewSeeds
	}
	diffs = slices.DeleteFunc(diffs, Difference.seed)
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
	for _, d := range diffs[:min(shown, len(diffs))] {
		parts = append(parts, d.String())
	}
	s := strings.Join(parts, ", ")
	if rest := len(diffs) - shown; rest > 0 {
		s += fmt.Sprintf(", and %d more", rest)
	}
	return s
}
