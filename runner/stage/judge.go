package stage

import (
	"context"
	"fmt"
	"path/filepath"

	"ablate/models/checkpoint"
	"ablate/runner/world"
)

// Judge is the stage that judges whether images show their prompts, by the gold judge.
const Judge Kind = "judge"

var judgeDef = define(runJudge, Def{
	Kind: Judge, Revision: 1,
	Inputs: []Input{{Name: ImagesInput}, {Name: PromptsInput}},
	Files:  tabled(verdictsFile),
})

// JudgeParams are the parameters of [Judge]. None of them changes a verdict.
type JudgeParams struct {
	Images int `json:"images" key:"-"` // number of images of all sets, for the estimate of the cost
}

func (p JudgeParams) memory() float64 { return float64(p.Images) * world.Pixels }

func (p JudgeParams) cost() float64 { return .01 + float64(p.Images)/40000 }

func runJudge(ctx context.Context, e *Env, t Task, _ JudgeParams, progress Progress) error {
	prompts, sets, err := readDrawn(t)
	if err != nil {
		return err
	}
	out, err := eachSet(ctx, sets, progress, "sets of images", func(s ImageSet) (VerdictSet, error) {
		v, err := e.judge(s.Images, texts(prompts))
		v.Step = s.Step
		return v, err
	})
	if err != nil {
		return err
	}
	return checkpoint.WriteJSON(filepath.Join(t.Out, verdictsFile), out)
}

// judge judges one image for each prompt.
func (e *Env) judge(images []uint8, prompts []string) (VerdictSet, error) {
	s := VerdictSet{Labels: make([]string, len(prompts)), Read: make([]string, len(prompts))}
	for i, p := range prompts {
		v, err := e.world.Judge.Judge(images[i*world.Pixels:(i+1)*world.Pixels], p)
		if err != nil {
			return s, fmt.Errorf("image %d: %w", i, err)
		}
		s.Labels[i], s.Read[i] = v.Label, v.Read
	}
	return s, nil
}

// Alignment returns the share of images that a judge calls good, or the mean of its numbers: over
// all prompts, over seen and unseen prompts, and by category. A skipped image counts as not
// aligned, and one without a verdict does not count. Where the judge gives labels, the last metric
// is the share of skipped images.
func Alignment(prompts []Prompt, v VerdictSet) []Metric {
	var categories []string // in the order of their first prompts
	rows := map[string][]int{}
	for i, p := range prompts {
		if _, ok := rows[p.Category]; !ok && p.Category != "" {
			categories = append(categories, p.Category)
		}
		rows[p.Category] = append(rows[p.Category], i)
	}
	all := make([]int, len(prompts))
	for i := range all {
		all[i] = i
	}
	var out []Metric
	values := v.Values()
	group := func(name string, rows []int) {
		for _, split := range []string{"", Seen, Unseen} {
			m := Metric{Name: name}
			if split != "" {
				m.Name += "." + split
			}
			var of []float64
			for _, i := range rows {
				if split == "" || prompts[i].Split == split {
					of = append(of, values[i])
				}
			}
			m.Value, m.N = MeanScore(of)
			out = append(out, m)
		}
	}
	group("alignment", all)
	for _, c := range categories {
		group("alignment."+c, rows[c])
	}
	if v.Numbers != nil {
		return out
	}
	skipped, judged := 0, 0
	for _, l := range v.Labels {
		switch l {
		case world.Skip:
			skipped++
			judged++
		case world.Good, world.Bad:
			judged++
		}
	}
	return append(out, Metric{"skipped", float64(skipped) / float64(max(1, judged)), judged})
}
