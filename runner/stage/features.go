package stage

import (
	"fmt"

	"ablate/models/dit"
	"ablate/models/embedder"
	"ablate/models/nn"
	"ablate/models/pipeline"
	"ablate/models/random"
	"ablate/runner/world"
)

// Features returns the embeddings of images uint8[n, Size, Size, Channels] and of prompts by
// the embedder of a checkpoint folder, float32[n, width] each, of unit length. Either list may
// be empty.
func (e *Env) Features(dir string, images []uint8, prompts []string) (ofImages, ofPrompts []float32, width int, err error) {
	c, v, err := readEmbedder(dir)
	if err != nil {
		return nil, nil, 0, err
	}
	enc, err := e.encoder(c)
	if err != nil {
		return nil, nil, 0, err
	}
	if len(images) > 0 {
		if ofImages, err = enc.Images(v, modelRange(images)); err != nil {
			return nil, nil, 0, err
		}
	}
	if len(prompts) > 0 {
		x, err := e.textInput(prompts)
		if err != nil {
			return nil, nil, 0, err
		}
		if ofPrompts, err = enc.Texts(v, x); err != nil {
			return nil, nil, 0, err
		}
	}
	for _, of := range []struct {
		what string
		x    []float32
	}{{"image", ofImages}, {"prompt", ofPrompts}} {
		if i := notFinite(of.x); i >= 0 {
			return nil, nil, 0, fmt.Errorf("the embedder maps %s %d to %v: its training diverged (a smaller embedder.learningRate helps)", of.what, i/c.Width, of.x[i])
		}
	}
	return ofImages, ofPrompts, c.Width, nil
}

// WriteRandom writes a checkpoint folder with a tiny model and embedder whose weights are
// random: they show nothing, and let everything that computes with a model run in seconds.
func WriteRandom(dir string, seed int64) error {
	c := dit.Default(world.Vocabulary())
	c.Layers, c.Width, c.TextWidth, c.Heads = 1, 16, 16, 2
	net := pipeline.Shapes(c)
	if err := writeModel(dir, c, net, randomWeights(net.AllParams(), seed, 0)); err != nil {
		return err
	}
	e := embedder.Default(world.Vocabulary())
	e.Features, e.Width = [3]int{4, 4, 4}, 8
	return writeEmbedder(dir, e, randomWeights(e.Params(), seed, 1))
}

// randomWeights returns the weights of a network of which each has an effect: a training begins
// with gates that are 0, so that much of a network has none.
func randomWeights(params []nn.Param, seed int64, index int) nn.Values {
	r := random.Stream(seed, "random", "weights", index)
	v := nn.Init(params, r)
	for _, p := range params {
		for i := range v[p.Name] {
			v[p.Name][i] += float32(.1 * r.NormFloat64())
		}
	}
	return v
}
