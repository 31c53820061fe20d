package stage

import (
	"context"
	"fmt"
	"path/filepath"

	"ablate/analysis/stats"
	"ablate/models/checkpoint"
	"ablate/runner/world"
)

// Assess is the stage that assesses a learned reward on images that it was not trained
// on.
const Assess Kind = "assess"

var assessDef = define(runAssess, Def{
	Kind: Assess, Revision: 2,
	Inputs: []Input{{Name: PromptsInput}, {Name: VerdictsInput}, {Name: LabelsInput}, {Name: ScoresInput},
		{Name: Of(LabelledList, LabelsInput)}, {Name: Of(LabelledList, ScoresInput)}},
	Files: tabled(assessFile),
})

// Bins is the number of bins of a reliability table.
const Bins = 10

// An Assessment has metrics of how well a learned reward predicts the noisy labels of the
// annotator and the verdicts of the gold. Images that the annotator skipped are left out.
type Assessment struct {
	Metrics []Metric         `json:"metrics"`
	Bins    []ReliabilityBin `json:"bins"`
}

// A ReliabilityBin describes the images whose score lies between Low and High.
type ReliabilityBin struct {
	Low      float64 `json:"low"`
	High     float64 `json:"high"`
	N        int     `json:"n"`
	Score    float64 `json:"score"`    // mean score of the images
	Labelled float64 `json:"labelled"` // share of images that the annotator labelled good
	Gold     float64 `json:"gold"`     // share of images that the gold calls good
}

func runAssess(_ context.Context, _ *Env, t Task, _ NoParams, _ Progress) error {
	prompts, err := ReadPrompts(t.in(PromptsInput))
	if err != nil {
		return err
	}
	verdicts, err := Only(readLabelsOf(t.in(VerdictsInput), len(prompts)))
	if err != nil {
		return err
	}
	j, err := readLabelledScores(t.in(LabelsInput), t.in(ScoresInput))
	if err != nil {
		return err
	}
	if j.images != len(prompts) {
		return fmt.Errorf("assess: %d labels for %d prompts", j.images, len(prompts))
	}
	// A cosine is not a probability. The threshold above which it counts as good is the
	// best one on the images that the reward learned from.
	trained, err := readLabelledScores(t.in(Of(LabelledList, LabelsInput)), t.in(Of(LabelledList, ScoresInput)))
	if err != nil {
		return err
	}
	cut := stats.Threshold(trained.cosines, trained.good)
	seen, gold := make([]bool, len(j.good)), make([]bool, len(j.good))
	for k, i := range j.index {
		seen[k] = prompts[i].Split == Seen
		gold[k] = verdicts.Labels[i] == world.Good
	}
	return checkpoint.WriteJSON(filepath.Join(t.Out, assessFile), assess(j.scores, j.cosines, cut, j.good, gold, seen))
}

// labelledScores are the scores of images that an annotator labelled good or bad, without
// skipped images.
type labelledScores struct {
	images          int   // number of images, including skipped ones
	index           []int // index of the image of each value
	scores, cosines []float64
	good            []bool
}

func readLabelledScores(labelsDir, scoresDir string) (*labelledScores, error) {
	labels, err := ReadLabels(labelsDir)
	if err != nil {
		return nil, err
	}
	s, err := Only(ReadScores(scoresDir))
	if err != nil {
		return nil, err
	}
	if len(s.Scores) != len(labels.Labels) || len(s.Cosines) != len(labels.Labels) {
		return nil, fmt.Errorf("assess: %d scores and %d cosines of %d labelled images", len(s.Scores), len(s.Cosines), len(labels.Labels))
	}
	j := &labelledScores{images: len(labels.Labels)}
	for i, l := range labels.Labels {
		if l == world.Skip || isMissing(s.Scores[i]) {
			continue
		}
		j.index, j.good = append(j.index, i), append(j.good, l == world.Good)
		j.scores, j.cosines = append(j.scores, float64(s.Scores[i])), append(j.cosines, float64(s.Cosines[i]))
	}
	return j, nil
}

// assess returns the assessment of a reward's scores and of the embedder's cosines. A
// cosine above cut counts as good.
func assess(rewards, cosines []float64, cut float64, labels, gold, seen []bool) Assessment {
	var out Assessment
	add := func(name string, value float64, n int) {
		if n > 0 {
			out.Metrics = append(out.Metrics, Metric{Name: name, Value: value, N: n})
		}
	}
	// of returns the scores and labels of the images for which in is true.
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

// ReadAssessment reads the artifact of [Assess].
func ReadAssessment(dir string) (*Assessment, error) {
	var a Assessment
	path := filepath.Join(dir, assessFile)
	if err := checkpoint.ReadJSON(path, &a, true); err != nil {
		return nil, err
	}
	if len(a.Bins) != Bins {
		return nil, fmt.Errorf("%s: %d bins; must be %d", path, len(a.Bins), Bins)
	}
	return &a, nil
}
