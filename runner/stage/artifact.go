package stage

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"ablate/models/checkpoint"
	"ablate/models/dit"
	"ablate/models/embedder"
	"ablate/models/nn"
	"ablate/models/pipeline"
	"ablate/models/reward"
	"ablate/models/shapes"
)

// Names of the files of artifacts.
const (
	imagesFile  = "images.safetensors"
	promptsFile = "prompts.json"
	labelsFile  = "labels.json"
	scoresFile  = "scores.safetensors"
	curvesFile  = "curves.json"
	metricsFile = "metrics.json"
	samplesFile = "samples.json"
	probesFile  = "probes.json"
	probesName  = "probes" // set of images that a fine-tuning's probes drew
	assessFile  = "assess.json"

	denoiserFile = "diffusion_pytorch_model.safetensors"
	encoderFile  = "model.safetensors"
)

func unmarshalStrict(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("something follows the value")
	}
	return nil
}

// Curve is one training's course; Values[m][i] is metric m at Steps[i].
type Curve struct {
	Metrics []string    `json:"metrics"`
	Steps   []int       `json:"steps"`
	Values  [][]float64 `json:"values"`
}

// newCurve makes room for a curve.
func newCurve(metrics ...string) *Curve {
	return &Curve{Metrics: metrics, Values: make([][]float64, len(metrics))}
}

func (c *Curve) add(step int, values ...float64) {
	c.Steps = append(c.Steps, step)
	for i, v := range values {
		c.Values[i] = append(c.Values[i], v)
	}
}

// mean keeps a running mean of a step's figures between two points of a curve.
type mean struct {
	sums []float64
	n    int
}

func (m *mean) add(values ...float64) {
	if m.sums == nil {
		m.sums = make([]float64, len(values))
	}
	for i, v := range values {
		m.sums[i] += v
	}
	m.n++
}

func (m *mean) take() []float64 {
	out := make([]float64, len(m.sums))
	for i, s := range m.sums {
		out[i] = s / float64(m.n)
		m.sums[i] = 0
	}
	m.n = 0
	return out
}

// ReadCurve reads the curve of an artifact that has one.
func ReadCurve(dir string) (*Curve, error) { return readCurve(filepath.Join(dir, curvesFile)) }

// ReadProbes reads what a fine-tuning's probes saw: the gold's and the distances
// in its own artifact, the proxy's in that of the proxy.
func ReadProbes(dir string) (*Curve, error) { return readCurve(filepath.Join(dir, probesFile)) }

func readCurve(path string) (*Curve, error) {
	var c Curve
	if err := checkpoint.ReadJSON(path, &c, true); err != nil {
		return nil, err
	}
	for _, v := range c.Values {
		if len(v) != len(c.Steps) || len(c.Values) != len(c.Metrics) {
			return nil, fmt.Errorf("%s: its columns differ in length", path)
		}
	}
	return &c, nil
}

// writeImages stores sets of images by name.
func writeImages(dir string, sets map[string][]uint8) error {
	t := make(map[string]checkpoint.Tensor, len(sets))
	for name, b := range sets {
		t[name] = checkpoint.Bytes(b, len(b)/shapes.Pixels, shapes.Size, shapes.Size, 3)
	}
	return checkpoint.WriteFile(filepath.Join(dir, imagesFile), t)
}

// ReadImages reads a set of images uint8[n, 16, 16, 3] of an artifact.
func ReadImages(dir, set string) ([]uint8, error) {
	path := filepath.Join(dir, imagesFile)
	t, err := checkpoint.ReadFile(path)
	if err != nil {
		return nil, err
	}
	x, ok := t[set]
	if !ok || x.DType != "U8" || len(x.Data)%shapes.Pixels != 0 {
		return nil, fmt.Errorf("%s: no images %q", path, set)
	}
	return x.Data, nil
}

func readPrompts(dir string) ([]shapes.Prompt, error) {
	var list []string
	path := filepath.Join(dir, promptsFile)
	if err := checkpoint.ReadJSON(path, &list, true); err != nil {
		return nil, err
	}
	out := make([]shapes.Prompt, len(list))
	for i, s := range list {
		p, err := shapes.ParsePrompt(s)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		out[i] = p
	}
	return out, nil
}

func promptStrings(prompts []shapes.Prompt) []string {
	out := make([]string, len(prompts))
	for i, p := range prompts {
		out[i] = p.String()
	}
	return out
}

