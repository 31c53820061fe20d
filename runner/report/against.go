package report

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"ablate/analysis/compare"
	"ablate/analysis/table"
	"ablate/reports/page"
	"ablate/runner/result"
)

// Against compares the results with other ones: those of a baseline, of a folder of
// results, or of a study, which load reads.
func Against(r *result.Result, name string, load func(study string) (*result.Result, error)) (*page.Against, error) {
	title, other, err := other(name, load)
	if err != nil {
		return nil, err
	}
	var metrics []string
	for _, m := range r.Ablation.Metrics {
		metrics = append(metrics, m.Name)
	}
	lines := compare.SideBySide(r.Ablation, other, metrics)
	if !slices.ContainsFunc(lines, func(b compare.Beside) bool { return b.B != nil }) {
		return nil, fmt.Errorf("report: --against %s has no result", name)
	}
	return &page.Against{Name: title, Lines: lines}, nil
}

// other reads the table that a name stands for, with a title for it.
func other(name string, load func(study string) (*result.Result, error)) (title string, t *compare.Table, err error) {
	info, err := os.Stat(name)
	if err == nil && !info.IsDir() && strings.HasSuffix(name, ".json") {
		b, err := result.ReadBaseline(name)
		if err != nil {
			return "", nil, err
		}
		return "baseline of " + b.Study, b.Table(), nil
	}
	if _, err := os.Stat(filepath.Join(name, "trials.arrow")); err == nil {
		return folder(name)
	}
	r, err := load(name)
	if err != nil {
		return "", nil, err
	}
	return r.Project.Study.Name, r.Ablation, nil
}

// folder reads the tables that a run wrote into a folder of results.
func folder(dir string) (title string, t *compare.Table, err error) {
	var in [2]*table.Table
	for i, file := range []string{"trials.arrow", "samples.arrow"} {
		if in[i], err = table.ReadFile(filepath.Join(dir, file)); err != nil {
			return "", nil, fmt.Errorf("report: --against: %w", err)
		}
	}
	images, err := compare.NewImages(in[1])
	if err == nil {
		t, err = compare.Ablation(in[0], images, compare.Options{})
	}
	if err != nil {
		return "", nil, fmt.Errorf("report: --against %s: %w", dir, err)
	}
	return in[0].Meta["study"] + " in " + filepath.Base(dir), t, nil
}
