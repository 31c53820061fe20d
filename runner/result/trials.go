package result

import (
	"fmt"
	"slices"

	"ablate/analysis/compare"
	"ablate/analysis/table"
	"ablate/experiments/language"
	"ablate/runner/layout"
	"ablate/runner/project"
	"ablate/runner/stage"
)

// Descriptions of columns that several tables have.
const (
	trialID         = "id of the trial, as in trials.arrow"
	seedPretraining = "seed of the denoiser, the embedder and their data"
	seedFeedback    = "seed of every other stage"
)

// trials fills the table trials.arrow, which has one row per view.
func (t *Tables) trials(p project.Project, r *reader) error {
	s, g := p.Study, p.Graph
	found := r.found
	n := len(s.Views)
	str := func(name, doc string) *table.Column {
		c := &table.Column{Name: name, Kind: table.String, Strings: make([]string, n), Doc: doc}
		t.Trials.Columns = append(t.Trials.Columns, c)
		return c
	}
	arm, view, trial := str("arm", "name of the arm"), str("view", "row of the ablation table and seed, ARM[axis=value,…]@SEED"), str("trial", "id of 64 hexadecimal digits; equal where views share a trial")
	control := &table.Column{Name: "control", Kind: table.Bool, Bools: make([]bool, n), Doc: "the row is a control: the study declares it as one, or the gold's own verdicts weight its training or choose its images"}
	diverged := &table.Column{Name: "diverged", Kind: table.Bool, Bools: make([]bool, n), Doc: "a training of the trial diverged (its loss became infinite or NaN), so that its model was not measured"}
	stopped := &table.Column{Name: compare.StoppedColumn, Kind: table.Int, Unit: "steps", Ints: make([]int64, n), Valid: make([]bool, n),
		Doc: "number of steps after which the trial was stopped because the proxy of its row was low or one of the row's trials had failed (halving); null where it ran to its end; a stopped trial has no metrics"}
	stoppedProxy := &table.Column{Name: compare.StoppedProxy, Kind: table.Float, Unit: "score", Floats: make([]float64, n), Valid: make([]bool, n),
		Doc: "mean score by the proxy of the finetune.probeImages images that the trial's model drew when it was stopped; null where it was not stopped, or failed before"}
	t.Trials.Columns = append(t.Trials.Columns, control, diverged, stopped, stoppedProxy)
	axes := s.Axes()
	columns := make([]*table.Column, len(axes))
	for i, a := range axes {
		c := &table.Column{Name: a.Path, Unit: a.Unit, Doc: a.Doc, Valid: make([]bool, n)}
		switch a.Kind {
		case language.Real:
			c.Kind, c.Floats = table.Float, make([]float64, n)
		case language.Whole:
			c.Kind, c.Ints = table.Int, make([]int64, n)
		case language.Truth:
			c.Kind, c.Bools = table.Bool, make([]bool, n)
		default:
			c.Kind, c.Strings = table.String, make([]string, n)
		}
		columns[i] = c
		t.Trials.Columns = append(t.Trials.Columns, c)
	}
	pretraining := &table.Column{Name: "seed.pretraining", Kind: table.Int, Ints: make([]int64, n), Doc: seedPretraining}
	feedback := &table.Column{Name: "seed.feedback", Kind: table.Int, Ints: make([]int64, n), Doc: seedFeedback}
	environment := &table.Column{Name: "environment", Kind: table.String, Strings: make([]string, n), Valid: make([]bool, n),
		Doc: "id of the environment (machine and libraries) that computed the stages of the trial and of the base trial's reward; several ids are joined by +; runs.arrow describes each. A number of threads counts where not all results of a stage have the same"}
	t.Trials.Columns = append(t.Trials.Columns, pretraining, feedback, environment)

	values := map[string][2]*table.Column{}
	for _, m := range Metrics(p) {
		v, count := m, &table.Column{Name: m.Name + ".n", Kind: table.Int, Unit: "samples", Doc: "number of samples behind " + m.Name + "; 0 if it was measured and is not defined", Ints: make([]int64, n), Valid: make([]bool, n)}
		v.Kind, v.Floats, v.Valid = table.Float, make([]float64, n), make([]bool, n)
		values[m.Name] = [2]*table.Column{&v, count}
		t.Trials.Columns = append(t.Trials.Columns, &v, count)
	}
	artifacts := map[layout.Role]*table.Column{}
	for _, role := range layout.Roles() {
		c := &table.Column{Name: "artifact." + role.String(), Kind: table.String, Doc: "id in the store of the result of " + role.String(), Strings: make([]string, n), Valid: make([]bool, n)}
		artifacts[role] = c
		t.Trials.Columns = append(t.Trials.Columns, c)
	}
	judgements := make([]*table.Column, len(s.Judges))
	for k, j := range s.Judges {
		judgements[k] = &table.Column{Name: "artifact." + j.Metric(), Kind: table.String, Doc: "id in the store of what judge " + j.Name + " gives", Strings: make([]string, n), Valid: make([]bool, n)}
		t.Trials.Columns = append(t.Trials.Columns, judgements[k])
	}

	compare.SetAxes(t.Trials, axesOf(s))
	threads := threadsOf(found, g)
	declared := map[string]bool{}
	for _, a := range s.Arms {
		declared[a.Name] = a.Control
	}
	for i, v := range s.Views {
		id := v.Trial.ID()
		arm.Strings[i], view.Strings[i], trial.Strings[i] = v.Arm, v.String(), id.String()
		l, ok := v.Trial.Content.Value("reward.loss")
		control.Bools[i] = declared[v.Arm] || ok && l == stage.ByGold
		for j, a := range axes {
			x, ok := v.Trial.Content.Value(a.Path)
			if !ok {
				continue
			}
			c := columns[j]
			c.Valid[i] = true
			setValue(c, i, x)
		}
		pretraining.Ints[i], feedback.Ints[i] = v.Trial.Seed.Pretraining, v.Trial.Seed.Feedback
		c, ok := g.Chains[id]
		if !ok {
			continue
		}
		diverged.Bools[i] = found.Diverged(c.Actions())
		if at, ok := v.StoppedAt(); ok {
			stopped.Ints[i], stopped.Valid[i] = int64(at), true
			all := c.All(layout.RungScores)
			if s, ok, err := one(r, all[len(all)-1], stage.ReadScores); err != nil {
				return err
			} else if ok {
				stoppedProxy.Floats[i], _ = stage.MeanScore(s.Scores)
				stoppedProxy.Valid[i] = true
			}
		}
		environment.Strings[i] = environmentOf(found, c, threads)
		environment.Valid[i] = environment.Strings[i] != ""
		artifact := func(c *table.Column, a *layout.Action) {
			if out, ok := found.Get(a); ok {
				c.Strings[i], c.Valid[i] = out.ID.String(), true
			}
		}
		for _, p := range c {
			if p.Role != layout.Judgements {
				artifact(artifacts[p.Role], p.Action)
			}
		}
		for k, a := range c.All(layout.Judgements) {
			artifact(judgements[k], a)
		}
		set := func(name string, value float64, count int) {
			m, ok := values[name]
			if !ok {
				return
			}
			// A count of 0 means that the metric was measured and is not defined.
			m[1].Ints[i], m[1].Valid[i] = int64(count), true
			if count > 0 {
				m[0].Floats[i], m[0].Valid[i] = value, true
			}
		}
		if dir, ok := found.Dir(c.Action(layout.Assessment)); ok {
			a, err := stage.ReadAssessment(dir)
			if err != nil {
				return err
			}
			for _, m := range a.Metrics {
				set(m.Name, m.Value, m.N)
			}
		}
		if prompts, v, ok, err := r.judged(c); err != nil {
			return err
		} else if ok {
			for _, m := range stage.Alignment(prompts, v) {
				set(m.Name, m.Value, m.N)
			}
		}
		judged, err := r.beside(c)
		if err != nil {
			return err
		}
		for k, values := range judged {
			if values != nil {
				m, n := stage.MeanScore(values)
				set(s.Judges[k].Metric(), m, n)
			}
		}
		for _, role := range []layout.Role{layout.Fidelity, layout.Diversity, layout.Distance} {
			measured, _, err := one(r, c.Action(role), stage.ReadMetrics)
			if err != nil {
				return err
			}
			for _, m := range measured.Metrics {
				if m.Name == "distance.kl" {
					m.Value += stage.BestOfDivergence(v.Trial.Content.Whole("evaluate.bestOf"))
				}
				set(m.Name, m.Value, m.N)
			}
		}
		if s, ok, err := one(r, c.Action(layout.AlignmentScores), stage.ReadScores); err != nil {
			return err
		} else if ok {
			mean := func(name string, scores []float32) {
				m, n := stage.MeanScore(scores)
				set(name, m, n)
			}
			mean("proxy", s.Scores)
			if s.Cosines != nil {
				mean("embedder", s.Cosines)
			}
		}
	}
	undefined(values, diverged, stopped)
	return nil
}

