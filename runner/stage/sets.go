package stage

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"ablate/models/checkpoint"
	"ablate/runner/world"
)

// Images, verdicts, scores and metrics are stored in sets, one for each model: either one
// set at step 0, or one set for each checkpoint of a fine-tuning, by its step. All sets
// of an artifact have the same prompts.

// An ImageSet has the images of a model, uint8[n, Size, Size, Channels], one for each
// prompt.
type ImageSet struct {
	Step   int
	Images []uint8
}

// A VerdictSet has the verdicts on the images of a set: labels, or numbers from 0 to 1.
type VerdictSet struct {
	Step    int        `json:"step"`
	Labels  []string   `json:"labels,omitzero"`   // world.Good, world.Bad or world.Skip; empty where an engine gave none
	Numbers []*float64 `json:"numbers,omitempty"` // null where an engine gave none
	Read    []string   `json:"read"`              // description of what the judge recognised in each image, or why there is no verdict
}

// Values returns the value of each image: its number, or 1 for the label good and 0 for others; NaN
// where there is none.
func (s VerdictSet) Values() []float64 {
	out := make([]float64, len(s.Read))
	for i := range out {
		switch {
		case s.Numbers != nil && s.Numbers[i] != nil:
			out[i] = *s.Numbers[i]
		case s.Numbers != nil || s.Labels[i] == "":
			out[i] = math.NaN()
		case s.Labels[i] == world.Good:
			out[i] = 1
		}
	}
	return out
}

// Scores returns Values as scores.
func (s VerdictSet) Scores() []float32 {
	out := make([]float32, len(s.Read))
	for i, x := range s.Values() {
		out[i] = float32(x)
	}
	return out
}

// A ScoreSet has the scores of the images of a set.
type ScoreSet struct {
	Step    int
	Scores  []float32 // scores by the reward or by the gold; NaN where an engine gave none
	Cosines []float32 // cosines of image and prompt by the embedder alone; nil if the gold scores
}

// A MetricSet has the metrics of a set.
type MetricSet struct {
	Step    int      `json:"step"`
	Metrics []Metric `json:"metrics"`
}

// Metric is a value and the number of samples that it was computed from.
type Metric struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	N     int     `json:"n"`
}

// Only returns the set of an artifact that must have exactly one. Its arguments are the
// results of a reader.
func Only[S any](sets []S, err error) (S, error) {
	var none S
	if err != nil {
		return none, err
	}
	if len(sets) != 1 {
		return none, fmt.Errorf("the artifact has %d sets; must be one: this is a bug of the program that sends the task", len(sets))
	}
	return sets[0], nil
}

// missing stands for scores and features that an engine did not give, because it failed for the row.
var missing = float32(math.NaN())

// isMissing reports whether a score or the first number of features is missing.
func isMissing(x float32) bool { return x != x }

// tensorName returns the name of the tensor of a set in a file.
func tensorName(base string, step int) string {
	if step == 0 {
		return base
	}
	return fmt.Sprintf("%s %d", base, step)
}

// stepsOf returns the sorted steps of the tensors that tensorName has named with base.
func stepsOf(t map[string]checkpoint.Tensor, base string) []int {
	var steps []int
	for name := range t {
		if name == base {
			steps = append(steps, 0)
		} else if s, ok := strings.CutPrefix(name, base+" "); ok {
			if step, err := strconv.Atoi(s); err == nil && tensorName(base, step) == name {
				steps = append(steps, step)
			}
		}
	}
	slices.Sort(steps)
	return steps
}

const (
	imagesName = "images"
	scoresName = "scores"
	cosineName = "cosines"
)

// WriteImages writes sets of images as an artifact.
func WriteImages(dir string, sets []ImageSet) error {
	t := make(map[string]checkpoint.Tensor, len(sets))
	for _, s := range sets {
		t[tensorName(imagesName, s.Step)] = checkpoint.Bytes(s.Images, len(s.Images)/world.Pixels, world.Size, world.Size, world.Channels)
	}
	return checkpoint.WriteFile(filepath.Join(dir, imagesFile), t)
}

// ReadImages reads the sets of images of an artifact, by step.
func ReadImages(dir string) ([]ImageSet, error) {
	path := filepath.Join(dir, imagesFile)
	t, err := checkpoint.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var sets []ImageSet
	for _, step := range stepsOf(t, imagesName) {
		x := t[tensorName(imagesName, step)]
		if x.DType != "U8" || len(x.Data)%world.Pixels != 0 {
			return nil, fmt.Errorf("%s: tensor %q is not a list of images of %d×%d", path, tensorName(imagesName, step), world.Size, world.Size)
		}
		sets = append(sets, ImageSet{step, x.Data})
	}
	if len(sets) == 0 {
		return nil, fmt.Errorf("%s has no images", path)
	}
	return sets, nil
}

// readImagesOf reads sets of images, one image for each of n prompts.
func readImagesOf(dir string, n int) ([]ImageSet, error) {
	sets, err := ReadImages(dir)
	for _, s := range sets {
		if len(s.Images) != n*world.Pixels {
			return nil, fmt.Errorf("%s has %d images for %d prompts", dir, len(s.Images)/world.Pixels, n)
		}
	}
	return sets, err
}

// readDrawn reads a task's prompts and its sets of images for them.
func readDrawn(t Task) ([]Prompt, []ImageSet, error) {
	prompts, err := ReadPrompts(t.in(PromptsInput))
	if err != nil {
		return nil, nil, err
	}
	sets, err := readImagesOf(t.in(ImagesInput), len(prompts))
	return prompts, sets, err
}