func writeScores(dir string, scores map[string][]float32) error {
	t := map[string]checkpoint.Tensor{}
	for name, x := range scores {
		t[name] = checkpoint.Floats(x, len(x))
	}
	return checkpoint.WriteFile(filepath.Join(dir, scoresFile), t)
}

// Names of the scores of an artifact: the reward's, and, of evaluation images,
// the embedder's, which is the cosine of image and prompt.
const (
	scoresName = "scores"
	cosineName = "embedder"
)

// MeanScore is the mean of scores.
func MeanScore(scores []float32) float64 {
	var sum float64
	for _, s := range scores {
		sum += float64(s)
	}
	return sum / float64(len(scores))
}

// ReadScores reads the scores float32[n] of a score or proxy artifact.
func ReadScores(dir string) ([]float32, error) { return readScores(dir, scoresName) }

// ReadCosines reads the embedder's scores float32[n] of a proxy artifact.
func ReadCosines(dir string) ([]float32, error) { return readScores(dir, cosineName) }

func readScores(dir, name string) ([]float32, error) {
	path := filepath.Join(dir, scoresFile)
	t, err := checkpoint.ReadFile(path)
	if err != nil {
		return nil, err
	}
	x, ok := t[name]
	if !ok {
		return nil, fmt.Errorf("%s: tensor %q is missing", path, name)
	}
	f, err := x.Float32()
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", path, name, err)
	}
	return f, nil
}

// weightsOf lays parameters out for a file, without the prefix of their names.
func weightsOf(params []nn.Param, v nn.Values, prefix string) map[string]checkpoint.Tensor {
	t := make(map[string]checkpoint.Tensor, len(params))
	for _, p := range params {
		t[p.Name] = checkpoint.Floats(v[prefix+p.Name], p.Shape...)
	}
	return t
}

// readWeights reads the parameters of a component into v.
func readWeights(path string, params []nn.Param, prefix string, v nn.Values) error {
	t, err := checkpoint.ReadFile(path)
	if err != nil {
		return err
	}
	for _, p := range params {
		x, ok := t[p.Name]
		if !ok {
			return fmt.Errorf("%s: tensor %q is missing", path, p.Name)
		}
		f, err := x.Float32()
		if err != nil {
			return fmt.Errorf("%s: tensor %q: %w", path, p.Name, err)
		}
		if len(f) != p.Size() {
			return fmt.Errorf("%s: tensor %q has shape %v, the configuration needs %v", path, p.Name, x.Shape, p.Shape)
		}
		v[prefix+p.Name] = f
	}
	return nil
}

// Class of the denoiser in model_index.json and its config.json.
const denoiserClass = "ShapesTransformer2DModel"

type denoiserConfig struct {
	Class string `json:"_class_name"`
	dit.Config
}

const textPrefix = "text_encoder."

// writeModel writes a model as a checkpoint folder in the manner of diffusers.
func writeModel(dir string, c dit.Config, net pipeline.Network, v nn.Values) error {
	index := map[string]any{
		"_class_name":  "ShapesPipeline",
		"transformer":  []string{"ablate", denoiserClass},
		"text_encoder": []string{"ablate", "ShapesTextEncoder"},
		"scheduler":    []string{"diffusers", "FlowMatchEulerDiscreteScheduler"},
	}
	if err := checkpoint.WriteJSON(filepath.Join(dir, "model_index.json"), index); err != nil {
		return err
	}
	scheduler := map[string]any{
		"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "shift": 1.5, "prediction_type": "sample",
	}
	if err := checkpoint.WriteJSON(filepath.Join(dir, "scheduler", "scheduler_config.json"), scheduler); err != nil {
		return err
	}
	cfg := denoiserConfig{denoiserClass, c}
	if err := checkpoint.WriteComponent(filepath.Join(dir, "transformer"), denoiserFile, cfg, weightsOf(net.Params, v, "")); err != nil {
		return err
	}
	text := map[string]any{"_class_name": "ShapesTextEncoder", "vocab_size": c.Vocabulary, "hidden_size": c.TextWidth}
	return checkpoint.WriteComponent(filepath.Join(dir, "text_encoder"), encoderFile, text, weightsOf(net.TextParams, v, textPrefix))
}

