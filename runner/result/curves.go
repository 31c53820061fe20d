package result

import (
	"ablate/analysis/table"
	"ablate/experiments/language"
	"ablate/models/train"
	"ablate/runner/layout"
	"ablate/runner/lookup"
	"ablate/runner/stage"
)

// curves are the columns of curves.arrow.
type curves struct{ trial, stage, step, metric, value *table.Column }

func newCurves(t *table.Table) *curves {
	c := &curves{
		trial: &table.Column{Name: "trial", Kind: table.String}, stage: &table.Column{Name: "stage", Kind: table.String},
		step: &table.Column{Name: "step", Kind: table.Int}, metric: &table.Column{Name: "metric", Kind: table.String},
		value: &table.Column{Name: "value", Kind: table.Float, Doc: "mean since the point before; of gold, proxy, kl and denoising gap the value at the step, on 256 images"},
	}
	t.Columns = []*table.Column{c.trial, c.stage, c.step, c.metric, c.value}
	return c
}

func (t *curves) add(id language.ID, c layout.Chain, found *lookup.Found) error {
	for _, a := range c.Actions() {
		if dir, ok := found.Dir(a); ok && a.Kind.Def().Curve() {
			curve, err := stage.ReadCurve(dir)
			if err != nil {
				return err
			}
			t.put(id, a.Kind, curve)
		}
	}
	// What the probes of a fine-tuning measured: the gold and the distances are in its own
	// artifact, the proxy's scores in that of the proxy.
	tuned := c.Action(layout.Finetune)
	if tuned == nil {
		return nil
	}
	for _, a := range []*layout.Action{tuned, c.Action(layout.Proxy)} {
		if dir, ok := found.Dir(a); ok {
			curve, err := stage.ReadProbes(dir)
			if err != nil {
				return err
			}
			t.put(id, tuned.Kind, curve)
		}
	}
	return nil
}

func (t *curves) put(id language.ID, kind stage.Kind, curve *train.Curve) {
	for m, name := range curve.Metrics {
		for i, step := range curve.Steps {
			t.trial.Strings = append(t.trial.Strings, id.String())
			t.stage.Strings = append(t.stage.Strings, string(kind))
			t.step.Ints = append(t.step.Ints, int64(step))
			t.metric.Strings = append(t.metric.Strings, name)
			t.value.Floats = append(t.value.Floats, curve.Values[m][i])
		}
	}
}
