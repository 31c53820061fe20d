package train

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"os"
	"reflect"
	"slices"
	"time"

	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/backend"
	"ablate/models/checkpoint"
	"ablate/models/grace"
	"ablate/models/nn"
)

// A Loop runs a training of Steps steps and records its curve. The random numbers of a step
// come from a stream that is named by the step's number, so that a training that is resumed
// draws the same numbers as an uninterrupted one.
type Loop struct {
	Trainer *Trainer
	State   *State
	Steps   int
	// Batch returns the inputs and options of a step, counted from 0, and the values
	// of Further. If ctx ends while it draws, it returns ctx's cause.
	Batch func(ctx context.Context, step int) (Inputs, Options, []float64, error)
	// Further names the curve's metrics in addition to the loss and the gradient's norm.
	Further []string
	// After, if set, is called after each step.
	After func(step int) error
	// Host are pointers to the data that Batch and After keep from step to step: structs,
	// slices and maps without unexported fields. They are saved and restored with the rest of
	// the state.
	Host   []any
	Resume Resume
	Segment
	// Progress, if set, is called before the first step, after it, and at each point of the
	// curve.
	Progress func(Report)

	curve  *Curve
	sums   []float64
	norms  norms
	saving chan error // of the state that is being published; nil if there is none
}

// A Report is how far a training is.
type Report struct {
	Step, Total int
	Compiling   bool      // the step is being compiled, which may take minutes
	Metrics     []string  // of the curve; nil before its first point
	Values      []float64 // of Metrics at the curve's last point; not finite if the training has diverged
}

// report calls Progress.
func (l *Loop) report(r Report) {
	if l.Progress != nil {
		r.Total = l.end()
		l.Progress(r)
	}
}

// norms are the gradient's norms of the updates since the last point of the curve. A step
// whose gradient is accumulated has none.
type norms struct {
	Sum, Last float64
	Updates   int
}

// take returns the mean or, if there was no update, the norm of the last one.
func (n *norms) take() float64 {
	if n.Updates > 0 {
		n.Last = n.Sum / float64(n.Updates)
	}
	n.Sum, n.Updates = 0, 0
	return n.Last
}

// Resume is where and when a training saves its state. The zero value saves nothing.
type Resume struct {
	File string               // of the state; a loop continues from it if it exists
	Due  func(steps int) bool // whether to save after so many steps; nil never does

	// Grace is how long a step may go on when ctx has ended, so that the state after it can
	// be saved before the loop returns. 0 ends the step and saves nothing.
	Grace time.Duration

	// Resumed, if set, is told the number of steps of the state from which the loop continues.
	Resumed func(steps int)

	// Discard, if set, is told of a file that is not a state of this training, such as a
	// damaged one. The loop removes the file and begins again. If it is nil, Run returns
	// the error.
	Discard func(err error)
}

// A Segment is a part of a training, which other processes may go on with. The zero value is
// the whole training. Segments that follow each other end with the same bytes as a training
// in one piece.
type Segment struct {
	From  string // file of the state with which it begins; empty: at the first step
	Until int    // number of steps after which it ends; 0: after the last step
	To    string // file for the state at its end; empty: none
}

// Member returns the Resume of one of several trainings of an action, which saves its state
// at its end too, so that a resumed action does not repeat finished trainings.
func (r Resume) Member(i, steps int) Resume {
	if r.File == "" {
		return r
	}
	due := r.Due
	r.File = fmt.Sprintf("%s.%d", r.File, i)
	r.Due = func(n int) bool { return n == steps || due != nil && due(n) }
	return r
}

// Run takes the remaining steps and returns the curve. It ends early with ctx's cause
// if ctx ends. When it returns, the last state that it saved is on the disk.
func (l *Loop) Run(ctx context.Context) (*Curve, error) {
	curve, err := l.run(ctx)
	if unsaved := l.published(true); unsaved != nil {
		return nil, errors.Join(err, unsaved)
	}
	return curve, err
}

