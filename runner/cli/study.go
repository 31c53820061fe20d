package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"ablate/experiments/language"
	"ablate/runner/stage"
	"ablate/runner/store"
	"ablate/runner/study"
)

// studyFlags are the flags of every command that takes a study.
type studyFlags struct {
	set     []string
	backend string
}

func (f *studyFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&f.set, "set", nil, "change the base before arms apply: `path=value`, as in finetune.beta=0.1 (repeatable)")
	cmd.Flags().StringVar(&f.backend, "backend", "", "`CLASS` of backend: xla:cuda, xla:cpu or go (default: the one that the study ran with)")
}

// loaded is a study with its actions and its store.
type loaded struct {
	*language.Study
	Graph  *study.Graph
	Store  *store.Store
	Dir    string      // of its results; a command that only reads does not make it
	Record store.Study // what its last run wrote down; zero where it never ran
	set    []string    // what --set changed
}

// load reads a study, lays out its actions and opens its store. An error of
// the study is printed as it is: it has one line a mistake.
func (g *globals) load(ctx context.Context, path string, f studyFlags) (*loaded, error) {
	l, err := g.open(ctx, path, f)
	if err != nil {
		return nil, err
	}
	l.Graph, err = l.layOut(ctx, l.Views)
	return l, err
}

// resultsName names the study in the store. One at the root of its module has the
// module folder's name, which a study in a folder of that name has, too.
func (l *loaded) resultsName() string {
	if l.Path == "." {
		return "./" + l.Name
	}
	return l.Name
}

// layOut lays out the actions of some views of a study.
func (l *loaded) layOut(ctx context.Context, views []language.View) (*study.Graph, error) {
	return study.NewGraph(l.Study, views, func(dir string) (string, error) {
		d, err := stage.DigestCheckpoint(ctx, dir)
		if err != nil {
			return "", fmt.Errorf("model.checkpoint.path: %w", err)
		}
		return d, nil
	})
}

// open reads a study and opens its store, without its actions.
func (g *globals) open(ctx context.Context, path string, f studyFlags) (*loaded, error) {
	s, err := loadStudy(ctx, path, f.set)
	if err != nil {
		return nil, err
	}
	for _, note := range s.Notes {
		zerolog.Ctx(ctx).Warn().Msg(note)
	}
	st, err := g.openStore(s.Root)
	if err != nil {
		return nil, err
	}
	l := &loaded{Study: s, Store: st, set: f.set}
	l.Dir = st.StudyFolder(l.resultsName(), s.Root)
	if l.Record, err = store.ReadStudy(l.Dir); err != nil {
		return nil, err
	}
	return l, nil
}

// findTrial finds a trial by its id's beginning or by a view's name.
func (l *loaded) findTrial(name string) (language.View, error) {
	var found []language.View
	for _, v := range l.Views {
		if v.String() == name {
			return v, nil
		}
		if strings.HasPrefix(v.Trial.ID().String(), name) && !slices.ContainsFunc(found, func(o language.View) bool { return o.Trial.ID() == v.Trial.ID() }) {
			found = append(found, v)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		const shown = 20
		var names []string
		for i, v := range l.Views {
			if i == shown {
				names = append(names, fmt.Sprintf("  and %d more", len(l.Views)-shown))
				break
			}
			names = append(names, fmt.Sprintf("  %s  %s", v.Trial.ID().Short(), v))
		}
		return language.View{}, fmt.Errorf("study %s has no trial %q; it has\n%s", l.Name, name, strings.Join(names, "\n"))
	}
	return language.View{}, fmt.Errorf("study %s: %q is the beginning of %d trials' ids: give more of it", l.Name, name, len(found))
}
