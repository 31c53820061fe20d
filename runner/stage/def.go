package stage

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	pathpkg "path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Kind is the name of a stage. It is part of the key of an action.
type Kind string

// A Def is the entry of a stage in the table of stages. It has everything that other
// packages know about the stage. The stage's file contains the Def and the code.
type Def struct {
	Kind     Kind
	Revision int     // part of the key of the stage's actions; raise it when the results of the stage change, so that old ones are computed again
	Inputs   []Input // artifacts that the stage reads
	Files    []File  // files of the artifact that it writes
	Backend  bool    // the stage computes on a backend, whose class is then part of the key; other stages give the same bytes everywhere
	Trains   bool    // the stage computes gradients, which the pure-Go backend cannot do
	Verb     string  // of the engine that computes the stage; empty for native stages
	Saves    bool    // the stage saves its state, from which a later attempt goes on; true if Trains

	params Params // zero value of the type of the stage's parameters
	decode func(params []byte) (Params, error)
	run    func(ctx context.Context, e *Env, t Task, progress Progress) error
}

// table has all stages of this version, in the order of a trial.
var table = []*Def{promptsDef, pretrainDef, embedDef, adoptDef, drawDef, judgeDef, labelDef, rewardDef, scoreDef, oracleDef, assessDef, finetuneDef, selectDef,
	fidelityDef, diversityDef, distanceDef, engineLoadDef, engineSampleDef, engineScoreDef, engineTrainDef, engineEmbedDef, joinDef, columnDef, resemblanceDef}

// Kinds returns the stages in the order of a trial.
func Kinds() []Kind {
	kinds := make([]Kind, len(table))
	for i, d := range table {
		kinds[i] = d.Kind
	}
	return kinds
}

// Def returns the entry of a kind, which is empty for an unknown kind.
func (k Kind) Def() Def {
	for _, d := range table {
		if d.Kind == k {
			return *d
		}
	}
	return Def{Kind: k}
}

// Decode returns the parameters of a stage from their JSON.
func (k Kind) Decode(params []byte) (Params, error) {
	d := k.Def()
	if d.decode == nil {
		return nil, fmt.Errorf("%q is not a stage of this version", k)
	}
	return d.decode(params)
}

// Params are the parameters of a stage: a struct without pointers, whose fields [Lines]
// writes into the key of an action.
type Params interface {
	memory() float64 // in bytes; see Memory
	cost() float64   // estimated seconds on one core
}

// Cost returns a rough estimate of the seconds that a stage takes on one core.
func Cost(p Params) float64 { return p.cost() }

// NoParams are the parameters of a stage that has none.
type NoParams struct{}

func (NoParams) memory() float64 { return 0 }
func (NoParams) cost() float64   { return .1 }

// define completes a Def with the function that runs the stage. It rejects unknown fields
// of parameters: they mean that the worker is of another version than the program that
// sends the task.
func define[P Params](run func(ctx context.Context, e *Env, t Task, p P, progress Progress) error, d Def) *Def {
	var zero P
	d.params, d.Saves = zero, d.Saves || d.Trains
	decode := func(params []byte) (p P, err error) {
		if err = unmarshalStrict(params, &p); err != nil {
			err = fmt.Errorf("%s: parameters: %w", d.Kind, err)
		}
		return p, err
	}
	d.decode = func(params []byte) (Params, error) { return decode(params) }
	d.run = func(ctx context.Context, e *Env, t Task, progress Progress) error {
		p, err := decode(t.Params)
		if err != nil {
			return err
		}
		if err := checkMemory(p); err != nil {
			return fmt.Errorf("%s: %w", t.Kind, err)
		}
		return run(ctx, e, t, p, progress)
	}
	return &d
}

// An Input is an artifact that a stage reads.
type Input struct {
	Name     string
	Optional bool
	OfBase   bool // an artifact of the base trial, for all trials
	Many     bool // any number of artifacts, with names of [Numbered]
}

// First returns the name of the artifact in a task, or of the first one if there may be
// many.
func (in Input) First() string {
	if in.Many {
		return Numbered(in.Name, 0)
	}
	return in.Name
}

// number returns k for the name Numbered(in.Name, k).
func (in Input) number(name string) (int, bool) {
	number, ok := strings.CutPrefix(name, in.Name+" ")
	k, err := strconv.Atoi(number)
	return k, ok && err == nil && Numbered(in.Name, k) == name
}