// eachSet calls do with each set of images until ctx ends, and returns the results. what
// names the things that the progress counts.
func eachSet[S any](ctx context.Context, sets []ImageSet, progress Progress, what string, do func(s ImageSet) (S, error)) ([]S, error) {
	out := make([]S, len(sets))
	for k, s := range sets {
		err := context.Cause(ctx)
		if err != nil {
			return nil, err
		}
		progress.count(k, len(sets), what)
		if out[k], err = do(s); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// ReadVerdictsOf reads a judge's artifact with verdicts on one image for each of n
// prompts.
func ReadVerdictsOf(dir string, n int) ([]VerdictSet, error) {
	sets, err := ReadVerdicts(dir)
	for _, s := range sets {
		if len(s.Read) != n {
			return nil, fmt.Errorf("%s has %d verdicts for %d prompts", dir, len(s.Read), n)
		}
	}
	return sets, err
}

// readLabelsOf is ReadVerdictsOf for a judge that gives labels.
func readLabelsOf(dir string, n int) ([]VerdictSet, error) {
	sets, err := ReadVerdictsOf(dir, n)
	if slices.ContainsFunc(sets, func(s VerdictSet) bool { return s.Numbers != nil }) {
		return nil, fmt.Errorf("%s has numbers in the place of labels: this is a bug of the program that sends the task", dir)
	}
	return sets, err
}

// ReadVerdicts reads a judge's artifact.
func ReadVerdicts(dir string) ([]VerdictSet, error) {
	var sets []VerdictSet
	path := filepath.Join(dir, verdictsFile)
	if err := checkpoint.ReadJSON(path, &sets, true); err != nil {
		return nil, err
	}
	for i, s := range sets {
		if i > 0 && s.Step <= sets[i-1].Step {
			return nil, fmt.Errorf("%s: step %d comes after step %d", path, s.Step, sets[i-1].Step)
		}
		if len(s.Labels)+len(s.Numbers) != len(s.Read) || s.Labels != nil && s.Numbers != nil {
			return nil, fmt.Errorf("%s: %d labels and %d numbers of %d images", path, len(s.Labels), len(s.Numbers), len(s.Read))
		}
		for i, x := range s.Numbers {
			if x != nil && !(*x >= 0 && *x <= 1) {
				return nil, fmt.Errorf("%s: number %d is %v; must be from 0 to 1", path, i, *x)
			}
		}
		if err := checkLabels(path, slices.DeleteFunc(slices.Clone(s.Labels), func(l string) bool { return l == "" })); err != nil {
			return nil, err
		}
	}
	return sets, nil
}

func checkLabels(path string, labels []string) error {
	for i, s := range labels {
		if s != world.Good && s != world.Bad && s != world.Skip {
			return fmt.Errorf("%s: label %d is %q; must be good, bad or skip", path, i, s)
		}
	}
	return nil
}

// WriteScores writes sets of scores as an artifact.
func WriteScores(dir string, sets []ScoreSet) error {
	t := map[string]checkpoint.Tensor{}
	for _, s := range sets {
		t[tensorName(scoresName, s.Step)] = checkpoint.Floats(s.Scores, len(s.Scores))
		if s.Cosines != nil {
			t[tensorName(cosineName, s.Step)] = checkpoint.Floats(s.Cosines, len(s.Cosines))
		}
	}
	return checkpoint.WriteFile(filepath.Join(dir, scoresFile), t)
}

// ReadScores reads the sets of scores of an artifact, by step.
func ReadScores(dir string) ([]ScoreSet, error) {
	path := filepath.Join(dir, scoresFile)
	t, err := checkpoint.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var sets []ScoreSet
	for _, step := range stepsOf(t, scoresName) {
		s := ScoreSet{Step: step}
		for _, of := range []struct {
			base string
			to   *[]float32
		}{{scoresName, &s.Scores}, {cosineName, &s.Cosines}} {
			name := tensorName(of.base, step)
			x, ok := t[name]
			if !ok {
				continue
			}
			if *of.to, err = x.Float32(); err != nil {
				return nil, fmt.Errorf("%s: %s: %w", path, name, err)
			}
		}
		sets = append(sets, s)
	}
	if len(sets) == 0 {
		return nil, fmt.Errorf("%s: tensor %q is missing", path, scoresName)
	}
	return sets, nil
}

// MeanScore returns the mean of scores and their number, without those that are missing.
func MeanScore[F float32 | float64](scores []F) (mean float64, n int) {
	for _, s := range scores {
		if s == s { // not NaN, which is missing
			mean += float64(s)
			n++
		}
	}
	return mean / float64(max(1, n)), n
}

// ReadMetrics reads the sets of metrics of an artifact, by step.
func ReadMetrics(dir string) ([]MetricSet, error) {
	var sets []MetricSet
	err := checkpoint.ReadJSON(filepath.Join(dir, metricsFile), &sets, true)
	return sets, err
}

// quantizeModel converts a sampler's images from the model's range to bytes. It returns
// an error if a value is not finite, which means that the training of the model diverged.
func quantizeModel(x []float32) ([]uint8, error) {
	if i := notFinite(x); i >= 0 {
		return nil, fmt.Errorf("image %d that the model drew has the value %v: the training diverged (a smaller learning rate helps)", i/world.Pixels, x[i])
	}
	b := make([]uint8, len(x))
	for i, v := range x {
		b[i] = uint8(min(max((v+1)/2, 0), 1)*255 + .5)
	}
	return b, nil
}

// modelRange converts bytes to the model's range, -1 to 1.
func modelRange(b []uint8) []float32 {
	x := make([]float32, len(b))
	fillModelRange(b, x)
	return x
}

func fillModelRange(b []uint8, dst []float32) {
	for i, v := range b {
		dst[i] = float32(v)*(2./255) - 1
	}
}