// readModel reads a checkpoint folder of the shapes world.
func readModel(dir string) (dit.Config, *pipeline.Model, error) {
	var cfg denoiserConfig
	path := filepath.Join(dir, "transformer", "config.json")
	if err := checkpoint.ReadJSON(path, &cfg, true); err != nil {
		return dit.Config{}, nil, err
	}
	if cfg.Class != denoiserClass {
		return dit.Config{}, nil, fmt.Errorf("%s: _class_name is %q: this version runs %s only", path, cfg.Class, denoiserClass)
	}
	if err := cfg.Check(); err != nil {
		return dit.Config{}, nil, fmt.Errorf("%s: %w", path, err)
	}
	if cfg.ImageSize != shapes.Size || cfg.Channels != 3 || cfg.Vocabulary != shapes.Vocabulary() {
		return dit.Config{}, nil, fmt.Errorf("%s: images of %d×%d×%d and %d words are not those of the shapes world", path, cfg.ImageSize, cfg.ImageSize, cfg.Channels, cfg.Vocabulary)
	}
	net := pipeline.Shapes(cfg.Config)
	m := &pipeline.Model{Network: net, Weights: nn.Values{}}
	if err := readWeights(filepath.Join(dir, "transformer", denoiserFile), net.Params, "", m.Weights); err != nil {
		return dit.Config{}, nil, err
	}
	err := readWeights(filepath.Join(dir, "text_encoder", encoderFile), net.TextParams, textPrefix, m.Weights)
	return cfg.Config, m, err
}

func writeEmbedder(dir string, c embedder.Config, v nn.Values) error {
	return checkpoint.WriteComponent(filepath.Join(dir, "embedder"), encoderFile, c, weightsOf(c.Params(), v, ""))
}

func readEmbedder(dir string) (embedder.Config, nn.Values, error) {
	var c embedder.Config
	path := filepath.Join(dir, "embedder", "config.json")
	if err := checkpoint.ReadJSON(path, &c, true); err != nil {
		return c, nil, err
	}
	if err := c.Check(); err != nil {
		return c, nil, fmt.Errorf("%s: %w", path, err)
	}
	v := nn.Values{}
	err := readWeights(filepath.Join(dir, "embedder", encoderFile), c.Params(), "", v)
	return c, v, err
}

// rewardConfig is config.json of a learned reward. Members are the perceptrons
// of an ensemble; 0, where there is none, stands for one.
type rewardConfig struct {
	reward.Config
	reward.Use
	Members int `json:"members,omitempty"`
}

// memberPrefix of the tensors' names; one member alone has none.
func memberPrefix(k, members int) string {
	if members <= 1 {
		return ""
	}
	return fmt.Sprintf("members.%d.", k)
}

func writeReward(dir string, m *reward.Model) error {
	c := rewardConfig{Config: m.Config, Use: m.Use}
	if len(m.Members) > 1 {
		c.Members = len(m.Members)
	}
	t := map[string]checkpoint.Tensor{}
	for k, v := range m.Members {
		for name, x := range weightsOf(m.Params(), v, "") {
			t[memberPrefix(k, c.Members)+name] = x
		}
	}
	return checkpoint.WriteComponent(filepath.Join(dir, "reward"), encoderFile, c, t)
}

func readReward(dir string) (*reward.Model, error) {
	var c rewardConfig
	path := filepath.Join(dir, "reward", "config.json")
	if err := checkpoint.ReadJSON(path, &c, true); err != nil {
		return nil, err
	}
	if err := c.Check(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if c.Members < 0 || c.Members > 1<<10 || c.Penalty < 0 || c.Temperature < 0 || c.Contrasts < 0 {
		return nil, fmt.Errorf("%s: a reward of %d members, penalty %v and %d contrasts at temperature %v: none may be negative",
			path, c.Members, c.Penalty, c.Contrasts, c.Temperature)
	}
	var params []nn.Param
	for k := range max(c.Members, 1) {
		for _, p := range c.Params() {
			p.Name = memberPrefix(k, c.Members) + p.Name
			params = append(params, p)
		}
	}
	flat := nn.Values{}
	if err := readWeights(filepath.Join(dir, "reward", encoderFile), params, "", flat); err != nil {
		return nil, err
	}
	m := &reward.Model{Config: c.Config, Use: c.Use}
	for k := range max(c.Members, 1) {
		v := nn.Values{}
		for _, p := range c.Params() {
			v[p.Name] = flat[memberPrefix(k, c.Members)+p.Name]
		}
		m.Members = append(m.Members, v)
	}
	return m, nil
}
