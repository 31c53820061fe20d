package stage

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"slices"

	"ablate/models/checkpoint"
	"ablate/models/pipeline"
	"ablate/models/random"
	"ablate/models/sampler"
	"ablate/models/shapes"
)

// Evaluate draws images of a model and measures them.
const Evaluate Kind = "evaluate"

var evaluateDef = define(runEvaluate, Def{
	Kind: Evaluate, Revision: 2, Backend: true,
	Inputs: []Input{{Name: ModelInput}, {Name: BaseInput, Optional: true}, {Name: RewardInput, Optional: true}, {Name: EmbedderInput, Optional: true}},
	Files:  slices.Concat(required(imagesFile), tabled(samplesFile, metricsFile)),
})

// Names of the sets of evaluation images: those for the study's prompts, and those for
// captions of held-out real images.
const (
	Alignment = "alignment"
	Fidelity  = "fidelity"
)

// EvaluateParams of an evaluation.
type EvaluateParams struct {
	Seed           int64           `json:"seed" key:"seed.feedback"`
	Images         int             `json:"images" key:"evaluate.images"`
	FidelityImages int             `json:"fidelityImages" key:"evaluate.fidelityImages"`
	BestOf         int             `json:"bestOf" key:"evaluate.bestOf"`
	Scores         string          `json:"scores,omitempty"` // how the best is chosen where bestOf > 1: learned or oracle
	Sampler        sampler.Options `json:"sampler"`
	Distance       DistanceParams  `json:"distance" key:"evaluate.distance"`
}

// DistanceParams of the distance to the pretrained model.
type DistanceParams struct {
	Images int `json:"images"` // drawn ones, and real pairs, that it is estimated from
	Batch  int `json:"batch"`  // of them at a time
}

// A SampleRow is an evaluation image. The fidelity set has no verdict: its
// prompts are imperfect captions.
type SampleRow struct {
	Set      string `json:"set"`
	Index    int    `json:"index"`
	Prompt   string `json:"prompt"`
	Category string `json:"category,omitempty"`
	Seen     bool   `json:"seen,omitempty"`
	Verdict  string `json:"verdict,omitempty"`
	Read     string `json:"read,omitempty"`
}

// Metric is a figure and the number of samples it stands on.
type Metric struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	N     int     `json:"n"`
}

// memory is that of the images, and of the inner products of the real ones, the generated
// ones, and of both.
func (p EvaluateParams) memory() float64 {
	f := float64(p.FidelityImages)
	return drawn(p.Images, p.Sampler) + f*shapes.Pixels + 3*8*f*f
}

func (p EvaluateParams) cost() float64 {
	return float64(p.Images+p.FidelityImages)*float64(p.BestOf)/500 + 4
}

func runEvaluate(ctx context.Context, e *Env, t Task, p EvaluateParams, progress Progress) error {
	_, m, err := readModel(t.in(ModelInput))
	if err != nil {
		return err
	}
	base := m // of the pretrained model itself
	if t.has(BaseInput) {
		if _, base, err = readModel(t.in(BaseInput)); err != nil {
			return err
		}
	}
	catalogue := shapes.Prompts()
	entries := make([]shapes.Entry, p.Images)
	prompts := make([]shapes.Prompt, p.Images)
	for i := range entries {
		entries[i] = catalogue.All()[catalogue.Draw(t.stream(p.Seed, "prompt", i), false)]
		prompts[i] = entries[i].Prompt
	}
	real, err := e.reference(p.FidelityImages)
	if err != nil {
		return err
	}
	captions := real.captions

	best := func(set string, prompts []shapes.Prompt) ([]uint8, error) {
		var kept []uint8
		var top []float32
		for j := range p.BestOf {
			purpose := set + " noise"
			if j > 0 {
				purpose = fmt.Sprintf("%s noise %d", set, j)
			}
			images, err := e.draw(ctx, m, prompts, p.Sampler, func(i int, dst []float32) {
				random.Normal(t.stream(p.Seed, purpose, i), dst)
			}, progress)
			if err != nil {
				return nil, err
			}
			if p.BestOf == 1 {
				return images, nil
			}
			var scores []float32
			if p.Scores == "oracle" {
				scores = oracle(images, prompts)
			} else if scores, err = e.proxyScores(t.in(RewardInput), t.in(EmbedderInput), images, prompts); err != nil {
				return nil, err
			}
			if kept == nil {
				kept, top = images, scores
				continue
			}
			for i, s := range scores {
				if s > top[i] {
					top[i] = s
					copy(kept[i*shapes.Pixels:(i+1)*shapes.Pixels], images[i*shapes.Pixels:])
				}
			}
		}
		return kept, nil
	}
	aligned, err := best(Alignment, prompts)
	if err != nil {
		return err
	}
	faithful, err := best(Fidelity, captions)
	if err != nil {
		return err
	}

	rows := make([]SampleRow, 0, p.Images+p.FidelityImages)
	readings := read(aligned)
	for i, r := range readings {
		rows = append(rows, SampleRow{Set: Alignment, Index: i, Prompt: prompts[i].String(), Category: entries[i].Category.String(),
			Seen: entries[i].Seen, Verdict: r.Judge(prompts[i]).String(), Read: r.String()})
	}
	for i := range captions {
		rows = append(rows, SampleRow{Set: Fidelity, Index: i, Prompt: captions[i].String()})
	}
	metrics := alignment(entries, readings)
	f, err := fidelityMetrics(real, faithful)
	if err != nil {
		return err
	}
	metrics = append(append(metrics, f...), diversity(prompts, readings, aligned)...)
	d, err := e.distances(t, p, m, base, aligned, prompts)
	if err != nil {
		return err
	}
	metrics = append(metrics, d...)
	if err := writeImages(t.Out, map[string][]uint8{Alignment: aligned, Fidelity: faithful}); err != nil {
		return err
	}
	if err := checkpoint.WriteJSON(filepath.Join(t.Out, samplesFile), rows); err != nil {
		return err
	}
	return checkpoint.WriteJSON(filepath.Join(t.Out, metricsFile), metrics)
}

