package stage

import "context"

// Oracle is the stage that converts verdicts to scores: 1 for a good image, 0 for others, or the
// number where the gold gives one. Arms whose images are weighted or chosen by these scores are controls, because the gold
// also judges their results.
const Oracle Kind = "oracle"

var oracleDef = define(runOracle, Def{
	Kind: Oracle, Revision: 1,
	Inputs: []Input{{Name: VerdictsInput}},
	Files:  required(scoresFile),
})

func runOracle(_ context.Context, _ *Env, t Task, _ NoParams, _ Progress) error {
	verdicts, err := ReadVerdicts(t.in(VerdictsInput))
	if err != nil {
		return err
	}
	out := make([]ScoreSet, len(verdicts))
	for k, v := range verdicts {
		out[k] = ScoreSet{Step: v.Step, Scores: v.Scores()}
	}
	return WriteScores(t.Out, out)
}