func (l *Loop) run(ctx context.Context) (*Curve, error) {
	l.begin()
	from, err := l.load()
	if err != nil {
		return nil, err
	}
	drawing, done := grace.Extend(ctx, l.Resume.Grace)
	defer done()
	every, saved, end := spacing(l.Steps), from, l.end()
	l.report(Report{Step: from, Compiling: l.Trainer.Compiled() == 0})
	for step := from; step < end; step++ {
		if ctx.Err() != nil {
			if l.Resume.File != "" && l.Resume.Grace > 0 && step > saved {
				if err := l.save(l.Resume.File, step); err != nil {
					return nil, errors.Join(context.Cause(ctx), err)
				}
			}
			return nil, context.Cause(ctx)
		}
		in, o, further, err := l.Batch(drawing, step)
		if err != nil {
			return nil, err
		}
		r, err := l.Trainer.Step(l.State, o, in)
		if err != nil {
			return nil, err
		}
		for i, v := range append([]float64{r.Loss, 0}, further...) {
			l.sums[i] += v
		}
		if !o.Accumulate {
			l.norms.Sum, l.norms.Updates = l.norms.Sum+r.GradientNorm, l.norms.Updates+1
		}
		if (step+1)%every == 0 {
			means := make([]float64, len(l.sums))
			for i, s := range l.sums {
				means[i], l.sums[i] = s/float64(every), 0
			}
			means[1] = l.norms.take()
			l.curve.Add(step+1, means...)
			l.report(Report{Step: step + 1, Metrics: l.curve.Metrics, Values: means})
		} else if step == from {
			l.report(Report{Step: step + 1})
		}
		if l.After != nil {
			if err := l.After(step); err != nil {
				return nil, err
			}
		}
		if l.Resume.File != "" && l.Resume.Due != nil && l.Resume.Due(step+1) {
			if err := l.save(l.Resume.File, step+1); err != nil {
				return nil, err
			}
			saved = step + 1
		}
		if err := l.published(false); err != nil {
			return nil, err
		}
	}
	if l.To != "" {
		return l.curve, l.save(l.To, end)
	}
	return l.curve, nil
}

// end returns the number of steps after which the loop ends.
func (l *Loop) end() int {
	if l.Until > 0 {
		return min(l.Until, l.Steps)
	}
	return l.Steps
}

// begin sets what a training has before its first step, except its state.
func (l *Loop) begin() {
	l.curve = NewCurve(append([]string{"loss", "gradient norm"}, l.Further...)...)
	l.sums, l.norms = make([]float64, len(l.curve.Metrics)), norms{}
}

// ErrState is wrapped by the error for a file that is not a state of the training.
var ErrState = errors.New("it is not a state of this training")

// progress is the part of a saved state other than the arrays and Host.
type progress struct {
	Name    string // of the training step
	Steps   int    // of the training
	Step    int    // steps so far
	Updates int
	Pending bool
	Moved   []string
	Curve   *Curve
	Sums    []float64
	Norms   norms
}

// Tensors of a state file other than the arrays.
const (
	hostName   = "host"   // everything else of the state, encoded
	digestName = "digest" // SHA-256 of all other tensors
)

// digest returns the SHA-256 of the names, types, shapes and bytes of the tensors of a state
// file.
func digest(file map[string]checkpoint.Tensor) []byte {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(file)) {
		if t := file[name]; name != digestName {
			head(h, name, t.DType, t.Shape, len(t.Data))
			h.Write(t.Data)
		}
	}
	return h.Sum(nil)
}

// head adds to a digest what it has of a tensor beside its bytes.
func head(h hash.Hash, name, dtype string, shape []int, size int) {
	fmt.Fprintf(h, "%q %s %v %d\n", name, dtype, shape, size)
}

