package plan

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/renameio/v2"

	"ablate/runner/layout"
	"ablate/runner/resource"
	"ablate/runner/stage"
)

// fileFormat is the first field of a plan in a file.
const fileFormat = "ablate plan 2"

// File is a plan in a file: everything that a run does. 'ablate run' writes it for the
// workers of a study, and 'ablate plan -o' so that a later run does exactly that.
type File struct {
	Format  string       `json:"format"`
	Study   string       `json:"study"` // path of the study, relative to the folder of the file
	Name    string       `json:"name"`  // name of the study
	Set     []string     `json:"set,omitempty"`
	Only    []string     `json:"only,omitempty"`
	Backend string       `json:"backend"`
	Actions []FileAction `json:"actions"` // an action comes after its inputs
}

// FileAction is an action of a plan in a file.
type FileAction struct {
	Stage    string          `json:"stage"`
	Action   string          `json:"action"`          // structural name, which includes the names of its inputs
	State    State           `json:"state,omitempty"` // of a saved plan
	Revision int             `json:"revision"`
	Lines    []string        `json:"lines,omitempty"`  // own lines of its key, to name later changes
	Params   json.RawMessage `json:"params"`           // parameters of the stage
	Inputs   []FileInput     `json:"inputs,omitempty"` // artifacts that it reads
	Need     *resource.Need  `json:"resources,omitempty"`
	View     string          `json:"view,omitempty"`  // row and seed of the first trial that needs it
	Trial    string          `json:"trial,omitempty"` // id of that trial
	Turn     int             `json:"turn"`            // position in the order of running: lower ones first
}

// FileInput is an input of an action.
type FileInput struct {
	Name   string `json:"name"`   // of the input in the stage
	Action int    `json:"action"` // index in File.Actions
}

// NewFile returns the plan of a graph's actions, without their states. study is the path of
// the study.
func NewFile(g *layout.Graph, name, study, backend string, set, only []string) (*File, error) {
	f := &File{Format: fileFormat, Study: study, Name: name, Set: set, Only: only, Backend: backend, Actions: make([]FileAction, len(g.Actions))}
	index := make(map[*layout.Action]int, len(g.Actions))
	for i, a := range g.Actions {
		index[a] = i
		params, err := json.Marshal(a.Params)
		if err != nil {
			return nil, fmt.Errorf("plan: %s: %w", a.Kind, err)
		}
		x := FileAction{Stage: string(a.Kind), Action: a.Name, Revision: a.Kind.Def().Revision, Lines: a.Lines, Params: params, Turn: a.Turn}
		if len(a.Views) > 0 {
			x.View, x.Trial = a.Views[0], a.Trials[0]
		}
		for _, in := range a.Inputs {
			x.Inputs = append(x.Inputs, FileInput{in.Name, index[in.Action]})
		}
		f.Actions[i] = x
	}
	return f, nil
}

// Require sets what the actions need of a machine.
func (f *File) Require(needs Needs) {
	for i, a := range f.Actions {
		n := needs[stage.Kind(a.Stage)]
		f.Actions[i].Need = &n
	}
}

// Needs returns what the file says that an action needs of a machine.
func (f *File) Needs() func(*layout.Action) resource.Need {
	needs := map[string]resource.Need{}
	for _, a := range f.Actions {
		if a.Need != nil {
			needs[a.Action] = *a.Need
		}
	}
	return func(a *layout.Action) resource.Need {
		if n, ok := needs[a.Name]; ok {
			return n
		}
		return usual(a.Kind, f.Backend)
	}
}

// Save writes a plan of a study to a file.
func (p *Plan) Save(name, studyPath string, set, only []string) error {
	g := &layout.Graph{}
	for _, s := range p.Steps {
		g.Actions = append(g.Actions, s.Action)
	}
	f, err := NewFile(g, filepath.Base(studyPath), studyPath, p.Backend, set, only)
	if err != nil {
		return err
	}
	for i, s := range p.Steps {
		f.Actions[i].State = s.State
	}
	return f.Write(name)
}

// Write writes the file, an action a line. It replaces an earlier file as a whole.
func (f *File) Write(name string) error {
	fail := func(err error) error { return fmt.Errorf("plan %s: %w", name, err) }
	head := *f
	var err error
	if head.Study, err = relative(name, f.Study); err != nil {
		return fail(err)
	}
	head.Actions = []FileAction{}
	begin, err := json.Marshal(head)
	if err != nil {
		return fail(err)
	}
	out, err := renameio.NewPendingFile(name, renameio.WithTempDir(filepath.Dir(name)), renameio.WithPermissions(0o666))
	if err != nil {
		return fail(err)
	}
	defer out.Cleanup()
	w := bufio.NewWriter(out)
	w.Write(begin[:len(begin)-len("]}")])
	for i, a := range f.Actions {
		line, err := json.Marshal(a)
		if err != nil {
			return fail(err)
		}
		if i > 0 {
			w.WriteByte(',')
		}
		w.WriteByte('\n')
		w.Write(line)
	}
	w.WriteString("\n]}\n")
	if err := w.Flush(); err != nil { // it keeps the first error
		return fail(err)
	}
	if err := out.CloseAtomicallyReplace(); err != nil {
		return fail(err)
	}
	return nil
}

// Graph returns the actions of the file. It is an error if this version of the program
// would compute something else.
func (f *File) Graph() (*layout.Graph, error) {
	g := layout.Empty()
	actions := make([]*layout.Action, len(f.Actions))
	for i, x := range f.Actions {
		kind := stage.Kind(x.Stage)
		other := func(what string) error {
			return fmt.Errorf("action %d (%s %s) %s: the file is of another version of this program, or damaged; run the study again, and start workers of the same version", i, x.Stage, x.View, what)
		}
		if d := kind.Def(); d.Revision != x.Revision {
			return nil, other(fmt.Sprintf("has revision %d of its stage, and this version has %d", x.Revision, d.Revision))
		}
		params, err := kind.Decode(x.Params)
		if err != nil {
			return nil, other("cannot be read (" + err.Error() + ")")
		}
		var inputs []layout.Input
		for _, in := range x.Inputs {
			if in.Action < 0 || in.Action >= i {
				return nil, other(fmt.Sprintf("reads action %d, which is not before it", in.Action))
			}
			inputs = append(inputs, layout.Input{Name: in.Name, Action: actions[in.Action]})
		}
		a := g.Add(kind, params, inputs...)
		if a.Name != x.Action {
			return nil, other(fmt.Sprintf("has the name %.12q, and by its parameters and inputs it is %.12s", x.Action, a.Name))
		}
		if x.View != "" && len(a.Views) == 0 {
			a.Views, a.Trials = []string{x.View}, []string{x.Trial}
		}
		a.Turn, actions[i] = x.Turn, a
	}
	return g, nil
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
		return nil, fmt.Errorf("it is not a plan that 'ablate plan -o' or 'ablate run' wrote: %w", err)
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
