package result

import (
	"math"

	"ablate/experiments/language"
	"ablate/runner/failure"
	"ablate/runner/layout"
	"ablate/runner/project"
	"ablate/runner/stage"
)

// RungScore returns a function that returns the score of a view's row at a rung: the mean of
// the proxy over the probe images and the study's seeds. build is that of this program.
func (r *Result) RungScore(build string) func(v language.View, rung int) (project.Score, error) {
	in := &reader{found: r.Found}
	return func(v language.View, rung int) (project.Score, error) {
		s, known := project.Score{Known: true}, true
		for _, seed := range r.Project.Study.Seeds {
			id := language.Trial{Content: v.Trial.Content, Seed: seed}.ID()
			x, ok, err := in.rung(r.Project.Graph.Chains[id], rung, build)
			if err != nil {
				return s, err
			}
			known = known && ok
			s.Value += x / float64(len(r.Project.Study.Seeds))
		}
		s.Known = known
		return s, nil
	}
}

// rung returns the mean score of a trial's probe images at a rung: -Inf if it failed on its
// way and no run would try it again, and false if it has not reached the rung.
func (r *reader) rung(c layout.Chain, rung int, build string) (float64, bool, error) {
	all := c.All(layout.RungScores)
	if rung >= len(all) {
		return 0, false, nil
	}
	if s, ok, err := one(r, all[rung], stage.ReadScores); err != nil || ok {
		mean, _ := stage.MeanScore(s.Scores)
		return mean, ok, err
	}
	for _, a := range (layout.Chain{{Role: layout.RungScores, Action: all[rung]}}).Actions() {
		if f, failed := r.found.Failed[a]; failed && failure.Final(f, build) {
			return math.Inf(-1), true, nil
		}
	}
	return 0, false, nil
}
