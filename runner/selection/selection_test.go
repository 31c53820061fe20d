package selection

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ablate/experiments/language"
	"ablate/runner/internal/example"
)

// TestMatch: --only takes names of rows as the table writes them, or shorter forms. With
// 'ablate check' some rows come from a baseline, and only their labels are known.
func TestMatch(t *testing.T) {
	rows := []Row{
		{Arm: "base", Label: "base"}, {Arm: "a*", Label: "a*"}, {Arm: "ab", Label: "ab"},
		{Arm: "methods/dpo", Label: "methods/dpo"}, {Arm: "methods/kto", Label: "methods/kto"},
	}
	for _, beta := range []float64{0, .5} {
		p := []language.AxisValue{{Axis: "finetune.beta", Value: beta}}
		rows = append(rows, Row{"beta", language.View{Arm: "beta", Point: p}.Row(), p})
		for _, steps := range []int64{100, 200} {
			p := []language.AxisValue{{Axis: "finetune.beta", Value: beta}, {Axis: "finetune.steps", Value: steps}}
			rows = append(rows, Row{"grid", language.View{Arm: "grid", Point: p}.Row(), p})
		}
	}
	rows = append(rows, Row{Arm: "beta", Label: "beta[finetune.beta=7]"}, Row{Arm: "dropped", Label: "dropped"})
	for name, want := range map[string]string{
		"base": "base", "a*": "a*", "a?": "a* ab", "*o": "methods/dpo methods/kto", "methods": "methods/dpo methods/kto",
		"beta": "beta[finetune.beta=0] beta[finetune.beta=0.5] beta[finetune.beta=7]", "beta[5e-1]": "beta[finetune.beta=0.5]",
		"grid beta=0.5 steps=100": "grid[finetune.beta=0.5,finetune.steps=100]", "beta beta=0.5": "beta[finetune.beta=0.5]", "beta=0.5": "beta[finetune.beta=0.5]",
		"beta[finetune.beta=7]": "beta[finetune.beta=7]", "dropped": "dropped", "d*": "dropped",
		"grid[steps=100,beta=0.5]": "grid[finetune.beta=0.5,finetune.steps=100]", "grid[steps=1e2]": "grid[finetune.beta=0,finetune.steps=100] grid[finetune.beta=0.5,finetune.steps=100]",
	} {
		got, err := Match(rows, "s", name)
		if d := cmp.Diff(strings.Split(strings.ReplaceAll(want, " ", "\x00"), "\x00"), got); err != nil || d != "" {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, d)
		}
	}
	for name, want := range map[string]string{
		"nobody": `study s has no arm "nobody"; its arms are base, `, "grid[0.5]": `arm "grid" has no point [0.5]; some of its points are grid[`, "z*": `no arm "z*"`,
		"bse": `no arm "bse" (did you mean "base"?); its arms`,
	} {
		if _, err := Match(rows, "s", name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %s", name, err, want)
		}
	}
}

const twoArms = `seeds: [1, 2]
arms: {
	"plain": set: {}
	"beta": {sweep: "finetune.beta": [0, 0.25], seeds: [1]}
}`

// TestViews: an empty list selects all, --only and --seed select together, and a
// combination that selects nothing is a mistake.
func TestViews(t *testing.T) {
	s := example.Study(t, twoArms)
	for _, c := range []struct {
		only, seeds []string
		want        string
	}{
		{nil, nil, "plain@1 plain@2 beta[finetune.beta=0]@1 beta[finetune.beta=0.25]@1"},
		{[]string{"plain"}, nil, "plain@1 plain@2"},
		{nil, []string{"2"}, "plain@2"},
		{[]string{"beta[0.25]", "plain"}, []string{"1"}, "plain@1 beta[finetune.beta=0.25]@1"},
	} {
		views, err := Views(s, c.only, c.seeds)
		var got []string
		for _, v := range views {
			got = append(got, v.String())
		}
		if err != nil || strings.Join(got, " ") != c.want {
			t.Errorf("--only %q --seed %q: %q, %v; want %q", c.only, c.seeds, got, err, c.want)
		}
	}
	for want, c := range map[string][2][]string{
		`has no seed "3"; its seeds are 1, 2`: {nil, {"3"}}, `has no arm "none"`: {{"none"}, nil},
		"--only: beta does not run with any of the seeds 2": {{"beta"}, {"2"}},
	} {
		if _, err := Views(s, c[0], c[1]); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

// TestSummary: a full product is written as one, and equal runs are counted once.
func TestSummary(t *testing.T) {
	s := example.Study(t, twoArms)
	for only, want := range map[string]string{"plain": "1 row × 2 seeds = 2 runs", "beta": "2 rows × 1 seed = 2 runs", "*": "4 runs (3 rows, 2 seeds)"} {
		views, err := Views(s, []string{only}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := Summary(views); got != want {
			t.Errorf("%s: %q, want %q", only, got, want)
		}
	}
	same := example.Study(t, "seeds: [1]\narms: {a: set: {}, b: set: {}}")
	if got, want := Summary(same.Views), "2 rows × 1 seed = 2 runs, 1 of them distinct (equal ones run once)"; got != want {
		t.Errorf("equal arms: %q, want %q", got, want)
	}
}

// TestTrial: a trial is found by its view, or by as much of its id as is unique.
func TestTrial(t *testing.T) {
	s := example.Study(t, twoArms)
	ids := []string{}
	for _, v := range s.Views {
		ids = append(ids, v.Trial.ID().String())
	}
	if v, err := Trial(s, "plain@2"); err != nil || v.String() != "plain@2" {
		t.Errorf("by view: %v, %v", v, err)
	}
	for i, id := range ids {
		if v, err := Trial(s, id[:20]); err != nil || v.Trial.ID() != s.Views[slices.Index(ids, id)].Trial.ID() {
			t.Errorf("by id %d: %v, %v", i, v, err)
		}
	}
	if _, err := Trial(s, ""); err == nil || !strings.Contains(err.Error(), "give more digits") {
		t.Errorf("the beginning of all: %v", err)
	}
	if _, err := Trial(s, "plain@3"); err == nil || !strings.Contains(err.Error(), "  "+s.Views[0].Trial.ID().Short()+"  plain@1") {
		t.Errorf("an unknown trial: %v", err)
	}
}
