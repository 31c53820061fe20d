package plan

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/renameio/v2"

	"ablate/runner/layout"
	"ablate/runner/resource"
	"ablate/runner/stage"
)

// fileFormat is the first field of a plan in a file.
const fileFormat = "ablate plan 3"

// Head is the beginning of a plan in a file.
type Head struct {
	Format  string   `json:"format"`
	Study   string   `json:"study"` // path of the study, relative to the folder of the file
	Name    string   `json:"name"`  // name of the study
	Set     []string `json:"set,omitempty"`
	Only    []string `json:"only,omitempty"`
	Backend string   `json:"backend"`
}

// File is a plan in a file: everything that a run does. 'ablate run' writes it for the
// workers of a study, and 'ablate plan -o' so that a later run does exactly that. What many
// actions share is in it once, because a study may have a million actions.
type File struct {
	Head
	Specs   []FileSpec   `json:"specs"`
	Trials  []FileTrial  `json:"trials"`
	Actions []FileAction `json:"actions"` // an action comes after its inputs
}

// FileSpec is what actions do.
type FileSpec struct {
	Stage    string          `json:"stage"`
	Revision int             `json:"revision"`
	Lines    []string        `json:"lines,omitempty"` // lines of the parameters in keys, to name later changes
	Params   json.RawMessage `json:"params"`          // parameters of the stage
	Reads    []string        `json:"reads,omitempty"` // names of the inputs in the stage
	Need     *resource.Need  `json:"resources,omitempty"`
}

// FileTrial is a trial that needs actions.
type FileTrial struct {
	ID   string `json:"id"`
	View string `json:"view"` // its first row and seed
}

// FileAction is an action of a plan in a file.
type FileAction struct {
	Action layout.Name `json:"action"`           // structural name, which includes the names of its inputs
	Spec   int32       `json:"spec"`             // position in File.Specs
	Inputs []int32     `json:"inputs,omitempty"` // positions in File.Actions
	Trial  int32       `json:"trial"`            // position in File.Trials of the first trial that needs it; -1 if none does
	Turn   int32       `json:"turn"`             // position in the order of running: lower ones first
	State  State       `json:"state,omitempty"`  // of a saved plan
}

// Save writes a plan of a study to a file.
func (p *Plan) Save(name, studyPath string, set, only []string) error {
	g := &layout.Graph{}
	for _, s := range p.Steps {
		g.Actions = append(g.Actions, s.Action)
	}
	head := Head{Study: studyPath, Name: filepath.Base(studyPath), Set: set, Only: only, Backend: p.Backend}
	return write(name, head, g, nil, func(i int) State { return p.Steps[i].State })
}

// Write writes the plan of a graph's actions to a file, with what they need of a machine and
// without their states. head.Study is the path of the study. An earlier file is replaced as a
// whole.
func Write(name string, head Head, g *layout.Graph, needs Needs) error {
	return write(name, head, g, needs, func(int) State { return "" })
}

func write(name string, head Head, g *layout.Graph, needs Needs, state func(i int) State) error {
	fail := func(err error) error { return fmt.Errorf("plan %s: %w", name, err) }
	var err error
	if head.Study, err = relative(name, head.Study); err != nil {
		return fail(err)
	}
	head.Format = fileFormat
	out, err := renameio.NewPendingFile(name, renameio.WithTempDir(filepath.Dir(name)), renameio.WithPermissions(0o666))
	if err != nil {
		return fail(err)
	}
	defer out.Cleanup()
	w := &writer{w: bufio.NewWriter(out)}
	w.head(head)
	specs, trials := map[*layout.Spec]int32{}, map[*layout.Trial]int32{}
	w.list("specs")
	for _, a := range g.Actions {
		if _, ok := specs[a.Spec]; ok {
			continue
		}
		specs[a.Spec] = int32(len(specs))
		params, err := json.Marshal(a.Params)
		if err != nil {
			return fail(fmt.Errorf("%s: %w", a.Kind, err))
		}
		spec := FileSpec{Stage: string(a.Kind), Revision: a.Kind.Def().Revision, Lines: a.Lines(), Params: params, Reads: a.Reads}
		if n, ok := needs.find(a); ok {
			spec.Need = &n
		}
		w.element(spec)
	}
	w.list("trials")
	for _, a := range g.Actions {
		if _, ok := trials[a.Trial]; ok || a.Trial == nil {
			continue
		}
		trials[a.Trial] = int32(len(trials))
		w.element(FileTrial{a.Trial.ID, a.Trial.View})
	}
	w.list("actions")
	var inputs []int32
	for i, a := range g.Actions {
		x := FileAction{Action: a.Name, Spec: specs[a.Spec], Trial: -1, Turn: a.Turn, State: state(i)}
		if a.Trial != nil {
			x.Trial = trials[a.Trial]
		}
		inputs = inputs[:0]
		for _, in := range a.Inputs {
			inputs = append(inputs, int32(in.Index()))
		}
		x.Inputs = inputs
		w.element(x)
	}
	if err := w.end(); err != nil {
		return fail(err)
	}
	if err := out.CloseAtomicallyReplace(); err != nil {
		return fail(err)
	}
	return nil
}

