package result

import (
	"slices"

	"ablate/analysis/table"
	"ablate/models/train"
	"ablate/runner/layout"
	"ablate/runner/stage"
)

// curves are the columns of curves.arrow.
type curves struct{ trial, stage, step, metric, value *table.Column }

func newCurves(t *table.Table) *curves {
	c := &curves{
		trial:  &table.Column{Name: "trial", Kind: table.String, Doc: trialID},
		stage:  &table.Column{Name: "stage", Kind: table.String, Doc: "stage that trains: pretrain, embedder, reward or finetune"},
		step:   &table.Column{Name: "step", Kind: table.Int, Unit: "steps", Doc: "step of the training"},
		metric: &table.Column{Name: "metric", Kind: table.String, Doc: "name of the metric: the loss and others of the training; gold, proxy, kl and denoising gap of the probes of a fine-tuning"},
		value:  &table.Column{Name: "value", Kind: table.Float, Doc: "mean since the previous point; for gold, proxy, kl and denoising gap, the value at the step on finetune.probeImages images"},
	}
	t.Columns = []*table.Column{c.trial, c.stage, c.step, c.metric, c.value}
	return c
}

func (t *curves) add(trial string, c layout.Chain, r *reader) error {
	for _, p := range r.longest(c) {
		if dir, ok := r.found.Dir(p.Action); ok && p.Action.Kind.Def().Curve() {
			curve, err := stage.ReadCurve(dir)
			if err != nil {
				return err
			}
			t.put(trial, p.Action.Kind, curve)
		}
	}
	return t.addProbes(trial, c, r)
}

// longest returns the chain without the segments of its fine-tuning whose curve is the
// beginning of a later one's.
func (r *reader) longest(c layout.Chain) layout.Chain {
	var last *layout.Action
	for _, a := range append(c.All(layout.Rung), c.All(layout.Finetune)...) {
		if _, ok := r.found.Dir(a); ok {
			last = a
		}
	}
	return slices.DeleteFunc(slices.Clone(c), func(p layout.Part) bool { return p.Role == layout.Rung && p.Action != last })
}

// addProbes adds the metrics of the pretrained model (step 0) and of each checkpoint of a
// fine-tuning.
func (t *curves) addProbes(trial string, c layout.Chain, r *reader) error {
	tuned := c.Action(layout.Finetune)
	if tuned == nil {
		return t.addRungs(trial, c, r)
	}
	add := func(metric string, step int, value float64) { t.point(trial, tuned.Kind, metric, step, value) }
	mean := func(metric string, step int, scores []float32) {
		if m, n := stage.MeanScore(scores); n > 0 {
			add(metric, step, m)
		}
	}
	for _, role := range []layout.Role{layout.BaseProbeVerdicts, layout.ProbeVerdicts} {
		all, err := sets(r, c.Action(role), stage.ReadVerdicts)
		if err != nil {
			return err
		}
		for _, s := range all {
			mean("gold", s.Step, s.Scores())
		}
	}
	for _, role := range []layout.Role{layout.BaseProbeScores, layout.ProbeScores} {
		all, err := sets(r, c.Action(role), stage.ReadScores)
		if err != nil {
			return err
		}
		for _, s := range all {
			mean("proxy", s.Step, s.Scores)
		}
	}
	all, err := sets(r, c.Action(layout.ProbeDistance), stage.ReadMetrics)
	if err != nil {
		return err
	}
	for i, s := range all {
		for _, m := range s.Metrics {
			name, ok := map[string]string{"distance.kl": "kl", "distance.gap": "denoising gap"}[m.Name]
			if !ok {
				continue
			}
			if i == 0 {
				add(name, 0, 0) // the distance of the pretrained model from itself is 0
			}
			add(name, s.Step, m.Value)
		}
	}
	return nil
}

// addRungs adds the proxy at the rungs of a fine-tuning that was cut there, on the probe
// images.
func (t *curves) addRungs(trial string, c layout.Chain, r *reader) error {
	rungs := c.All(layout.Rung)
	for i, scores := range c.All(layout.RungScores) {
		s, ok, err := one(r, scores, stage.ReadScores)
		if err != nil {
			return err
		}
		if ok {
			m, _ := stage.MeanScore(s.Scores)
			t.point(trial, rungs[i].Kind, "proxy", rungs[i].Params.(stage.FinetuneParams).Segment.Until, m)
		}
	}
	return nil
}

func (t *curves) put(trial string, kind stage.Kind, curve *train.Curve) {
	for m, name := range curve.Metrics {
		for i, step := range curve.Steps {
			t.point(trial, kind, name, step, curve.Values[m][i])
		}
	}
}

func (t *curves) point(trial string, kind stage.Kind, metric string, step int, value float64) {
	t.trial.Strings = append(t.trial.Strings, trial)
	t.stage.Strings = append(t.stage.Strings, string(kind))
	t.step.Ints = append(t.step.Ints, int64(step))
	t.metric.Strings = append(t.metric.Strings, metric)
	t.value.Floats = append(t.value.Floats, value)
}
