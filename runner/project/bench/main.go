// Bench makes a store with the results of a large study, without computing them, so that
// commands can be measured that find everything in the store. The results are those of
// experiments/tiny: each action gets the files of an action of tiny in the same role from
// which tables are made, and a file that no other action has.
//
//	ablate run experiments/tiny --store TINY
//	go run ./runner/project/bench -from TINY -dir DIR [-trials 10000]
//	cd DIR && time ablate run large && time ablate status large
//
// DIR gets a module with the study large. ABLATE_BACKEND must be xla:cpu.
//
// Measured on two cores (AMD EPYC, quiet) with 10,000 trials, which are 120,230 actions in 1,000 rows:
// when nothing has changed, run takes 1.4 s and status 0.43 s. The first run of a build, which makes the
// tables and the report, takes about 170 s and 3.9 GB.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"ablate/experiments/language"
	"ablate/runner/layout"
	"ablate/runner/project"
	"ablate/runner/store"
)

func main() {
	trials := flag.Int("trials", 10000, "`number` of trials, a multiple of 100")
	from := flag.String("from", "", "`store` with the results of experiments/tiny")
	dir := flag.String("dir", "", "`folder` to make")
	flag.Parse()
	if err := bench(*from, *dir, *trials); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

const class = "xla:cpu"

// images is the file of an artifact that the report shows pictures of.
const images = "images.safetensors"

func bench(from, dir string, trials int) error {
	tiny, err := open("experiments/tiny", from)
	if err != nil {
		return err
	}
	found, err := tiny.Find(tiny.Graph, class)
	if err != nil {
		return err
	}
	if err := write(dir, trials); err != nil {
		return err
	}
	large, err := open(filepath.Join(dir, "large"), filepath.Join(dir, ".ablate"))
	if err != nil {
		return err
	}
	if large, err = large.Claim(class); err != nil {
		return err
	}
	j, err := large.Store.OpenJournal(large.Dir)
	if err != nil {
		return err
	}
	defer j.Close()
	c := copier{from: map[layout.Role]string{}, role: map[*layout.Action]layout.Role{}, s: large.Store, j: j}
	for _, chain := range tiny.Graph.Chains {
		for _, p := range chain {
			if d, ok := found.Dir(p.Action); ok {
				c.from[p.Role] = d
			}
		}
	}
	for _, chain := range large.Graph.Chains {
		for _, p := range chain {
			c.role[p.Action] = p.Role
		}
	}
	fmt.Printf("%d trials, %d actions\n", len(large.Graph.Chains), len(large.Graph.Actions))
	return c.all(large.Graph)
}

// A copier commits an artifact for each action.
type copier struct {
	from map[layout.Role]string // folders of tiny's artifacts
	role map[*layout.Action]layout.Role
	s    *store.Store
	j    *store.Journal

	mu      sync.Mutex
	outputs map[*layout.Action]store.OutputID
}

// all commits the artifacts of a graph, many at a time, so that they share their syncs.
func (c *copier) all(g *layout.Graph) error {
	c.outputs = map[*layout.Action]store.OutputID{}
	done := map[*layout.Action]chan struct{}{}
	for _, a := range g.Actions {
		done[a] = make(chan struct{})
	}
	var group errgroup.Group
	group.SetLimit(256)
	for _, a := range g.Actions {
		group.Go(func() error {
			defer close(done[a])
			for _, in := range a.Inputs {
				<-done[in]
			}
			return c.commit(a)
		})
	}
	return group.Wait()
}

func (c *copier) commit(a *layout.Action) error {
	c.mu.Lock()
	key := a.Key(class, func(in *layout.Action) store.OutputID { return c.outputs[in] })
	c.mu.Unlock()
	from, ok := c.from[c.role[a]]
	if !ok {
		return fmt.Errorf("%s: tiny has no such action", a.Label())
	}
	w, err := c.s.Begin(key)
	if err != nil {
		return err
	}
	defer w.Abort()
	if err := os.WriteFile(filepath.Join(w.Dir(), "own"), a.Name[:], 0o666); err != nil {
		return err
	}
	for _, f := range a.Kind.Def().Files {
		data, err := os.ReadFile(filepath.Join(from, f.Name))
		if errors.Is(err, fs.ErrNotExist) || !f.Tabled && f.Name != images {
			continue
		}
		if f.Name == images {
			if err := os.Link(filepath.Join(from, f.Name), filepath.Join(w.Dir(), f.Name)); err != nil {
				return err
			}
			continue
		}
		if err := errors.Join(err, os.WriteFile(filepath.Join(w.Dir(), f.Name), data, 0o666)); err != nil {
			return err
		}
	}
	start := store.Event{Kind: store.Started, Time: time.Now(), Action: key.ID(), Stage: string(a.Kind), Cost: a.Cost, Trial: a.Trial.ID, View: a.Trial.View, Backend: class}
	if err := c.j.Append(start); err != nil {
		return err
	}
	e, err := w.Commit(context.Background(), store.Commit{Made: "bench\n"})
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.outputs[a] = e.Output
	c.mu.Unlock()
	return c.j.Append(store.Event{Kind: store.Finished, Time: time.Now(), Action: key.ID(), Seconds: a.Cost, Output: e.Output.String()})
}

// open returns a study with its store and its actions.
func open(path, dir string) (project.Project, error) {
	s, err := language.Load(path, language.Options{})
	if err != nil {
		return project.Project{}, err
	}
	p, err := project.Open(s, nil, dir)
	if err != nil {
		return p, err
	}
	return p.LayOut(context.Background(), s.Views)
}

// write writes a module with tiny's base and one arm that sweeps.
func write(dir string, trials int) error {
	text, err := os.ReadFile("experiments/tiny/study.cue")
	if err != nil {
		return err
	}
	_, rest, _ := strings.Cut(string(text), "\tbase: {")
	base, _, ok := strings.Cut(rest, "\n\t}\n")
	if !ok {
		return errors.New("experiments/tiny/study.cue has no base")
	}
	var rates []string
	for i := range trials / 100 {
		rates = append(rates, fmt.Sprintf("%de-6", i+1))
	}
	study := fmt.Sprintf(`package large

import "ablate.internal/schema"

schema.#Study & {
	seeds: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
	base: {%s
	}
	arms: "grid": sweep: {
		"finetune.beta": [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
		"finetune.learningRate": [%s]
	}
}
`, base, strings.Join(rates, ", "))
	return errors.Join(os.MkdirAll(filepath.Join(dir, "cue.mod"), 0o777), os.MkdirAll(filepath.Join(dir, "large"), 0o777),
		os.WriteFile(filepath.Join(dir, "cue.mod", "module.cue"), []byte("module: \"bench.example/large@v0\"\nlanguage: version: \"v0.17.0\"\n"), 0o666),
		os.WriteFile(filepath.Join(dir, "large", "study.cue"), []byte(study), 0o666))
}