// save writes the whole state into a file, after so many steps. It copies no array: the digest is computed
// of the bytes as they are written, and the state may change when save returns. Another
// goroutine makes the file durable and then gives it its name, so that the training goes on
// while the disk writes; until then, the state that was saved before is there.
func (l *Loop) save(to string, step int) error {
	if err := errors.Join(l.State.Wait(), l.published(true)); err != nil {
		return err
	}
	s, file, sum := l.State, map[string]checkpoint.Source{}, sha256.New()
	add := func(name string, shape []int, dtype string, size int, use func(func([]byte) error) error) {
		file[name] = checkpoint.Source{DType: dtype, Shape: shape, Write: func(w io.Writer) error {
			head(sum, name, dtype, shape, size)
			return use(func(b []byte) error { return digested(w, sum, b) })
		}}
	}
	put := func(prefix string, lay layout, arrays []*tensors.Tensor) {
		for i, p := range lay.arrays {
			add(prefix+p.Name, p.Array().Dimensions, "F32", 4*p.Size(), func(use func([]byte) error) error { return backend.View(arrays[i], use) })
		}
	}
	for prefix, arrays := range s.groups() {
		if *arrays != nil {
			put(prefix, l.Trainer.layout, *arrays)
		}
	}
	p := progress{Name: l.Trainer.Name(), Steps: l.Steps, Step: step, Updates: s.updates, Pending: s.pending, Curve: l.curve, Sums: l.sums, Norms: l.norms}
	for _, name := range l.Trainer.sets {
		if s.moved[name] {
			p.Moved = append(p.Moved, name)
			put("set."+name+".", l.Trainer.frozen[name], s.frozen[name].arrays)
		}
	}
	var host []byte
	for _, x := range append([]any{&p}, l.Host...) {
		var err error
		if host, err = encode(host, x); err != nil {
			return fmt.Errorf("saving a training: %w", err)
		}
	}
	add(hostName, []int{len(host)}, "U8", len(host), func(use func([]byte) error) error { return use(host) })
	// The digest's place is among the other tensors, before some of those that it is of.
	file[digestName] = checkpoint.Source{DType: "U8", Shape: []int{sha256.Size}, Write: func(w io.Writer) error {
		_, err := w.Write(make([]byte, sha256.Size))
		return err
	}}
	pending, err := checkpoint.Prepare(to, file)
	if err != nil {
		return err
	}
	if err := pending.Set(digestName, sum.Sum(nil)); err != nil {
		return errors.Join(err, pending.Abort())
	}
	saving := make(chan error, 1)
	go func() { saving <- pending.Publish() }()
	l.saving = saving
	return nil
}

// digested writes b and adds it to a digest, in portions that stay in the processor's cache.
func digested(w io.Writer, h hash.Hash, b []byte) error {
	for portion := range slices.Chunk(b, 256<<10) {
		h.Write(portion)
		if _, err := w.Write(portion); err != nil {
			return err
		}
	}
	return nil
}

// Save writes the state of a training that takes its steps itself, and not by Run. When it returns,
// the file is on the disk.
func (l *Loop) Save(to string, step int) error {
	if l.curve == nil {
		l.begin()
	}
	return errors.Join(l.save(to, step), l.published(true))
}

// Load restores what Save wrote, and returns its number of steps.
func (l *Loop) Load(from string) (int, error) {
	if l.curve == nil {
		l.begin()
	}
	return l.read(from)
}

// published returns the error of the state that was saved last, if it is published; it waits
// for that if told so.
func (l *Loop) published(wait bool) error {
	if l.saving == nil {
		return nil
	}
	if !wait && len(l.saving) == 0 {
		return nil
	}
	err := <-l.saving
	l.saving = nil
	return err
}

// load restores the state that this loop saved, else the one with which its segment begins,
// and returns its number of steps.
func (l *Loop) load() (int, error) {
	if l.Resume.File != "" {
		step, err := l.read(l.Resume.File)
		if err == nil {
			if l.Resume.Resumed != nil {
				l.Resume.Resumed(step)
			}
			return step, nil
		}
		if !errors.Is(err, os.ErrNotExist) {
			err = fmt.Errorf("%w (remove it to begin again)", err)
			if l.Resume.Discard == nil {
				return 0, err
			}
			l.Resume.Discard(err)
			if err := os.RemoveAll(l.Resume.File); err != nil {
				return 0, err
			}
		}
	}
	if l.From == "" {
		return 0, nil
	}
	return l.read(l.From)
}

