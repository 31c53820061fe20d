package format

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"ablate/analysis/compare"
)

// Note returns a note as one or two sentences.
func Note(n compare.Note) string {
	list := strings.Join(n.Names, ", ")
	switch n.Kind {
	case compare.Control:
		return "Control: its weights are the gold's own verdicts, which no method could have."
	case compare.Declared:
		return "Control: the study declares the row a control; it is on no front, and the answer does not name it."
	case compare.SelectedOn:
		return "The images were selected by this score, which is therefore too high to be compared."
	case compare.Pending:
		return "Some seeds have no result yet; the value is over those that have one."
	case compare.NoValue:
		return fmt.Sprintf("%d of %s have no value, because an engine failed for them; the others count.", n.N, Count(n.Of, "image"))
	case compare.Overlapping:
		return fmt.Sprintf("The model was also trained on %d of the %s of its evaluation, which the study allows.", n.N, Count(n.Of, "prompt"))
	case compare.Rewarding:
		return fmt.Sprintf("Judge %s is its reward, too: no independent judgement.", list)
	case compare.SameWeights:
		return fmt.Sprintf("The gold reads the weights %s, which its reward reads, too: no independent judgement.", list)
	case compare.Unseeded:
		return fmt.Sprintf("'%s' of engine %s has no seed: the value is not paired by noise, and would be another one if it were computed again.", n.Names[1], n.Names[0])
	case compare.Resumed:
		return fmt.Sprintf("A training by engine %s was stopped and went on, which this engine does only approximately.", n.Names[0])
	case compare.Moved:
		return fmt.Sprintf("A training by engine %s was stopped and went on with other %s.", n.Names[0], n.Names[1])
	case compare.Undefined:
		return fmt.Sprintf("Survivors only: %d of %s have a value, and the metric is not defined for the others.", n.N, Count(n.Of, "seed"))
	case compare.Diverged:
		return fmt.Sprintf("Survivors only: %d of %s have a value; the training of seed %s diverged.", n.N, Count(n.Of, "seed"), list)
	case compare.Damaged:
		return fmt.Sprintf("The result of seed %s is damaged in the store and left out; 'ablate run' computes it again.", list)
	case compare.Unequal:
		return fmt.Sprintf("The value of %s depends on the number of samples: rows with %d and %d samples are not compared.", list, n.N, n.Of)
	case compare.Constant:
		return "Same for all seeds (computed, not measured)."
	case compare.NoSamples:
		return "The values by prompt are missing, so that there is no interval for other prompts."
	case compare.FewPrompts:
		return fmt.Sprintf("No interval: its prompts count as %d equal ones, and ten are needed.", n.N)
	case compare.Outlier:
		return fmt.Sprintf("Seed %s differs from the others (Grubbs' test, 1%%): the interval does not cover what such seeds do.", list)
	case compare.FewPairs:
		return fmt.Sprintf("With %d seeds a sign test cannot fall below p = %s; significance rests on differences that are normally distributed over seeds.", n.N, strings.TrimPrefix(strconv.FormatFloat(n.Share, 'f', -1, 64), "0"))
	case compare.FewSeeds:
		over := "images: how the value would vary with other noise, for these seeds and prompts only"
		if list == compare.OverPrompts {
			over = "prompts: how the value would vary with other prompts, for these seeds only"
		}
		return "With fewer than three seeds there is no interval over seeds and no test. Intervals are over " + over + "."
	case compare.NoSpread:
		return "(a b): the values of the seeds, where no interval can be computed."
	case compare.Absent:
		return "– : no result: the run is missing or failed, its training diverged, or the metric is not defined for it."
	case compare.Environments:
		return fmt.Sprintf("The rows were computed in %d different environments (processor, driver, plugin, threads or flags), so that their last digits may differ for that alone. Column environment of trials.arrow has which.", n.N)
	case compare.Mixed:
		what := map[string]string{"source": "versions of the program", "packages": "sets of packages", "hardware": "kinds of hardware"}[n.Names[1]]
		return fmt.Sprintf("Results of engine %s were made with %d %s, so that rows may differ for that alone ('ablate explain' has which).", n.Names[0], n.N, what)
	case compare.Unprobed:
		return fmt.Sprintf("Engine %s was never probed, so that its promises (%s) are not checked ('ablate probe --study').", n.Names[0], n.Names[1])
	case compare.Refuted:
		return fmt.Sprintf("A probe of engine %s found broken promises, which do not count: %s.", n.Names[0], strings.Join(n.Names[1:], "; "))
	case compare.ByPrompt:
		return "Images by " + list + " are paired by prompt only, and not by noise: intervals of differences are wider."
	case compare.Judged:
		return fmt.Sprintf("The gold, which judges the images, is the column %s of engine %s. An image that it skips counts as not aligned, and one for which it fails has no value.", n.Names[1], n.Names[0])
	case compare.Graded:
		return fmt.Sprintf("The gold, which judges the images, is the column %s of engine %s, a number from 0 to 1. Alignment is its mean; an image for which the engine fails has no value.", n.Names[1], n.Names[0])
	case compare.Beside:
		return fmt.Sprintf("Judge %s, beside the gold, is the column %s of engine %s.", n.Names[0], n.Names[2], n.Names[1])
	case compare.Labelled:
		return "The gold also labels the images on which rewards are learned: the labels have the declared errors, the verdicts on evaluation images have none."
	case compare.Features:
		with := ""
		if len(n.Names) > 2 {
			with = " (" + strings.Join(n.Names[2:], ", ") + ")"
		}
		return fmt.Sprintf("Fidelity is measured on features by engine %s%s, against one half of the %s in %s. Real against real is the other half against the same one.", n.Names[0], with, Count(n.N, "image"), n.Names[1])
	case compare.Computed:
		return fmt.Sprintf("Engine %s is %s, files %s; %s.", n.Names[0], n.Names[1], n.Names[2], n.Names[3])
	case compare.SameParser:
		return "One program (the parser) labels training images and judges evaluation images: the labels have the declared errors, the verdicts have none. Images that it cannot read count as not aligned."
	case compare.ImportedFrom:
		return "The runs were imported (" + list + "): this program did not compute them."
	case compare.Guessed:
		return "Assumed, because the study does not declare it: " + strings.Join(n.Names, "; ") + ". Correct it in the study's file."
	case compare.Confounded:
		return "Differences that cannot be attributed to one parameter: " + strings.Join(n.Names, "; ") + "."
	case compare.PickedOn:
		seeds := "seed"
		if len(n.Names) > 4 {
			seeds = "seeds"
		}
		return fmt.Sprintf("%q is %s, chosen by %s on %s %s; its values are on other seeds. The arm's points are on the seeds of the choice, and enter no test.", n.Names[0], n.Names[1], n.Names[2], seeds, strings.Join(n.Names[3:], ", "))
	case compare.NoPick:
		return fmt.Sprintf("No point of %q is chosen yet: some have no result on the seeds of the choice.", list)
	case compare.Looked:
		return "The study may stop after " + list + " seeds: p values and intervals hold over all of these looks, so that stopping early costs no false alarms."
	case compare.Unsettled:
		return "More seeds may settle the comparisons of: " + strings.Join(n.Names, "; ") + " ('ablate run --until significant' adds them)."
	case compare.StoppedEarly:
		return fmt.Sprintf("%d of %s stopped early, because others had a higher proxy at that step. They have no values, and tests are corrected for them as for rows that were compared. The rows that went on were chosen by their proxy, so that their proxy values are biased upwards.", n.N, are(n.Of, "row"))
	case compare.Moderated:
		return "Standard deviations of differences are moderated over the rows of a metric (after Smyth 2004)."
	}
	return string(n.Kind)
}

