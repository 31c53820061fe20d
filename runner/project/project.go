// Package project combines a loaded study with everything that commands need to work on
// it: its actions (stages with their inputs), its store, its folder of results, and the
// backend that computed them.
package project

import (
	"context"
	"path/filepath"
	"runtime/debug"
	"strings"

	"ablate/experiments/language"
	"ablate/runner/layout"
	"ablate/runner/lookup"
	"ablate/runner/phrase"
	"ablate/runner/store"
)

// Project is a loaded study with its actions and its store.
type Project struct {
	Study  *language.Study
	Set    []string      // changes of the study's base, "path=value"
	Graph  *layout.Graph // the actions of the study; nil before LayOut
	Store  *store.Store
	Dir    string      // folder of the study's results; Claim creates it
	Record store.Study // record of the last run; zero if the study never ran
	Rounds Rounds      // state of a study that runs in rounds

	Draft bool   // nothing of the project runs: folders of pictures may still be missing
	Lacks []Lack // folders that are missing, of a draft; nil before LayOut

	Overlaps   map[language.ID]Overlap // trials that are evaluated on prompts of their training; nil before LayOut
	Categories []string                // categories of the prompts on which models are evaluated, in the order in which they first appear; nil before LayOut

	all *language.Study // the study with the views of all rounds
}

// Open opens the store of a study and finds the study's folder of results. It creates
// nothing. set are the changes of the base with which the study was loaded. dir is the
// store's folder, by default .ablate beside cue.mod.
func Open(s *language.Study, set []string, dir string) (Project, error) {
	if dir == "" {
		dir = filepath.Join(s.Root, ".ablate")
	}
	st, err := store.Open(dir)
	if err != nil {
		return Project{}, err
	}
	p := Project{Study: s, Set: set, Store: st, Dir: st.StudyFolder(folderName(s), s.Root)}
	if p.Record, err = store.ReadStudy(p.Dir); err != nil {
		return p, err
	}
	return p.rounds()
}

// folderName returns the name of the study in the store. A study at the root of its
// module is named after the module's folder; ./ before its name distinguishes it from a
// study in a subfolder of that name.
func folderName(s *language.Study) string {
	if s.Path == "." {
		return "./" + s.Name
	}
	return s.Name
}

// While a graph is made, there is little garbage: collecting often takes longer than making a small
// graph. The graph stays until the end, so that beside one of more than manyViews views collecting
// rarely would double the memory.
const (
	manyViews   = 20_000
	rarePercent = 400
	gcPercent   = 10
)

// LayOut returns the project with Graph set to the actions of the given views.
func (p Project) LayOut(ctx context.Context, views []language.View) (Project, error) {
	if len(views) > manyViews {
		debug.SetGCPercent(gcPercent)
	} else {
		defer debug.SetGCPercent(debug.SetGCPercent(rarePercent))
	}
	var err error
	files, lacks := newPromptFiles(), []Lack(nil)
	folder := p.folders(ctx, &lacks)
	if p.Overlaps, err = p.overlaps(files, folder); err != nil {
		return p, err
	}
	if p.Categories, err = p.categories(files); err != nil {
		return p, err
	}
	p.Graph, err = layout.NewGraph(p.Study, views, p.outside(ctx, files, folder))
	p.Lacks = lacks
	return p, err
}

// Find finds the artifacts of a graph's actions for a class of backend.
func (p Project) Find(g *layout.Graph, class string) (*lookup.Found, error) {
	return lookup.Collect(g, p.Store, class, lookup.ReadSnapshot(p.Dir, class))
}

// Glance is Find for those who only count results: it does not notice that somebody has removed
// files from inside of one.
func (p Project) Glance(g *layout.Graph, class string) (*lookup.Found, error) {
	return lookup.Collect(g, p.Store, class, lookup.ReadSnapshot(p.Dir, class).Glance())
}

// Folder returns the name of the study's folder of results.
func (p Project) Folder() string { return filepath.Base(p.Dir) }

// Claim creates the study's folder of results or takes it over, and records in it the
// study and the class of backend that a run computes on.
func (p Project) Claim(class string) (Project, error) {
	dir, err := p.Store.ClaimStudy(folderName(p.Study), p.Study.Root, class)
	if err == nil {
		p.Dir = dir
	}
	return p, err
}

// Command returns the command line that runs the study from the folder of its cue.mod.
func (p Project) Command() string {
	parts := []string{"ablate", "run", phrase.Shell(p.Study.Path)}
	for _, s := range p.Set {
		parts = append(parts, "--set", phrase.Shell(s))
	}
	return strings.Join(parts, " ")
}

// Embedders returns the adopted checkpoints whose embedder a reward uses, by path.
func Embedders(s *language.Study) map[string]bool {
	need := map[string]bool{}
	var content language.Content
	for _, v := range s.Views {
		if content.Same(v.Trial.Content) {
			continue
		}
		content = v.Trial.Content
		if path := content.Name("model.checkpoint.path"); path != "" && content.Learns() {
			if !filepath.IsAbs(path) {
				path = filepath.Join(s.Dir, path)
			}
			need[path] = true
		}
	}
	return need
}
