package report

import (
	"slices"
	"strings"

	"ablate/analysis/compare"
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
	if features := result.Features(r.Project.Study); features != nil {
		out = append(out, "Fidelity is computed on features of "+strings.Join(features, "; ")+", of the images for the evaluation's prompts and of every other image of the reference folder; the rest of that folder is compared in the same way for the line “real vs. real”. "+
			"Precision, recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020) take the 5 nearest neighbours; the Fréchet distance (Heusel et al. 2017), KID (Bińkowski et al. 2018; cubic kernel) and CMMD (Jayasumana et al. 2024; Gaussian kernel, σ 10, features of unit length) compare distributions. Values on other features, or of other numbers of images, are not comparable with these.")
	}
	if names != nil {
		out = append(out, "Fine-tuning methods of this study: "+strings.Join(names, ", ")+". Every parameter of each row is below; ‘ablate schema’ has the paper and equation of each method.")
	}
	return append(out, statistics(r))
}

// statistics returns a paragraph on how rows are compared.
func statistics(r *result.Result) string {
	levels := "Student's intervals over seeds, for these prompts"
	if r.Ablation.Prompts == compare.Sampled {
		levels = "Student's intervals over seeds, widened because all runs draw images for the same prompts (two-way clustered errors: Cameron, Gelbach & Miller 2011), with categories as strata"
	}
	return "Statistics: shares are averaged and compared on the logit scale, positive unbounded metrics on the log scale; estimates and intervals are transformed back, which makes a mean close to the median over seeds. " +
		"Intervals are 95%: " + levels + "; crossed pretraining and feedback seeds are two random effects. The variance is never estimated as smaller than the variance that the images alone cause. " +
		"Differences are paired by seed. Their standard deviations are moderated over the rows of a metric (after Smyth 2004), and their tests corrected by Holm (1979) over rows and primary metrics."
}
