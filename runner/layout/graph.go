// Package layout computes the graph of actions of a study's trials. An action is a stage,
// such as the fine-tuning, with its parameters and inputs.
//
// A trial is a chain of actions. An action has two names. Its structural name is a hash
// of its parameters and of the structural names of its inputs. It is known before
// anything runs, and trials share actions that have the same one. Its key (runner/store)
// has the artifacts that the inputs produced in place of their names.
package layout

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"ablate/experiments/language"
	"ablate/runner/engine"
	"ablate/runner/stage"
)

// A Graph has every action of a study once. An action comes after its inputs.
type Graph struct {
	Actions []*Action
	Chains  map[language.ID]Chain // chains by the id of a trial

	names  index
	specs  map[specKey]*Spec   // while actions are added
	reads  map[string][]string // lists of names of inputs, each once; while actions are added
	heads  map[headKey]Chain   // beginnings of chains; while actions are added
	space  []Action            // for the next actions: a million of them one by one would take a tenth more memory
	slots  []*Action           // the same for their inputs
	dir    string              // folder of the study; the paths of its files are relative to it
	base   language.Content    // of the base trial
	judges []language.Judge    // beside the gold
	strict bool                // trainings of engines go on in equal environments only
	out    Outside             // what lies outside of the study
}

// Outside returns what a graph depends on beside the study. A function that a study does not
// need may be nil.
type Outside struct {
	Checkpoint func(dir string) (digest string, err error)        // of a checkpoint folder that a trial adopts
	Prompts    func(path string) (digest string, err error)       // of a file of prompts
	Folder     func(dir string) (digest string, n int, err error) // of a folder of pictures, and their number
	Engine     func(name, verb string) (Called, error)
	Stamp      func(record string) (string, error) // with which an engine loads a model, by the name of its record
}

// Called is a verb of an engine that trials call.
type Called struct {
	stage.Call                                  // without parameters
	Shard      int                              // largest number of rows of one task
	Together   bool                             // rows are never split into several tasks
	Keeps      bool                             // it writes checkpoints on its way
	Calls      func(params map[string]any) bool // whether it calls the reward while it trains with parameters, by path; nil: never
	Serves     bool                             // as a worker
	Columns    map[string]engine.Column         // what score gives
}

// cached returns the functions with their results kept.
func (o Outside) cached() Outside {
	type folder struct {
		digest string
		n      int
	}
	checkpoint, prompts, pictures, engines, stamps := map[string]string{}, map[string]string{}, map[string]folder{}, map[[2]string]Called{}, map[string]string{}
	return Outside{
		Checkpoint: func(dir string) (string, error) {
			return memo(checkpoint, dir, func() (string, error) { return o.Checkpoint(dir) })
		},
		Prompts: func(path string) (string, error) {
			return memo(prompts, path, func() (string, error) { return o.Prompts(path) })
		},
		Folder: func(dir string) (string, int, error) {
			f, err := memo(pictures, dir, func() (folder, error) {
				digest, n, err := o.Folder(dir)
				return folder{digest, n}, err
			})
			return f.digest, f.n, err
		},
		Engine: func(name, verb string) (Called, error) {
			return memo(engines, [2]string{name, verb}, func() (Called, error) { return o.Engine(name, verb) })
		},
		Stamp: func(record string) (string, error) {
			return memo(stamps, record, func() (string, error) { return o.Stamp(record) })
		},
	}
}

func memo[K comparable, V any](known map[K]V, k K, ask func() (V, error)) (V, error) {
	if v, ok := known[k]; ok {
		return v, nil
	}
	v, err := ask()
	if err == nil {
		known[k] = v
	}
	return v, err
}

// specKey identifies a Spec within a graph. It is cheaper than the hash.
type specKey struct {
	params stage.Params
	kind   stage.Kind
	reads  string // names of the inputs
}

// spec returns the Spec of a stage with these parameters and inputs.
func (g *Graph) spec(kind stage.Kind, p stage.Params, inputs []Input) *Spec {
	names := make([]byte, 0, 128)
	for _, in := range inputs {
		names = append(append(names, in.Name...), 0)
	}
	key := specKey{p, kind, string(names)}
	if s, ok := g.specs[key]; ok {
		return s
	}
	if _, ok := g.reads[key.reads]; !ok {
		list := make([]string, len(inputs))
		for i, in := range inputs {
			list[i] = in.Name
		}
		g.reads[key.reads] = list
	}
	s := &Spec{Kind: kind, Params: p, Reads: g.reads[key.reads], Cost: stage.Cost(p)}
	s.hash = sha256.Sum256(fmt.Appendf(nil, "%s %d\n%s\n\n%s", kind, kind.Def().Revision, strings.Join(s.Lines(), "\n"), strings.Join(s.Reads, "\n")))
	g.specs[key] = s
	return s
}

