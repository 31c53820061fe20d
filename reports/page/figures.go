package page

import (
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"

	"ablate/analysis/compare"
	"ablate/reports/figure"
	"ablate/reports/format"
)

// shown is a figure of the page.
type shown struct {
	Name, Caption string
	Section       string       // section of the page
	URL           template.URL // URL of the figure's file
	Views         []plot
	figure        figure.Figure
}

// plot is a figure in one layout.
type plot struct {
	Drawing template.HTML
	Narrow  bool
	Spots   []spot
}

// spot is the area of a point of a figure. AtX and AtY are the position of the point in
// the area, in percent of the area's size.
type spot struct {
	figure.Mark
	Href     string
	AtX, AtY float64
}

const (
	mostForests = 4  // largest number of figures of differences in a study without the metric alignment
	mostSweeps  = 12 // largest number of arms with figures of their effects
	mostDoses   = 4  // largest number of panels of the figure of a swept axis
)

// Figures returns the figures of a section of the page.
func (v *view) Figures(section string) []shown {
	var out []shown
	for _, f := range v.all {
		if f.Section == section {
			out = append(out, f)
		}
	}
	return out
}

// figures returns the figures of the page, which are part of the page and files.
func (v *view) figures(place place) ([]shown, error) {
	list := v.drawn()
	for i := range list {
		f := &list[i]
		svg, err := f.figure.SVG()
		if err == nil {
			f.URL, err = place("figures/"+f.Name+".svg", "image/svg+xml", svg)
		}
		if err != nil {
			return nil, err
		}
		views, err := f.figure.Views(f.Caption + " The tables have the numbers.")
		if err != nil {
			return nil, err
		}
		for _, w := range views {
			p := plot{Drawing: template.HTML(w.SVG), Narrow: w.Narrow}
			for _, m := range w.Marks {
				s := spot{Mark: m, Href: "#table", AtX: round(100 * (m.X - m.Left) / m.Width), AtY: round(100 * (m.Y - m.Top) / m.Height)}
				if m.Row >= 0 && m.Row < len(v.Parameters) && !v.Imported {
					s.Href = fmt.Sprintf("#row-%d", m.Row)
				}
				s.Left, s.Top, s.Width, s.Height = round(m.Left), round(m.Top), round(m.Width), round(m.Height)
				p.Spots = append(p.Spots, s)
			}
			f.Views = append(f.Views, p)
		}
	}
	return list, nil
}

// round rounds to two decimals.
func round(x float64) float64 { return math.Round(100*x) / 100 }

// drawn returns the report's figures.
func (r Report) drawn() []shown {
	const alignment, fidelity = "alignment", "fidelity.recall"
	var list []shown
	if f, ok := figure.Front(r.Table, fidelity, alignment); ok {
		list = append(list, shown{Name: "front", Section: "front", Caption: frontCaption(r.Table), figure: f})
	}
	if slices.ContainsFunc(r.Table.Metrics, func(m compare.Metric) bool { _, ok := m.Category(); return ok }) {
		list = append(list, shown{Name: "categories", Section: "categories", Caption: "Alignment by category. " + bars(levels(r.Table, alignment)), figure: figure.Categories(r.Table)})
	}
	list = append(list, r.doses()...)
	metrics := []string{alignment, fidelity}
	if first := r.Table.Answer.Metric; first != alignment {
		metrics = []string{first}
		for _, m := range r.Table.Metrics {
			if m.Primary && m.Name != first && len(metrics) < mostForests {
				metrics = append(metrics, m.Name)
			}
		}
	}
	for _, m := range metrics {
		if f, ok := figure.Forest(r.Table, m); ok {
			list = append(list, shown{Name: "differences-" + strings.TrimPrefix(m, "fidelity."), Section: "differences", figure: f,
				Caption: "Paired differences from “" + r.Table.Reference + "”. " + bars(differences(r.Table, m)) + " Filled: significant after correction. Small glyphs: the seeds."})
		}
	}
	for i, s := range r.Table.Sweeps {
		for _, m := range metrics {
			if f, ok := figure.Effects(r.Table, s, m); ok && i < mostSweeps {
				list = append(list, shown{Name: fmt.Sprintf("effects-%d-%s", i+1, strings.TrimPrefix(m, "fidelity.")), Section: "effects", figure: f,
					Caption: "Main effects in “" + s.Arm + "”, paired by seed. a → b: the difference of two levels. A level alone: its difference from the mean of all levels. " + bars(effects(s, m)) + " Filled: significant after correction. Small glyphs: the seeds."})
			}
		}
	}
	list = append(list, r.reliability()...)
	list = append(list, r.training()...)
	return append(list, r.overOptimization()...)
}

