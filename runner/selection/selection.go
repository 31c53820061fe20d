// Package selection finds the rows, seeds and trials of a study that the arguments
// --only, --seed and TRIAL of a command name. Its errors are about these arguments.
package selection

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"ablate/experiments/language"
	"ablate/runner/phrase"
)

// Help is the help text of --only.
const Help = `

--only takes an arm ("all data"), a group of arms ("methods" for methods/dpo and the
like), a pattern ("no *"), or points of a sweep ("beta[0.5]", "grid[beta=0.1]",
"grid[finetune.beta=0.1,finetune.steps=400]"). The swept parameters of a point may be
shortened to their last word, and may be in any order.`

// Views returns the views (pairs of a row and a seed) whose row --only names and whose
// seed --seed names. An empty list selects all.
func Views(s *language.Study, only, seeds []string) ([]language.View, error) {
	var seedNames []string
	for _, seed := range s.Seeds {
		seedNames = append(seedNames, seed.String())
	}
	for _, name := range seeds {
		if !slices.Contains(seedNames, name) {
			return nil, fmt.Errorf("--seed: study %s has no seed %q; its seeds are %s", s.Name, name, strings.Join(seedNames, ", "))
		}
	}
	wanted, all := map[string]bool{}, Rows(s)
	for _, name := range only {
		labels, err := Match(all, s.Name, name)
		if err != nil {
			return nil, err
		}
		for _, label := range labels {
			wanted[label] = true
		}
	}
	if len(only) == 0 && len(seeds) == 0 {
		return s.Views, nil
	}
	var views []language.View
	for _, v := range s.Views {
		if (len(only) == 0 || wanted[v.Row()]) && (len(seeds) == 0 || slices.Contains(seeds, v.Trial.Seed.String())) {
			views = append(views, v)
		}
	}
	if len(views) == 0 && len(seeds) > 0 {
		if len(only) == 0 {
			return nil, fmt.Errorf("--seed: no row of study %s runs with seed %s yet: 'ablate run --until' adds seeds", s.Name, strings.Join(seeds, ", "))
		}
		return nil, fmt.Errorf("--only: %s does not run with any of the seeds %s", strings.Join(only, ", "), strings.Join(seeds, ", "))
	}
	return views, nil
}

// Summary counts views in words: rows, seeds and runs, and how many of the runs are
// distinct.
func Summary(views []language.View) string {
	rows, seeds, trials := map[string]bool{}, map[string]bool{}, map[language.ID]bool{}
	for _, v := range views {
		rows[v.Row()], seeds[v.Trial.Seed.String()], trials[v.Trial.ID()] = true, true, true
	}
	text := fmt.Sprintf("%s (%s, %s)", phrase.Count(len(views), "run"), phrase.Count(len(rows), "row"), phrase.Count(len(seeds), "seed"))
	if len(rows)*len(seeds) == len(views) {
		text = fmt.Sprintf("%s × %s = %s", phrase.Count(len(rows), "row"), phrase.Count(len(seeds), "seed"), phrase.Count(len(views), "run"))
	}
	if same := len(views) - len(trials); same > 0 {
		text += fmt.Sprintf(", %d of them distinct (equal ones run once)", len(trials))
	}
	return text
}

// A Row is a row of the ablation table: an arm, or a point of one.
type Row struct {
	Arm, Label string
	Point      []language.AxisValue // nil for an arm without axes, or if it is not known
}

// Rows lists the rows of a study, in its order.
func Rows(s *language.Study) []Row {
	var out []Row
	for _, a := range s.Arms {
		for _, p := range a.Points {
			out = append(out, Row{a.Name, language.View{Arm: a.Name, Point: p.Axes}.Row(), p.Axes})
		}
	}
	return out
}