// read restores the state of a file and returns its number of steps.
func (l *Loop) read(name string) (int, error) {
	file, err := checkpoint.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		return 0, err
	}
	var step int
	if err == nil {
		step, err = l.restore(file)
	}
	if err != nil {
		return 0, fmt.Errorf("%s: %w: %w", name, ErrState, err)
	}
	return step, nil
}

// restore takes the state of a file and returns its number of steps. If it returns an error,
// it has changed nothing.
func (l *Loop) restore(file map[string]checkpoint.Tensor) (int, error) {
	if !bytes.Equal(file[digestName].Data, digest(file)) {
		return 0, errors.New("its digest does not match: it is damaged")
	}
	var p progress
	rest, err := decode(file[hostName].Data, &p)
	if err != nil {
		return 0, err
	}
	if p.Name != l.Trainer.Name() || p.Steps != l.Steps {
		return 0, fmt.Errorf("it is of a training of %d steps of %s, and this one has %d steps of %s", p.Steps, p.Name, l.Steps, l.Trainer.Name())
	}
	if p.Curve == nil || len(p.Curve.Metrics) != len(l.curve.Metrics) || len(p.Sums) != len(l.sums) || p.Step < 0 || p.Step > l.end() {
		return 0, fmt.Errorf("it was saved after %d of %d steps", p.Step, l.end())
	}
	host := make([]reflect.Value, len(l.Host))
	for i, x := range l.Host {
		host[i] = reflect.New(reflect.TypeOf(x).Elem())
		if rest, err = decode(rest, host[i].Interface()); err != nil {
			return 0, err
		}
	}
	var made []*tensors.Tensor
	take := func(prefix string, lay layout) ([]*tensors.Tensor, error) {
		v := nn.Values{}
		for _, a := range lay.arrays {
			t := file[prefix+a.Name]
			x, err := t.Float32()
			if want := a.Array().Dimensions; err == nil && !slices.Equal(t.Shape, want) {
				err = fmt.Errorf("it has the shape %v, and %v on this device: the state is of a device with another order of kernels", t.Shape, want)
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", prefix+a.Name, err)
			}
			v[a.Name] = x
		}
		arrays, err := v.Tensors(l.Trainer.b, lay.arrays)
		made = append(made, arrays...)
		return arrays, err
	}
	fail := func(err error) (int, error) {
		backend.Free(made...)
		return 0, err
	}
	s := l.State
	_ = s.changed() // what the step made is replaced
	groups, sets := map[string][]*tensors.Tensor{}, map[string][]*tensors.Tensor{}
	for prefix, arrays := range s.groups() {
		if _, saved := file[prefix+l.Trainer.layout.arrays[0].Name]; !saved && (*arrays == nil || prefix == "sum.") {
			continue // no average, or nothing accumulated
		}
		x, err := take(prefix, l.Trainer.layout)
		if err != nil {
			return fail(err)
		}
		groups[prefix] = x
	}
	for _, name := range p.Moved {
		lay, ok := l.Trainer.frozen[name]
		if !ok {
			return fail(fmt.Errorf("it has the frozen set %q, and the training has none of that name", name))
		}
		x, err := take("set."+name+".", lay)
		if err != nil {
			return fail(err)
		}
		sets[name] = x
	}
	for prefix, arrays := range s.groups() {
		if x, ok := groups[prefix]; ok {
			backend.Free(*arrays...)
			*arrays = x
		}
	}
	for name, x := range sets {
		s.freeze(name, frozen{arrays: x})
		s.moved[name] = true
	}
	for i, x := range l.Host {
		reflect.ValueOf(x).Elem().Set(host[i].Elem())
	}
	s.step = nil
	s.updates, s.pending, l.curve, l.sums, l.norms = p.Updates, p.Pending, p.Curve, p.Sums, p.Norms
	return p.Step, nil
}
