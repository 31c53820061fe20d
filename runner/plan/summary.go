package plan

import (
	"slices"

	"ablate/experiments/language"
	"ablate/models/backend"
	"ablate/runner/layout"
	"ablate/runner/stage"
)

// Total returns the sum of stages.
func Total(stages []Stage) Stage {
	t := Stage{Stage: "all"}
	for _, s := range stages {
		t.Cached, t.Run, t.Retry, t.Failed = t.Cached+s.Cached, t.Run+s.Run, t.Retry+s.Retry, t.Failed+s.Failed
		t.Seconds, t.Bytes, t.Rough, t.Unknown = t.Seconds+s.Seconds, t.Bytes+s.Bytes, t.Rough || s.Rough, t.Unknown+s.Unknown
		t.Flops, t.Memory = t.Flops+s.Flops, max(t.Memory, s.Memory)
	}
	return t
}

// ToRun returns how many of a stage's actions a run computes.
func (s Stage) ToRun() int { return s.Run + s.Retry }

// Reasons are the reasons of a plan for people. Reasons that many stages share are
// summarized.
type Reasons struct {
	First    []string // stages that have never run in this store
	Own      []Reasoned
	NewSeeds int // number of actions that run only because of their seeds
	Follow   int // number of actions that run because their inputs do
}

// Reasoned is a reason with its stage.
type Reasoned struct {
	Stage string
	Reason
}

// Gather summarizes the reasons of stages.
func Gather(stages []Stage) Reasons {
	var out Reasons
	for _, s := range stages {
		if len(s.Reasons) == 1 && s.Reasons[0].Text == FirstOfKind {
			out.First = append(out.First, s.Name())
			continue
		}
		for _, r := range s.Reasons {
			switch r.Text {
			case Follows:
				out.Follow += r.Count
			case NewSeeds:
				out.NewSeeds += r.Count
			default:
				out.Own = append(out.Own, Reasoned{s.Name(), r})
			}
		}
	}
	return out
}

// SeedsOf returns the seeds of the views for which an action runs only because of its
// seed.
func (p *Plan) SeedsOf(g *layout.Graph, views []language.View) []string {
	fresh := func(a *layout.Action) bool {
		s := p.Steps[a.Index()]
		return s.State != Cached && s.Reason == NewSeeds
	}
	var seeds []string
	for _, v := range views {
		name := v.Trial.Seed.String()
		if !slices.Contains(seeds, name) && slices.ContainsFunc(g.Chains[v.Trial.ID()].Actions(), fresh) {
			seeds = append(seeds, name)
		}
	}
	return seeds
}

// Missing returns, for each view, the stages that run for it, each once.
func (p *Plan) Missing(g *layout.Graph, views []language.View) [][]string {
	out := make([][]string, len(views))
	for i, v := range views {
		for _, a := range g.Chains[v.Trial.ID()].Actions() {
			if kind := string(a.Kind); p.missing(a) && !slices.Contains(out[i], kind) {
				out[i] = append(out[i], kind)
			}
		}
	}
	return out
}

// Refused returns the stages that have to run and that the plan's backend cannot run.
func (p *Plan) Refused(stages []Stage) []string {
	var out []string
	for _, s := range stages {
		if p.Backend == backend.Go && s.ToRun() > 0 && backend.GoRefuses(stage.Kind(s.Stage).Def().Trains) != "" {
			out = append(out, s.Stage)
		}
	}
	return out
}