// Match returns the labels of the rows that a value of --only names. study is the
// study's name, for the error.
func Match(rows []Row, study, name string) ([]string, error) {
	var out []string
	seen := map[string]bool{}
	add := func(match func(r Row) bool) {
		for _, r := range rows {
			if match(r) && !seen[r.Label] {
				seen[r.Label] = true
				out = append(out, r.Label)
			}
		}
	}
	// An exact name comes first: it may contain characters that have a meaning in a
	// pattern.
	if add(func(r Row) bool { return r.Arm == name || r.Label == name }); out != nil {
		return out, nil
	}
	if add(func(r Row) bool { return strings.HasPrefix(r.Arm, name+"/") }); out != nil {
		return out, nil
	}
	// As a terminal and a report print a point: "best of n bestOf=8", "beta=0.1".
	if add(func(r Row) bool {
		return r.Point != nil && (name == brief(r.Point) || name == r.Arm+" "+brief(r.Point))
	}); out != nil {
		return out, nil
	}
	arm, point, isPoint := strings.Cut(strings.TrimSuffix(name, "]"), "[")
	if isPoint {
		if add(func(r Row) bool { return r.Arm == arm && at(r.Point, strings.Split(point, ",")) }); out != nil {
			return out, nil
		}
	}
	if strings.ContainsAny(name, "*?") {
		// A star also matches a slash, because groups of arms are not folders.
		flat := strings.NewReplacer("/", "\x00")
		if add(func(r Row) bool {
			ok, err := path.Match(flat.Replace(name), flat.Replace(r.Arm))
			return ok && err == nil
		}); out != nil {
			return out, nil
		}
	}
	var arms, points []string
	for _, r := range rows {
		if !slices.Contains(arms, r.Arm) {
			arms = append(arms, r.Arm)
		}
		if r.Arm == arm && len(points) < 10 {
			points = append(points, r.Label)
		}
	}
	if !isPoint || points == nil {
		hint := ""
		if near := language.Nearest(name, arms); near != "" {
			hint = fmt.Sprintf(" (did you mean %q?)", near)
		}
		return nil, fmt.Errorf("--only: study %s has no arm %q%s; its arms are %s", study, name, hint, strings.Join(arms, ", "))
	}
	return nil, fmt.Errorf("--only: arm %q has no point [%s]; some of its points are %s", arm, point, strings.Join(points, ", "))
}

// brief names a point by the last words of its axes.
func brief(point []language.AxisValue) string {
	var parts []string
	for _, x := range point {
		parts = append(parts, x.Axis[strings.LastIndexByte(x.Axis, '.')+1:]+"="+language.FormatValue(x.Value))
	}
	return strings.Join(parts, " ")
}

// at reports whether a row is at the point that parts describe. Each part is
// "axis=value", where axis is the full path or its last word, or only a value if the row
// has one axis.
func at(point []language.AxisValue, parts []string) bool {
	for _, part := range parts {
		axis, value, named := strings.Cut(strings.TrimSpace(part), "=")
		if !named {
			axis, value = "", axis
		}
		matches := 0
		for _, x := range point {
			here := x.Axis == axis || strings.HasSuffix(x.Axis, "."+axis) && axis != "" || !named && len(point) == 1
			if here && equal(x.Value, value) {
				matches++
			}
		}
		if matches != 1 {
			return false
		}
	}
	return true
}

// equal reports whether word is a spelling of the value v: 1e-3 is 0.001.
func equal(v any, word string) bool {
	if language.FormatValue(v) == word {
		return true
	}
	x, err := strconv.ParseFloat(word, 64)
	if err != nil {
		return false
	}
	switch v := v.(type) {
	case float64:
		return v == x
	case int64:
		return float64(v) == x
	}
	return false
}

// Trial returns the view whose name ("ROW@SEED") is name, or whose trial has an id that
// begins with it.
func Trial(s *language.Study, name string) (language.View, error) {
	var found []language.View
	for _, v := range s.Views {
		if v.String() == name {
			return v, nil
		}
		if strings.HasPrefix(v.Trial.ID().String(), name) && !slices.ContainsFunc(found, func(o language.View) bool { return o.Trial.ID() == v.Trial.ID() }) {
			found = append(found, v)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		const shown = 20
		var names []string
		for i, v := range s.Views {
			if i == shown {
				names = append(names, fmt.Sprintf("  and %d more", len(s.Views)-shown))
				break
			}
			names = append(names, fmt.Sprintf("  %s  %s", v.Trial.ID().Short(), v))
		}
		return language.View{}, fmt.Errorf("study %s has no trial %q; its trials are\n%s", s.Name, name, strings.Join(names, "\n"))
	}
	return language.View{}, fmt.Errorf("study %s: %q is the beginning of the ids of %d trials: give more digits", s.Name, name, len(found))
}
