package stage

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"ablate/analysis/fidelity"
	"ablate/models/checkpoint"
	"ablate/runner/world"
)

// Fidelity is the stage that compares generated images with real ones.
const Fidelity Kind = "fidelity"

var fidelityDef = define(runFidelity, Def{
	Kind: Fidelity, Revision: 1,
	Inputs: []Input{{Name: ImagesInput}},
	Files:  tabled(metricsFile),
})

// FidelityParams are the parameters of [Fidelity], which uses as many real images as
// generated ones.
type FidelityParams struct {
	Images int `json:"images" key:"evaluate.fidelityImages"`
}

// memory counts the images, and the inner products of real images, of generated images,
// and between both.
func (p FidelityParams) memory() float64 {
	n := float64(p.Images)
	return 2*n*world.Pixels + 3*8*n*n
}

func (p FidelityParams) cost() float64 { return float64(p.Images) / 2048 }

func runFidelity(_ context.Context, e *Env, t Task, p FidelityParams, _ Progress) error {
	s, err := Only(readImagesOf(t.in(ImagesInput), p.Images))
	if err != nil {
		return err
	}
	r, err := e.reference(p.Images)
	if err != nil {
		return err
	}
	metrics, err := fidelityMetrics(r, s.Images)
	if err != nil {
		return err
	}
	return checkpoint.WriteJSON(filepath.Join(t.Out, metricsFile), []MetricSet{{s.Step, metrics}})
}

// neighbours is k in precision, recall, density and coverage. The value 5 is that of the
// paper on density and coverage, and in the shapes world recall at 5 distinguishes arms.
const neighbours = 5

// fidelityMetrics compares generated images with the reference set. For each metric it
// also returns NAME.real, the same metric of a second set of real images of the same
// size; this is the floor below which differences have no meaning. All metrics use the
// same features: fixed random convolutions, standardized on the reference set. Metrics
// for which there are too few images are left out.
func fidelityMetrics(r *reference, generated []uint8) ([]Metric, error) {
	values, err := r.compare(r.space.Features(generated))
	if err != nil {
		return nil, err
	}
	return r.metrics(values, len(generated)/world.Pixels), nil
}

// metrics returns the values of n images and those of the floor as metrics.
func (r *reference) metrics(values map[string]float64, n int) (out []Metric) {
	for _, name := range []string{"kid", "cmmd", "precision", "recall", "density", "coverage", "frechet"} {
		for _, of := range []struct {
			suffix string
			values map[string]float64
		}{{"", values}, {".real", r.floor}} {
			if v, ok := of.values[name]; ok {
				out = append(out, Metric{"fidelity." + name + of.suffix, v, n})
			}
		}
	}
	return out
}

// reference is the set of real images, with values that are the same for every set that
// is compared with it. It is immutable.
type reference struct {
	n      int
	space  *fidelity.Space // nil where an engine computes the features
	gram   *fidelity.Gram
	normal *fidelity.Normal   // nil if there are too few images
	floor  map[string]float64 // metrics of the second set of real images
}

// mostKept is the largest number of images of a reference that a worker keeps between
// comparisons. The Gram matrix then takes 128 MiB.
const mostKept = 4096

// reference returns the reference of n real images, which depends only on the world.
func (e *Env) reference(n int) (*reference, error) {
	if e.real != nil && e.real.n == n {
		return e.real, nil
	}
	e.real = nil
	r, err := newReference(e.world.Images, n)
	if err == nil && n <= mostKept {
		e.real = r
	}
	return r, err
}

func newReference(w world.Images, n int) (*reference, error) {
	images, _ := w.Real(realSet, n)
	space := fidelity.NewSpace(images)
	r, err := referenceOf(space.Features(images))
	if err != nil {
		return nil, err
	}
	r.space = space
	again, _ := w.Real(floorSet, n)
	r.floor, err = r.compare(space.Features(again))
	return r, err
}

// referenceOf returns the reference of real images by their features, without a floor.
func referenceOf(rows fidelity.Matrix) (*reference, error) {
	r := &reference{n: rows.Rows}
	var err error
	if r.gram, err = fidelity.NewGram(rows); err != nil {
		return nil, fmt.Errorf("fidelity: real images: %w", err)
	}
	if r.normal, err = fidelity.Fit(rows); err != nil && !errors.Is(err, fidelity.ErrTooFew) {
		return nil, fmt.Errorf("fidelity: real images: %w", err)
	}
	return r, nil
}

// compare compares images with the reference by their features. It returns metrics by name,
// without those for which there are too few images.
func (r *reference) compare(rows fidelity.Matrix) (map[string]float64, error) {
	out := map[string]float64{}
	var failed error
	// enough reports whether a metric could be computed. It does not count too few images
	// as a failure.
	enough := func(what string, err error) bool {
		if err != nil && !errors.Is(err, fidelity.ErrTooFew) {
			failed = errors.Join(failed, fmt.Errorf("fidelity: %s: %w", what, err))
		}
		return err == nil
	}
	g, err := fidelity.NewGram(rows)
	if err != nil {
		return nil, fmt.Errorf("fidelity: generated images: %w", err)
	}
	p, err := fidelity.NewPair(r.gram, g)
	if err != nil {
		return nil, fmt.Errorf("fidelity: %w", err)
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
