package stage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"ablate/models/checkpoint"
	"ablate/models/dit"
	"ablate/models/embedder"
	"ablate/models/nn"
	"ablate/models/pipeline"
	"ablate/models/reward"
	"ablate/models/train"
	"ablate/runner/world"
)

// Names of the files of artifacts.
const (
	imagesFile   = "images.safetensors"
	promptsFile  = "prompts.jsonl"
	verdictsFile = "verdicts.json"
	labelsFile   = "labels.json"
	scoresFile   = "scores.safetensors"
	curvesFile   = "curves.json"
	metricsFile  = "metrics.json"
	assessFile   = "assess.json"
	tunedFile    = "checkpoint.json"

	indexFile     = "model_index.json"
	schedulerFile = "scheduler/scheduler_config.json"
	denoiserFile  = "diffusion_pytorch_model.safetensors"
	encoderFile   = "model.safetensors"
)

// Files of the components of a checkpoint, in the layout of diffusers.
var (
	modelFiles = []string{indexFile, schedulerFile, "transformer/config.json", "transformer/" + denoiserFile,
		"text_encoder/config.json", "text_encoder/" + encoderFile}
	embedderFiles = []string{"embedder/config.json", "embedder/" + encoderFile}
	rewardFiles   = []string{"reward/config.json", "reward/" + encoderFile}
)

func unmarshalStrict(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("there is more than one value")
	}
	return nil
}

// writeCurve writes a curve. It returns an error if a value is not a number, which means
// that the training diverged.
func writeCurve(path string, c *train.Curve) error {
	if err := c.Check(); err != nil {
		return err
	}
	return checkpoint.WriteJSON(path, c)
}

