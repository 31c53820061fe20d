package study

import (
	"fmt"
	"strings"

	"ablate/analysis/table"
	"ablate/experiments/language"
	"ablate/models/train"
	"ablate/runner/stage"
)

// Tables are a study's results that depend on nothing but the study.
type Tables struct{ Trials, Samples, Curves, Labels, Reliability *table.Table }

// Metrics of trials.arrow in their order: an evaluation's own names, and how
// to read them.
var Metrics = func() []table.Column {
	var cols []table.Column
	share := func(name, doc string) {
		cols = append(cols, table.Column{Name: name, Unit: "share", Better: "higher", Assume: "normal", Doc: doc})
	}
	for _, c := range []string{"", ".count", ".colour", ".background", ".combination"} {
		what := "all prompts"
		if c != "" {
			what = c[1:] + " prompts"
		}
		share("alignment"+c, "share of images that the gold calls good, "+what)
		share("alignment"+c+".seen", "the same, prompts that feedback may use")
		share("alignment"+c+".unseen", "the same, held-out prompts")
	}
	// set is a figure of the fidelity set, with its floor; depends says that it
	// changes with the number of images.
	set := func(name, unit, better, depends, doc string) {
		cols = append(cols, table.Column{Name: "fidelity." + name, Unit: unit, Better: better, Depends: depends, Doc: doc + ", on fixed random-convolution features"},
			table.Column{Name: "fidelity." + name + ".real", Unit: unit, Depends: depends, Doc: "the same of real against real"})
	}
	cols = append(cols,
		table.Column{Name: "skipped", Unit: "share", Better: "lower", Doc: "share of images that the parser cannot read; they count as not aligned"},
		table.Column{Name: "proxy", Unit: "score", Better: "higher", Doc: "mean score by the base trial's learned reward"},
		table.Column{Name: "embedder", Unit: "cosine", Better: "higher", Doc: "mean cosine of image and prompt by the base trial's frozen embedder (the study's own)"},
	)
	set("precision", "share", "higher", "n", "share of images within a real one's 5 nearest neighbours")
	set("recall", "share", "higher", "n", "share of real images within an image's 5 nearest neighbours")
	set("density", "ratio", "higher", "n", "number of real images in whose 5 nearest neighbours an image is, over 5")
	set("coverage", "share", "higher", "n", "share of real images with an image within their 5 nearest neighbours")
	set("frechet", "distance²", "lower", "n", "Fréchet distance to real images")
	set("kid", "MMD²", "lower", "", "kernel distance to real images (cubic kernel, unbiased), mean over 100 subsets of at most 1,000")
	set("cmmd", "1000 MMD²", "lower", "n", "kernel distance to real images (Gaussian, σ 10) of unit rows")
	return append(cols,
		table.Column{Name: "diversity", Unit: "ratio", Better: "higher", Doc: "distance of aligned images of one prompt, relative to renders"},
		table.Column{Name: "diversity.real", Unit: "ratio", Doc: "the same of other renders"},
		table.Column{Name: "diversity.vendi", Unit: "images", Better: "higher", Doc: "Vendi score of two aligned images of one prompt at a time, mean over complete prompts with two or more; n counts their images"},
		table.Column{Name: "diversity.vendi.real", Unit: "images", Doc: "the same of renders of these prompts"},
		table.Column{Name: "distance.kl", Unit: "nats", Better: "lower", Doc: "divergence from the pretrained model an image, of the denoising processes from t = 0.1 on; choosing the best of n adds log n - (n-1)/n"},
		table.Column{Name: "distance.gap", Unit: "loss", Better: "lower", Doc: "denoising loss of held-out real pairs, less the pretrained model's"},
		// Of the trial's own reward, on images of the base model that no training saw.
		table.Column{Name: "reward.accuracy", Unit: "share", Better: "higher", Doc: "share of held-out images whose noisy label the trial's own reward guesses, score above .5 for good"},
		table.Column{Name: "reward.accuracy.seen", Unit: "share", Better: "higher", Doc: "the same, prompts that feedback may use"},
		table.Column{Name: "reward.accuracy.unseen", Unit: "share", Better: "higher", Doc: "the same, held-out prompts"},
		table.Column{Name: "reward.auc", Unit: "probability", Better: "higher", Doc: "that an image labelled good scores above one labelled bad"},
		table.Column{Name: "reward.auc.gold", Unit: "probability", Better: "higher", Doc: "that an image that the gold calls good scores above another"},
		table.Column{Name: "reward.agreement", Unit: "share", Better: "higher", Doc: "share of held-out images on which reward, score above .5, and gold agree"},
		table.Column{Name: "reward.ece", Unit: "share", Better: "lower", Doc: "expected calibration error against labels, 10 bins of equal width"},
		table.Column{Name: "embedder.accuracy", Unit: "share", Better: "higher", Doc: "as reward.accuracy, of the frozen embedder alone (the study's own): its cosine, cut where it does best on the reward's training labels"},
		table.Column{Name: "embedder.accuracy.seen", Unit: "share", Better: "higher", Doc: "the same, prompts that feedback may use"},
		table.Column{Name: "embedder.accuracy.unseen", Unit: "share", Better: "higher", Doc: "the same, held-out prompts"},
		table.Column{Name: "embedder.auc", Unit: "probability", Better: "higher", Doc: "as reward.auc, of the embedder's cosine"},
		table.Column{Name: "embedder.auc.gold", Unit: "probability", Better: "higher", Doc: "as reward.auc.gold, of the embedder's cosine"},
		table.Column{Name: "embedder.agreement", Unit: "share", Better: "higher", Doc: "as reward.agreement, of the embedder's cosine at its cut"},
	)
}()

