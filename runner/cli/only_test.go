package cli

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ablate/experiments/language"
)

// TestSelectRows: --only names rows as the table writes them, or in fewer words;
// 'check' has rows of a baseline among them, of which only the label is known.
func TestSelectRows(t *testing.T) {
	rows := []tableRow{
		{arm: "base", label: "base"}, {arm: "a*", label: "a*"}, {arm: "ab", label: "ab"},
		{arm: "methods/dpo", label: "methods/dpo"}, {arm: "methods/kto", label: "methods/kto"},
	}
	for _, beta := range []float64{0, .5} {
		p := []language.AxisValue{{Axis: "finetune.beta", Value: beta}}
		rows = append(rows, tableRow{"beta", language.View{Arm: "beta", Point: p}.Row(), p})
		for _, steps := range []int64{100, 200} {
			p := []language.AxisValue{{Axis: "finetune.beta", Value: beta}, {Axis: "finetune.steps", Value: steps}}
			rows = append(rows, tableRow{"grid", language.View{Arm: "grid", Point: p}.Row(), p})
		}
	}
	rows = append(rows, tableRow{arm: "beta", label: "beta[finetune.beta=7]"}, tableRow{arm: "dropped", label: "dropped"})
	for name, want := range map[string]string{
		"base": "base", "a*": "a*", "a?": "a* ab", "*o": "methods/dpo methods/kto", "methods": "methods/dpo methods/kto",
		"beta": "beta[finetune.beta=0] beta[finetune.beta=0.5] beta[finetune.beta=7]", "beta[5e-1]": "beta[finetune.beta=0.5]",
		"beta[finetune.beta=7]": "beta[finetune.beta=7]", "dropped": "dropped", "d*": "dropped",
		"grid[steps=100,beta=0.5]": "grid[finetune.beta=0.5,finetune.steps=100]", "grid[steps=1e2]": "grid[finetune.beta=0,finetune.steps=100] grid[finetune.beta=0.5,finetune.steps=100]",
	} {
		got, err := selectRows(rows, "s", name)
		if d := cmp.Diff(strings.Split(strings.ReplaceAll(want, " ", "\x00"), "\x00"), got); err != nil || d != "" {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, d)
		}
	}
	for name, want := range map[string]string{
		"nobody": `study s has no arm "nobody"; it has base, `, "grid[0.5]": `arm "grid" has no point [0.5]; among those that it has are grid[`, "z*": `no arm "z*"`,
	} {
		if _, err := selectRows(rows, "s", name); !errors.As(err, new(usageError)) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %s", name, err, want)
		}
	}
}
