package stage

import (
	"context"
	"fmt"
	"path/filepath"

	"ablate/analysis/stats"
	"ablate/models/checkpoint"
	"ablate/models/shapes"
)

// Assess assesses a learned reward on images that it has not seen.
const Assess Kind = "assess"

var assessDef = define(runAssess, Def{
	Kind: Assess, Revision: 1, Backend: true,
	Inputs: []Input{{Name: SamplesInput}, {Name: SampleLabelsInput}, {Name: LabelledInput}, {Name: LabelsInput}, {Name: EmbedderInput}, {Name: RewardInput}},
	Files:  tabled(assessFile),
})

// AssessImages is how many images a learned reward is assessed on, drawn from
// the base model for seen and unseen prompts. No training sees any of them.
const AssessImages = 1024

// Bins of a reliability table.
const Bins = 10

// An Assessment says how far a learned reward can be trusted: against labels
// of the annotator, noise and all, and against the gold. What the annotator
// skipped is left out.
type Assessment struct {
	Metrics []Metric         `json:"metrics"`
	Bins    []ReliabilityBin `json:"bins"`
}

// A ReliabilityBin holds the images whose score lies from Low to High.
type ReliabilityBin struct {
	Low      float64 `json:"low"`
	High     float64 `json:"high"`
	N        int     `json:"n"`
	Score    float64 `json:"score"`    // their mean score
	Labelled float64 `json:"labelled"` // the share that the annotator calls good
	Gold     float64 `json:"gold"`     // the share that the gold calls good
}

func runAssess(_ context.Context, e *Env, t Task, _ NoParams, _ Progress) error {
	j, err := readJudged(t.in(SamplesInput), t.in(SampleLabelsInput))
	if err != nil {
		return err
	}
	x, err := e.embed(t.in(EmbedderInput), j.images, j.prompts)
	if err != nil {
		return err
	}
	rewards, err := e.scores(t.in(RewardInput), x, j.prompts)
	if err != nil {
		return err
	}
	// The embedder's cosine has no ½ of its own: its cut is the best one on what
	// the reward learned from.
	trained, err := readJudged(t.in(LabelledInput), t.in(LabelsInput))
	if err != nil {
		return err
	}
	y, err := e.embed(t.in(EmbedderInput), trained.images, trained.prompts)
	if err != nil {
		return err
	}
	cut := stats.Threshold(floats(y.cosines()), verdicts(trained.labels))

	catalogue := shapes.Prompts()
	seen, gold := make([]bool, len(j.prompts)), make([]bool, len(j.prompts))
	for i, r := range read(j.images) {
		k, ok := catalogue.Find(j.prompts[i])
		if !ok {
			return fmt.Errorf("assess: %q is no prompt of this world's studies", j.prompts[i])
		}
		seen[i] = catalogue.All()[k].Seen
		gold[i] = r.Judge(j.prompts[i]) == shapes.Good
	}
	return checkpoint.WriteJSON(filepath.Join(t.Out, assessFile), assess(floats(rewards), floats(x.cosines()), cut, verdicts(j.labels), gold, seen))
}

// assess is the assessment of a reward's scores and of the embedder's cosines,
// cut at a threshold.
func assess(rewards, cosines []float64, cut float64, labels, gold, seen []bool) Assessment {
	var out Assessment
	add := func(name string, value float64, n int) {
		if n > 0 {
			out.Metrics = append(out.Metrics, Metric{Name: name, Value: value, N: n})
		}
	}
	// of keeps what a set holds.
	of := func(scores []float64, good []bool, in func(i int) bool) ([]float64, []bool) {
		var s []float64
		var g []bool
		for i := range scores {
			if in(i) {
				s, g = append(s, scores[i]), append(g, good[i])
			}
		}
		return s, g
	}
	for _, who := range []struct {
		name      string
		scores    []float64
		threshold float64
	}{{"reward", rewards, .5}, {"embedder", cosines, cut}} {
		n := len(who.scores)
		add(who.name+".accuracy", stats.Accuracy(who.scores, labels, who.threshold), n)
		s, g := of(who.scores, labels, func(i int) bool { return seen[i] })
		add(who.name+".accuracy.seen", stats.Accuracy(s, g, who.threshold), len(s))
		s, g = of(who.scores, labels, func(i int) bool { return !seen[i] })
		add(who.name+".accuracy.unseen", stats.Accuracy(s, g, who.threshold), len(s))
		if a, ok := stats.AUC(who.scores, labels); ok {
			add(who.name+".auc", a, n)
		}
		if a, ok := stats.AUC(who.scores, gold); ok {
			add(who.name+".auc.gold", a, n)
		}
		add(who.name+".agreement", stats.Accuracy(who.scores, gold, who.threshold), n)
	}
	byLabel, byGold := stats.Reliability(rewards, labels, Bins), stats.Reliability(rewards, gold, Bins)
	add("reward.ece", stats.CalibrationError(byLabel), len(rewards))
	for b, x := range byLabel {
		out.Bins = append(out.Bins, ReliabilityBin{Low: x.Low, High: x.High, N: x.N, Score: x.Score, Labelled: x.Good, Gold: byGold[b].Good})
	}
	return out
}

func floats(x []float32) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = float64(v)
	}
	return out
}

// verdicts are true where a label is good.
func verdicts(labels []float32) []bool {
	out := make([]bool, len(labels))
	for i, y := range labels {
		out[i] = y > .5
	}
	return out
}

// ReadAssessment reads an assess artifact.
func ReadAssessment(dir string) (*Assessment, error) {
	var a Assessment
	path := filepath.Join(dir, assessFile)
	if err := checkpoint.ReadJSON(path, &a, true); err != nil {
		return nil, err
	}
	if len(a.Bins) != Bins {
		return nil, fmt.Errorf("%s: %d bins: want %d", path, len(a.Bins), Bins)
	}
	return &a, nil
}