// NewTables gathers what there is of a study: a row a view, nulls where there
// is no result.
func NewTables(s *language.Study, g *Graph, found *Found) (*Tables, error) {
	t := &Tables{
		Trials:  &table.Table{Meta: map[string]string{"study": s.Name, "schema": "1"}},
		Samples: &table.Table{Meta: map[string]string{"study": s.Name, "schema": "1"}}, Curves: &table.Table{Meta: map[string]string{"study": s.Name, "schema": "1"}},
		Labels:      &table.Table{Meta: map[string]string{"study": s.Name, "schema": "1"}},
		Reliability: &table.Table{Meta: map[string]string{"study": s.Name, "schema": "1"}},
	}
	if err := t.trials(s, g, found); err != nil {
		return nil, err
	}
	seen := map[language.ID]bool{}
	samples, curves, labels := newSamples(t.Samples), newCurves(t.Curves), newLabels(t.Labels)
	reliability := newReliability(t.Reliability)
	labelled := map[*Action]bool{}
	for _, v := range s.Views {
		id := v.Trial.ID()
		c, ok := g.Chains[id]
		if !ok || seen[id] {
			continue
		}
		seen[id] = true
		if err := samples.add(id, c, found); err != nil {
			return nil, err
		}
		if err := curves.add(id, c, found); err != nil {
			return nil, err
		}
		if err := reliability.add(id, c, found); err != nil {
			return nil, err
		}
		if c.Labels != nil && !labelled[c.Labels] {
			labelled[c.Labels] = true
			if err := labels.add(v.Trial.Seed, c, found); err != nil {
				return nil, err
			}
		}
	}
	return t, nil
}

