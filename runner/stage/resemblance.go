package stage

import (
	"context"
	"fmt"
	"path/filepath"

	"ablate/analysis/fidelity"
	"ablate/models/checkpoint"
)

// Resemblance is the stage that compares features of generated images with those of real
// ones, both by an engine.
const Resemblance Kind = "resemblance"

var resemblanceDef = define(runResemblance, Def{
	Kind: Resemblance, Revision: 1,
	Inputs: []Input{{Name: FeaturesInput}, {Name: ReferenceInput}},
	Files:  tabled(metricsFile),
})

// Names of the inputs of [Resemblance].
const (
	FeaturesInput  = "features"
	ReferenceInput = "reference"
	TextsInput     = "texts" // features of prompts

	GrammarInput      = "grammar"      // prompts of GrammarList
	GrammarTextsInput = "grammarTexts" // their features
)

// ResemblanceParams are the parameters of [Resemblance].
type ResemblanceParams struct {
	Images int `json:"images" key:"-"` // number of generated images, for the estimate of the cost
}

func (p ResemblanceParams) memory() float64 { return 3 * 8 * float64(p.Images) * float64(p.Images) }

func (p ResemblanceParams) cost() float64 { return .1 + float64(p.Images)/500 }

// runResemblance compares generated images with one half of the real ones. The other half is the
// floor, so that both comparisons are of equally many images: most metrics depend on their
// number. Images beyond that number are left out. The halves are every other image, because
// folders may be sorted by content.
func runResemblance(_ context.Context, _ *Env, t Task, _ ResemblanceParams, _ Progress) error {
	generated, err := readFeatures(t.in(FeaturesInput), 0)
	if err != nil {
		return err
	}
	real, err := readFeatures(t.in(ReferenceInput), 0)
	if err != nil {
		return err
	}
	generated, real = present(generated), present(real)
	if generated.Cols != real.Cols {
		return fmt.Errorf("features of generated images have %d numbers, those of real ones %d", generated.Cols, real.Cols)
	}
	n := min(generated.Rows, real.Rows/2)
	if n < 2 {
		return fmt.Errorf("%d real images have no two halves to compare: name a folder with more", real.Rows)
	}
	half := func(from int) fidelity.Matrix {
		m := fidelity.Matrix{Rows: n, Cols: real.Cols}
		for i := range n {
			m.Data = append(m.Data, real.Row(2*i+from)...)
		}
		return m
	}
	ref, err := referenceOf(half(0))
	if err != nil {
		return err
	}
	if ref.floor, err = ref.compare(half(1)); err != nil {
		return err
	}
	values, err := ref.compare(fidelity.Matrix{Rows: n, Cols: generated.Cols, Data: generated.Data[:n*generated.Cols]})
	if err != nil {
		return err
	}
	return checkpoint.WriteJSON(filepath.Join(t.Out, metricsFile), []MetricSet{{0, ref.metrics(values, n)}})
}

// present returns the rows that are not missing.
func present(m fidelity.Matrix) fidelity.Matrix {
	out := fidelity.Matrix{Cols: m.Cols}
	for i := range m.Rows {
		if row := m.Row(i); !isMissing(row[0]) {
			out.Data = append(out.Data, row...)
			out.Rows++
		}
	}
	return out
}

// readFeatures reads the features of the images of a step, or of prompts. Where an engine gave a
// row none, its numbers are missing.
func readFeatures(dir string, step int) (fidelity.Matrix, error) {
	tensors, err := checkpoint.ReadFile(filepath.Join(dir, featuresFile))
	if err != nil {
		return fidelity.Matrix{}, err
	}
	x, ok := tensors[tensorName(featuresName, step)]
	if !ok || len(x.Shape) != 2 {
		return fidelity.Matrix{}, fmt.Errorf("the artifact has no features of step %d", step)
	}
	data, err := x.Float32()
	return fidelity.Matrix{Rows: x.Shape[0], Cols: x.Shape[1], Data: data}, err
}
