package result

import (
	"slices"
	"strings"

	"ablate/analysis/table"
	"ablate/experiments/language"
	"ablate/runner/project"
)

// Metrics returns the columns of metrics of a study's trials.arrow in their order, with unit,
// direction, range and description. The project must have its categories (project.LayOut).
func Metrics(p project.Project) []table.Column {
	var cols []table.Column
	proxy := table.Column{Name: "proxy", Unit: "score", Better: "higher", Range: table.Unit, Doc: "mean score by the base trial's learned reward"}
	if engine := p.Study.Base.Name("reward.program.engine"); engine != "" { // its scores are any numbers
		proxy.Range, proxy.Doc = "", "mean score by the base trial's reward, "+engine+"."+p.Study.Base.Name("reward.program.column")
	}
	features := "fixed random-convolution features"
	if of := Features(p.Study); of != nil {
		features = "features of " + strings.Join(of, "; ")
	}
	judged := table.Column{Unit: "share", Better: "higher", Range: table.Share, Doc: "share of images that the gold judge calls good"}
	numbers, verdicts := p.Study.JudgedBy()
	if numbers {
		judged.Unit, judged.Range, judged.Doc = "score", table.Mean, "mean over images of the number, from 0 to 1, that the gold judge gives"
	}
	if numbers && verdicts {
		judged.Doc += "; a verdict counts as 1 for good and 0 otherwise"
	}
	alignment := func(name, doc string) {
		c := judged
		c.Name, c.Doc = "alignment"+name, doc
		cols = append(cols, c)
	}
	for _, c := range append([]string{""}, p.Categories...) {
		what := "all prompts"
		if c != "" {
			what = c + " prompts"
			c = "." + c
		}
		alignment(c, judged.Doc+", "+what)
		alignment(c+".seen", "the same, prompts that feedback may use")
		alignment(c+".unseen", "the same, held-out prompts")
	}
	// set adds a metric of the fidelity images and its floor NAME.real. depends says that
	// the metric changes with the number of images.
	set := func(name, unit, better, depends, of, doc string) {
		cols = append(cols, table.Column{Name: "fidelity." + name, Unit: unit, Better: better, Depends: depends, Range: of, Doc: doc + ", on " + features},
			table.Column{Name: "fidelity." + name + ".real", Unit: unit, Depends: depends, Range: of, Doc: "the same metric of other real images against real images"})
	}
	cols = append(cols,
		table.Column{Name: "skipped", Unit: "share", Better: "lower", Range: table.Share, Doc: "share of images that the gold judge cannot read; they count as not aligned"},
	)
	for _, j := range p.Study.Judges {
		c := table.Column{Name: j.Metric(), Unit: "share", Better: "higher", Range: table.Share, Doc: "share of images that judge " + j.Name + " calls good"}
		if j.Number {
			c.Unit, c.Range, c.Doc = "score", table.Mean, "mean over images of the number, from 0 to 1, that judge "+j.Name+" gives"
		}
		cols = append(cols, c)
	}
	cols = append(cols,
		proxy,
		table.Column{Name: "embedder", Unit: "cosine", Better: "higher", Doc: "mean cosine of image and prompt by the base trial's frozen embedder, which the study trains itself"},
	)
	set("precision", "share", "higher", "n", table.Share, "share of generated images that lie within the 5 nearest neighbours of a real image")
	set("recall", "share", "higher", "n", table.Share, "share of real images that lie within the 5 nearest neighbours of a generated image")
	set("density", "ratio", "higher", "n", table.Positive, "mean number of real images within whose 5 nearest neighbours a generated image lies, divided by 5")
	set("coverage", "share", "higher", "n", table.Share, "share of real images that have a generated image within their 5 nearest neighbours")
	set("frechet", "distance²", "lower", "n", table.Positive, "Fréchet distance to real images")
	set("kid", "MMD²", "lower", "", "", "kernel distance to real images (cubic kernel, unbiased), mean over 100 subsets of at most 1,000")
	set("cmmd", "1000 MMD²", "lower", "n", table.Positive, "kernel distance to real images (Gaussian, σ 10) of features scaled to unit length")
	cols = append(cols,
		table.Column{Name: "diversity", Unit: "ratio", Better: "higher", Range: table.Positive, Doc: "mean distance of two aligned images of one prompt, relative to that of real (rendered) images"},
		table.Column{Name: "diversity.real", Unit: "ratio", Range: table.Positive, Doc: "the same metric of other real images"},
		table.Column{Name: "diversity.vendi", Unit: "images", Better: "higher", Range: table.Positive, Doc: "mean Vendi score of two aligned images of one prompt, over complete prompts with two or more; n counts their images"},
		table.Column{Name: "diversity.vendi.real", Unit: "images", Range: table.Positive, Doc: "the same metric of real images of these prompts"},
		table.Column{Name: "distance.kl", Unit: "nats", Better: "lower", Range: table.Positive, Doc: "estimated Kullback-Leibler divergence from the pretrained model per image, between the denoising processes from t = 0.1 on; choosing the best of n adds log n - (n-1)/n"},
		table.Column{Name: "distance.gap", Unit: "loss", Better: "lower", Doc: "denoising loss on held-out real pairs minus the pretrained model's loss on them"},
		// Metrics of the trial's own reward, on images of the pretrained model that no
		// training saw.
		table.Column{Name: "reward.accuracy", Unit: "share", Better: "higher", Range: table.Share, Doc: "share of held-out images whose noisy label the trial's own reward predicts (good where the score is above .5)"},
		table.Column{Name: "reward.accuracy.seen", Unit: "share", Better: "higher", Range: table.Share, Doc: "the same, prompts that feedback may use"},
		table.Column{Name: "reward.accuracy.unseen", Unit: "share", Better: "higher", Range: table.Share, Doc: "the same, held-out prompts"},
		table.Column{Name: "reward.auc", Unit: "probability", Better: "higher", Range: table.Unit, Doc: "probability that an image labelled good scores above one labelled bad"},
		table.Column{Name: "reward.auc.gold", Unit: "probability", Better: "higher", Range: table.Unit, Doc: "probability that an image that the gold calls good scores above one that it does not"},
		table.Column{Name: "reward.agreement", Unit: "share", Better: "higher", Range: table.Share, Doc: "share of held-out images on which the reward (good where the score is above .5) and the gold agree"},
		table.Column{Name: "reward.ece", Unit: "share", Better: "lower", Range: table.Unit, Doc: "expected calibration error against labels, 10 bins of equal width"},
		table.Column{Name: "embedder.accuracy", Unit: "share", Better: "higher", Range: table.Share, Doc: "like reward.accuracy, for the cosine of the frozen embedder alone; an image counts as good above the threshold that is best on the reward's training labels"},
		table.Column{Name: "embedder.accuracy.seen", Unit: "share", Better: "higher", Range: table.Share, Doc: "the same, prompts that feedback may use"},
		table.Column{Name: "embedder.accuracy.unseen", Unit: "share", Better: "higher", Range: table.Share, Doc: "the same, held-out prompts"},
		table.Column{Name: "embedder.auc", Unit: "probability", Better: "higher", Range: table.Unit, Doc: "like reward.auc, for the embedder's cosine"},
		table.Column{Name: "embedder.auc.gold", Unit: "probability", Better: "higher", Range: table.Unit, Doc: "like reward.auc.gold, for the embedder's cosine"},
		table.Column{Name: "embedder.agreement", Unit: "share", Better: "higher", Range: table.Share, Doc: "like reward.agreement, for the embedder's cosine above its threshold"},
	)
	none := unmeasured(p.Study)
	return slices.DeleteFunc(cols, func(c table.Column) bool { return none(c) || c.Name == "skipped" && numbers && !verdicts })
}

// unmeasured returns a function that reports whether no trial of a study can have a metric, because
// engines compute all of its models.
func unmeasured(s *language.Study) func(table.Column) bool {
	native := len(s.Engines) == 0
	var learns, judges, embeds, rewards bool
	for _, v := range s.Views {
		c := v.Trial.Content
		native = native || c.Name("model.program.engine") == ""
		learns = learns || c.Learns()
		judges = judges || c.Name("evaluate.gold.engine") != ""
		embeds = embeds || c.Name("evaluate.features.engine") != "" && c.Name("evaluate.reference") != ""
		rewards = rewards || c.Learns() || c.Name("reward.program.engine") != ""
	}
	if native {
		return func(table.Column) bool { return false }
	}
	measured := map[string]bool{"distance": false, "diversity": false, "reward": learns, "embedder": learns, "alignment": judges, "skipped": judges, "fidelity": embeds, "proxy": rewards}
	return func(c table.Column) bool {
		group, _, _ := strings.Cut(c.Name, ".")
		has, known := measured[group]
		return known && !has
	}
}
