package plan

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// fileFormat is the first field of a saved plan.
const fileFormat = "ablate plan 1"

// File is a saved plan: the actions that a later run must find unchanged.
type File struct {
	Format  string       `json:"format"`
	Study   string       `json:"study"` // path of the study, relative to the folder of the file
	Set     []string     `json:"set,omitempty"`
	Only    []string     `json:"only,omitempty"`
	Backend string       `json:"backend"`
	Actions []FileAction `json:"actions"`
}

// FileAction is an action of a saved plan.
type FileAction struct {
	Stage    string   `json:"stage"`
	Action   string   `json:"action"` // structural name, which includes the names of its inputs
	State    State    `json:"state"`
	Revision int      `json:"revision"`
	Lines    []string `json:"lines,omitempty"` // own lines of its key, to name later changes
}

// Save writes a plan of a study to a file.
func (p *Plan) Save(name, studyPath string, set, only []string) error {
	rel, err := relative(name, studyPath)
	if err != nil {
		return fmt.Errorf("plan %s: %w", name, err)
	}
	f := File{Format: fileFormat, Study: rel, Set: set, Only: only, Backend: p.Backend}
	for _, s := range p.Steps {
		f.Actions = append(f.Actions, FileAction{Stage: string(s.Action.Kind), Action: s.Action.Name, State: s.State,
			Revision: s.Action.Kind.Def().Revision, Lines: s.Action.Lines})
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
		return abs, nil // no relative path leads to another volume
	}
	return filepath.ToSlash(rel), nil
}

// Open reads a saved plan. The field Study of the result is a path from the working
// folder.
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
		return nil, fmt.Errorf("it is not a plan that 'ablate plan -o' wrote: %w", err)
	}
	if f.Format != fileFormat {
		return nil, fmt.Errorf("its format is %q, and this program reads %q: make a new plan", f.Format, fileFormat)
	}
	if f.Study == "" || len(f.Actions) == 0 {
		return nil, errors.New("it names no study or no action: make a new plan")
	}
	return &f, nil
}

// Changes returns what has changed since a plan was saved, in words; nil if exactly the
// same actions would run. Actions are compared by the lines of their own parameters: a
// change of an input is reported for the action that makes the input.
func (f *File) Changes(now *Plan) []string {
	planned, left := map[string]State{}, map[string]bool{}
	for _, a := range f.Actions {
		planned[a.Action] = a.State
	}
	for _, s := range now.Steps {
		left[s.Action.Name] = true
	}
	gone := map[string][]map[feature]string{} // own lines of actions that only the saved plan has, by owner
	count := map[string]int{}                 // number of such actions by stage
	for _, a := range f.Actions {
		if !left[a.Action] {
			who := owner(a.Stage, a.Lines)
			m := map[feature]string{}
			own(m, a.Stage, a.Lines, a.Revision, "")
			gone[who] = append(gone[who], m)
			count[a.Stage]++
		}
	}
	reasons := map[string]int{}
	pairs := comparisons
	follow := 0
	for _, s := range now.Steps {
		kind := string(s.Action.Kind)
		was, ok := planned[s.Action.Name]
		if ok {
			if was == Cached && s.State != Cached {
				reasons[kind+": a result that was in the store is no longer there"]++
			}
			continue
		}
		candidates := gone[owner(kind, s.Action.Lines)]
		if len(candidates) == 0 {
			reasons[kind+": an action that the plan does not have"]++
			continue
		}
		count[kind]--
		if pairs -= len(candidates); pairs < 0 {
			reasons[kind+": "+notCompared]++
			continue
		}
		want := map[feature]string{}
		own(want, kind, s.Action.Lines, s.Action.Kind.Def().Revision, "")
		if diffs := differences(candidates[closest(candidates, want)], want); len(diffs) > 0 {
			reasons[kind+": "+Words(kind, diffs)]++
		} else {
			follow++
		}
	}
	var out []string
	if f.Backend != now.Backend {
		out = append(out, fmt.Sprintf("the backend was %s and is %s", f.Backend, now.Backend))
	}
	for kind, n := range count {
		if n > 0 {
			out = append(out, fmt.Sprintf("%s: actions of the plan that are no longer in the study: %d", kind, n))
		}
	}
	for text, n := range reasons {
		if n > 1 {
			text = fmt.Sprintf("%s (%d times)", text, n)
		}
		out = append(out, text)
	}
	slices.Sort(out)
	if follow > 0 {
		out = append(out, fmt.Sprintf("and later stages, which read the results of these: %d actions", follow))
	}
	return out
}
