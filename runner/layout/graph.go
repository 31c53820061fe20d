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
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"ablate/experiments/language"
	"ablate/runner/stage"
)

// A Graph has every action of a study once. An action comes after its inputs.
type Graph struct {
	Actions []*Action
	Chains  map[language.ID]Chain // chains by the id of a trial

	byName map[string]*Action
	known  map[actionKey]*Action            // while actions are added
	shared map[stage.Params]*sameParams     // while actions are added
	lines  map[string]string                // lines of keys, each once; while actions are added
	dir    string                           // folder of the study; the path of a checkpoint is relative to it
	digest func(dir string) (string, error) // returns the digest of a checkpoint folder
}

// actionKey identifies an action within a graph. It is cheaper than the name, so that in
// a study of 100,000 trials each action is hashed only once.
type actionKey struct {
	kind   stage.Kind
	params *sameParams // of equal parameters
	inputs string      // names of the inputs and indices of their actions
}

// sameParams is what all actions with equal parameters share.
type sameParams struct {
	params stage.Params
	lines  []string
}

// share returns what actions with these parameters share.
func (g *Graph) share(p stage.Params) *sameParams {
	if s, ok := g.shared[p]; ok {
		return s
	}
	s := &sameParams{params: p, lines: stage.Lines(p)}
	for i, l := range s.lines {
		if same, ok := g.lines[l]; ok {
			s.lines[i] = same
		} else {
			g.lines[l] = l
		}
	}
	g.shared[p] = s
	return s
}

// NewGraph returns the graph of the given views of a study. digest returns the digest of
// a checkpoint folder that a trial adopts.
func NewGraph(s *language.Study, views []language.View, digest func(dir string) (string, error)) (*Graph, error) {
	g := &Graph{Chains: make(map[language.ID]Chain, len(views)), byName: map[string]*Action{}, dir: s.Dir}
	g.open()
	defer g.close()
	digests := map[string]string{}
	g.digest = func(dir string) (d string, err error) {
		if d, ok := digests[dir]; ok {
			return d, nil
		}
		d, err = digest(dir)
		digests[dir] = d
		return d, err
	}
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
		c, err := g.chain(v.Trial, base)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", v, err)
		}
		g.Chains[id] = c
		c.addTrial(v, g.turn(s, v))
	}
	return g, nil
}

// Action returns the action of a structural name, or nil.
func (g *Graph) Action(name string) *Action { return g.byName[name] }

// Empty returns a graph without actions, for [Graph.Add].
func Empty() *Graph {
	g := &Graph{byName: map[string]*Action{}}
	g.open()
	return g
}

// open and close begin and end the adding of actions.
func (g *Graph) open() {
	g.known, g.shared, g.lines = map[actionKey]*Action{}, map[stage.Params]*sameParams{}, map[string]string{}
}

func (g *Graph) close() { g.known, g.shared, g.lines = nil, nil, nil }

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
	read := make([]byte, 0, 128)
	for _, in := range inputs {
		read = append(append(read, in.Name...), 0)
		read = binary.LittleEndian.AppendUint32(read, uint32(in.Action.index))
	}
	same := g.share(params)
	key := actionKey{kind, same, string(read)}
	if a, ok := g.known[key]; ok {
		return a
	}
	a := &Action{Kind: kind, Params: same.params, Lines: same.lines, Inputs: inputs, Cost: stage.Cost(params), index: len(g.Actions)}
	text := fmt.Appendf(nil, "%s %d\n%s\n", a.Kind, a.Kind.Def().Revision, strings.Join(a.Lines, "\n"))
	for _, in := range inputs {
		text = fmt.Appendf(text, "%s %s\n", in.Name, in.Action.Name)
	}
	sum := sha256.Sum256(text)
	a.Name = hex.EncodeToString(sum[:])
	// Parameters may differ in fields that are not part of the key, such as the path of a
	// checkpoint. They are the same action.
	if old, ok := g.byName[a.Name]; ok {
		a = old
	} else {
		g.byName[a.Name] = a
		g.Actions = append(g.Actions, a)
	}
	g.known[key] = a
	return a
}