// distances are how far the model is from the pretrained one. Choosing the best
// of n adds log n - (n-1)/n to the divergence (Gao et al. 2022, arXiv 2210.10760,
// section 2), whatever it is chosen by; the model's own part is then estimated on the
// images that were selected.
func (e *Env) distances(t Task, p EvaluateParams, m, base *pipeline.Model, images []uint8, prompts []shapes.Prompt) ([]Metric, error) {
	n := min(len(prompts), p.Distance.Images)
	kl, gap := 0., 0.
	if m != base {
		var err error
		if kl, gap, err = e.distance(m, base, images[:n*shapes.Pixels], prompts[:n], p.Distance.Images, p.Distance.Batch, p.Seed, string(t.Kind)); err != nil {
			return nil, err
		}
		if kl-kl != 0 || gap-gap != 0 {
			return nil, fmt.Errorf("the distance to the pretrained model is %v, and the gap of their losses %v: the fine-tuning diverged (a smaller finetune.learningRate helps)", kl, gap)
		}
	}
	if best := float64(p.BestOf); best > 1 {
		kl += math.Log(best) - (best-1)/best
	}
	return []Metric{{"distance.kl", kl, n}, {"distance.gap", gap, p.Distance.Images}}, nil
}

// alignment are the shares of images that the gold calls good: all, seen and
// unseen prompts, and by category. A skip counts as not aligned.
func alignment(entries []shapes.Entry, readings []shapes.Reading) []Metric {
	share := func(name string, in func(shapes.Entry) bool) Metric {
		good, n := 0, 0
		for i, e := range entries {
			if in(e) {
				n++
				if readings[i].Judge(e.Prompt) == shapes.Good {
					good++
				}
			}
		}
		m := Metric{Name: name, N: n}
		if n > 0 {
			m.Value = float64(good) / float64(n)
		}
		return m
	}
	var out []Metric
	group := func(name string, in func(shapes.Entry) bool) {
		out = append(out, share(name, in),
			share(name+".seen", func(e shapes.Entry) bool { return in(e) && e.Seen }),
			share(name+".unseen", func(e shapes.Entry) bool { return in(e) && !e.Seen }))
	}
	group("alignment", func(shapes.Entry) bool { return true })
	for c := shapes.CategoryCount; c <= shapes.CategoryCombination; c++ {
		group("alignment."+c.String(), func(e shapes.Entry) bool { return e.Category == c })
	}
	skipped := Metric{Name: "skipped", N: len(readings)}
	for _, r := range readings {
		if r.Reason != "" {
			skipped.Value++
		}
	}
	skipped.Value /= float64(max(1, skipped.N)) // a count over a count, so that all of them are exactly 1
	return append(out, skipped)
}

// ReadMetrics reads the figures of an evaluate artifact.
func ReadMetrics(dir string) ([]Metric, error) {
	var m []Metric
	err := checkpoint.ReadJSON(filepath.Join(dir, metricsFile), &m, true)
	return m, err
}

// ReadSamples reads the rows of an evaluate artifact.
func ReadSamples(dir string) ([]SampleRow, error) {
	var rows []SampleRow
	err := checkpoint.ReadJSON(filepath.Join(dir, samplesFile), &rows, true)
	return rows, err
}