// ReadCurve reads the training curve of an artifact.
func ReadCurve(dir string) (*train.Curve, error) {
	path := filepath.Join(dir, curvesFile)
	var c train.Curve
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

// weightsOf returns the tensors of a file for parameters, whose names lose the prefix.
// All trainings call it at their end, so it returns an error if the last update diverged.
func weightsOf(params []nn.Param, v nn.Values, prefix string) (map[string]checkpoint.Tensor, error) {
	t := make(map[string]checkpoint.Tensor, len(params))
	for _, p := range params {
		x := v[prefix+p.Name]
		if i := diverged(x); i >= 0 {
			return nil, fmt.Errorf("weight %s is %v after the last step: the training diverged (a smaller learning rate helps)", prefix+p.Name, x[i])
		}
		t[p.Name] = checkpoint.Floats(x, p.Shape...)
	}
	return t, nil
}

// writeWeights writes the configuration and the parameters of a component.
func writeWeights(dir, file string, config any, params []nn.Param, v nn.Values, prefix string) error {
	t, err := weightsOf(params, v, prefix)
	if err != nil {
		return err
	}
	return checkpoint.WriteComponent(dir, file, config, t)
}

// notFinite returns the index of the first NaN or infinity, -1 if there is none.
func notFinite(x []float32) int {
	for i, v := range x {
		if v-v != 0 {
			return i
		}
	}
	return -1
}

// diverged returns the index of the first weight that shows that a training diverged, -1
// if there is none. Such a weight is NaN, infinite, or so large that its square is
// infinite.
func diverged(x []float32) int {
	for i, v := range x {
		if s := v * v; s-s != 0 {
			return i
		}
	}
	return -1
}

// checkWeights opens the file of a component and compares the names and shapes of its
// tensors with the component's parameters. It does not read the values.
func checkWeights(path string, params []nn.Param) (*checkpoint.File, error) {
	f, err := checkpoint.Open(path)
	if err != nil {
		return nil, err
	}
	names := make(map[string]bool, len(params))
	for _, p := range params {
		names[p.Name] = true
		shape, ok := f.Shape(p.Name)
		if !ok {
			err = fmt.Errorf("%s: tensor %q is missing", path, p.Name)
		} else if !slices.Equal(shape, p.Shape) {
			err = fmt.Errorf("%s: tensor %q has shape %v, the configuration needs %v", path, p.Name, shape, p.Shape)
		}
		if err != nil {
			f.Close()
			return nil, err
		}
	}
	for _, name := range f.Names() {
		if !names[name] {
			f.Close()
			return nil, fmt.Errorf("%s: tensor %q is not one of the %d that the configuration describes", path, name, len(params))
		}
	}
	return f, nil
}

// eachWeight reads the parameters of a component and calls do with each, until ctx ends.
func eachWeight(ctx context.Context, path string, params []nn.Param, do func(nn.Param, []float32)) error {
	f, err := checkWeights(path, params)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, p := range params {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		t, err := f.Tensor(p.Name)
		if err != nil {
			return err
		}
		x, err := t.Float32()
		if err != nil {
			return fmt.Errorf("%s: tensor %q: %w", path, p.Name, err)
		}
		if i := diverged(x); i >= 0 {
			return fmt.Errorf("%s: tensor %q has the value %v, which no trained model has; export it again from a training that did not diverge", path, p.Name, x[i])
		}
		do(p, x)
	}
	return nil
}

// readWeights reads the parameters of a component into v, with prefix before their names.
func readWeights(path string, params []nn.Param, prefix string, v nn.Values) error {
	return eachWeight(context.Background(), path, params, func(p nn.Param, x []float32) { v[prefix+p.Name] = x })
}

// denoiserClass is the class of the denoiser in model_index.json and in its config.json.
const denoiserClass = "ShapesTransformer2DModel"

type denoiserConfig struct {
	Class string `json:"_class_name"`
	dit.Config
}

// Classes of the other components of a checkpoint folder. sample.py, which export writes
// into the folder, defines them. diffusers has no classes of these names, so that it
// cannot mistake them for its own.
const (
	pipelineClass  = "AblateShapesPipeline"
	encoderClass   = "ShapesTextEncoder"
	schedulerClass = "RectifiedFlowX0Scheduler"
)

// modelIndex is the content of model_index.json.
type modelIndex struct {
	Class       string    `json:"_class_name"`
	Transformer [2]string `json:"transformer"` // module and class
	TextEncoder [2]string `json:"text_encoder"`
	Scheduler   [2]string `json:"scheduler"`
}

var index = modelIndex{pipelineClass, [2]string{"sample", denoiserClass}, [2]string{"sample", encoderClass}, [2]string{"sample", schedulerClass}}

// schedulerConfig is the content of scheduler_config.json: what the network predicts, and
// how the exported model drew images. A study that adopts the folder uses its own sampler
// settings.
type schedulerConfig struct {
	Class      string  `json:"_class_name"`
	Prediction string  `json:"prediction_type"` // "sample": the network predicts the clean image
	Steps      int     `json:"num_inference_steps"`
	Shift      float64 `json:"shift"`
}

const prediction = "sample"

type encoderConfig struct {
	Class      string `json:"_class_name"`
	Vocabulary int    `json:"vocab_size"`
	Width      int    `json:"hidden_size"`
}

// writeModel writes a model as a checkpoint folder in the layout of diffusers.
func writeModel(dir string, c dit.Config, net pipeline.Network, v nn.Values) error {
	if err := checkpoint.WriteJSON(filepath.Join(dir, indexFile), index); err != nil {
		return err
	}
	if err := WriteScheduler(dir, 20, 1.5); err != nil {
		return err
	}
	if err := writeWeights(filepath.Join(dir, "transformer"), denoiserFile, denoiserConfig{denoiserClass, c}, net.Params, v, ""); err != nil {
		return err
	}
	return writeWeights(filepath.Join(dir, "text_encoder"), encoderFile, encoderConfig{encoderClass, c.Vocabulary, c.TextWidth}, net.TextParams, v, pipeline.TextPrefix)
}

// WriteScheduler writes a checkpoint folder's scheduler_config.json.
func WriteScheduler(dir string, steps int, shift float64) error {
	return checkpoint.WriteJSON(filepath.Join(dir, filepath.FromSlash(schedulerFile)), schedulerConfig{schedulerClass, prediction, steps, shift})
}

// readConfig reads a configuration into v. It returns an error if its class is not the
// given one.
func readConfig(dir, name, class string, v any) error {
	path := filepath.Join(dir, filepath.FromSlash(name))
	var head struct {
		Class string `json:"_class_name"`
	}
	// The class is checked first, because the fields of another class have no meaning
	// here.
	if err := checkpoint.ReadJSON(path, &head, false); err != nil {
		return err
	}
	if head.Class != class {
		return fmt.Errorf("%s: _class_name is %q; must be %q: this version adopts what its own 'ablate export' writes", path, head.Class, class)
	}
	return checkpoint.ReadJSON(path, v, true)
}

// readConfigs reads the configurations of a checkpoint folder and checks that they fit
// together. It cannot detect a wrong number of attention heads, because the shapes of
// weights do not depend on it.
func readConfigs(dir string) (dit.Config, error) {
	fail := func(name, format string, args ...any) (dit.Config, error) {
		return dit.Config{}, fmt.Errorf("%s: %s: this version adopts what its own 'ablate export' writes", filepath.Join(dir, filepath.FromSlash(name)), fmt.Sprintf(format, args...))
	}
	var have modelIndex
	if err := readConfig(dir, indexFile, pipelineClass, &have); err != nil {
		return dit.Config{}, err
	}
	if have != index {
		return fail(indexFile, "its parts are %q, %q and %q; must be %q, %q and %q",
			have.Transformer, have.TextEncoder, have.Scheduler, index.Transformer, index.TextEncoder, index.Scheduler)
	}
	var s schedulerConfig
	if err := readConfig(dir, schedulerFile, schedulerClass, &s); err != nil {
		return dit.Config{}, err
	}
	if s.Prediction != prediction {
		return fail(schedulerFile, "prediction_type is %q; must be %q", s.Prediction, prediction)
	}
	if s.Steps < 1 || !(s.Shift > 0) {
		return fail(schedulerFile, "num_inference_steps is %d and shift is %v; both must be positive", s.Steps, s.Shift)
	}
	const transformer, encoder = "transformer/config.json", "text_encoder/config.json"
	var c denoiserConfig
	if err := readConfig(dir, transformer, denoiserClass, &c); err != nil {
		return dit.Config{}, err
	}
	if err := c.Check(); err != nil {
		return fail(transformer, "%v", err)
	}
	if err := world.Check(c.ImageSize, c.Channels, c.Vocabulary); err != nil {
		return fail(transformer, "%v", err)
	}
	var e encoderConfig
	if err := readConfig(dir, encoder, encoderClass, &e); err != nil {
		return dit.Config{}, err
	}
	if e.Vocabulary != c.Vocabulary || e.Width != c.TextWidth {
		return fail(encoder, "vocab_size is %d and hidden_size is %d; must be %d and %d, as the transformer has them", e.Vocabulary, e.Width, c.Vocabulary, c.TextWidth)
	}
	return c.Config, nil
}

// readModel reads a checkpoint folder of the shapes world.
func readModel(dir string) (dit.Config, *pipeline.Model, error) {
	c, err := readConfigs(dir)
	if err != nil {
		return c, nil, err
	}
	net := pipeline.Shapes(c)
	m := &pipeline.Model{Network: net, Weights: nn.Values{}}
	if err := readWeights(filepath.Join(dir, "transformer", denoiserFile), net.Params, "", m.Weights); err != nil {
		return dit.Config{}, nil, err
	}
	err = readWeights(filepath.Join(dir, "text_encoder", encoderFile), net.TextParams, pipeline.TextPrefix, m.Weights)
	return c, m, err
}

func writeEmbedder(dir string, c embedder.Config, v nn.Values) error {
	return writeWeights(filepath.Join(dir, "embedder"), encoderFile, c, c.Params(), v, "")
}

func readEmbedderConfig(dir string) (embedder.Config, error) {
	var c embedder.Config
	path := filepath.Join(dir, "embedder", "config.json")
	if err := checkpoint.ReadJSON(path, &c, true); err != nil {
		return c, err
	}
	if err := c.Check(); err != nil {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	if err := world.Check(c.ImageSize, c.Channels, c.Vocabulary); err != nil {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

func readEmbedder(dir string) (embedder.Config, nn.Values, error) {
	c, err := readEmbedderConfig(dir)
	if err != nil {
		return c, nil, err
	}
	v := nn.Values{}
	err = readWeights(filepath.Join(dir, "embedder", encoderFile), c.Params(), "", v)
	return c, v, err
}

// rewardConfig is the content of config.json of a learned reward. Members is the number
// of perceptrons of the ensemble; 0 stands for one perceptron.
type rewardConfig struct {
	reward.Config
	reward.Use
	Members int `json:"members,omitempty"`
}

// memberPrefix returns the prefix of the tensor names of member k. It is empty if there
// is only one member.
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
		weights, err := weightsOf(m.Params(), v, "")
		if err != nil {
			return err
		}
		for name, x := range weights {
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
