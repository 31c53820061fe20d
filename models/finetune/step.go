package finetune

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gomlx/gomlx/pkg/core/graph"

	"ablate/models/lora"
	"ablate/models/nn"
	"ablate/models/pipeline"
	"ablate/models/train"
)

// A Copy names further weights of the network, in addition to the trained ones.
type Copy string

// The copies of a network.
const (
	Reference Copy = "reference" // the pretrained weights
	Behaviour Copy = "behaviour" // the behaviour policy, p_old or u_old in the papers
	Average   Copy = "average"   // an exponential moving average of the weights
	Drawing   Copy = "drawing"   // draws the images of a round, where none of the others does
)

// Names of the frozen sets of a step that are not copies.
const (
	restSet   = "rest"   // parameters of the network that are not trained
	baseSet   = "base"   // the weights that low-rank updates are added to
	rewardSet = "reward" // parameters of the reward
)

// A loss is the loss of one kind of step, as a graph. It is compiled once for each network
// and shape; values that a study sweeps are inputs.
type loss struct {
	name string
	// reads are the copies that the loss uses, keeps those that are kept for drawing only.
	reads, keeps []Copy
	// alias, if set, maps a copy to another one that is equal and is computed once.
	alias  map[Copy]Copy
	reward *RewardModel
	build  func(n networks, in train.Nodes) *graph.Node
}

// networks are the networks inside the graph of a step.
type networks struct {
	net    pipeline.Network
	model  pipeline.Denoiser          // with the trained weights
	copies map[Copy]pipeline.Denoiser // that the loss reads
	// detached is the network with the trained weights as constants; nil means model
	// with its gradient stopped. Tests of gradients by finite differences set it.
	detached pipeline.Denoiser
	score    func(images, text *graph.Node) *graph.Node // of the reward
}

// A step is a loss for a network of which a part, or low-rank updates of it, is trained.
type step struct {
	train.Step
	net     pipeline.Network
	loss    loss
	part    pipeline.Part
	lora    lora.Config
	trained []nn.Param // parameters of the part
}

func newStep(net pipeline.Network, l loss, part pipeline.Part, updates lora.Config) (*step, error) {
	trained, err := net.Trained(part)
	if err != nil {
		return nil, err
	}
	s := &step{net: net, loss: l, part: part, lora: updates, trained: trained}
	name := []string{"finetune", net.Name, l.name, string(part)}
	s.Params, s.Frozen = trained, map[string][]nn.Param{}
	if updates.Rank > 0 {
		if s.Params, err = updates.Params(trained); err != nil {
			return nil, err
		}
		name = append(name, fmt.Sprintf("lora %d %s", updates.Rank, updates.Targets))
		s.Frozen[baseSet] = trained
	}
	// A step needs the whole network if it includes the text encoder, else the denoiser.
	inside := net.Params
	if part.Encodes() {
		inside = net.AllParams()
	}
	var rest []nn.Param
	for _, p := range inside {
		if !slices.ContainsFunc(trained, func(q nn.Param) bool { return q.Name == p.Name }) {
			rest = append(rest, p)
		}
	}
	if rest != nil {
		s.Frozen[restSet] = rest
	}
	for _, k := range append(slices.Clone(l.reads), l.keeps...) {
		if _, same := l.alias[k]; same || k == Reference && updates.Rank > 0 {
			continue // equal to another copy, or to the base weights
		}
		s.Frozen[string(k)] = s.Params
	}
	if l.reward != nil {
		s.Frozen[rewardSet] = l.reward.Params
	}
	s.Name = strings.Join(name, ", ")
	s.Loss = func(w nn.Weights, frozen train.Sets, in train.Nodes) *graph.Node {
		return l.build(s.networks(w, frozen), in)
	}
	return s, nil
}

// networks returns the networks of the loss for trained parameters w.
func (s *step) networks(w nn.Weights, frozen train.Sets) networks {
	// bind returns the network with a set of trained parameters.
	bind := func(set nn.Weights) pipeline.Denoiser {
		all := nn.Weights{}
		for name, x := range frozen[restSet] {
			all[name] = x
		}
		if s.lora.Rank > 0 {
			set = s.lora.Weights(frozen.At(baseSet), set)
		}
		for name, x := range set {
			all[name] = x
		}
		return s.net.Bind(all, s.part.Encodes())
	}
	n := networks{net: s.net, model: bind(w), copies: map[Copy]pipeline.Denoiser{}}
	for _, k := range s.loss.reads {
		if _, same := s.loss.alias[k]; same {
			continue
		}
		set := frozen[string(k)]
		if set == nil {
			set = nn.Weights{} // no low-rank updates: the base weights
		}
		n.copies[k] = bind(set)
	}
	if s.loss.reward != nil {
		n.score = func(images, text *graph.Node) *graph.Node {
			return s.loss.reward.Score(frozen.At(rewardSet), images, text)
		}
	}
	return n
}
