// Package stage runs the cached steps of a trial inside a worker process: one
// file a stage kind. A stage reads the artifacts of other actions as folders
// and writes its own folder; it knows nothing of studies, scheduling or the
// store. Panics of graph building stop here, at Run.
package stage

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"runtime/debug"

	"ablate/models/backend"
	"ablate/models/distance"
	"ablate/models/embedder"
	"ablate/models/pipeline"
	"ablate/models/reward"
	"ablate/models/sampler"
	"ablate/models/train"
)

// Kind names a stage, as it stands in the key of an action.
type Kind string

// The kinds of this version. Pretrain makes a denoiser, Embed the reward's
// embedder; Adopt takes both from a checkpoint folder in their place.
const (
	Pretrain Kind = "pretrain"
	Embed    Kind = "embedder"
	Adopt    Kind = "adopt"
	Sample   Kind = "sample"
	Label    Kind = "label"
	Reward   Kind = "reward"
	Assess   Kind = "assess"
	Score    Kind = "score"
	Finetune Kind = "finetune"
	Evaluate Kind = "evaluate"
	Proxy    Kind = "proxy"
)

// Revision of each kind is part of every action's key: raise it when what the
// stage computes changes, and old results are computed anew.
var Revision = map[Kind]int{
	Pretrain: 1, Embed: 1, Adopt: 1, Sample: 1, Label: 1, Reward: 2, Assess: 1, Score: 1, Finetune: 2, Evaluate: 2, Proxy: 2,
}

// Task is one action to run.
type Task struct {
	Kind   Kind
	Params json.RawMessage   // the kind's own parameters, PretrainParams and so on
	Inputs map[string]string // folders of the artifacts it reads, by role
	Out    string            // folder to write
	Resume train.Resume      // of the stage's training, if it has one; workers do not set it yet
}

func (t Task) in(role string, parts ...string) string {
	return filepath.Join(append([]string{t.Inputs[role]}, parts...)...)
}

// Progress is told how far a stage is, in its own steps.
type Progress func(step, total int, text string)

func silent(int, int, string) {}

// steps reports a training's steps.
func (p Progress) steps() func(step, total int) {
	return func(step, total int) { p(step, total, "") }
}

// Env is what a worker keeps from one action to the next: the backend, the
// graphs it compiled, each once, whatever the number of trials, and the real
// images of the last evaluation.
type Env struct {
	Backend  backend.Backend
	trainers map[string]*train.Trainer
	samplers map[string]*sampler.Sampler
	texts    map[string]*pipeline.Encoder
	meters   map[string]*distance.Meter
	rewards  map[reward.Config]*rewardFns
	encoders map[embedder.Config]*embedder.Encoder
	real     *reference
}

type rewardFns struct {
	trainer *reward.Trainer
	scorer  *reward.Scorer
}

// NewEnv returns an environment that has compiled nothing yet.
func NewEnv(b backend.Backend) *Env {
	return &Env{
		Backend:  b,
		trainers: map[string]*train.Trainer{},
		samplers: map[string]*sampler.Sampler{},
		texts:    map[string]*pipeline.Encoder{},
		meters:   map[string]*distance.Meter{},
		rewards:  map[reward.Config]*rewardFns{},
		encoders: map[embedder.Config]*embedder.Encoder{},
	}
}

func (e *Env) trainer(s train.Step) (*train.Trainer, error) {
	return memo(e.trainers, s.Name, func() (*train.Trainer, error) { return train.New(e.Backend, s) })
}

func (e *Env) sampler(net pipeline.Network) (*sampler.Sampler, error) {
	return memo(e.samplers, net.Name, func() (*sampler.Sampler, error) { return sampler.New(e.Backend, net) })
}

func (e *Env) textEncoder(net pipeline.Network) (*pipeline.Encoder, error) {
	return memo(e.texts, net.Name, func() (*pipeline.Encoder, error) { return pipeline.NewEncoder(e.Backend, net) })
}

func (e *Env) meter(net pipeline.Network) (*distance.Meter, error) {
	return memo(e.meters, net.Name, func() (*distance.Meter, error) { return distance.New(e.Backend, net) })
}

func (e *Env) reward(c reward.Config) (*rewardFns, error) {
	return memo(e.rewards, c, func() (*rewardFns, error) {
		t, err := reward.NewTrainer(e.Backend, c)
		if err != nil {
			return nil, err
		}
		s, err := reward.NewScorer(e.Backend, c)
		return &rewardFns{t, s}, err
	})
}

func (e *Env) encoder(c embedder.Config) (*embedder.Encoder, error) {
	return memo(e.encoders, c, func() (*embedder.Encoder, error) { return embedder.NewEncoder(e.Backend, c) })
}

// Compiled counts, by name, how often each training step of a denoiser was compiled.
func (e *Env) Compiled() map[string]int {
	out := map[string]int{}
	for name, t := range e.trainers {
		out[name] = t.Compiled()
	}
	return out
}

func memo[K comparable, V any](m map[K]V, k K, make func() (V, error)) (V, error) {
	if v, ok := m[k]; ok {
		return v, nil
	}
	v, err := make()
	if err == nil {
		m[k] = v
	}
	return v, err
}

// A PanicError is a panic of a stage. Its message is for the user; the stack is for
// a log.
type PanicError struct {
	Kind  Kind
	Value any
	stack string
}

func (e *PanicError) Error() string { return fmt.Sprintf("%s: internal error: %v", e.Kind, e.Value) }

// Stack returns the stack at the panic.
func (e *PanicError) Stack() string { return e.stack }

// Unwrap returns the value of the panic if it is an error, as those of gomlx are.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// Run runs a task and leaves its artifact in t.Out. It returns promptly when
// ctx is done. Building a graph panics by design of gomlx; whatever panics comes
// back as a [PanicError].
func Run(ctx context.Context, e *Env, t Task, progress Progress) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &PanicError{t.Kind, p, string(debug.Stack())}
		}
	}()
	if progress == nil {
		progress = silent
	}
	run, ok := map[Kind]func(context.Context, *Env, Task, Progress) error{
		Pretrain: runPretrain, Embed: runEmbed, Adopt: runAdopt, Sample: runSample, Label: runLabel,
		Reward: runReward, Assess: runAssess, Score: runScore, Finetune: runFinetune, Evaluate: runEvaluate, Proxy: runProxy,
	}[t.Kind]
	if !ok {
		return fmt.Errorf("stage %q is not known to this version", t.Kind)
	}
	return run(ctx, e, t, progress)
}

// params decodes a task's parameters strictly: a field that this version does
// not know means that runner and worker are of different versions.
func params[T any](t Task) (T, error) {
	var p T
	if err := unmarshalStrict(t.Params, &p); err != nil {
		return p, fmt.Errorf("%s: parameters: %w", t.Kind, err)
	}
	if err := checkMemory(p); err != nil {
		return p, fmt.Errorf("%s: %w", t.Kind, err)
	}
	return p, nil
}

// Computes reports whether a stage computes on a backend, whose class is then
// part of its key; the others give the same bytes everywhere.
func (k Kind) Computes() bool { return k != Adopt && k != Label }