// undefined marks the metrics of diverged trials that other trials have as measured and not
// defined, so that they count. Those of stopped trials are never measured.
func undefined(values map[string][2]*table.Column, diverged, stopped *table.Column) {
	for _, m := range values {
		if !slices.Contains(m[0].Valid, true) {
			continue
		}
		for i, bad := range diverged.Bools {
			if bad && !stopped.Valid[i] && !m[1].Valid[i] {
				m[1].Valid[i] = true
			}
		}
	}
}

// setValue sets a row of a parameter's column. Engines may give one parameter values of two
// types, for which the column has a type that fits both.
func setValue(c *table.Column, i int, v any) {
	n, whole := v.(int64)
	switch {
	case c.Kind == table.Float && whole:
		c.Floats[i] = float64(n)
	case c.Kind == table.Float:
		c.Floats[i] = v.(float64)
	case c.Kind == table.Int:
		c.Ints[i] = n
	case c.Kind == table.Bool:
		c.Bools[i] = v.(bool)
	default:
		c.Strings[i] = fmt.Sprint(v)
	}
}

// axesOf returns the axes of each arm that has any.
func axesOf(s *language.Study) map[string][]string {
	out := map[string][]string{}
	for _, a := range s.Arms {
		for _, p := range a.Points {
			for _, v := range p.Axes {
				if !slices.Contains(out[a.Name], v.Axis) {
					out[a.Name] = append(out[a.Name], v.Axis)
				}
			}
		}
	}
	return out
}