// NewGraph returns the graph of the given views of a study.
func NewGraph(s *language.Study, views []language.View, o Outside) (*Graph, error) {
	g := &Graph{Chains: make(map[language.ID]Chain, len(views)), dir: s.Dir, base: s.Base, judges: s.Judges, strict: s.Resume == "strict", out: o.cached()}
	g.open()
	defer g.close()
	bases := map[language.Seed]Chain{}
	for _, v := range views {
		id := v.Trial.ID()
		if _, ok := g.Chains[id]; ok {
			continue
		}
		base, ok := bases[v.Trial.Seed]
		if !ok && s.Base.Learns() {
			var err error
			if base, err = g.toReward(language.Trial{Content: s.Base, Seed: v.Trial.Seed}); err != nil {
				return nil, fmt.Errorf("%s: base trial: %w", v, err)
			}
			bases[v.Trial.Seed] = base
		}
		c, err := g.chain(v, base)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", v, err)
		}
		g.Chains[id] = c
		c.addTrial(&Trial{id.String(), v.String()}, int32(len(g.Chains)), int32(g.turn(s, v)))
	}
	return g, nil
}

// Find returns the position in Actions of the action of a structural name; -1 if there is none.
func (g *Graph) Find(name Name) int { return g.names.find(g.Actions, name) }

// Action returns the action of a structural name, or nil.
func (g *Graph) Action(name Name) *Action {
	if i := g.Find(name); i >= 0 {
		return g.Actions[i]
	}
	return nil
}

// Position returns the position in Actions of an action, which may be that of another graph;
// -1 if this graph lacks it.
func (g *Graph) Position(a *Action) int {
	if i := a.Index(); i < len(g.Actions) && g.Actions[i] == a {
		return i
	}
	return g.Find(a.Name)
}

// Some returns a graph of some actions of another one, which stay that one's.
func Some(actions []*Action) *Graph {
	g := &Graph{Actions: actions}
	for i := range actions {
		g.names.add(actions[:i+1])
	}
	return g
}

// Empty returns a graph without actions, for [Graph.Add].
func Empty() *Graph {
	g := &Graph{}
	g.open()
	return g
}

// open and close begin and end the adding of actions.
func (g *Graph) open() {
	g.specs, g.reads, g.heads = map[specKey]*Spec{}, map[string][]string{}, map[headKey]Chain{}
}

func (g *Graph) close() { g.specs, g.reads, g.heads, g.space, g.slots = nil, nil, nil, nil, nil }

// Of returns the graph of actions that have their names and inputs, each after its inputs.
func Of(actions ...*Action) *Graph {
	for i, a := range actions {
		a.index = int32(i)
	}
	return Some(actions)
}

// Add adds an action of a plan, whose inputs must have been added before, and returns it.
func (g *Graph) Add(kind stage.Kind, params stage.Params, inputs ...Input) *Action {
	return g.add(kind, params, inputs...)
}

// turn returns the position of the next trial in the order of running: seed by seed, and
// within a seed in the order of the study. So all rows of the first seed are complete
// long before the last seed.
func (g *Graph) turn(s *language.Study, v language.View) int {
	return slices.Index(s.Seeds, v.Trial.Seed)*len(s.Views) + len(g.Chains)
}

// add returns the action of a kind with these parameters and inputs, which it makes if it
// is new.
func (g *Graph) add(kind stage.Kind, params stage.Params, inputs ...Input) *Action {
	spec := g.spec(kind, params, inputs)
	text := make([]byte, 0, 512)
	text = append(text, spec.hash[:]...)
	for _, in := range inputs {
		text = append(text, in.Action.Name[:]...)
	}
	name := Name(sha256.Sum256(text))
	// Parameters may differ in fields that are not part of the key, such as the path of a
	// checkpoint. They are the same action.
	if old := g.Action(name); old != nil {
		return old
	}
	const block = 256
	if len(g.space) == 0 {
		g.space = make([]Action, block)
	}
	a := &g.space[0]
	g.space = g.space[1:]
	*a = Action{Spec: spec, Name: name, index: int32(len(g.Actions))}
	if n := len(inputs); n > 0 {
		if len(g.slots) < n {
			g.slots = make([]*Action, max(n, block))
		}
		a.Inputs, g.slots = g.slots[:n:n], g.slots[n:]
	}
	for i, in := range inputs {
		a.Inputs[i] = in.Action
	}
	g.Actions = append(g.Actions, a)
	g.names.add(g.Actions)
	return a
}

// An index finds actions by their names. It takes a tenth of the memory of a map: a hash
// table with open addressing, whose entries are positions in Graph.Actions, from 1.
type index []int32

// slot returns the entry of a name, which is 0 if there is no action of the name. The
// table must have a free entry.
func (x index) slot(actions []*Action, name Name) *int32 {
	for i := binary.LittleEndian.Uint64(name[:]); ; i++ {
		if e := &x[i&uint64(len(x)-1)]; *e == 0 || actions[*e-1].Name == name {
			return e
		}
	}
}

// find returns the position of the action of a name, -1 if there is none.
func (x index) find(actions []*Action, name Name) int {
	if len(x) == 0 {
		return -1
	}
	return int(*x.slot(actions, name)) - 1
}

// add adds the last of the actions, whose name must be new. The table stays at most three quarters
// full.
func (x *index) add(actions []*Action) {
	first := len(actions) - 1
	if 4*len(actions) > 3*len(*x) {
		*x, first = make(index, max(64, 2*len(*x))), 0
	}
	for i, a := range actions[first:] {
		*x.slot(actions, a.Name) = int32(first + i + 1)
	}
}
