package finetune

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/gomlx/gomlx/backends"
	"github.com/gomlx/gomlx/pkg/core/graph"

	"ablate/models/lora"
	"ablate/models/nn"
	"ablate/models/pipeline"
	"ablate/models/schedule"
	"ablate/models/train"
)

// A Loss is what one kind of step minimizes, as a graph. It is compiled once a
// network and shape; what a study sweeps is among its inputs.
type Loss struct {
	// Name tells compiled steps apart.
	Name string
	// Reads are the copies of the network that it needs.
	Reads []Copy
	// Beside are the parameters of another network that it needs, a reward's.
	Beside []nn.Param
	// Build returns a scalar from the network's weights, its copies' (in the order
	// of Copy), the other network's, and the inputs of a step.
	Build func(net pipeline.Network, w nn.Weights, copies [3]nn.Weights, beside nn.Weights, in []*graph.Node) *graph.Node
}

// Likelihood is Σ cᵢ·ℓᵢ, which pretraining minimizes too.
func Likelihood() Loss {
	return Loss{Name: "likelihood", Build: func(net pipeline.Network, w nn.Weights, _ [3]nn.Weights, _ nn.Weights, in []*graph.Node) *graph.Node {
		return net.WeightedLoss(w, in)
	}}
}

// Forward is an objective on the forward process beside the likelihood:
//
//	objective(generated) + Σ cᵢ·ℓᵢ + Σ aᵢ·mean (u_θ - u_base)²
//
// over a batch of B images of which the first G are generated and the rest are
// pretraining pairs. Inputs after those of WeightedLoss: the anchor's
// coefficients a float32[G], the objective's figures float32[G], its shares
// float32[G, G], and its constants float32[k].
func Forward(o Objective, anchored bool) Loss {
	l := Loss{Name: o.Name, Reads: slices.Clone(o.Reads)}
	if anchored && !slices.Contains(l.Reads, Base) {
		l.Reads = append(l.Reads, Base)
	}
	if anchored {
		l.Name += " anchored"
	}
	l.Build = func(net pipeline.Network, w nn.Weights, copies [3]nn.Weights, still nn.Weights, in []*graph.Node) *graph.Node {
		x0, eps, t, words, c, a, rest := in[0], in[1], in[2], in[3], in[4], in[5], in[6:]
		f, g := net.Schedule, a.Shape().Dimensions[0]
		x := f.Noisy(x0, eps, t)
		first := func(x *graph.Node) *graph.Node { return graph.Slice(x, graph.AxisRange(0, g)) }
		denoise, encode := net.Bind(w)
		u := f.Output(x, denoise(x, t, encode(words)), t)
		loss := graph.ReduceAllSum(graph.Mul(c, schedule.MeanSquare(u, f.Target(x, x0, t))))
		out := Outputs{Schedule: f, Noisy: first(x), Clean: first(x0), Time: first(t), Model: first(u)}
		out.Target = f.Target(out.Noisy, out.Clean, out.Time)
		of := func(w nn.Weights) *graph.Node {
			denoise, encode := net.Bind(w)
			return graph.StopGradient(f.Output(out.Noisy, denoise(out.Noisy, out.Time, encode(first(words))), out.Time))
		}
		read := func(k Copy) *graph.Node {
			if !slices.Contains(l.Reads, k) {
				return nil // of a low-rank update the base is there and not read
			}
			return of(copies[k])
		}
		out.Base, out.Old, out.Average = read(Base), read(Old), read(Average)
		if out.Still = graph.StopGradient(out.Model); still != nil { // differences of a test hold it where it was
			out.Still = of(still)
		}
		if anchored {
			loss = graph.Add(loss, graph.ReduceAllSum(graph.Mul(a, schedule.MeanSquare(out.Model, out.Base))))
		}
		if o.Loss == nil {
			return loss
		}
		image, rest := rest[:o.Images], rest[o.Images:]
		return graph.Add(loss, o.Loss(out, image, rest[0], scalars(rest[1], o.Constants)))
	}
	return l
}

// scalars are the entries of a vector.
func scalars(x *graph.Node, n int) []*graph.Node {
	out := make([]*graph.Node, n)
	for i := range out {
		out[i] = graph.Reshape(graph.Slice(x, graph.AxisElem(i)))
	}
	return out
}

// A Step is a loss compiled for a network whose weights, or low-rank updates of
// them, it trains.
type Step struct {
	net     pipeline.Network
	loss    Loss
	lora    lora.Config
	updates []nn.Param // trained in the place of weights; nil where all are
	trainer *train.Trainer
	place   [3]int // of each copy among the frozen sets; -1 where it is not there
	beside  int
}