func (t *Tables) trials(s *language.Study, g *Graph, found *Found) error {
	n := len(s.Views)
	str := func(name, doc string) *table.Column {
		c := &table.Column{Name: name, Kind: table.String, Strings: make([]string, n), Doc: doc}
		t.Trials.Columns = append(t.Trials.Columns, c)
		return c
	}
	arm, view, trial := str("arm", "row of the ablation table"), str("view", "ARM[axis=value,…]@seed"), str("trial", "id; equal where views share a trial")
	control := &table.Column{Name: "control", Kind: table.Bool, Bools: make([]bool, n), Doc: "trained or chosen by the gold's own verdicts"}
	t.Trials.Columns = append(t.Trials.Columns, control)
	axes := language.Axes()
	columns := make([]*table.Column, len(axes))
	for i, a := range axes {
		c := &table.Column{Name: a.Path, Unit: a.Unit, Doc: a.Doc, Valid: make([]bool, n)}
		switch a.Kind {
		case language.Real:
			c.Kind, c.Floats = table.Float, make([]float64, n)
		case language.Whole:
			c.Kind, c.Ints = table.Int, make([]int64, n)
		default:
			c.Kind, c.Strings = table.String, make([]string, n)
		}
		columns[i] = c
		t.Trials.Columns = append(t.Trials.Columns, c)
	}
	pretraining := &table.Column{Name: "seed.pretraining", Kind: table.Int, Ints: make([]int64, n)}
	feedback := &table.Column{Name: "seed.feedback", Kind: table.Int, Ints: make([]int64, n)}
	environment := &table.Column{Name: "environment", Kind: table.String, Strings: make([]string, n), Valid: make([]bool, n),
		Doc: "id of what its stages were computed on, several joined by +; runs.arrow has the words"}
	t.Trials.Columns = append(t.Trials.Columns, pretraining, feedback, environment)

	values := map[string][2]*table.Column{}
	for _, m := range Metrics {
		v, count := m, &table.Column{Name: m.Name + ".n", Kind: table.Int, Unit: "samples", Ints: make([]int64, n), Valid: make([]bool, n)}
		v.Kind, v.Floats, v.Valid = table.Float, make([]float64, n), make([]bool, n)
		values[m.Name] = [2]*table.Column{&v, count}
		t.Trials.Columns = append(t.Trials.Columns, &v, count)
	}
	artifacts := map[string]*table.Column{}
	for _, role := range roles {
		c := &table.Column{Name: "artifact." + role.name, Kind: table.String, Strings: make([]string, n), Valid: make([]bool, n)}
		artifacts[role.name] = c
		t.Trials.Columns = append(t.Trials.Columns, c)
	}

	for i, v := range s.Views {
		id := v.Trial.ID()
		arm.Strings[i], view.Strings[i], trial.Strings[i] = v.Arm, v.String(), id.String()
		if l, ok := v.Trial.Content.Value("reward.loss"); ok && l == "oracle" {
			control.Bools[i] = true
		}
		for j, a := range axes {
			x, ok := v.Trial.Content.Value(a.Path)
			if !ok {
				continue
			}
			c := columns[j]
			c.Valid[i] = true
			switch x := x.(type) {
			case float64:
				c.Floats[i] = x
			case int64:
				c.Ints[i] = x
			default:
				c.Strings[i] = fmt.Sprint(x)
			}
		}
		pretraining.Ints[i], feedback.Ints[i] = v.Trial.Seed.Pretraining, v.Trial.Seed.Feedback
		c, ok := g.Chains[id]
		if !ok {
			continue
		}
		environment.Strings[i] = found.environment(c)
		environment.Valid[i] = environment.Strings[i] != ""
		for _, role := range roles {
			if a := role.of(c); a != nil {
				if out, ok := found.Outputs[a.Name]; ok {
					artifacts[role.name].Strings[i], artifacts[role.name].Valid[i] = out.ID.String(), true
				}
			}
		}
		set := func(name string, value float64, count int) {
			m, ok := values[name]
			if !ok || count == 0 {
				return
			}
			m[0].Floats[i], m[0].Valid[i] = value, true
			m[1].Ints[i], m[1].Valid[i] = int64(count), true
		}
		if dir, ok := found.Dir(c.Assess); ok {
			a, err := stage.ReadAssessment(dir)
			if err != nil {
				return err
			}
			for _, m := range a.Metrics {
				set(m.Name, m.Value, m.N)
			}
		}
		dir, ok := found.Dir(c.Evaluate)
		if !ok {
			continue
		}
		metrics, err := stage.ReadMetrics(dir)
		if err != nil {
			return err
		}
		for _, m := range metrics {
			set(m.Name, m.Value, m.N)
		}
		if c.Proxy == nil {
			continue
		}
		if dir, ok := found.Dir(c.Proxy); ok {
			for name, read := range map[string]func(string) ([]float32, error){"proxy": stage.ReadScores, "embedder": stage.ReadCosines} {
				scores, err := read(dir)
				if err != nil {
					return err
				}
				set(name, stage.MeanScore(scores), len(scores))
			}
		}
	}
	return nil
}

// roles are the stages of a chain whose artifacts trials.arrow names.
var roles = []struct {
	name string
	of   func(Chain) *Action
}{
	{"pretrain", func(c Chain) *Action { return c.Model }},
	{"embedder", func(c Chain) *Action { return c.Embedder }},
	{"sample.labelled", func(c Chain) *Action { return c.Labelled }},
	{"sample.unlabelled", func(c Chain) *Action { return c.Unlabelled }},
	{"label", func(c Chain) *Action { return c.Labels }},
	{"reward", func(c Chain) *Action { return c.Reward }},
	{"sample.assess", func(c Chain) *Action { return c.Held }},
	{"label.assess", func(c Chain) *Action { return c.HeldLabels }},
	{"assess", func(c Chain) *Action { return c.Assess }},
	{"score.labelled", func(c Chain) *Action { return c.LabelledScores }},
	{"score.unlabelled", func(c Chain) *Action { return c.UnlabelledScores }},
	{"finetune", func(c Chain) *Action { return c.Finetune }},
	{"evaluate", func(c Chain) *Action { return c.Evaluate }},
	{"proxy", func(c Chain) *Action { return c.Proxy }},
}

