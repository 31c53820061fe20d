package cli

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"ablate/experiments/spec"
)

// onlyHelp says what --only takes, for the help of every command that has it.
const onlyHelp = `

--only takes an arm ("all data"), a group of arms ("methods" for methods/dpo and so
on), a pattern ("no *"), or points of a sweep ("beta[0.5]", "grid[beta=0.1]",
"grid[finetune.beta=0.1,finetune.steps=400]"); axes may be shortened to their last
word and stand in any order.`

// only selects the views that --only and --seed name; all where neither is given.
func only(s *spec.Study, rows, seeds []string) ([]spec.View, error) {
	var seedNames []string
	for _, seed := range s.Seeds {
		seedNames = append(seedNames, seed.String())
	}
	for _, name := range seeds {
		if !slices.Contains(seedNames, name) {
			return nil, usagef("--seed: study %s has no seed %q; it has %s", s.Name, name, strings.Join(seedNames, ", "))
		}
	}
	wanted := map[string]bool{}
	for _, name := range rows {
		found, err := rowsOf(s, name)
		if err != nil {
			return nil, err
		}
		for _, row := range found {
			wanted[row] = true
		}
	}
	var views []spec.View
	for _, v := range s.Views {
		if (len(rows) == 0 || wanted[v.Row()]) && (len(seeds) == 0 || slices.Contains(seeds, v.Trial.Seed.String())) {
			views = append(views, v)
		}
	}
	if len(views) == 0 && len(rows) > 0 && len(seeds) > 0 {
		return nil, usagef("--only %s runs with none of the seeds %s", strings.Join(rows, ", "), strings.Join(seeds, ", "))
	}
	return views, nil
}

// rowsOf are the rows of the table that a value of --only names.
func rowsOf(s *spec.Study, name string) ([]string, error) {
	var out []string
	seen := map[string]bool{}
	add := func(match func(v spec.View) bool) {
		for _, v := range s.Views {
			if match(v) && !seen[v.Row()] {
				seen[v.Row()] = true
				out = append(out, v.Row())
			}
		}
	}
	// As the table writes it, whatever characters it has; then what is looser.
	if add(func(v spec.View) bool { return v.Arm == name || v.Row() == name }); out != nil {
		return out, nil
	}
	if add(func(v spec.View) bool { return strings.HasPrefix(v.Arm, name+"/") }); out != nil {
		return out, nil
	}
	arm, point, isPoint := strings.Cut(strings.TrimSuffix(name, "]"), "[")
	if isPoint {
		if add(func(v spec.View) bool { return v.Arm == arm && at(v, strings.Split(point, ",")) }); out != nil {
			return out, nil
		}
	}
	if strings.ContainsAny(name, "*?") {
		// A star stands for a slash, too: arms are no folders.
		flat := strings.NewReplacer("/", "\x00")
		if add(func(v spec.View) bool {
			ok, err := path.Match(flat.Replace(name), flat.Replace(v.Arm))
			return ok && err == nil
		}); out != nil {
			return out, nil
		}
	}
	var arms, points []string
	for _, a := range s.Arms {
		arms = append(arms, a.Name)
	}
	if !isPoint || !slices.Contains(arms, arm) {
		return nil, usagef("--only: study %s has no arm %q; it has %s", s.Name, arm, strings.Join(arms, ", "))
	}
	for _, v := range s.Views {
		if row := v.Row(); v.Arm == arm && len(points) < 10 && !slices.Contains(points, row) {
			points = append(points, row)
		}
	}
	return nil, usagef("--only: arm %q has no point [%s]; among those that it has are %s", arm, point, strings.Join(points, ", "))
}

// at reports whether a view is at a point: each part is "axis=value", the axis in
// full or by its last word, or a value alone where the view has one axis.
func at(v spec.View, parts []string) bool {
	for _, part := range parts {
		axis, value, named := strings.Cut(strings.TrimSpace(part), "=")
		if !named {
			axis, value = "", axis
		}
		matches := 0
		for _, x := range v.Point {
			here := x.Axis == axis || strings.HasSuffix(x.Axis, "."+axis) && axis != "" || !named && len(v.Point) == 1
			if here && fmt.Sprint(spec.FormatValue(x.Value)) == value {
				matches++
			}
		}
		if matches != 1 {
			return false
		}
	}
	return true
}