// Names of inputs. They are part of the keys of actions.
const (
	ModelInput        = "model" // the pretrained or adopted model
	TunedInput        = "tuned" // the fine-tuned model, as its difference from ModelInput
	PromptsInput      = "prompts"
	ImagesInput       = "images"
	VerdictsInput     = "verdicts"
	LabelsInput       = "labels"
	ScoresInput       = "scores"
	EmbedderInput     = "embedder"
	RewardInput       = "reward"
	BaseEmbedderInput = "base embedder"
	BaseRewardInput   = "base reward"
)

// Of returns the name of an input that belongs to a list of prompts, for a stage that
// reads inputs of several lists.
func Of(list, input string) string { return list + " " + input }

// Numbered returns the name of the k-th artifact of an input that may have many.
func Numbered(input string, k int) string { return fmt.Sprintf("%s %d", input, k) }

// Input returns an input of a stage by its name in a task.
func (d Def) Input(name string) (Input, bool) {
	i := slices.IndexFunc(d.Inputs, func(in Input) bool {
		if in.Many {
			_, ok := in.number(name)
			return ok
		}
		return in.Name == name
	})
	if i < 0 {
		return Input{}, false
	}
	return d.Inputs[i], true
}

// checkInputs returns an error if the inputs of a task are not those of the stage.
func (d Def) checkInputs(have map[string]string) error {
	var names []string
	for _, in := range d.Inputs {
		names = append(names, fmt.Sprintf("%q", in.Name))
		if name := in.First(); have[name] == "" && !in.Optional {
			return fmt.Errorf("%s: the task has no artifact for the input %q: this is a bug of the program that sends it", d.Kind, name)
		}
	}
	for name := range have {
		in, ok := d.Input(name)
		if ok && in.Many && name != in.First() {
			k, _ := in.number(name)
			if before := Numbered(in.Name, k-1); have[before] == "" {
				return fmt.Errorf("%s: the task has the input %q and not %q: this is a bug of the program that sends it", d.Kind, name, before)
			}
		}
		if !ok {
			return fmt.Errorf("%s: unknown input %q; the stage reads %s: this is a bug of the program that sends it",
				d.Kind, name, orNothing(strings.Join(names, ", ")))
		}
	}
	return nil
}

func orNothing(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}

// A File is a file of an artifact.
type File struct {
	Name     string // path below the artifact's folder, with slashes; * stands for any one name, and ** at the end for any path
	Optional bool   // some artifacts of the stage do not have the file
	Tabled   bool   // tables are made from the file
}

// is reports whether a path is that of the file.
func (f File) is(path string) bool {
	if below, ok := strings.CutSuffix(f.Name, "**"); ok {
		return strings.HasPrefix(path, below)
	}
	ok, err := pathpkg.Match(f.Name, path)
	return ok && err == nil
}

func required(names ...string) []File {
	files := make([]File, len(names))
	for i, name := range names {
		files[i].Name = name
	}
	return files
}

func tabled(names ...string) []File {
	files := required(names...)
	for i := range files {
		files[i].Tabled = true
	}
	return files
}

func optional(files ...File) []File {
	for i := range files {
		files[i].Optional = true
	}
	return files
}

// Writes reports whether artifacts of the stage may have a file.
func (d Def) Writes(path string) bool {
	return slices.ContainsFunc(d.Files, func(f File) bool { return f.is(path) })
}

// Tabled reports whether tables are made from a file of the stage's artifact.
func (d Def) Tabled(path string) bool {
	return slices.ContainsFunc(d.Files, func(f File) bool { return f.is(path) && f.Tabled })
}

// Curve reports whether the stage's artifact has a training curve, for [ReadCurve].
func (d Def) Curve() bool { return d.Writes(curvesFile) }

// checkFiles returns an error if the files of an artifact are not those of d.Files.
func (d Def) checkFiles(dir string) error {
	have := map[string]bool{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			have[path] = true
			if !d.Writes(path) {
				err = fmt.Errorf("%s: internal error: it wrote %s, which its Def does not list", d.Kind, path)
			}
		}
		return err
	})
	for _, f := range d.Files {
		if err == nil && !f.Optional && !slices.ContainsFunc(slices.Collect(maps.Keys(have)), f.is) {
			err = fmt.Errorf("%s: internal error: it did not write %s", d.Kind, filepath.Join(dir, filepath.FromSlash(f.Name)))
		}
	}
	return err
}
