// Package project is a loaded study with what commands need of it: its actions, its
// store, the folder of its results, and the backend that these were computed on.
package project

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"ablate/experiments/language"
	"ablate/runner/layout"
	"ablate/runner/phrase"
	"ablate/runner/stage"
	"ablate/runner/store"
)

// Project is a study, its actions and its store.
type Project struct {
	Study  *language.Study
	Set    []string      // changes of its base, "path=value"
	Graph  *layout.Graph // its actions; nil before LayOut
	Store  *store.Store
	Dir    string      // of its results, which only Claim makes
	Record store.Study // what its last run wrote down; zero if it never ran
	Rounds Rounds      // how far it has gone, of a study that runs in rounds

	all *language.Study // with every view that its rounds may come to
}

// Open opens the store of a study and finds its results, without making anything.
// set are the changes of the base with which it was loaded; dir is the store's
// folder, by default .ablate beside cue.mod.
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

// folderName names the study in the store. The name of a study at the root of its
// module is the module folder's, which a study in a folder of that name has too: ./
// before it tells them apart.
func folderName(s *language.Study) string {
	if s.Path == "." {
		return "./" + s.Name
	}
	return s.Name
}

// LayOut returns the project with the actions of some views of its study.
func (p Project) LayOut(ctx context.Context, views []language.View) (Project, error) {
	var err error
	p.Graph, err = layout.NewGraph(p.Study, views, func(dir string) (string, error) {
		d, err := stage.DigestCheckpoint(ctx, dir)
		if err != nil {
			return "", fmt.Errorf("model.checkpoint.path: %w", err)
		}
		return d, nil
	})
	return p, err
}

// Claim makes the folder of the study's results, or takes it over, and writes down
// that it is this study's, with the class of backend that a run computes on.
func (p Project) Claim(class string) (Project, error) {
	dir, err := p.Store.ClaimStudy(folderName(p.Study), p.Study.Root, class)
	if err == nil {
		p.Dir = dir
	}
	return p, err
}

// Command is the command line that runs the study from the folder of its cue.mod.
func (p Project) Command() string {
	parts := []string{"ablate", "run", phrase.Shell(p.Study.Path)}
	for _, s := range p.Set {
		parts = append(parts, "--set", phrase.Shell(s))
	}
	return strings.Join(parts, " ")
}

// Embedders are the adopted checkpoints, by path, from which a reward takes its
// embedder.
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
