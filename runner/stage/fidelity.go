package stage

import (
	"errors"
	"fmt"

	"ablate/analysis/fidelity"
	"ablate/models/shapes"
)

// neighbours are the k of precision, recall, density and coverage: published
// for density and coverage, and in the shapes world recall at 5 orders arms.
const neighbours = 5

// fidelityMetrics compare generated images with the reference set, and beside
// each figure, as NAME.real, a second set of real images of the same size: below
// that floor, nothing is resolved. In the shapes world all stand on one feature
// space, fixed random convolutions standardized on the reference set. A figure
// for which there are too few images is left out.
func fidelityMetrics(r *reference, generated []uint8) ([]Metric, error) {
	values, err := r.measure(generated)
	if err != nil {
		return nil, err
	}
	var out []Metric
	for _, name := range []string{"kid", "cmmd", "precision", "recall", "density", "coverage", "frechet"} {
		for _, of := range []struct {
			suffix string
			values map[string]float64
		}{{"", values}, {".real", r.floor}} {
			if v, ok := of.values[name]; ok {
				out = append(out, Metric{"fidelity." + name + of.suffix, v, len(generated) / shapes.Pixels})
			}
		}
	}
	return out, nil
}

// reference is the real set, with what is the same for every set that is
// compared with it. It is never changed after it was made.
type reference struct {
	n        int
	captions []shapes.Prompt
	space    *fidelity.Space
	gram     *fidelity.Gram
	normal   *fidelity.Normal   // nil where there are too few images
	floor    map[string]float64 // figures of other real images
}

// mostKept is the largest reference, in images, that a worker keeps from one
// evaluation to the next: its Gram takes 128 MiB.
const mostKept = 4096

// reference returns the reference of n real images, a constant of the world.
func (e *Env) reference(n int) (*reference, error) {
	if e.real != nil && e.real.n == n {
		return e.real, nil
	}
	e.real = nil
	r, err := newReference(n)
	if err == nil && n <= mostKept {
		e.real = r
	}
	return r, err
}

func newReference(n int) (*reference, error) {
	images, captions := realSet("real", n)
	r := &reference{n: n, captions: captions, space: fidelity.NewSpace(images)}
	rows := r.space.Features(images)
	var err error
	if r.gram, err = fidelity.NewGram(rows); err != nil {
		return nil, fmt.Errorf("evaluate: real images: %w", err)
	}
	if r.normal, err = fidelity.Fit(rows); err != nil && !errors.Is(err, fidelity.ErrTooFew) {
		return nil, fmt.Errorf("evaluate: real images: %w", err)
	}
	again, _ := realSet("real again", r.n)
	r.floor, err = r.measure(again)
	return r, err
}

// measure compares images with the reference: the figures by name that there
// are images enough for.
func (r *reference) measure(images []uint8) (map[string]float64, error) {
	rows, out := r.space.Features(images), map[string]float64{}
	var failed error
	// enough reports whether a figure is there; too few images are no failure.
	enough := func(what string, err error) bool {
		if err != nil && !errors.Is(err, fidelity.ErrTooFew) {
			failed = errors.Join(failed, fmt.Errorf("evaluate: %s: %w", what, err))
		}
		return err == nil
	}
	g, err := fidelity.NewGram(rows)
	if err != nil {
		return nil, fmt.Errorf("evaluate: generated images: %w", err)
	}
	p, err := fidelity.NewPair(r.gram, g)
	if err != nil {
		return nil, fmt.Errorf("evaluate: %w", err)
	}
	if v, _, err := p.Kernel(fidelity.Subsets(r.n, rows.Rows)); enough("KID", err) {
		out["kid"] = v
	}
	if v, err := p.CMMD(); enough("CMMD", err) {
		out["cmmd"] = v
	}
	if v, err := p.Neighbours(neighbours); enough("neighbours", err) {
		out["precision"], out["recall"], out["density"], out["coverage"] = v.Precision, v.Recall, v.Density, v.Coverage
	}
	if f, err := fidelity.Fit(rows); enough("Fréchet distance", err) && r.normal != nil {
		if v, err := fidelity.Frechet(r.normal, f); enough("Fréchet distance", err) {
			out["frechet"] = v
		}
	}
	return out, failed
}

// diversity are two figures of how much aligned images of one complete prompt
// differ, two at a time, each with the same of renders beside it: their mean
// distance, relative to that of renders, and their mean Vendi score. Both are
// over prompts with two aligned images or more, and two images at a time
// whatever a prompt has, for the Vendi score grows with their number.
func diversity(prompts []shapes.Prompt, readings []shapes.Reading, images []uint8) []Metric {
	var kept []shapes.Prompt
	var x []uint8
	for i, p := range prompts {
		if p.Complete() && readings[i].Judge(p) == shapes.Good {
			kept = append(kept, p)
			x = append(x, images[i*shapes.Pixels:(i+1)*shapes.Pixels]...)
		}
	}
	group := make([]int, len(kept))
	for i, p := range kept {
		group[i] = p.Index()
	}
	renders := realOf("diversity", kept)
	space := fidelity.NewSpace(renders)
	base, _ := fidelity.MeanPairDistance(space.Features(renders), group)
	var distances, scores []Metric
	for _, of := range []struct {
		suffix string
		images []uint8
	}{{"", x}, {".real", realOf("diversity again", kept)}} {
		features := space.Features(of.images)
		d, n := fidelity.MeanPairDistance(features, group)
		v, m := fidelity.VendiOfPairs(features, group)
		if base == 0 {
			d, n = 0, 0
		} else {
			d /= base
		}
		distances = append(distances, Metric{"diversity" + of.suffix, d, n})
		scores = append(scores, Metric{"diversity.vendi" + of.suffix, v, m})
	}
	return append(distances, scores...)
}