// samples are the columns of samples.arrow.
type samples struct{ trial, set, index, prompt, category, seen, verdict, read, proxy, embedder *table.Column }

func newSamples(t *table.Table) *samples {
	s := &samples{
		trial: &table.Column{Name: "trial", Kind: table.String}, set: &table.Column{Name: "set", Kind: table.String, Doc: "alignment or fidelity"},
		index: &table.Column{Name: "index", Kind: table.Int}, prompt: &table.Column{Name: "prompt", Kind: table.String},
		category: &table.Column{Name: "category", Kind: table.String, Valid: []bool{}}, seen: &table.Column{Name: "seen", Kind: table.Bool, Valid: []bool{}},
		verdict:  &table.Column{Name: "verdict", Kind: table.String, Valid: []bool{}, Doc: "the gold's: good, bad or skip"},
		read:     &table.Column{Name: "read", Kind: table.String, Valid: []bool{}, Doc: "what the parser read"},
		proxy:    &table.Column{Name: "proxy", Kind: table.Float, Valid: []bool{}, Unit: "score", Doc: "by the base trial's learned reward"},
		embedder: &table.Column{Name: "embedder", Kind: table.Float, Valid: []bool{}, Unit: "cosine", Doc: "of image and prompt, by the base trial's frozen embedder"},
	}
	t.Columns = []*table.Column{s.trial, s.set, s.index, s.prompt, s.category, s.seen, s.verdict, s.read, s.proxy, s.embedder}
	return s
}

func (s *samples) add(id language.ID, c Chain, found *Found) error {
	dir, ok := found.Dir(c.Evaluate)
	if !ok {
		return nil
	}
	rows, err := stage.ReadSamples(dir)
	if err != nil {
		return err
	}
	var scores, cosines []float32
	if c.Proxy != nil {
		if dir, ok := found.Dir(c.Proxy); ok {
			if scores, err = stage.ReadScores(dir); err != nil {
				return err
			}
			if cosines, err = stage.ReadCosines(dir); err != nil {
				return err
			}
		}
	}
	for _, r := range rows {
		s.trial.Strings = append(s.trial.Strings, id.String())
		s.set.Strings = append(s.set.Strings, r.Set)
		s.index.Ints = append(s.index.Ints, int64(r.Index))
		s.prompt.Strings = append(s.prompt.Strings, r.Prompt)
		judged := r.Set == stage.Alignment
		for _, x := range []struct {
			c *table.Column
			v string
		}{{s.category, r.Category}, {s.verdict, r.Verdict}, {s.read, r.Read}} {
			x.c.Strings, x.c.Valid = append(x.c.Strings, x.v), append(x.c.Valid, judged)
		}
		s.seen.Bools, s.seen.Valid = append(s.seen.Bools, r.Seen), append(s.seen.Valid, judged)
		for _, x := range []struct {
			c      *table.Column
			scores []float32
		}{{s.proxy, scores}, {s.embedder, cosines}} {
			score, scored := 0.0, judged && r.Index < len(x.scores)
			if scored {
				score = float64(x.scores[r.Index])
			}
			x.c.Floats, x.c.Valid = append(x.c.Floats, score), append(x.c.Valid, scored)
		}
	}
	return nil
}

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