// are returns "1 row was" or "3 rows were".
func are(n int, of string) string {
	if n == 1 {
		return "1 " + of + " was"
	}
	return Count(n, of) + " were"
}

// Stopped describes how a row was stopped early.
func Stopped(s compare.Stopped) string {
	if s.Proxy == nil {
		return fmt.Sprintf("stopped at step %d", s.Step)
	}
	return fmt.Sprintf("stopped at step %d (proxy %s)", s.Step, Number(0, *s.Proxy))
}

// Levels returns a sentence on what a table's intervals over seeds generalize to, "" if
// it has none.
func Levels(t *compare.Table) string {
	for _, r := range t.Rows {
		for _, c := range r.Cells {
			if c.Tested() {
				return levels(t)
			}
		}
	}
	return ""
}

func levels(t *compare.Table) string {
	return intervals(t) + subset(t)
}

// subset returns a sentence on rows that have fewer seeds than the reference.
func subset(t *compare.Table) string {
	i := slices.IndexFunc(t.Rows, func(r compare.Row) bool { return r.Label == t.Reference })
	if i < 0 || !slices.ContainsFunc(t.Rows, func(r compare.Row) bool { return len(r.Trials) < len(t.Rows[i].Trials) && len(r.Differences) > 0 }) {
		return ""
	}
	return fmt.Sprintf(" A row with fewer seeds than %q is compared with it on those seeds alone, so that its difference is not that of the two means.", short(t, t.Reference))
}

func intervals(t *compare.Table) string {
	if t.Prompts == compare.Sampled {
		return "Intervals: 95%, over seeds and prompts (prompts stand for others of their kind); over seeds alone where a metric has no prompts."
	}
	return "Intervals: 95%, over seeds, for these prompts."
}

