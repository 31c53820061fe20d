package cli

import (
	"path"
	"slices"
	"strconv"
	"strings"

	"ablate/experiments/language"
)

// onlyHelp says what --only takes, for the help of every command that has it.
const onlyHelp = `

--only takes an arm ("all data"), a group of arms ("methods" for methods/dpo and so
on), a pattern ("no *"), or points of a sweep ("beta[0.5]", "grid[beta=0.1]",
"grid[finetune.beta=0.1,finetune.steps=400]"); axes may be shortened to their last
word and stand in any order.`

// only selects the views that --only and --seed name; all where neither is given.
func only(s *language.Study, rows, seeds []string) ([]language.View, error) {
	var seedNames []string
	for _, seed := range s.Seeds {
		seedNames = append(seedNames, seed.String())
	}
	for _, name := range seeds {
		if !slices.Contains(seedNames, name) {
			return nil, usagef("--seed: study %s has no seed %q; it has %s", s.Name, name, strings.Join(seedNames, ", "))
		}
	}
	wanted, all := map[string]bool{}, rowsOf(s)
	for _, name := range rows {
		found, err := selectRows(all, s.Name, name)
		if err != nil {
			return nil, err
		}
		for _, row := range found {
			wanted[row] = true
		}
	}
	var views []language.View
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

// tableRow is a row of the table: an arm, or a point of one.
type tableRow struct {
	arm, label string
	point      []language.AxisValue
}

// rowsOf are the rows of a study, in its order.
func rowsOf(s *language.Study) []tableRow {
	var out []tableRow
	for _, a := range s.Arms {
		for _, p := range a.Points {
			out = append(out, tableRow{a.Name, language.View{Arm: a.Name, Point: p.Axes}.Row(), p.Axes})
		}
	}
	return out
}

// selectRows are the labels of the rows that a value of --only names.
func selectRows(rows []tableRow, study, name string) ([]string, error) {
	var out []string
	seen := map[string]bool{}
	add := func(match func(r tableRow) bool) {
		for _, r := range rows {
			if match(r) && !seen[r.label] {
				seen[r.label] = true
				out = append(out, r.label)
			}
		}
	}
	// As the table writes it, whatever characters it has; then what is looser.
	if add(func(r tableRow) bool { return r.arm == name || r.label == name }); out != nil {
		return out, nil
	}
	if add(func(r tableRow) bool { return strings.HasPrefix(r.arm, name+"/") }); out != nil {
		return out, nil
	}
	arm, point, isPoint := strings.Cut(strings.TrimSuffix(name, "]"), "[")
	if isPoint {
		if add(func(r tableRow) bool { return r.arm == arm && at(r.point, strings.Split(point, ",")) }); out != nil {
			return out, nil
		}
	}
	if strings.ContainsAny(name, "*?") {
		// A star stands for a slash, too: arms are no folders.
		flat := strings.NewReplacer("/", "\x00")
		if add(func(r tableRow) bool {
			ok, err := path.Match(flat.Replace(name), flat.Replace(r.arm))
			return ok && err == nil
		}); out != nil {
			return out, nil
		}
	}
	var arms, points []string
	for _, r := range rows {
		if !slices.Contains(arms, r.arm) {
			arms = append(arms, r.arm)
		}
		if r.arm == arm && len(points) < 10 {
			points = append(points, r.label)
		}
	}
	if !isPoint || points == nil {
		return nil, usagef("--only: study %s has no arm %q; it has %s", study, name, strings.Join(arms, ", "))
	}
	return nil, usagef("--only: arm %q has no point [%s]; among those that it has are %s", arm, point, strings.Join(points, ", "))
}

// at reports whether a row is at a point: each part is "axis=value", the axis in
// full or by its last word, or a value alone where the row has one axis.
func at(point []language.AxisValue, parts []string) bool {
	for _, part := range parts {
		axis, value, named := strings.Cut(strings.TrimSpace(part), "=")
		if !named {
			axis, value = "", axis
		}
		matches := 0
		for _, x := range point {
			here := x.Axis == axis || strings.HasSuffix(x.Axis, "."+axis) && axis != "" || !named && len(point) == 1
			if here && is(x.Value, value) {
				matches++
			}
		}
		if matches != 1 {
			return false
		}
	}
	return true
}

// is reports whether a word means a value: 1e-3 is 0.001.
func is(v any, word string) bool {
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
