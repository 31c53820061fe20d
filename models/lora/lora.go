// Package lora adds trainable low-rank updates to frozen weight matrices (Hu et al. 2021,
// arXiv 2106.09685, section 4.1): a layer uses W + B·A, where A float32[rank, in] starts at
// random values and B float32[out, rank] at 0. The scale α/rank is 1, which readers of
// adapter files assume where a file has no α.
package lora

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/gomlx/gomlx/pkg/core/graph"

	"ablate/models/nn"
)

// Config is the rank of the updates and the weights that get one. Rank 0 means no updates.
type Config struct {
	Rank    int    `json:"rank,omitempty"`
	Targets string `json:"targets,omitempty"` // attention or all
}

const up, down = nn.LowRankB, nn.LowRankA

// Params returns the parameters of the updates of a network, in the order of its parameters.
// It is an error if no weight matches Targets.
func (c Config) Params(network []nn.Param) ([]nn.Param, error) {
	var ps []nn.Param
	for _, p := range network {
		layer, ok := strings.CutSuffix(p.Name, ".weight")
		if !ok || len(p.Shape) != 2 || c.Targets == "attention" && !strings.Contains(layer, "attention.") {
			continue
		}
		out, in := p.Shape[0], p.Shape[1]
		// PyTorch's initialization of A in peft: uniform with a = √5, whose
		// variance is 1/(3 in).
		ps = append(ps, nn.Param{Name: layer + down, Shape: []int{c.Rank, in}, Std: 1 / math.Sqrt(float64(3*in))},
			nn.Param{Name: layer + up, Shape: []int{out, c.Rank}})
	}
	if len(ps) == 0 {
		return nil, fmt.Errorf("lora: no weight of the network matches the targets %q", c.Targets)
	}
	return ps, nil
}

// Weights returns the network's weights plus their updates, inside a graph.
func (c Config) Weights(network, updates nn.Weights) nn.Weights {
	w := make(nn.Weights, len(network))
	// Sorted, because a graph built in the order of a map would differ from run to run.
	for _, name := range slices.Sorted(maps.Keys(network)) {
		x := network[name]
		layer, _ := strings.CutSuffix(name, ".weight")
		if a, ok := updates[layer+down]; ok && name != layer {
			x = graph.Add(x, graph.DotGeneral(updates.At(layer+up), []int{1}, nil, a, []int{0}, nil))
		}
		w[name] = x
	}
	return w
}

// Merge adds updates to a network's values on the host.
func (c Config) Merge(network, updates nn.Values) nn.Values {
	v := make(nn.Values, len(network))
	for name, x := range network {
		layer, _ := strings.CutSuffix(name, ".weight")
		a, ok := updates[layer+down]
		if !ok || name == layer {
			v[name] = x
			continue
		}
		b, in := updates[layer+up], len(a)/c.Rank
		sum := make([]float32, len(x))
		for i := range len(x) / in {
			row := sum[i*in : (i+1)*in]
			copy(row, x[i*in:])
			for k := range c.Rank {
				f := b[i*c.Rank+k]
				for j, y := range a[k*in : (k+1)*in] {
					row[j] += f * y
				}
			}
		}
		v[name] = sum
	}
	return v
}