// Significance returns a sentence on the meaning of * in a table.
func Significance(t *compare.Table) string {
	if t.Family == 0 {
		return ""
	}
	over := "rows"
	if len(t.Contrasts) > 0 {
		over = "rows and contrasts"
	}
	return fmt.Sprintf("* significant: p < .05 after Holm's correction over %s (%s × %s). Other metrics are exploratory. Intervals are not corrected.", Count(t.Family, "comparison"), over, strings.Join(primary(t), ", "))
}

// primary returns the labels of the primary metrics.
func primary(t *compare.Table) (out []string) {
	for _, m := range t.Metrics {
		if m.Primary {
			out = append(out, m.Label)
		}
	}
	return out
}

// Detect returns sentences on how many seeds are needed to find the differences that
// compare.detect declares.
func Detect(t *compare.Table) []string {
	var out []string
	for _, d := range t.Detect {
		name := d.Metric
		if m, ok := t.Metric(d.Metric); ok {
			name = m.Label
		}
		after := "after correction"
		if t.Planned > t.Family {
			after = fmt.Sprintf("corrected for the %s that three seeds make possible", Count(t.Planned, "comparison"))
		}
		of := fmt.Sprintf("a difference of %s in %s (80%% power, %s)", Size(t.Digits(d.Metric), d.Size), name, after)
		bound := ""
		if d.AtMost > 0 {
			bound = fmt.Sprintf(", up to %d at the upper 80%% bound of the SD", d.AtMost)
		}
		switch {
		case d.Row == "":
			out = append(out, fmt.Sprintf("This study looks for a difference of %s in %s. How many seeds find it is known when two seeds have run.", Size(t.Digits(d.Metric), d.Size), name))
		case d.Needs == 0 && d.MorePrompts == 0:
			out = append(out, fmt.Sprintf("More than 10,000 seeds would be needed to find %s in %q.", of, short(t, d.Row)))
		case d.Needs == 0:
			out = append(out, fmt.Sprintf("No number of seeds finds %s for %q: %.1f times as many prompts would.", of, short(t, d.Row), d.MorePrompts))
		case d.Needs > d.Have:
			out = append(out, fmt.Sprintf("To find %s, %q needs most: %s (has %d)%s.", of, short(t, d.Row), Count(d.Needs, "seed"), d.Have, bound))
		default:
			out = append(out, fmt.Sprintf("%s are enough to find %s: %d are needed%s.", Count(d.Have, "seed"), of, d.Needs, bound))
		}
	}
	return out
}

// Resolving returns a sentence for each metric on the smallest differences that a table
// could have found.
func Resolving(t *compare.Table) []string {
	var metrics []string
	sizes := map[string][]string{}
	for _, r := range t.Resolving {
		if sizes[r.Metric] == nil {
			metrics = append(metrics, r.Metric)
		}
		sizes[r.Metric] = append(sizes[r.Metric], fmt.Sprintf("%s (%s of %s)", Number(t.Digits(r.Metric), r.Size), Count(r.Of, "comparison"), Count(r.Seeds, "seed")))
	}
	var out []string
	for _, name := range metrics {
		label := name
		if m, ok := t.Metric(name); ok {
			label = m.Label
		}
		out = append(out, fmt.Sprintf("The median of the smallest differences that could be found in %s (80%% power): %s.", label, strings.Join(sizes[name], ", ")))
	}
	return out
}

// Left returns a sentence on the rows that lack a metric of the front.
func Left(t *compare.Table) string {
	if f := t.Front; f != nil && len(f.Left) > 0 {
		return fmt.Sprintf("The front is over %s, which its rows share; left out, because a metric, a seed or an equal number of samples is missing: %s.", Count(len(f.Seeds), "seed"), strings.Join(f.Left, "; "))
	}
	return ""
}

// Incomplete returns a sentence on why an arm of a table has no effects.
func Incomplete(t *compare.Table, arm string) string {
	return fmt.Sprintf("No main effects for %q: some combinations of its axes are %s, or two of them are one trial.", arm, Missing(t))
}

// Uncrossed returns a sentence on the factors of an arm whose interactions are not estimated; empty if
// there are none.
func Uncrossed(s compare.Sweep) string {
	if len(s.Uncrossed) == 0 {
		return ""
	}
	var pairs []string
	for _, p := range s.Uncrossed {
		pairs = append(pairs, p[0]+" and "+p[1])
	}
	return fmt.Sprintf("Interactions in %q are not estimated for %s: they have more than %d pairs of values.", s.Arm, strings.Join(pairs, ", "), compare.MostPairs)
}

// Missing says why combinations of axes have no values: "left out", or, where rows were
// stopped, "left out or stopped early".
func Missing(t *compare.Table) string {
	if slices.ContainsFunc(t.Rows, func(r compare.Row) bool { return r.Stopped != nil }) {
		return "left out or stopped early"
	}
	return "left out"
}
