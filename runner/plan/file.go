package plan

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"ablate/runner/stage"
	"ablate/runner/study"
)

// fileFormat is the first field of a saved plan.
const fileFormat = "ablate plan 1"

// File is a saved plan: what was to run, for a run that does exactly that.
type File struct {
	Format  string       `json:"format"`
	Study   string       `json:"study"` // path, relative to the file's own folder
	Set     []string     `json:"set,omitempty"`
	Only    []string     `json:"only,omitempty"`
	Backend string       `json:"backend"`
	Actions []FileAction `json:"actions"`
}

// FileAction is an action of a saved plan. Inputs are places in File.Actions.
type FileAction struct {
	Stage    string         `json:"stage"`
	Action   string         `json:"action"` // structural name
	State    State          `json:"state"`
	Revision int            `json:"revision"`
	Lines    []string       `json:"lines,omitempty"`
	Inputs   map[string]int `json:"inputs,omitempty"` // by role
}

// Save writes a plan of a study to a file.
func (p *Plan) Save(name, studyPath string, set, only []string) error {
	rel, err := relative(name, studyPath)
	if err != nil {
		return fmt.Errorf("plan %s: %w", name, err)
	}
	f := File{Format: fileFormat, Study: rel, Set: set, Only: only, Backend: p.Backend}
	at := map[*study.Action]int{}
	for i, s := range p.Steps {
		a := FileAction{Stage: string(s.Action.Kind), Action: s.Action.Name, State: s.State, Revision: stage.Revision[s.Action.Kind], Lines: s.Action.Lines}
		for _, in := range s.Action.Inputs {
			if a.Inputs == nil {
				a.Inputs = map[string]int{}
			}
			a.Inputs[in.Role] = at[in.Action]
		}
		at[s.Action] = i
		f.Actions = append(f.Actions, a)
	}
	data, err := json.MarshalIndent(f, "", " ")
	if err != nil {
		return fmt.Errorf("plan %s: %w", name, err)
	}
	if err := os.WriteFile(name, append(data, '\n'), 0o666); err != nil {
		return fmt.Errorf("plan %s: %w", name, err)
	}
	return nil
}

func relative(name, studyPath string) (string, error) {
	dir, err := filepath.Abs(filepath.Dir(name))
	if err != nil {
		return "", err
	}
	abs, err := filepath.Abs(studyPath)
	if err != nil {
		return "", err
	}
	rel, err := filepath.Rel(dir, abs)
	if err != nil {
		return abs, nil // another volume
	}
	return filepath.ToSlash(rel), nil
}

// Open reads a saved plan; its Study becomes a path from here.
func Open(name string) (*File, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("plan %s: %w", name, err)
	}
	f, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("plan %s: %w", name, err)
	}
	if !filepath.IsAbs(f.Study) {
		f.Study = filepath.Join(filepath.Dir(name), filepath.FromSlash(f.Study))
	}
	return f, nil
}

func parse(data []byte) (*File, error) {
	var f File
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, fmt.Errorf("it is no plan that 'ablate plan -o' wrote: %w", err)
	}
	if f.Format != fileFormat {
		return nil, fmt.Errorf("its format is %q, and this program reads %q: plan again", f.Format, fileFormat)
	}
	if f.Study == "" || len(f.Actions) == 0 {
		return nil, errors.New("it names no study or no action: plan again")
	}
	for i, a := range f.Actions {
		for role, in := range a.Inputs {
			if in < 0 || in >= i {
				return nil, fmt.Errorf("action %d reads %q from action %d, which does not come before it: plan again", i, role, in)
			}
		}
	}
	return &f, nil
}

// Changes says in words what is no longer as it was when a plan was saved; none
// where the same actions would run.
func (f *File) Changes(now *Plan) []string {
	var out []string
	if f.Backend != now.Backend {
		out = append(out, fmt.Sprintf("the backend was %s and is %s", f.Backend, now.Backend))
	}
	planned := map[string]FileAction{}
	for _, a := range f.Actions {
		planned[a.Action] = a
	}
	h := newHistory(nil)
	old := f.features(now.Backend)
	byStage := map[string][]map[feature]string{}
	left := map[string]bool{}
	for _, s := range now.Steps {
		left[s.Action.Name] = true
	}
	gone := map[string]int{}
	var stages []string
	for i, a := range f.Actions {
		if !left[a.Action] {
			if gone[a.Stage]++; gone[a.Stage] == 1 {
				stages = append(stages, a.Stage)
			}
			byStage[a.Stage] = append(byStage[a.Stage], old[i])
		}
	}
	reasons := map[string]int{}
	var order []string
	say := func(text string) {
		if reasons[text]++; reasons[text] == 1 {
			order = append(order, text)
		}
	}
	for _, s := range now.Steps {
		kind := string(s.Action.Kind)
		was, ok := planned[s.Action.Name]
		switch {
		case !ok && len(byStage[kind]) == 0:
			say(kind + ": an action that the plan does not have")
		case !ok:
			want := h.ofPlanned(s.Action, now.Backend)
			best, n := 0, -1
			for i, o := range byStage[kind] {
				if c := count(o, want, n); n < 0 || c < n {
					best, n = i, c
				}
			}
			say(kind + ": " + Words(kind, differences(byStage[kind][best], want)))
			gone[kind]--
		case was.State == Cached && s.State != Cached:
			say(kind + ": a result that was there is no longer in the store")
		}
	}
	for _, kind := range stages {
		if gone[kind] > 0 {
			out = append(out, fmt.Sprintf("%s: %d actions of the plan are no longer in the study", kind, gone[kind]))
		}
	}
	for _, text := range order {
		if n := reasons[text]; n > 1 {
			text = fmt.Sprintf("%s (%d times)", text, n)
		}
		out = append(out, text)
	}
	slices.Sort(out)
	return out
}

// features are those of each action of the file.
func (f *File) features(backend string) []map[feature]string {
	all := make([]map[feature]string, len(f.Actions))
	for i, a := range f.Actions {
		m := map[feature]string{}
		for role, in := range a.Inputs {
			inherit(m, all[in], a.Stage, role)
		}
		class := f.Backend
		if !stage.Kind(a.Stage).Computes() {
			class = ""
		} else if class == "" {
			class = backend
		}
		own(m, a.Stage, a.Lines, a.Revision, class)
		all[i] = m
	}
	return all
}