// doses returns, for each swept axis, the figure of its effect on the primary metrics and
// on fidelity.
func (r Report) doses() []shown {
	var metrics []string
	for _, m := range r.Table.Metrics {
		if (m.Primary || m.Name == "fidelity.recall") && len(metrics) < mostDoses {
			metrics = append(metrics, m.Name)
		}
	}
	var list []shown
	for i, s := range r.Table.Sweeps[:min(len(r.Table.Sweeps), mostSweeps)] {
		for k, factor := range s.Factors {
			f, ok := figure.DoseResponse(r.Table, s, k, metrics)
			if !ok {
				continue
			}
			caption := fmt.Sprintf("What %s does in “%s”: means and, small, the seeds. ", factor.Name, s.Arm)
			if b := bars(tested(levels(r.Table, metrics...))); b != "" {
				caption += b + " They belong to each level alone. Differences between levels are paired by seed, so that they can be significant where bars overlap. "
			}
			if len(s.Factors) > 1 {
				caption += "A line for each combination of levels of the other axes: parallel lines do not interact. "
			}
			list = append(list, shown{Name: fmt.Sprintf("dose-%d-%s", i+1, format.Axis(factor.Name)), Section: "effects", figure: f,
				Caption: caption + "Dashed: “" + r.Table.Reference + "”, with its interval as a band."})
		}
	}
	return list
}

// frontCaption returns the caption of the figure of the front.
func frontCaption(t *compare.Table) string {
	s := "Alignment against fidelity; small glyphs are single seeds. "
	if f := t.Front; f != nil {
		more := ""
		if slices.ContainsFunc(t.Rows, func(r compare.Row) bool { return len(r.Trials) > len(f.Seeds) }) {
			more = " (the table has all seeds)"
		}
		s = fmt.Sprintf("Alignment against fidelity: means over the %s that all rows share%s; small glyphs are single seeds. ", format.Count(len(f.Seeds), "seed"), more)
	}
	if b := bars(tested(levels(t, "alignment", "fidelity.recall"))); b != "" {
		s += b + " "
	}
	if f := t.Front; f != nil {
		s += "Grey steps: the front, the rows that no other row beats in both means. Controls are left out of it, and where one of them is better, there is no line. "
	}
	if slices.ContainsFunc(t.Sweeps, func(s compare.Sweep) bool { return len(s.Factors) == 1 }) {
		s += "Dotted: an arm along its axis. "
	}
	return s + "Grey glyphs: rows that are not named here."
}

// training returns the figures of training curves. Losses of different objectives are not
// comparable and are in separate figures.
func (r Report) training() []shown {
	var list []shown
	for _, c := range []struct{ stage, metric, name, caption string }{
		{"finetune", "loss", "finetune-loss", "Fine-tuning%s: loss, mean since the point before."},
		{"finetune", "effective sample size", "finetune-ess", "Fine-tuning%s: effective sample size of the weights in a batch. Soft weights leave bad images in."},
		{"pretrain", "loss", "pretrain-loss", "Pretraining%s: loss. Rows that share it are one line."},
		{"reward", "loss", "reward-loss", "Reward%s: loss."},
	} {
		all := compare.Curves(r.Table, r.Trials, r.Curves, c.stage, c.metric)
		var objectives []string
		for _, k := range all {
			if c.metric == "loss" && !slices.Contains(objectives, k.Objective) {
				objectives = append(objectives, k.Objective)
			}
		}
		if len(objectives) < 2 {
			objectives = []string{""}
		}
		for _, o := range objectives {
			mine := slices.DeleteFunc(slices.Clone(all), func(k compare.Curve) bool { return len(objectives) > 1 && k.Objective != o })
			f, ok := figure.Curves(r.Table, mine, c.metric)
			if !ok {
				continue
			}
			name, by := c.name, ""
			if o != "" {
				name, by = name+"-"+strings.ReplaceAll(o, "+", "-"), " by "+o
			}
			list = append(list, shown{Name: name, Section: "training", figure: f,
				Caption: fmt.Sprintf(c.caption, by) + " Bands: 95% of the mean over seeds, for each step by itself, on the log scale where all values are positive; with fewer than three seeds, from the least to the greatest."})
		}
	}
	return list
}

// levels returns the cells of all rows in metrics.
func levels(t *compare.Table, metrics ...string) []compare.Cell {
	var out []compare.Cell
	for _, m := range metrics {
		for _, r := range t.Rows {
			out = append(out, r.Cells[m])
		}
	}
	return out
}

func differences(t *compare.Table, metric string) []compare.Cell {
	var out []compare.Cell
	for _, r := range t.Rows {
		out = append(out, r.Differences[metric].Cell)
	}
	return out
}

func effects(s compare.Sweep, metric string) []compare.Cell {
	var out []compare.Cell
	for _, e := range s.Effects {
		if e.Metric == metric {
			out = append(out, e.Cell)
		}
	}
	return out
}

// tested returns the cells that have an interval over seeds.
func tested(cells []compare.Cell) []compare.Cell {
	return slices.DeleteFunc(cells, func(c compare.Cell) bool { return !c.Tested() })
}

// bars returns a sentence on what the intervals of a figure are over, empty if it has
// none.
func bars(cells []compare.Cell) string {
	var over []string
	only := ""
	for _, c := range cells {
		if c.Interval == "" || slices.Contains(over, c.Interval) {
			continue
		}
		over = append(over, c.Interval)
		if !c.Tested() {
			only = ", for these seeds only"
		}
	}
	if over == nil {
		return ""
	}
	return "Bars: 95% over " + strings.Join(over, ", or over ") + only + "."
}
