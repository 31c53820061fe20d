// Package layout lays out the actions that the trials of a study are made of.
//
// A trial is a chain of actions. An action is named twice: structurally, by
// its parameters and the names of the actions it reads, which is known before
// anything runs and makes trials share actions; and by the key of runner/store,
// in which the actions it reads have become artifacts.
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

// A Graph is every action of a study, each once, after those that it reads.
type Graph struct {
	Actions []*Action
	Chains  map[language.ID]Chain // by trial

	byName map[string]*Action
	known  map[actionKey]*Action
	dir    string                           // of the study: a checkpoint's path is relative to it
	digest func(dir string) (string, error) // of a checkpoint folder
}

// actionKey identifies an action within a graph, at less cost than its name: a study of a
// hundred thousand trials hashes each of its actions once.
type actionKey struct {
	kind   stage.Kind
	params stage.Params // compared by value
	inputs string       // names, and indices of actions
}

// NewGraph lays out the actions of the given views of a study. digest names
// the bytes of a checkpoint folder that a trial adopts.
func NewGraph(s *language.Study, views []language.View, digest func(dir string) (string, error)) (*Graph, error) {
	g := &Graph{Chains: make(map[language.ID]Chain, len(views)), byName: map[string]*Action{}, known: map[actionKey]*Action{}, dir: s.Dir}
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

// turn is the place of the next trial in the order of running: seed by seed, and within a
// seed in the order of the study. So the first rows are complete early, and all rows of
// one seed long before the last.
func (g *Graph) turn(s *language.Study, v language.View) int {
	return slices.Index(s.Seeds, v.Trial.Seed)*len(s.Views) + len(g.Chains)
}

// add returns the action of that kind with these parameters and inputs.
func (g *Graph) add(kind stage.Kind, params stage.Params, inputs ...Input) *Action {
	read := make([]byte, 0, 128)
	for _, in := range inputs {
		read = append(append(read, in.Name...), 0)
		read = binary.LittleEndian.AppendUint32(read, uint32(in.Action.index))
	}
	key := actionKey{kind, params, string(read)}
	if a, ok := g.known[key]; ok {
		return a
	}
	a := &Action{Kind: kind, Params: params, Lines: stage.Lines(params), Inputs: inputs, Cost: stage.Cost(params), index: len(g.Actions)}
	text := fmt.Appendf(nil, "%s %d\n%s\n", a.Kind, a.Kind.Def().Revision, strings.Join(a.Lines, "\n"))
	for _, in := range inputs {
		text = fmt.Appendf(text, "%s %s\n", in.Name, in.Action.Name)
	}
	sum := sha256.Sum256(text)
	a.Name = hex.EncodeToString(sum[:])
	// Parameters that differ only where a key has nothing of them, such as the
	// path of a checkpoint, are one action.
	if old, ok := g.byName[a.Name]; ok {
		a = old
	} else {
		g.byName[a.Name] = a
		g.Actions = append(g.Actions, a)
	}
	g.known[key] = a
	return a
}