// A writer writes a JSON object of lists, an element a line.
type writer struct {
	w     *bufio.Writer // it keeps the first error
	err   error         // of encoding
	first bool          // the next element is the first of its list
	open  bool          // a list has begun
}

func (w *writer) head(h Head) {
	data, err := json.Marshal(h)
	w.err = err
	w.w.Write(data[:max(0, len(data)-len("}"))])
}

func (w *writer) list(name string) {
	if w.open {
		w.w.WriteString("\n]")
	}
	fmt.Fprintf(w.w, ",\n%q:[", name)
	w.open, w.first = true, true
}

func (w *writer) element(x any) {
	data, err := json.Marshal(x)
	if err != nil {
		w.err = errors.Join(w.err, err)
	}
	if !w.first {
		w.w.WriteByte(',')
	}
	w.first = false
	w.w.WriteByte('\n')
	w.w.Write(data)
}

func (w *writer) end() error {
	w.w.WriteString("\n]}\n")
	return errors.Join(w.err, w.w.Flush())
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
	f := &File{}
	return f, open(name, &f.Head, f.visitor())
}

func (f *File) visitor() visitor {
	return visitor{
		spec:   func(x FileSpec) error { f.Specs = append(f.Specs, x); return nil },
		trial:  func(x FileTrial) error { f.Trials = append(f.Trials, x); return nil },
		action: f.add,
	}
}

func (f *File) add(x FileAction) error {
	if int(x.Spec) >= len(f.Specs) || x.Spec < 0 {
		return fmt.Errorf("action %d is of spec %d, which the file does not have: make a new plan", len(f.Actions), x.Spec)
	}
	f.Actions = append(f.Actions, x)
	return nil
}

// OpenGraph reads the actions of a plan, and what they need of a machine. It is an error if this
// version of the program would compute something else.
func OpenGraph(name string) (Head, *layout.Graph, Needs, error) {
	var h Head
	b := builder{g: layout.Empty(), needs: Needs{}}
	err := open(name, &h, b.visitor())
	for _, k := range stage.Kinds() {
		if _, ok := b.needs[Needer{k, ""}]; !ok {
			b.needs[Needer{k, ""}] = usual(k, h.Backend)
		}
	}
	return h, b.g, b.needs, err
}

func open(name string, h *Head, v visitor) error {
	file, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("plan %s: %w", name, err)
	}
	defer file.Close()
	if err := parse(bufio.NewReaderSize(file, 1<<16), h, v); err != nil {
		return fmt.Errorf("plan %s: %w", name, err)
	}
	if !filepath.IsAbs(h.Study) {
		h.Study = filepath.Join(filepath.Dir(name), filepath.FromSlash(h.Study))
	}
	return nil
}

// A visitor is called for every element of a plan's lists.
type visitor struct {
	spec   func(FileSpec) error
	trial  func(FileTrial) error
	action func(FileAction) error
}

// parse reads a plan an element at a time. Unknown fields of its head are ignored.
func parse(r io.Reader, h *Head, v visitor) error {
	foreign := func(err error) error {
		return fmt.Errorf("it is not a plan that 'ablate plan -o' or 'ablate run' wrote: %w", err)
	}
	d := json.NewDecoder(r)
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return foreign(cmp.Or(err, errors.New("it is no JSON object")))
	}
	n := 0
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return foreign(err)
		}
		if key != "format" && h.Format != fileFormat {
			return fmt.Errorf("its format is %q, and this program reads %q: make a new plan", h.Format, fileFormat)
		}
		switch key {
		case "format":
			err = d.Decode(&h.Format)
		case "study":
			err = d.Decode(&h.Study)
		case "name":
			err = d.Decode(&h.Name)
		case "set":
			err = d.Decode(&h.Set)
		case "only":
			err = d.Decode(&h.Only)
		case "backend":
			err = d.Decode(&h.Backend)
		case "specs":
			_, err = elements(d, v.spec)
		case "trials":
			_, err = elements(d, v.trial)
		case "actions":
			n, err = elements(d, v.action)
		default:
			err = d.Decode(new(json.RawMessage))
		}
		var own visitError
		if errors.As(err, &own) {
			return own.error
		}
		if err != nil {
			return foreign(err)
		}
	}
	if _, err := d.Token(); err != nil {
		return foreign(err)
	}
	if h.Format != fileFormat {
		return fmt.Errorf("its format is %q, and this program reads %q: make a new plan", h.Format, fileFormat)
	}
	if h.Study == "" || n == 0 {
		return errors.New("it names no study or no action: make a new plan")
	}
	return nil
}

