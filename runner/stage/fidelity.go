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

// Fidelity compares generated images with real ones.
const Fidelity Kind = "fidelity"

var fidelityDef = define(runFidelity, Def{
	Kind: Fidelity, Revision: 1,
	Inputs: []Input{{Name: ImagesInput}},
	Files:  tabled(metricsFile),
})

// FidelityParams of a comparison with as many real images.
type FidelityParams struct {
	Images int `json:"images" key:"evaluate.fidelityImages"`
}

// memory is that of the images, and of the inner products of the real ones, the generated
// ones, and of both.
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

// neighbours are the k of precision, recall, density and coverage: published
// for density and coverage, and in the shapes world recall at 5 orders arms.
const neighbours = 5

// fidelityMetrics compare generated images with the reference set, and beside each metric,
// as NAME.real, a second set of real images of the same size: nothing below that floor is
// resolved. All use one feature space, fixed random convolutions that are standardized on
// the reference set. A metric for which there are too few images is left out.
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
				out = append(out, Metric{"fidelity." + name + of.suffix, v, len(generated) / world.Pixels})
			}
		}
	}
	return out, nil
}

// reference is the real set, with what is the same for every set that is
// compared with it. It is never changed after it was made.
type reference struct {
	n      int
	space  *fidelity.Space
	gram   *fidelity.Gram
	normal *fidelity.Normal   // nil where there are too few images
	floor  map[string]float64 // metrics of other real images
}

// mostKept is the largest reference, in images, that a worker keeps from one
// comparison to the next: its Gram takes 128 MiB.
const mostKept = 4096

// reference returns the reference of n real images, a constant of the world.
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
	r := &reference{n: n, space: fidelity.NewSpace(images)}
	rows := r.space.Features(images)
	var err error
	if r.gram, err = fidelity.NewGram(rows); err != nil {
		return nil, fmt.Errorf("fidelity: real images: %w", err)
	}
	if r.normal, err = fidelity.Fit(rows); err != nil && !errors.Is(err, fidelity.ErrTooFew) {
		return nil, fmt.Errorf("fidelity: real images: %w", err)
	}
	again, _ := w.Real(floorSet, n)
	r.floor, err = r.measure(again)
	return r, err
}

// measure compares images with the reference: the metrics by name that there
// are images enough for.
func (r *reference) measure(images []uint8) (map[string]float64, error) {
	rows, out := r.space.Features(images), map[string]float64{}
	var failed error
	// enough reports whether a metric is there; too few images are no failure.
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
