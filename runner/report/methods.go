package report

import (
	"slices"
	"strings"

	"ablate/analysis/compare"
	"ablate/reports/format"
	"ablate/runner/result"
	"ablate/runner/world"
)

// methods returns paragraphs on how the study's results were computed.
func methods(r *result.Result) []string {
	var names, out []string
	shapes := false
	for _, v := range r.Project.Study.Views {
		shapes = shapes || v.Trial.Content.Name("model.program.engine") == ""
		if m, ok := v.Trial.Content.Value("finetune.method"); ok && m != "none" {
			if name := m.(string); v.Trial.Content.Name("finetune.engine") == "" && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	if shapes {
		out = world.Methods()
	}
	if len(r.Project.Study.Engines) > 0 {
		out = append(out, ofEngines(r)...)
	}
	if names != nil {
		out = append(out, "Fine-tuning methods of this study: "+strings.Join(names, ", ")+". Every parameter of each row is below; ‘ablate schema’ has the paper and equation of each method.")
	}
	return append(out, statistics(r))
}

// ofEngines returns paragraphs on how engines computed the study's results.
func ofEngines(r *result.Result) []string {
	base := r.Project.Study.Base
	evaluated, trained := "the prompts of "+base.Name("prompts.evaluate")+" in their order, and again from the first if there are more images than prompts.", "the prompts of "+base.Name("prompts.train")
	if g := base.Name("prompts.grammar"); g != "" {
		evaluated, trained = "held-out prompts of the grammar "+g+".", "the other prompts of the grammar "+g
	}
	out := []string{"Images: engines, which are programs that the study names, load the model, draw its images, fine-tune it, score and judge images and compute features. " +
		"This program chooses prompts, seeds and training images, and compares the results. Evaluation images are drawn for " + evaluated + " All rows of one seed have the same prompts and the same seed for each image."}
	if base.Name("prompts.train") != "" || base.Name("prompts.grammar") != "" {
		out = append(out, "Training: images for fine-tuning are drawn by the model as it was loaded, for "+trained+", and weighted or chosen by the scores of the row’s reward, or alike where it has none. "+
			"No training is given the gold, or prompts or images of the evaluation. Every parameter of each row is below.")
	}
	evaluation := "Evaluation:"
	for _, n := range r.Ablation.Notes {
		switch n.Kind {
		case compare.Judged, compare.Graded, compare.Labelled, compare.Features:
			evaluation += " " + format.Note(n)
		}
	}
	if evaluation != "Evaluation:" {
		out = append(out, evaluation)
	}
	if slices.ContainsFunc(r.Ablation.Notes, func(n compare.Note) bool { return n.Kind == compare.Features }) {
		out = append(out, "Fidelity: precision, recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020) take the 5 nearest neighbours; the Fréchet distance (Heusel et al. 2017), KID (Bińkowski et al. 2018; cubic kernel) and CMMD (Jayasumana et al. 2024; Gaussian kernel, σ 10, features of unit length) compare distributions. Values on other features, or of other numbers of images, are not comparable with these.")
	}
	return out
}

// statistics returns a paragraph on how rows are compared.
func statistics(r *result.Result) string {
	levels := "Student's intervals over seeds, for these prompts"
	if r.Ablation.Prompts == compare.Sampled {
		levels = "Student's intervals over seeds, widened because all runs draw images for the same prompts (two-way clustered errors: Cameron, Gelbach & Miller 2011), with categories as strata"
	}
	shares := "shares"
	if numbers, _ := r.Project.Study.JudgedBy(); numbers {
		shares += ", and means of numbers from 0 to 1,"
	}
	return "Statistics: " + shares + " are averaged and compared on the logit scale, positive unbounded metrics on the log scale; estimates and intervals are transformed back, which makes a mean close to the median over seeds. " +
		"Intervals are 95%: " + levels + "; crossed pretraining and feedback seeds are two random effects. The variance is never estimated as smaller than the variance that the images alone cause. " +
		"Differences are paired by seed. Their standard deviations are moderated over the rows of a metric (after Smyth 2004), and their tests corrected by Holm (1979) over rows and primary metrics."
}