// NewStep returns a step of loss on net. l of rank 0 trains all weights.
func NewStep(b backends.Backend, net pipeline.Network, loss Loss, l lora.Config) (*Step, error) {
	s := &Step{net: net, loss: loss, lora: l, place: [3]int{-1, -1, -1}, beside: -1}
	trained := net.AllParams()
	if l.Rank > 0 {
		var err error
		if s.updates, err = l.Params(net.AllParams()); err != nil {
			return nil, err
		}
		trained = s.updates
	}
	var frozen [][]nn.Param
	for k := Base; k <= Average; k++ {
		if slices.Contains(loss.Reads, k) || k == Base && l.Rank > 0 {
			s.place[k] = len(frozen)
			frozen = append(frozen, net.AllParams())
		}
	}
	if loss.Beside != nil {
		s.beside = len(frozen)
		frozen = append(frozen, loss.Beside)
	}
	var err error
	s.trainer, err = train.NewBeside(b, s.Name(), trained, frozen, func(w nn.Weights, sets []nn.Weights, in []*graph.Node) *graph.Node {
		var copies [3]nn.Weights
		for k, at := range s.place {
			if at >= 0 {
				copies[k] = sets[at]
			}
		}
		if s.updates != nil {
			w = l.Weights(copies[Base], w)
		}
		var beside nn.Weights
		if s.beside >= 0 {
			beside = sets[s.beside]
		}
		return loss.Build(net, w, copies, beside, in)
	})
	return s, err
}

// Plain is a step of Likelihood on all weights by a trainer that is there
// already: pretraining's.
func Plain(t *train.Trainer, net pipeline.Network) *Step {
	return &Step{net: net, loss: Likelihood(), trainer: t, place: [3]int{-1, -1, -1}, beside: -1}
}

// StepName is that of the step NewStep would make: one name, one graph.
func StepName(net pipeline.Network, loss Loss, l lora.Config) string {
	name := []string{"finetune", net.Name, loss.Name}
	if l.Rank > 0 {
		name = append(name, fmt.Sprintf("lora %d %s", l.Rank, l.Targets))
	}
	return strings.Join(name, " ")
}

// Name is StepName of the step.
func (s *Step) Name() string { return StepName(s.net, s.loss, s.lora) }

// Compiled is how often the step was compiled, once a shape.
func (s *Step) Compiled() int { return s.trainer.Compiled() }

// A tuning is one training under way.
type tuning struct {
	*Step
	state  *train.State
	copies [3]nn.Values // those that are there
}

// start begins a training at a model's weights, of which all copies are copies;
// init draws low-rank updates, beside are the other network's values.
func (s *Step) start(m *pipeline.Model, beside nn.Values, init *rand.Rand) (*tuning, error) {
	if m.Name != s.net.Name {
		return nil, fmt.Errorf("a step for %s was given a model of %s", s.net.Name, m.Name)
	}
	first := m.Weights
	if s.updates != nil {
		first = nn.Init(s.updates, init)
	}
	state, err := s.trainer.Start(first)
	if err != nil {
		return nil, err
	}
	t := &tuning{Step: s, state: state}
	for k := Base; k <= Average; k++ {
		if err := t.set(k, m.Weights); err != nil {
			return nil, err
		}
	}
	if s.beside >= 0 {
		if err := s.trainer.Freeze(state, s.beside, beside); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// set gives a copy other weights, where the loss reads it.
func (t *tuning) set(k Copy, v nn.Values) error {
	if t.place[k] < 0 {
		return nil
	}
	t.copies[k] = v
	return t.trainer.Freeze(t.state, t.place[k], v)
}

// weights are the network's as trained so far.
func (t *tuning) weights() nn.Values { return t.whole(t.trainer.Weights(t.state)) }

// average is the running mean of the weights.
func (t *tuning) average() nn.Values { return t.whole(t.trainer.Average(t.state)) }

// finish returns the weights that a training ends with.
func (t *tuning) finish(h Hooks) nn.Values {
	v := t.trainer.Average(t.state)
	if t.updates != nil && h.Updates != nil {
		h.Updates(v)
	}
	return t.whole(v)
}

func (t *tuning) whole(v nn.Values) nn.Values {
	if t.updates == nil {
		return v
	}
	return t.lora.Merge(t.copies[Base], v)
}

func (t *tuning) free() { t.state.Free() }

// follow moves a copy, where the loss reads it, towards weights:
// d·copy + (1-d)·weights.
func (t *tuning) follow(k Copy, weights nn.Values, d float64) error {
	if t.place[k] < 0 {
		return nil
	}
	v := make(nn.Values)
	for name, x := range weights {
		y := make([]float32, len(x))
		for i, old := range t.copies[k][name] {
			y[i] = float32(d)*old + float32(1-d)*x[i]
		}
		v[name] = y
	}
	return t.set(k, v)
}
