package cli

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/rs/zerolog"
	"github.com/spf13/pflag"

	"ablate/experiments/language"
	"ablate/runner/device"
	"ablate/runner/project"
	"ablate/runner/result"
	"ablate/runner/sandbox"
	"ablate/runner/selection"
)

// studyOptions are the flags of every command that takes a study.
type studyOptions struct {
	set     []string
	backend string
}

func (o *studyOptions) addFlags(f *pflag.FlagSet) {
	f.StringArrayVar(&o.set, "set", nil, "set a parameter of the study's base, from which all arms start: `path=value`, as in finetune.beta=0.1 (repeatable)")
	f.StringVar(&o.backend, "backend", "", "backend of the results, a `CLASS`: xla:cuda, xla:cpu or go (default: that of the study's last run)")
}

// open reads a study and opens its store, without computing the study's actions. If the
// study has mistakes, the error is a *language.Errors.
func (g *globals) open(ctx context.Context, path string, o studyOptions) (project.Project, error) {
	s, err := sandbox.Load(ctx, named(path), o.set)
	if err != nil {
		return project.Project{}, err
	}
	for _, note := range s.Notes {
		zerolog.Ctx(ctx).Warn().Msg(note)
	}
	if o.backend != "" && !slices.Contains(device.Classes, o.backend) {
		return project.Project{}, usagef("--backend is %q; must be %s, %s or %s", o.backend, device.CUDA, device.CPU, device.Go)
	}
	return project.Open(s, o.set, g.store)
}

// runs returns an error if a study cannot run because its results are imported.
func runs(s *language.Study) error {
	if s.Imported == nil {
		return nil
	}
	return usagef("study %s has no trials to run, because its results are imported: use table, report, baseline or check", s.Name)
}

// named returns the path of a study. The name of an imported study stands for its path.
func named(path string) string {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) && !strings.ContainsAny(path, "/\\") {
		if in := filepath.Join("imported", path); isFolder(in) {
			return in
		}
	}
	return path
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// load opens a study and computes all of its actions.
func (g *globals) load(ctx context.Context, path string, o studyOptions) (project.Project, error) {
	p, err := g.open(ctx, path, o)
	if err != nil {
		return p, err
	}
	if err := runs(p.Study); err != nil {
		return p, err
	}
	return p.LayOut(ctx, p.Study.Views)
}

// results opens a study and reads its results: those in the store, or the imported ones.
func (g *globals) results(ctx context.Context, path string, o studyOptions) (*result.Result, error) {
	p, err := g.open(ctx, path, o)
	if err != nil {
		return nil, err
	}
	if p.Study.Imported != nil {
		r, in, err := result.Import(ctx, p)
		if in != nil {
			g.problems(ctx, in)
		}
		return r, err
	}
	if p, err = p.LayOut(ctx, p.Study.Views); err != nil {
		return nil, err
	}
	class, err := p.Class(o.backend)
	if err != nil {
		return nil, err
	}
	return gather(ctx, p, class)
}

// The tables of more than manyTrials trials stay until the end. The garbage collector lets the heap grow
// by tablePercent percent only beside them.
const (
	manyTrials   = 2000
	tablePercent = 25
)

// gather reads the results of a study from the store and warns of damaged ones.
func gather(ctx context.Context, p project.Project, class string) (*result.Result, error) {
	if len(p.Graph.Chains) > manyTrials {
		if old := debug.SetGCPercent(tablePercent); old < tablePercent { // project.LayOut has set less
			debug.SetGCPercent(old)
		}
	}
	r, err := result.Gather(ctx, p, class)
	if err != nil {
		return nil, err
	}
	for _, d := range r.Found.Damaged {
		zerolog.Ctx(ctx).Warn().Str("stage", string(d.Action.Kind)).Str("action", d.Action.Name.Short()).Str("arm", d.Action.Rows()).Err(d.Err).Msg("damaged in the store")
	}
	return r, nil
}

// selected returns the views of a study that --only and --seed name. Its errors are usage
// errors.
func selected(s *language.Study, only, seeds []string) ([]language.View, error) {
	views, err := selection.Views(s, only, seeds)
	if err != nil {
		return nil, usageError{err}
	}
	return views, nil
}
