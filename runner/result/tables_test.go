package result

import (
	"slices"
	"testing"

	"ablate/experiments/language"
	"ablate/runner/project"
	"ablate/runner/world"
)

// TestMetricsOfTheLanguage: the metrics that a study may guard are those of trials.arrow
// without the floors.
func TestMetricsOfTheLanguage(t *testing.T) {
	var want []string
	for _, m := range Metrics(project.Project{Study: &language.Study{}, Categories: world.Categories()}) {
		if m.Better != "" {
			want = append(want, m.Name)
		}
	}
	if got := language.Metrics(); !slices.Equal(got, want) {
		t.Errorf("#Metric has %q, trials.arrow %q", got, want)
	}
}