// visitError is an error of a visitor, not of the JSON.
type visitError struct{ error }

// elements decodes a list and calls visit for each element. It returns their number.
func elements[T any](d *json.Decoder, visit func(T) error) (n int, err error) {
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		return 0, cmp.Or(err, errors.New("a list was expected"))
	}
	for ; d.More(); n++ {
		var x T
		if err := d.Decode(&x); err != nil {
			return n, err
		}
		if err := visit(x); err != nil {
			return n, visitError{err}
		}
	}
	_, err = d.Token()
	return n, err
}

// A builder makes the graph of a plan in a file.
type builder struct {
	g      *layout.Graph
	needs  Needs
	specs  []plannedSpec
	trials []*layout.Trial
	added  []*layout.Action
}

// plannedSpec is what actions of a file do.
type plannedSpec struct {
	kind   stage.Kind
	params stage.Params
	reads  []string
}

func (b *builder) visitor() visitor { return visitor{b.spec, b.trial, b.action} }

func other(what string) error {
	return fmt.Errorf("%s: the file is of another version of this program, or damaged; run the study again, and start workers of the same version", what)
}

func (b *builder) spec(x FileSpec) error {
	kind := stage.Kind(x.Stage)
	who := fmt.Sprintf("spec %d (%s)", len(b.specs), x.Stage)
	if d := kind.Def(); d.Revision != x.Revision {
		return other(fmt.Sprintf("%s has revision %d of its stage, and this version has %d", who, x.Revision, d.Revision))
	}
	params, err := kind.Decode(x.Params)
	if err != nil {
		return other(who + " cannot be read (" + err.Error() + ")")
	}
	if x.Need != nil {
		b.needs[Needer{kind, stage.EngineOf(params)}] = *x.Need
	}
	b.specs = append(b.specs, plannedSpec{kind, params, x.Reads})
	return nil
}

func (b *builder) trial(x FileTrial) error {
	b.trials = append(b.trials, &layout.Trial{ID: x.ID, View: x.View})
	return nil
}

func (b *builder) action(x FileAction) error {
	i := len(b.added)
	if x.Spec < 0 || int(x.Spec) >= len(b.specs) {
		return other(fmt.Sprintf("action %d is of spec %d, which the file does not have", i, x.Spec))
	}
	spec := b.specs[x.Spec]
	who := fmt.Sprintf("action %d (%s)", i, spec.kind)
	if len(x.Inputs) != len(spec.reads) || int(x.Trial) >= len(b.trials) {
		return other(fmt.Sprintf("%s has %d inputs of %d, and trial %d of %d", who, len(x.Inputs), len(spec.reads), x.Trial, len(b.trials)))
	}
	inputs := make([]layout.Input, len(x.Inputs))
	for k, in := range x.Inputs {
		if in < 0 || int(in) >= i {
			return other(fmt.Sprintf("%s reads action %d, which is not before it", who, in))
		}
		inputs[k] = layout.Input{Name: spec.reads[k], Action: b.added[in]}
	}
	a := b.g.Add(spec.kind, spec.params, inputs...)
	if a.Name != x.Action {
		return other(fmt.Sprintf("%s has the name %s, and by its parameters and inputs it is %s", who, x.Action.Short(), a.Name.Short()))
	}
	if x.Trial >= 0 && a.Trial == nil {
		a.Trial = b.trials[x.Trial]
	}
	a.Turn = x.Turn
	b.added = append(b.added, a)
	return nil
}

// Changes returns what has changed since a plan was saved, in words; nil if exactly the
// same actions would run. Actions are compared by the lines of their own parameters: a
// change of an input is reported for the action that makes the input.
func (f *File) Changes(now *Plan) []string {
	planned, left := map[layout.Name]State{}, map[layout.Name]bool{}
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
			x := f.Specs[a.Spec]
			who := owner(x.Stage, x.Lines)
			m := map[feature]string{}
			own(m, x.Stage, x.Lines, x.Revision, "")
			gone[who] = append(gone[who], m)
			count[x.Stage]++
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
		candidates := gone[owner(kind, s.Action.Lines())]
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
		own(want, kind, s.Action.Lines(), s.Action.Kind.Def().Revision, "")
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
