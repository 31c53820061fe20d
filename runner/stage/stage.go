// Package stage contains the stages of a trial, such as pretraining, drawing images,
// learning a reward and fine-tuning, and runs them inside a worker process. A stage reads
// the results (artifacts) of other stages from folders and writes its own result into a
// folder. Each stage is one file with its entry in the table of stages ([Def]) and its
// code. The package does not depend on studies, scheduling or the store. Run recovers the
// panics with which gomlx reports errors while building a graph.
package stage

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"ablate/models/backend"
	"ablate/models/distance"
	"ablate/models/embedder"
	"ablate/models/pipeline"
	"ablate/models/random"
	"ablate/models/reward"
	"ablate/models/sampler"
	"ablate/models/train"
	"ablate/runner/world"
)

// Task is an action to run.
type Task struct {
	Kind   Kind
	Params json.RawMessage   // parameters of the stage, PretrainParams and so on
	Inputs map[string]string // folders of the input artifacts, by the names of Def.Inputs
	Out    string            // folder to write into
	Resume train.Resume      // where and when a training saves its state

	// For engines.
	Action    string        // id of the action
	Store     string        // folder of the store
	State     string        // folder in which a training saves its state; it outlives the attempt
	SaveEvery time.Duration // time between two savings
	Attempt   int           // number of the attempt in this run, from 1
	Grace     time.Duration // time that a training has to save its state when it is asked to stop
	Limit     time.Duration // longest time of the action; 0 means that it has none
	Machine   string        // its processor, and what the action has of the machine
	CPUs      int           // number of CPUs that the action may use
	Why       func() string // why the task is asked to stop, when its context has ended; may be empty
	Made      Made          // gets what the engine says of how it made the result
}

// in returns the folder of an input.
func (t Task) in(name string) string { return t.Inputs[name] }

// has reports whether the task has an input.
func (t Task) has(name string) bool { _, ok := t.Inputs[name]; return ok }

// stream returns the random stream of the task for a purpose. The kind of stage is part
// of it, so that no two stages share random numbers.
func (t Task) stream(seed int64, purpose string, index int) *rand.Rand {
	return random.Stream(seed, string(t.Kind), purpose, index)
}

// steps returns the random streams of the steps of a training.
func (t Task) steps(seed int64, purpose string) random.Steps {
	return func(step int) *rand.Rand { return t.stream(seed, purpose, step) }
}

// Progress is called with reports of how far a stage is.
type Progress func(Report)

// A Report is how far a stage is. The numbers are of steps of a training or, if Text is set,
// of what it names.
type Report struct {
	train.Report
	Text string
}

func silent(Report) {}

// steps returns a function that reports the steps of a training.
func (p Progress) steps() func(train.Report) {
	return func(r train.Report) { p(Report{Report: r}) }
}

// count reports how many things are done.
func (p Progress) count(done, total int, what string) {
	p(Report{train.Report{Step: done, Total: total}, what})
}

// Env is the state that a worker keeps between actions: the backend, the compiled graphs,
// so that each is compiled once for all trials, and the real images of the last
// evaluation.
type Env struct {
	Backend  backend.Backend
	trainers map[string]*train.Trainer
	samplers map[string]*sampler.Sampler
	texts    map[string]*pipeline.Encoder
	meters   map[string]*distance.Meter
	rewards  map[reward.Config]*rewardFns
	encoders map[embedder.Config]*embedder.Encoder
	real     *reference
	world    *world.World
	engines  engines
}

type rewardFns struct {
	trainer *reward.Trainer
	scorer  *reward.Scorer
}

// NewEnv returns an environment without compiled graphs.
func NewEnv(b backend.Backend) *Env {
	return &Env{
		Backend:  b,
		trainers: map[string]*train.Trainer{},
		samplers: map[string]*sampler.Sampler{},
		texts:    map[string]*pipeline.Encoder{},
		meters:   map[string]*distance.Meter{},
		rewards:  map[reward.Config]*rewardFns{},
		encoders: map[embedder.Config]*embedder.Encoder{},
		world:    world.Shapes(),
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

// Compiled returns how often each training step of a denoiser was compiled, by name.
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

// A PanicError is a panic of a stage. Its message is for the user, and its stack for a
// log.
type PanicError struct {
	Kind  Kind
	Value any
	stack string
}

func (e *PanicError) Error() string { return fmt.Sprintf("%s: internal error: %v", e.Kind, e.Value) }

// Stack returns the stack at the panic.
func (e *PanicError) Stack() string { return e.stack }

// Unwrap returns the value of the panic if it is an error. The panics of gomlx are.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// Run runs a task, which writes its artifact into t.Out. It returns promptly when ctx is
// done. It returns any panic as a [PanicError], because gomlx panics when a graph is
// wrong.
func Run(ctx context.Context, e *Env, t Task, progress Progress) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &PanicError{t.Kind, p, string(debug.Stack())}
		}
	}()
	if progress == nil {
		progress = silent
	}
	d := t.Kind.Def()
	if d.run == nil {
		return fmt.Errorf("unknown stage %q: the worker must be of the same version as the program that sends it actions", t.Kind)
	}
	if err := d.checkInputs(t.Inputs); err != nil {
		return err
	}
	if err := d.run(ctx, e, t, progress); err != nil {
		return err
	}
	return d.checkFiles(t.Out)
}