func (t *curves) add(id language.ID, c Chain, found *Found) error {
	for _, a := range []*Action{c.Model, c.Embedder, c.Reward, c.Finetune} {
		if a == nil || !a.Kind.Def().Curve() {
			continue
		}
		dir, ok := found.Dir(a)
		if !ok {
			continue
		}
		curve, err := stage.ReadCurve(dir)
		if err != nil {
			return err
		}
		t.put(id, a.Kind, curve)
	}
	// What the probes of a fine-tuning saw, the gold and the proxy.
	for _, a := range []*Action{c.Finetune, c.Proxy} {
		if a == nil || c.Finetune == nil {
			continue
		}
		dir, ok := found.Dir(a)
		if !ok {
			continue
		}
		curve, err := stage.ReadProbes(dir)
		if err != nil {
			return err
		}
		t.put(id, c.Finetune.Kind, curve)
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

// labels are the columns of labels.arrow.
type labels struct{ pretraining, feedback, artifact, index, prompt, annotator, label *table.Column }

func newLabels(t *table.Table) *labels {
	l := &labels{
		pretraining: &table.Column{Name: "seed.pretraining", Kind: table.Int}, feedback: &table.Column{Name: "seed.feedback", Kind: table.Int},
		artifact: &table.Column{Name: "artifact", Kind: table.String}, index: &table.Column{Name: "index", Kind: table.Int},
		prompt: &table.Column{Name: "prompt", Kind: table.String}, annotator: &table.Column{Name: "annotator", Kind: table.String},
		label: &table.Column{Name: "label", Kind: table.String, Doc: "good, bad or skip"},
	}
	t.Columns = []*table.Column{l.pretraining, l.feedback, l.artifact, l.index, l.prompt, l.annotator, l.label}
	return l
}

func (t *labels) add(seed language.Seed, c Chain, found *Found) error {
	dir, ok := found.Dir(c.Labels)
	if !ok {
		return nil
	}
	id := found.Outputs[c.Labels.Name].ID.String()
	l, err := stage.ReadLabels(dir)
	if err != nil {
		return err
	}
	for i, label := range l.Labels {
		t.pretraining.Ints = append(t.pretraining.Ints, seed.Pretraining)
		t.feedback.Ints = append(t.feedback.Ints, seed.Feedback)
		t.artifact.Strings = append(t.artifact.Strings, id)
		t.index.Ints = append(t.index.Ints, int64(i))
		t.prompt.Strings = append(t.prompt.Strings, l.Prompts[i])
		t.annotator.Strings = append(t.annotator.Strings, l.Annotator)
		t.label.Strings = append(t.label.Strings, strings.Clone(label))
	}
	return nil
}

// reliability are the columns of reliability.arrow: of each trial's own learned
// reward, on images that no training saw, ten bins of its score.
type reliability struct{ trial, bin, low, high, n, score, labelled, gold *table.Column }

func newReliability(t *table.Table) *reliability {
	share := func(name, unit, doc string) *table.Column {
		return &table.Column{Name: name, Kind: table.Float, Valid: []bool{}, Unit: unit, Doc: doc}
	}
	r := &reliability{
		trial: &table.Column{Name: "trial", Kind: table.String}, bin: &table.Column{Name: "bin", Kind: table.Int, Doc: "from 0"},
		low:   &table.Column{Name: "low", Kind: table.Float, Unit: "score"},
		high:  &table.Column{Name: "high", Kind: table.Float, Unit: "score", Doc: "belongs to the next bin, but for the last"},
		n:     &table.Column{Name: "n", Kind: table.Int, Unit: "images", Doc: "that the annotator did not skip"},
		score: share("score", "score", "mean score of the trial's own reward"), labelled: share("labelled", "share", "labelled good by the annotator, noise and all"),
		gold: share("gold", "share", "called good by the gold"),
	}
	t.Columns = []*table.Column{r.trial, r.bin, r.low, r.high, r.n, r.score, r.labelled, r.gold}
	return r
}

func (t *reliability) add(id language.ID, c Chain, found *Found) error {
	dir, ok := found.Dir(c.Assess)
	if !ok {
		return nil
	}
	a, err := stage.ReadAssessment(dir)
	if err != nil {
		return err
	}
	for i, b := range a.Bins {
		t.trial.Strings = append(t.trial.Strings, id.String())
		t.bin.Ints, t.n.Ints = append(t.bin.Ints, int64(i)), append(t.n.Ints, int64(b.N))
		t.low.Floats, t.high.Floats = append(t.low.Floats, b.Low), append(t.high.Floats, b.High)
		for _, x := range []struct {
			c *table.Column
			v float64
		}{{t.score, b.Score}, {t.labelled, b.Labelled}, {t.gold, b.Gold}} {
			x.c.Floats, x.c.Valid = append(x.c.Floats, x.v), append(x.c.Valid, b.N > 0)
		}
	}
	return nil
}
